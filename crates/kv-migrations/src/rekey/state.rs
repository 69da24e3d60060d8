//! What a checkpoint keeps of a move.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::walk::Position;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    #[default]
    Survey,
    Confirm,
    Copy,
    Sweep,
    Check,
}

impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Survey => "survey",
            Self::Confirm => "confirm",
            Self::Copy => "copy",
            Self::Sweep => "sweep",
            Self::Check => "check",
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(super) phase: Phase,
    /// Until when to wait before the phase, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wait_until: Option<u64>,
    /// How far the phase has got.
    pub(super) position: Position,
    /// Where the batch begins, and where it ends: at the end of the prefix, if nowhere.
    pub(super) batch: Position,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<Position>,
    /// How many entries the survey found to be moved, and how many are.
    pub(super) found: u64,
    pub(super) moved: u64,
    /// The fingerprints of the entries of the batch as they were copied.
    pub(super) copied: BTreeSet<u64>,
    /// For each new key the old one, by their fingerprints, where no way back proves that there is only one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) owners: BTreeMap<u64, u64>,
    /// The old keys that stay, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) left: BTreeMap<String, String>,
    /// The old keys at whose new keys there is something else, and how often that was seen: it may be the same, seen
    /// sooner under one key than under the other.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) suspects: BTreeMap<String, u32>,
    /// Those of this sweep.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) next_suspects: BTreeMap<String, u32>,
    /// Whether there is something that only another sweep can prove.
    #[serde(default)]
    pub(super) is_dirty: bool,
    /// How many sweeps of this batch, and how many rounds over all, had something left to do.
    #[serde(default)]
    pub(super) sweeps: u32,
    #[serde(default)]
    pub(super) rounds: u32,
}
