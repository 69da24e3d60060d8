//! The phases of a move, one after the other.

use std::cell::RefCell;
use std::time::Duration;

use super::Collisions;
use super::collision::{Collision, MOST_KEPT};
use super::mapping::{Mapping, Target};
use super::state::{Phase, State};
use crate::clock::seconds;
use crate::job::Job;
use crate::kv::{Entry, Expiration, Key, Kv, KvError, PutOptions, StoreExt};
use crate::migration::Result;
use crate::report::FailedEntry;
use crate::resumable::{Advance, Resumable};
use crate::walk::{Position, Walked};

/// How many entries are copied before they are swept: each has its fingerprint in the checkpoint meanwhile.
pub(super) const BATCH: usize = 50_000;
/// How often something that changes under way is tried again before that is called a failure.
const MOST_ROUNDS: u32 = 5;
/// An entry that expires sooner is not written again: KV takes nothing that expires within 60 seconds, and it may
/// take some until it is written.
const SOON_SECONDS: u64 = 90;

/// A move in one direction.
pub(super) struct Moving {
    pub(super) there: Mapping,
    pub(super) back: Option<Mapping>,
    pub(super) collisions: Collisions,
    pub(super) delay: Duration,
}

impl<C> Resumable<C> for Moving {
    type State = RefCell<State>;

    fn name(&self) -> String {
        format!("re-key {}", self.there.prefix())
    }

    fn begin(&self, job: &Job<'_>) -> RefCell<State> {
        job.begin_phase("survey", None);
        RefCell::default()
    }

    async fn advance(&self, job: &Job<'_>, _: &C, state: &mut RefCell<State>) -> Result<Advance> {
        let result = self.go_on(job, state).await;
        if let Err(error) = &result {
            let is_written = !matches!(state.get_mut().phase, Phase::Survey | Phase::Confirm);
            // Before anything is written it can begin anew, with another mapping perhaps.
            if !is_written && !error.is::<KvError>() {
                state.take();
                job.begin_phase("survey", None);
            }
        }
        result
    }
}

impl Moving {
    async fn go_on(&self, job: &Job<'_>, state: &RefCell<State>) -> Result<Advance> {
        loop {
            let recorded = state.borrow().wait_until;
            let left = self.time_to_wait(job, &mut state.borrow_mut());
            if let Some(left) = left {
                if state.borrow().wait_until != recorded {
                    job.save(state).await?;
                }
                return Ok(Advance::Waits(left));
            }
            let phase = state.borrow().phase;
            let walked = match phase {
                Phase::Survey => self.survey(job, state).await?,
                Phase::Confirm => self.confirm(job, state).await?,
                Phase::Copy => self.copy(job, state).await?,
                Phase::Sweep => self.sweep(job, state).await?,
                Phase::Check => self.check(job, state).await?,
            };
            let is_all = match walked {
                Walked::All => true,
                Walked::Stopped => false,
                Walked::Paused => return Ok(Advance::Paused),
                Walked::Stuck => {
                    let what = "a single entry could not be moved within";
                    return Ok(Advance::Stuck { what, instead: "spend less before it" });
                }
            };
            let next = self.next_phase(job, &mut state.borrow_mut(), is_all)?;
            let Some(next) = next else { return Ok(done(&mut state.borrow_mut())) };
            begin(next, job, &mut state.borrow_mut());
            // Before anything is written, and before it waits.
            let is_surveyed = matches!(phase, Phase::Survey | Phase::Confirm);
            let waits = self.time_to_wait(job, &mut state.borrow_mut()).is_some();
            if is_surveyed || waits {
                job.save(state).await?;
            }
        }
    }

    /// What comes after a phase that went over all there is, or was stopped before; nothing, if all is moved.
    fn next_phase(&self, job: &Job<'_>, state: &mut State, is_all: bool) -> Result<Option<Phase>> {
        Ok(Some(match state.phase {
            Phase::Survey if !state.suspects.is_empty() => {
                state.wait_until = Some(self.later(job));
                Phase::Confirm
            }
            Phase::Survey | Phase::Confirm if state.found == 0 => {
                // What the migration before this one wrote may not be listed yet.
                state.wait_until = Some(self.later(job));
                Phase::Check
            }
            Phase::Survey | Phase::Confirm => Phase::Copy,
            Phase::Copy => {
                state.wait_until = Some(self.later(job));
                state.end = (!is_all).then(|| state.position.clone());
                let is_needless = is_all && state.copied.is_empty() && !state.is_dirty;
                if is_needless { Phase::Check } else { Phase::Sweep }
            }
            Phase::Sweep => self.after_sweep(job, state)?,
            Phase::Check if is_all => return Ok(None),
            Phase::Check => {
                state.rounds += 1;
                if state.rounds > MOST_ROUNDS {
                    state.rounds = 0;
                    return Err("entries appear under old keys again and again: the service still writes them. What \
                                is moved stays moved; deploy a version that writes the new keys, and migrate again"
                        .into());
                }
                state.batch = Position::default();
                Phase::Copy
            }
        }))
    }

