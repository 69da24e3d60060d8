//! What may happen in a world, and how often it did.

use std::fmt;
use std::ops::AddAssign;

use crate::mode::Mode;
use crate::situation::RequestLimit;

/// What happened in one world.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a figure of its own")]
pub struct Tally {
    /// Who ran the migrations.
    pub mode: Mode,
    /// An `up` that had finished, but was not marked, ran again.
    pub unmarked_up_repeated: bool,
    /// An `up` ran again although it was marked: the marker was not seen yet.
    pub marked_up_repeated: bool,
    /// The `up`s of two runs overlapped.
    pub ups_overlapped: bool,
    /// Two runs were in the same re-key at once: an older copy of one may win over what the other has copied.
    pub rekeys_overlapped: bool,
    /// A re-key found two different values of an entry, and failed.
    pub collision_reported: bool,
    /// Of two re-keys at once, the copy of the one that saw an entry in an older version won.
    pub stale_copy_won: bool,
    /// A run and a rollback of the same re-key, at once, lost an entry: each deleted what the other kept.
    pub lost_to_opposite: bool,
    /// A write of a service that knew the old keys alone was lost, within KV's delay.
    pub old_write_lost: bool,
    /// A copy under a key that its entry did not get any more was left, and reported.
    pub outdated_left: bool,
    /// A re-key mapped by values or by a table.
    pub has_moving: bool,
    /// A re-key moved entries between two namespaces.
    pub is_between_namespaces: bool,
    /// A re-key changed what it moved.
    pub has_seals: bool,
    /// An object left an entry whose new key runs without it had taken after its survey.
    pub taken_was_left: bool,
    /// A migration was cancelled or reset: then it begins again, whatever it has done.
    pub was_started_over: bool,
    /// A changed copy of a re-key that was started over hid what the service had written.
    pub forgotten_copy_won: bool,
    /// Without a coordinator: a write of a run arrived after the next run had begun.
    pub write_arrived_late: bool,
    /// A run was cut off.
    pub cut_off: bool,
    /// A request was refused because another run was in progress.
    pub refused: bool,
    /// A rollback was begun.
    pub rolled_back: bool,
    /// How many runs and rollbacks it took.
    pub runs: u64,
    /// What cut off every request, if something did.
    pub limit: Option<RequestLimit>,
    /// All was applied although every request was cut off.
    pub ended_within: bool,
    /// The number of requests that this took.
    pub requests_within: u64,
    /// Two releases were deployed at once.
    pub two_releases: bool,
    /// An object refused a request, as it was of the other release.
    pub release_refused: bool,
    /// How often a row of an object's storage was damaged.
    pub rows_damaged: u64,
    /// A row or a checkpoint could not be read in the end, and was removed as its error advised.
    pub advice_followed: bool,
    /// A service wrote all the time while its entries were re-keyed in two migrations.
    pub is_live: bool,
    /// How often a service wrote an entry.
    pub service_writes: u64,
    /// Operations of one request were under way at once.
    pub interleaved_within: bool,
    /// Operations of two requests, or of a request and a service, were under way at once.
    pub interleaved_between: bool,
    /// A run or a status was told that all is applied.
    pub was_up_to_date: bool,
    /// A run was asked for that goes only so far.
    pub asked_for_part: bool,
    /// A rollback of several was begun.
    pub rolled_back_several: bool,
    /// Somebody marked migrations, and unmarked them again.
    pub was_marked: bool,
}

