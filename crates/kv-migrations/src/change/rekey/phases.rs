//! The phases of a re-key, one after the other.

use std::rc::Rc;
use std::time::Duration;

use super::check::{check, find_missing};
use super::collision::MAX_KEPT;
use super::copy::copy;
use super::delete::delete;
use super::relocation::{Part, Relocation};
use super::state::{RekeyPhase, RekeyState};
use super::survey::{confirm, survey};
use super::sweep::sweep;
use super::verify::verify;
use crate::change::Job;
use crate::change::resumable::Advance;
use crate::change::walk::{Position, WalkEnd};
use crate::clock::seconds;
use crate::error::{BoxError, Result};
use crate::kv::KvError;
use crate::report::{EntryCounts, FailedEntry, Phase};
use crate::sabotage::{self, Defect};
use crate::session::Session;

/// How often what changes in the meantime is moved again before the re-key fails.
const MAX_ROUNDS: u32 = 5;

/// A checkpoint between two entries of which it cannot say any more which gets their new key.
const NO_CHOICE: &str = "several entries share a new key, and the re-key does not say any more which of them gets it. Restore \
    `choosing`, and migrate again";

const STUCK: Advance =
    Advance::Stuck { what: "a single entry could not be moved within", instead: "spend less before it" };

impl Relocation<'_> {
    /// Gets as far as the budget allows. The state says how far, even after an error.
    pub(super) async fn advance(&self, job: &mut Job<'_>, state: &mut RekeyState) -> Result<Advance> {
        let result = self.run_phases(job, state).await;
        if let Err(error) = &result {
            // Before anything is written it starts over, perhaps with another mapping.
            if state.is_surveying() && !error.is::<KvError>() {
                *state = RekeyState::begin(job);
            }
        }
        result
    }

    async fn run_phases(&self, job: &mut Job<'_>, state: &mut RekeyState) -> Result<Advance> {
        loop {
            let recorded = state.wait_until;
            if let Some(left) = self.time_to_wait(job, state) {
                if state.wait_until != recorded {
                    job.save(state).await?;
                }
                return Ok(Advance::Waiting(left));
            }
            let phase = state.phase;
            if let Some(distinct) = self.distinct
                && matches!(phase, RekeyPhase::Sweep | RekeyPhase::Discard)
            {
                match distinct.prove(self, job, state).await? {
                    WalkEnd::Complete => {}
                    WalkEnd::Stopped => continue,
                    WalkEnd::Paused => return Ok(Advance::Paused),
                    WalkEnd::Stuck => return Ok(STUCK),
                }
            }
            let end = match phase {
                RekeyPhase::Survey | RekeyPhase::Plan | RekeyPhase::Withdraw | RekeyPhase::Check
                    if self.by_value.is_some() =>
                {
                    let Some(by_value) = self.by_value else { return Ok(Advance::Paused) };
                    by_value.run(phase, self, job, state).await?
                }
                RekeyPhase::Plan | RekeyPhase::Withdraw => WalkEnd::Complete,
                RekeyPhase::Gather | RekeyPhase::Choose | RekeyPhase::Discard => match self.choice {
                    Some(choice) => choice.run(phase, self, job, state).await?,
                    None => return Err(NO_CHOICE.into()),
                },
                RekeyPhase::Survey => survey(self, job, state).await?,
                RekeyPhase::Confirm => confirm(self, job, state).await?,
                RekeyPhase::Copy => copy(self, job, state).await?,
                RekeyPhase::Verify => verify(self, job, state).await?,
                RekeyPhase::Sweep if self.settings.part.is_deleting() => delete(self, job, state).await?,
                RekeyPhase::Sweep => sweep(self, job, state).await?,
                RekeyPhase::Check if self.settings.part == Part::Copying => {
                    find_missing(self, job, state).await?
                }
                RekeyPhase::Check => check(self, job, state).await?,
            };
            match end {
                WalkEnd::Complete | WalkEnd::Stopped => {}
                WalkEnd::Paused => return Ok(Advance::Paused),
                WalkEnd::Stuck => return Ok(STUCK),
            }
            if phase != RekeyPhase::Check {
                state.waited = None;
            }
            let Some(next) = self.next_phase(job.session(), state, end)? else {
                if let Some(until) = state.waited {
                    job.session().set_waited(until);
                }
                job.add_entries(EntryCounts { left: state.left.len() as u64, ..EntryCounts::default() });
                return Ok(done(state));
            };
            if let Some(distinct) = self.distinct
                && state.is_surveying()
                && matches!(next, RekeyPhase::Plan | RekeyPhase::Copy | RekeyPhase::Sweep)
            {
                match distinct.begin(self, job, state).await? {
                    WalkEnd::Complete | WalkEnd::Stopped => {}
                    WalkEnd::Paused => return Ok(Advance::Paused),
                    WalkEnd::Stuck => return Ok(STUCK),
                }
            }
            // Also before anything is copied to a key that was planned.
            let is_planned = phase == RekeyPhase::Plan || std::mem::take(&mut state.targets.is_changed);
            let is_surveyed = state.is_surveying() || is_planned;
            let begins_writing = phase == RekeyPhase::Sweep && next == RekeyPhase::Sweep && state.is_writing;
            state.targets.is_stopped = false;
            begin_phase(next, job, state);
            // Before it waits, and before anything is written.
            if self.time_to_wait(job, state).is_some() {
                job.save(state).await?;
            } else if is_surveyed || begins_writing {
                job.save_midway(state).await?;
            }
        }
    }

    /// The phase after one that ended, complete or stopped; `None` if everything is moved.
    fn next_phase(
        &self,
        session: &Session<'_>,
        state: &mut RekeyState,
        end: WalkEnd,
    ) -> Result<Option<RekeyPhase>> {
        let is_complete = end == WalkEnd::Complete;
        Ok(Some(match state.phase {
            RekeyPhase::Survey
                if self.settings.part.is_deleting() && (state.found > 0 || !state.suspects.is_empty()) =>
            {
                state.wait_until = Some(self.visible_at(session));
                self.first_of_batch()
            }
            RekeyPhase::Survey if !state.suspects.is_empty() => {
                state.wait_until = Some(self.visible_at(session));
                RekeyPhase::Confirm
            }
            RekeyPhase::Survey | RekeyPhase::Confirm if !state.contests.is_empty() => RekeyPhase::Gather,
            RekeyPhase::Gather => RekeyPhase::Choose,
            RekeyPhase::Survey | RekeyPhase::Confirm if state.found == 0 => {
                // What the migration before this one wrote may not be listed yet. If that has waited itself, and written
                // nothing since, the look after that is enough.
                state.wait_until = Some(session.waited_before().unwrap_or_else(|| self.visible_at(session)));
                RekeyPhase::Check
            }
            RekeyPhase::Survey | RekeyPhase::Confirm | RekeyPhase::Choose => self.first_of_batch(),
            RekeyPhase::Plan => {
                state.batch_end = (!is_complete).then(|| state.position.clone());
                if self.settings.part.is_deleting() { RekeyPhase::Sweep } else { RekeyPhase::Copy }
            }
            RekeyPhase::Copy
                if self.settings.part == Part::Copying && sabotage::is_on(Defect::UnverifiedCopies) =>
            {
                return Ok(None);
            }
            RekeyPhase::Copy => {
                state.wait_until = Some(self.visible_at(session));
                if self.by_value.is_none() {
                    state.batch_end = (!is_complete).then(|| state.position.clone());
                }
                let is_idle = state.copied.is_empty() && state.superseded.is_empty() && !state.needs_sweep;
                if is_complete && is_idle && state.targets.is_empty() && state.batch_end.is_none() {
                    let next = self.after_copying_nothing(state);
                    // What the check had found has its new keys, or is gone.
                    state.suspects.clear();
                    return Ok(next);
                }
                self.first_of_sweeps()
            }
            RekeyPhase::Verify => RekeyPhase::Sweep,
            RekeyPhase::Sweep => self.after_sweep(session, state)?,
            RekeyPhase::Withdraw => self.after_batch(session, state),
            RekeyPhase::Check if is_complete && state.suspects.is_empty() && !state.targets.is_stopped => {
                // All that moves is moved and verified.
                let is_due = self.settings.part == Part::Whole && state.contests.has_losers();
                return Ok(is_due.then_some(RekeyPhase::Discard));
            }
            RekeyPhase::Discard => return Ok(None),
            RekeyPhase::Check => {
                state.rounds = state.rounds.saturating_add(1);
                if state.rounds > MAX_ROUNDS {
                    state.rounds = 0;
                    return Err(self.too_many_rounds());
                }
                state.batch = Position::default();
                if self.settings.part == Part::Copying {
                    // A second look: they may have been deleted, and be listed all the same.
                    state.wait_until = Some(self.visible_at(session));
                }
                self.first_of_batch()
            }
        }))
    }

    /// The phase with which a batch begins.
    fn first_of_batch(&self) -> RekeyPhase {
        match self.settings.part {
            _ if self.by_value.is_some() => RekeyPhase::Plan,
            Part::Deleting(_) => RekeyPhase::Sweep,
            Part::Whole | Part::Copying => RekeyPhase::Copy,
        }
    }

    /// The phase with which copies are looked at.
    fn first_of_sweeps(&self) -> RekeyPhase {
        // A mapping that sees values may change.
        if self.by_value.is_some() || self.settings.part.is_deleting() {
            RekeyPhase::Sweep
        } else {
            RekeyPhase::Verify
        }
    }

    fn after_sweep(&self, session: &Session<'_>, state: &mut RekeyState) -> Result<RekeyPhase> {
        state.end_sweep();
        let needs_sweep = std::mem::take(&mut state.needs_sweep);
        state.is_writing = needs_sweep && self.settings.part == Part::Copying && !state.is_writing;
        if state.is_writing {
            return Ok(RekeyPhase::Sweep);
        }
        if needs_sweep {
            state.sweeps = state.sweeps.saturating_add(1);
            if state.sweeps > MAX_ROUNDS {
                (state.sweeps, state.needs_sweep) = (0, true);
                // The next run comes here again, and then looks at the same ones.
                state.next_suspects = state.suspects.clone();
                return Err(self.too_many_sweeps());
            }
            state.wait_until = Some(self.visible_at(session));
            return Ok(self.first_of_sweeps());
        }
        state.sweeps = 0;
        let copied = std::mem::take(&mut state.copied);
        if self.settings.part == Part::Copying && state.rounds == 0 {
            state.settled = Rc::unwrap_or_clone(copied);
        }
        Ok(if state.targets.has_outdated() { RekeyPhase::Withdraw } else { self.after_batch(session, state) })
    }

    fn after_batch(&self, session: &Session<'_>, state: &mut RekeyState) -> RekeyPhase {
        state.targets.clear();
        if let Some(end) = state.batch_end.take() {
            state.batch = end;
            return self.first_of_batch();
        }
        state.wait_until = Some(self.visible_at(session));
        RekeyPhase::Check
    }

    /// The phase after one that copied nothing; `None` if everything is copied.
    fn after_copying_nothing(&self, state: &RekeyState) -> Option<RekeyPhase> {
        match self.settings.part {
            // What the service has copied itself is compared once.
            Part::Copying if state.rounds == 0 => Some(self.first_of_sweeps()),
            // What the check had found is settled.
            Part::Copying if state.suspects.len() < MAX_KEPT => None,
            _ => Some(RekeyPhase::Check),
        }
    }

    fn too_many_rounds(&self) -> BoxError {
        match self.settings.part {
            Part::Whole => {
                "entries appear under old keys again and again: the service still writes them. What is moved stays moved. \
                 Deploy a version that writes the new keys, and migrate again. For a service that cannot be quiet there are \
                 two migrations: `copying()` and `deleting()`"
            }
            Part::Copying => {
                "entries appear under old keys alone again and again. What is copied stays copied. Deploy a version that \
                 writes both keys, and migrate again"
            }
            Part::Deleting(_) => {
                "entries appear under old keys again and again: the service still writes them. What is deleted stays \
                 deleted. Deploy a version that writes only the new keys, and migrate again"
            }
        }
        .into()
    }

    fn too_many_sweeps(&self) -> BoxError {
        match self.settings.part {
            Part::Whole => {
                "entries change faster than they can be moved: the service keeps writing the old keys. What is moved stays \
                 moved. Deploy a version that writes only the new keys and still reads both; then migrate again. For a \
                 service that cannot be quiet there are two migrations: `copying()` and `deleting()`"
            }
            Part::Copying => {
                "entries change faster than they can be copied: the service keeps writing the old keys alone. What is copied \
                 stays copied. Deploy a version that writes both keys, and migrate again"
            }
            Part::Deleting(_) => {
                "entries appear and disappear at their new keys faster than they can be looked at. Their old keys are not \
                 deleted. Migrate again"
            }
        }
        .into()
    }

    /// The rest of the time to wait before the phase, if there is any.
    fn time_to_wait(&self, job: &mut Job<'_>, state: &mut RekeyState) -> Option<Duration> {
        let session = job.session();
        // After a clock was set back it must not wait longer than it would from now on.
        let until = state.wait_until?.min(self.visible_at(session));
        let left = until.saturating_sub(seconds(session.now()));
        state.wait_until = (left > 0).then_some(until);
        if left == 0 {
            state.waited = Some(until);
            job.set_phase(state.phase.reported());
            return None;
        }
        job.set_phase(Phase::Wait);
        Some(Duration::from_secs(left))
    }
}

fn begin_phase(phase: RekeyPhase, job: &mut Job<'_>, state: &mut RekeyState) {
    state.phase = phase;
    let is_of_batch =
        matches!(phase, RekeyPhase::Plan | RekeyPhase::Copy | RekeyPhase::Verify | RekeyPhase::Sweep);
    state.position = if is_of_batch { state.batch.clone() } else { Position::default() };
    job.begin_phase(phase.reported(), is_of_batch.then_some(state.found));
    if is_of_batch {
        job.set_done(state.moved);
    }
}

fn done(state: &mut RekeyState) -> Advance {
    let left =
        std::mem::take(&mut state.left).into_iter().filter(|_| !sabotage::is_on(Defect::LeftUnreported));
    let failed_entry =
        |(key, reason)| FailedEntry { key, reason: format!("was left: it {reason}") }.shortened();
    Advance::Done(left.map(failed_entry).collect())
}
