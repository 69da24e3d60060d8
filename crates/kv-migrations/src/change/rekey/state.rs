//! What a checkpoint of a re-key keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::collision::MAX_KEPT;
use super::contests::Contests;
use super::copies::{Copies, CopyRecord};
use super::owners::Owners;
use super::targets::Targets;
use crate::change::Job;
use crate::change::hash::HashKey;
use crate::change::walk::Position;
use crate::report::Phase;

/// The phases of a re-key. Between them it may wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RekeyPhase {
    #[default]
    Survey,
    Confirm,
    Gather,
    Choose,
    /// Where the mapping sees values: finds the targets of a batch.
    Plan,
    Copy,
    Verify,
    Sweep,
    /// Where the mapping sees values: deletes copies under keys that their entries no longer get.
    Withdraw,
    Check,
    Discard,
}

impl RekeyPhase {
    /// As progress reports it.
    pub(super) fn reported(self) -> Phase {
        match self {
            Self::Survey | Self::Gather | Self::Choose => Phase::Survey,
            Self::Confirm => Phase::Confirm,
            Self::Plan | Self::Copy => Phase::Copy,
            Self::Verify | Self::Sweep | Self::Withdraw | Self::Discard => Phase::Sweep,
            Self::Check => Phase::Check,
        }
    }
}

/// How far a re-key has got.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RekeyState {
    /// The key of all hashes.
    pub(super) key: HashKey,
    /// The table of the mapping, as JSON: each request and each phase maps by the same one.
    pub(super) table: Option<String>,
    pub(super) phase: RekeyPhase,
    /// When the phase may begin, in seconds since 1970.
    pub(super) wait_until: Option<u64>,
    /// The end of the last wait, if nothing was written since it began.
    #[serde(skip)]
    pub(super) waited: Option<u64>,
    /// How far the phase has got.
    pub(super) position: Position,
    /// Where the batch begins, and where it ends. Without an end it goes to the end of the prefix.
    pub(super) batch: Position,
    pub(super) batch_end: Option<Position>,
    /// The number of entries that the survey found to move, and the number that is moved.
    pub(super) found: u64,
    pub(super) moved: u64,
    /// The targets of the batch, where the mapping sees values.
    pub(super) targets: Targets,
    /// The copies of the batch. A sweep does not change them: its work reads them.
    pub(super) copied: Rc<Copies>,
    /// The copies of the last batch, once they are verified, where both keys stay.
    pub(super) settled: Copies,
    /// The copies that this sweep has made. They prove nothing before the next one, which is later than KV's delay.
    pub(super) copied_again: Copies,
    /// For each new key its old key, both as hashes. Used where no inverse proves that there is only one.
    pub(super) owners: Owners,
    /// The entries that give way to what the survey saw at their new keys: both keys of each, as a hash.
    pub(super) superseded: BTreeSet<u64>,
    /// The new keys that several entries have, and what became of these.
    pub(super) contests: Contests,
    /// The old keys that stay, and why.
    pub(super) left: BTreeMap<String, String>,
    /// The old keys whose new keys seem to be taken, and how often that was seen. It may be the same entry, visible sooner
    /// under one key than under the other. Where only a part of the move is made: all old keys that are not settled, with
    /// zero for those that were only copied again.
    pub(super) suspects: BTreeMap<String, u32>,
    /// The suspects of this sweep.
    pub(super) next_suspects: BTreeMap<String, u32>,
    /// Whether another sweep is needed to prove something.
    pub(super) needs_sweep: bool,
    /// Whether the sweep of a copying writes. One that does proves nothing, and one that proves writes nothing: a request that
    /// was cut off may have copied what the next one would take for the service's.
    pub(super) is_writing: bool,
    /// Whether the old and the new keys are known to be in two namespaces.
    pub(super) is_distinct: bool,
    /// How many sweeps of this batch, and how many rounds over all, left something to do.
    pub(super) sweeps: u32,
    pub(super) rounds: u32,
}

impl RekeyState {
    /// The state at the beginning. Begins the survey.
    pub(super) fn begin(job: &mut Job<'_>) -> Self {
        job.begin_phase(Phase::Survey, None);
        Self::new(HashKey::new(&job.session().random))
    }