const FIGURES: usize = 41;
/// What the figures of a world say, in the order of [`Tally::figures`].
const LABELS: [&str; FIGURES] = [
    "worlds",
    "runs and rollbacks",
    "worlds in which a run was cut off",
    "… a run was refused, as another was in progress",
    "… something was rolled back",
    "… an up that had finished ran again, unmarked",
    "… an up that was marked ran again",
    "… ups of two runs overlapped",
    "… a re-key reported a collision",
    "… an older copy won over a newer entry",
    "… a run and a rollback at once lost an entry",
    "… an object left what its new key was taken for",
    "… a write arrived during a later run",
    "… every request was cut off, and could get on",
    "…… and all was applied",
    "…… after this many requests in all",
    "… every request was cut off, and could not",
    "…… and all was applied all the same",
    "… two releases were deployed at once",
    "…… an object refused a request of the other",
    "…… one was told that all is applied",
    "… rows of the object were damaged",
    "…… this many rows in all",
    "…… one was cancelled or reset, as advised",
    "… a live service was re-keyed in two migrations",
    "…… it wrote an entry this often in all",
    "…… a copy collided with what it had written",
    "… operations of one request interleaved",
    "… operations of two interleaved",
    "… a re-key mapped by values or a table",
    "…… a service wrote old keys alone, and lost a write",
    "…… a copy under an outdated key was left",
    "…… it reported a collision",
    "… a re-key moved entries between two namespaces",
    "…… it reported a collision",
    "… a re-key changed what it moved",
    "…… it reported a collision",
    "…… a copy that it had forgotten won",
    "… a run was asked for that goes only so far",
    "… a rollback of several was asked for",
    "… migrations were marked and unmarked",
];

impl Tally {
    fn figures(&self) -> [u64; FIGURES] {
        let is_enough = self.limit.is_some_and(RequestLimit::is_enough);
        let is_too_little = self.limit.is_some() && !is_enough;
        [
            1,
            self.runs,
            self.cut_off.into(),
            self.refused.into(),
            self.rolled_back.into(),
            self.unmarked_up_repeated.into(),
            self.marked_up_repeated.into(),
            self.ups_overlapped.into(),
            self.collision_reported.into(),
            self.stale_copy_won.into(),
            self.lost_to_opposite.into(),
            self.taken_was_left.into(),
            self.write_arrived_late.into(),
            is_enough.into(),
            (is_enough && self.ended_within).into(),
            if is_enough { self.requests_within } else { 0 },
            is_too_little.into(),
            (is_too_little && self.ended_within).into(),
            self.two_releases.into(),
            self.release_refused.into(),
            (self.two_releases && self.was_up_to_date).into(),
            (self.rows_damaged > 0).into(),
            self.rows_damaged,
            self.advice_followed.into(),
            self.is_live.into(),
            if self.is_live { self.service_writes } else { 0 },
            (self.is_live && self.collision_reported).into(),
            self.interleaved_within.into(),
            self.interleaved_between.into(),
            self.has_moving.into(),
            self.old_write_lost.into(),
            self.outdated_left.into(),
            (self.has_moving && self.collision_reported).into(),
            self.is_between_namespaces.into(),
            (self.is_between_namespaces && self.collision_reported).into(),
            self.has_seals.into(),
            (self.has_seals && self.collision_reported).into(),
            self.forgotten_copy_won.into(),
            self.asked_for_part.into(),
            self.rolled_back_several.into(),
            self.was_marked.into(),
        ]
    }
}

/// The figures of many worlds, for each mode.
#[derive(Debug, Clone, Copy)]
pub struct Figures([[u64; FIGURES]; 4]);

impl Default for Figures {
    fn default() -> Self {
        Self([[0; FIGURES]; 4])
    }
}

impl Figures {
    /// Adds a world.
    pub fn add(&mut self, tally: Tally) {
        let column = match tally.mode {
            Mode::Pipeline => 0,
            Mode::ManyCallers => 1,
            Mode::Coordinator => 2,
            Mode::Alternating => 3,
        };
        for (sum, figure) in self.0[column].iter_mut().zip(tally.figures()) {
            *sum += figure;
        }
    }

    /// How many worlds were added.
    pub fn worlds(&self) -> u64 {
        self.0.iter().map(|column| column[0]).sum()
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        for (sum, figure) in self.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            *sum += figure;
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MODES: [&str; 4] = ["one pipeline", "many callers", "a coordinator", "both in turn"];
        let [one, many, object, both] = MODES;
        writeln!(f, "{:<52}{one:>14}{many:>14}{object:>14}{both:>14}", "")?;
        for (index, label) in LABELS.iter().enumerate() {
            let [one, many, object, both] = self.0.map(|column| column[index]);
            writeln!(f, "{label:<52}{one:>14}{many:>14}{object:>14}{both:>14}")?;
        }
        Ok(())
    }
}
