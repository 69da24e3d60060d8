//! What a checkpoint of a re-key keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::change::walk::Position;
use crate::report::Phase;

/// The phases of a re-key. Between them it may wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RekeyPhase {
    #[default]
    Survey,
    Confirm,
    Copy,
    Sweep,
    Check,
}

impl RekeyPhase {
    /// As progress reports it.
    pub(super) fn reported(self) -> Phase {
        match self {
            Self::Survey => Phase::Survey,
            Self::Confirm => Phase::Confirm,
            Self::Copy => Phase::Copy,
            Self::Sweep => Phase::Sweep,
            Self::Check => Phase::Check,
        }
    }
}

/// How far a re-key has got.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RekeyState {
    pub(super) phase: RekeyPhase,
    /// When the phase may begin, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wait_until: Option<u64>,
    /// How far the phase has got.
    pub(super) position: Position,
    /// Where the batch begins, and where it ends. Without an end it goes to the end of the prefix.
    pub(super) batch: Position,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) batch_end: Option<Position>,
    /// The number of entries that the survey found to move, and the number that is moved.
    pub(super) found: u64,
    pub(super) moved: u64,
    /// The fingerprints of the batch's entries as they were copied. A sweep does not change them: its work reads them.
    pub(super) copied: Rc<BTreeSet<u64>>,
    /// The fingerprints of entries that the sweep copied again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) copied_again: BTreeSet<u64>,
    /// For each new key its old key, both as fingerprints. Used where no inverse proves that there is only one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) owners: BTreeMap<u64, u64>,
    /// The old keys that stay, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) left: BTreeMap<String, String>,
    /// The old keys whose new keys seem to be taken, and how often that was seen. It may be the same entry, visible sooner
    /// under one key than under the other.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) suspects: BTreeMap<String, u32>,
    /// The suspects of this sweep.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) next_suspects: BTreeMap<String, u32>,
    /// Whether another sweep is needed to prove something.
    #[serde(default)]
    pub(super) needs_sweep: bool,
    /// How many sweeps of this batch, and how many rounds over all, left something to do.
    #[serde(default)]
    pub(super) sweeps: u32,
    #[serde(default)]
    pub(super) rounds: u32,
}

impl RekeyState {
    pub(super) fn remember_copy(&mut self, fingerprint: u64) {
        Rc::make_mut(&mut self.copied).insert(fingerprint);
    }
}