    /// A state with this key of all hashes.
    pub(super) fn new(key: HashKey) -> Self {
        Self {
            key,
            table: None,
            phase: RekeyPhase::default(),
            wait_until: None,
            waited: None,
            position: Position::default(),
            batch: Position::default(),
            batch_end: None,
            found: 0,
            moved: 0,
            targets: Targets::default(),
            copied: Rc::default(),
            settled: Copies::default(),
            copied_again: Copies::default(),
            owners: Owners::default(),
            superseded: BTreeSet::new(),
            contests: Contests::default(),
            left: BTreeMap::new(),
            suspects: BTreeMap::new(),
            next_suspects: BTreeMap::new(),
            needs_sweep: false,
            is_writing: false,
            is_distinct: false,
            sweeps: 0,
            rounds: 0,
        }
    }

    /// The hash of a key.
    pub(super) fn hash(&self, key: &str) -> u64 {
        self.key.hash().with(key.as_bytes()).finish()
    }

    /// The hash of an old key and its new key.
    pub(super) fn hash_pair(&self, old: &str, new: &str) -> u64 {
        self.key.hash().with(old.as_bytes()).with(new.as_bytes()).finish()
    }

    /// Whether the copying looks at this entry: at all at first, then at those that are not settled.
    pub(super) fn is_of_interest(&self, old: &str) -> bool {
        let is_first = self.rounds == 0 && self.sweeps == 0 && !self.is_writing;
        let looks_at_all = is_first || self.phase == RekeyPhase::Check || self.suspects.len() >= MAX_KEPT;
        looks_at_all || self.suspects.contains_key(old)
    }

    /// Whether nothing is written yet.
    pub(super) fn is_surveying(&self) -> bool {
        matches!(
            self.phase,
            RekeyPhase::Survey | RekeyPhase::Confirm | RekeyPhase::Gather | RekeyPhase::Choose
        )
    }

    /// The last key that the phase goes to; `None` if it goes to the end of the prefix.
    pub(super) fn until(&self) -> Option<String> {
        let is_within_batch = matches!(self.phase, RekeyPhase::Copy | RekeyPhase::Verify | RekeyPhase::Sweep);
        let end = self.batch_end.as_ref().filter(|_| is_within_batch);
        end.and_then(Position::after).map(str::to_owned)
    }

    /// Ends a sweep: what it copied counts as copied, and the next sweep looks at that and at its suspects.
    pub(super) fn end_sweep(&mut self) {
        self.suspects = std::mem::take(&mut self.next_suspects);
        let copied_again = std::mem::take(&mut self.copied_again);
        if copied_again.is_empty() {
            return;
        }
        self.needs_sweep = true;
        for old in copied_again.old_keys().take(MAX_KEPT.saturating_sub(self.suspects.len())) {
            self.suspects.entry(old.to_owned()).or_insert(0);
        }
        Rc::make_mut(&mut self.copied).append(copied_again);
    }

    /// Adds a suspect of this sweep that was seen so often. False if there are too many.
    pub(super) fn suspect(&mut self, old: String, times: u32) -> bool {
        self.next_suspects.insert(old, times);
        self.next_suspects.values().filter(|times| **times > 0).count() <= MAX_KEPT
    }

    /// Remembers copies that this phase has made. The work of a sweep reads the others meanwhile.
    pub(super) fn note_copies(&mut self, copies: Vec<CopyRecord>) {
        if copies.is_empty() {
            return;
        }
        let is_sweep = self.phase == RekeyPhase::Sweep;
        let noted = if is_sweep { &mut self.copied_again } else { Rc::make_mut(&mut self.copied) };
        for copy in copies {
            noted.insert(copy);
        }
    }

    /// Notes that KV has confirmed a copy that this phase has made.
    pub(super) fn confirm(&mut self, copy: &CopyRecord) {
        let is_sweep = self.phase == RekeyPhase::Sweep;
        let noted = if is_sweep { &mut self.copied_again } else { Rc::make_mut(&mut self.copied) };
        noted.confirm(&copy.old, &copy.new);
    }

    /// Whether the batch is full, and all that it has copied has begun, up to this entry. After a failure there may be copies
    /// behind the position.
    pub(super) fn is_batch_full(&self, begun: Option<&str>) -> bool {
        match self.phase {
            RekeyPhase::Plan => self.targets.is_full(),
            RekeyPhase::Check => self.targets.is_stopped,
            // A batch that is planned ends where its plan does.
            RekeyPhase::Copy if self.targets.is_empty() => {
                self.copied.is_full() && self.copied.last() <= begun.or_else(|| self.position.after())
            }
            _ => false,
        }
    }
}