    fn after_sweep(&self, job: &Job<'_>, state: &mut State) -> Result<Phase> {
        state.suspects = std::mem::take(&mut state.next_suspects);
        if std::mem::take(&mut state.is_dirty) {
            state.sweeps += 1;
            if state.sweeps > MOST_ROUNDS {
                (state.sweeps, state.is_dirty) = (0, true);
                return Err(
                    "entries change faster than they can be moved: the service writes the old keys all the \
                     time. What is moved stays moved. Deploy a version that writes the new keys only, and still \
                     reads both; then migrate again"
                        .into(),
                );
            }
            state.wait_until = Some(self.later(job));
            return Ok(Phase::Sweep);
        }
        state.sweeps = 0;
        state.copied.clear();
        Ok(if let Some(end) = state.end.take() {
            state.batch = end;
            Phase::Copy
        } else {
            state.wait_until = Some(self.later(job));
            Phase::Check
        })
    }

    fn later(&self, job: &Job<'_>) -> u64 {
        if self.delay.is_zero() {
            return 0;
        }
        // One more, for the part of a second that is cut off.
        seconds(job.now()).saturating_add(self.delay.as_secs()).saturating_add(1)
    }

    /// How long is to be waited still, if it is.
    fn time_to_wait(&self, job: &Job<'_>, state: &mut State) -> Option<Duration> {
        let until = state.wait_until?;
        // A clock that was set back must not make it wait for longer than it would from now on.
        let until = until.min(self.later(job));
        let left = until.saturating_sub(seconds(job.now()));
        state.wait_until = (left > 0).then_some(until);
        if left == 0 {
            job.name_phase(state.phase.name());
            return None;
        }
        job.name_phase("wait");
        Some(Duration::from_secs(left))
    }

    /// Where an entry goes, unless it is to stay.
    pub(super) fn target(&self, job: &Job<'_>, key: &Key, state: &State) -> Result<Option<String>> {
        if state.left.contains_key(&key.name) {
            return Ok(None);
        }
        match self.there.target(job, key, self.back.as_ref())? {
            Target::Stays => Ok(None),
            Target::Moves(new) => Ok(Some(new)),
            // One that was not there during the survey.
            Target::NotGivenBack { .. } if self.collisions == Collisions::Leave => Ok(None),
            Target::NotGivenBack { new, back } => {
                Err(Collision::not_given_back(&key.name, &new, back.as_deref()).into_error())
            }
        }
    }

    /// Lets the entry stay, or fails with it.
    pub(super) fn leave(&self, collision: Collision, state: &mut State) -> Result {
        if self.collisions == Collisions::Fail {
            return Err(collision.into_error());
        }
        state.left.insert(collision.old, collision.why);
        if state.left.len() > MOST_KEPT {
            return Err(format!(
                "more than {MOST_KEPT} entries would be left where they are, since their new keys are others': give \
                 them keys of their own"
            )
            .into());
        }
        Ok(())
    }

    pub(super) fn expires_soon(job: &Job<'_>, key: &Key) -> bool {
        key.expiration.is_some_and(|at| at < job.kv().now_seconds().saturating_add(SOON_SECONDS))
    }

    /// Writes an entry to its new key: the value and the metadata as they were read together.
    pub(super) async fn put(
        kv: &Kv,
        new: &str,
        entry: Entry,
        expiration: Option<u64>,
    ) -> Result<(), KvError> {
        let options = PutOptions { metadata: entry.metadata, expiration: expiration.map(Expiration::At) };
        kv.store().put(new, &entry.value, &options).await
    }
}

fn begin(phase: Phase, job: &Job<'_>, state: &mut State) {
    state.phase = phase;
    let is_of_batch = matches!(phase, Phase::Copy | Phase::Sweep);
    state.position = if is_of_batch { state.batch.clone() } else { Position::default() };
    job.begin_phase(phase.name(), is_of_batch.then_some(state.found));
    if is_of_batch {
        job.set_done(state.moved);
    }
}

fn done(state: &mut State) -> Advance {
    let left = std::mem::take(&mut state.left).into_iter();
    Advance::Done(left.map(|(key, why)| FailedEntry { key, reason: format!("was left: it {why}") }).collect())
}
