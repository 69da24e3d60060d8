//! The phases of a move, one after the other, and what a checkpoint keeps of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

use super::Collisions;
use super::mapping::{Mapping, Target};
use crate::change::{Change, Outcome};
use crate::job::{Job, Load};
use crate::kv::{Entry, Expiration, Key, Kv, KvError, PutOptions, StoreExt};
use crate::migration::Result;
use crate::report::FailedEntry;
use crate::walk::{Position, Walked};

/// How many entries are copied before they are swept: each has its fingerprint in the checkpoint meanwhile.
pub(super) const BATCH: usize = 50_000;
/// How many collisions are listed.
const LISTED: usize = 20;
/// How many entries can be left where they are.
const MOST_LEFT: usize = 1_000;
/// How often entries that change under way are tried again before that is called a failure.
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

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    #[default]
    Survey,
    Copy,
    Sweep,
    Check,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Survey => "survey",
            Self::Copy => "copy",
            Self::Sweep => "sweep",
            Self::Check => "check",
        }
    }
}

/// What a checkpoint keeps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// Until when to wait before the phase, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait_until: Option<i64>,
    /// How far the phase has got.
    pub(super) position: Position,
    /// Where the batch begins, and where it ends; at the end of the prefix, if nowhere.
    pub(super) batch: Position,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<Position>,
    /// How many entries the survey found to be moved, and how many are.
    pub(super) found: u64,
    pub(super) moved: u64,
    /// The fingerprints of the entries of the batch as they were copied.
    pub(super) copied: BTreeSet<u64>,
    /// For each new key the old one, where no way back proves that there is only one: by their fingerprints.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) owners: BTreeMap<u64, u64>,
    /// The old keys that stay, because their new keys are others'.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) left: BTreeMap<String, String>,
    /// Whether something was copied again in this sweep.
    #[serde(default)]
    pub(super) is_dirty: bool,
    /// How often in a row there was something left to do.
    #[serde(default)]
    sweeps: u32,
    #[serde(default)]
    rounds: u32,
}

/// Two entries that want the same key.
#[derive(Debug)]
pub(super) struct Collision {
    pub(super) old: String,
    pub(super) why: String,
}

impl Moving {
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
                Err(not_given_back(&key.name, &new, back.as_deref()).fatal())
            }
        }
    }

    /// Keeps a collision for the report, or fails with it.
    pub(super) fn leave(&self, collision: Collision, state: &mut State) -> Result {
        if self.collisions == Collisions::Fail {
            return Err(collision.fatal());
        }
        state.left.insert(collision.old, collision.why);
        if state.left.len() > MOST_LEFT {
            return Err(format!(
                "more than {MOST_LEFT} entries would be left where they are, since their new keys are others': give \
                 them keys of their own"
            )
            .into());
        }
        Ok(())
    }

    /// Fails with all collisions of the survey.
    pub(super) fn refuse(collisions: &BTreeMap<String, String>) -> Result {
        let number = collisions.len();
        let listed: Vec<String> =
            collisions.iter().take(LISTED).map(|(old, why)| format!("`{old}` {why}")).collect();
        let more = if number > LISTED { format!("; and {} more", number - LISTED) } else { String::new() };
        Err(format!(
            "{number} entries cannot have their new keys: {}{more}. Nothing was written or deleted. Give them keys of \
             their own, or let them stay with `Collisions::Leave`",
            listed.join("; ")
        )
        .into())
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

    async fn advance(&self, job: &Job<'_>, state: &RefCell<State>) -> Result<Outcome> {
        loop {
            if let Some(left) = self.time_to_wait(job, &mut state.borrow_mut()) {
                return Ok(Outcome::Paused { retry_after: left });
            }
            let phase = state.borrow().phase;
            let walked = match phase {
                Phase::Survey => self.survey(job, state).await?,
                Phase::Copy => self.copy(job, state).await?,
                Phase::Sweep => self.sweep(job, state).await?,
                Phase::Check => self.check(job, state).await?,
            };
            match walked {
                Walked::All | Walked::Stopped => {
                    if let Some(outcome) = self.end_phase(job, &mut state.borrow_mut(), &walked)? {
                        return Ok(outcome);
                    }
                    if self.time_to_wait(job, &mut state.borrow_mut()).is_some() {
                        job.save(state).await?;
                    }
                }
                Walked::Paused => {
                    job.save(state).await?;
                    return Ok(Outcome::Paused { retry_after: Duration::from_secs(1) });
                }
                Walked::Stuck => {
                    let reason =
                        job.over_budget("a single entry could not be moved within", "spend less before it");
                    return Ok(Outcome::OverBudget { reason });
                }
            }
        }
    }

    /// What comes after a phase; an outcome if nothing does.
    fn end_phase(&self, job: &Job<'_>, state: &mut State, walked: &Walked) -> Result<Option<Outcome>> {
        let next = match (state.phase, walked) {
            (Phase::Survey, _) if state.found == 0 => return Ok(Some(done(state))),
            (Phase::Survey, _) => {
                state.batch = Position::default();
                Phase::Copy
            }
            (Phase::Copy, _) if state.copied.is_empty() && matches!(walked, Walked::All) => {
                state.end = None;
                state.wait_until = Some(self.later(job));
                Phase::Check
            }
            (Phase::Copy, _) => {
                // Where it was stopped, or nowhere.
                state.end = matches!(walked, Walked::Stopped).then(|| state.position.clone());
                state.wait_until = Some(self.later(job));
                Phase::Sweep
            }
            (Phase::Sweep, _) if std::mem::take(&mut state.is_dirty) => {
                state.sweeps += 1;
                if state.sweeps > MOST_ROUNDS {
                    state.sweeps = 0;
                    state.is_dirty = true;
                    return Err("entries change faster than they can be moved: the service still writes the old keys. \
                                What is moved stays moved; migrate again when it writes less"
                        .into());
                }
                state.wait_until = Some(self.later(job));
                Phase::Sweep
            }
            (Phase::Sweep, _) => {
                state.sweeps = 0;
                state.copied.clear();
                if let Some(end) = state.end.take() {
                    state.batch = end;
                    Phase::Copy
                } else {
                    state.wait_until = Some(self.later(job));
                    Phase::Check
                }
            }
            (Phase::Check, Walked::All) => return Ok(Some(done(state))),
            (Phase::Check, _) => {
                state.rounds += 1;
                if state.rounds > MOST_ROUNDS {
                    state.rounds = 0;
                    return Err("entries appear under old keys again and again: the service still writes them. What is \
                                moved stays moved; deploy a version that writes the new keys, and migrate again"
                        .into());
                }
                state.batch = Position::default();
                Phase::Copy
            }
        };
        state.phase = next;
        state.position = if next == Phase::Check { Position::default() } else { state.batch.clone() };
        job.begin_phase(next.name(), (next != Phase::Check).then_some(state.found));
        if next != Phase::Check {
            job.set_done(state.moved);
        }
        Ok(None)
    }

    fn later(&self, job: &Job<'_>) -> i64 {
        // One more, for the part of a second that is cut off.
        let delay = i64::try_from(self.delay.as_secs()).unwrap_or(i64::MAX);
        if delay == 0 { 0 } else { job.now().timestamp().saturating_add(delay).saturating_add(1) }
    }

    /// How long is to be waited still, if it is.
    fn time_to_wait(&self, job: &Job<'_>, state: &mut State) -> Option<Duration> {
        let until = state.wait_until?;
        let left = u64::try_from(until.saturating_sub(job.now().timestamp())).unwrap_or(0);
        if left == 0 {
            state.wait_until = None;
            return None;
        }
        job.name_phase("wait");
        // A clock that was set back must not make it wait for ever.
        Some(Duration::from_secs(left).min(self.delay.saturating_add(Duration::from_secs(1))))
    }
}

fn done(state: &mut State) -> Outcome {
    let left = std::mem::take(&mut state.left).into_iter();
    Outcome::Done(left.map(|(key, why)| FailedEntry { key, reason: format!("was left: it {why}") }).collect())
}

impl Collision {
    pub(super) fn new(old: &str, why: impl Into<String>) -> Self {
        Self { old: old.to_owned(), why: why.into() }
    }

    /// As an error, in a phase in which something may have been written.
    fn fatal(self) -> crate::migration::BoxError {
        format!(
            "`{}` {}. Nothing was deleted of which there is no copy. Make room for it, and migrate again",
            self.old, self.why
        )
        .into()
    }
}

pub(super) fn occupied(old: &str, new: &str) -> Collision {
    Collision::new(old, format!("would get the key `{new}`, at which there is something else"))
}

pub(super) fn shared(old: &str, new: &str) -> Collision {
    Collision::new(old, format!("would get the key `{new}`, which another entry gets as well"))
}

pub(super) fn not_given_back(old: &str, new: &str, back: Option<&str>) -> Collision {
    let back = back.map_or_else(|| "no key".to_owned(), |back| format!("`{back}`"));
    Collision::new(old, format!("would get the key `{new}`, for which the inverse gives {back}"))
}

impl<C> Change<C> for Moving {
    fn run<'a>(&'a self, job: &'a Job<'a>, _: &'a C) -> LocalBoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            let state = match job.load().await? {
                Load::AlreadyApplied => return Ok(Outcome::AlreadyApplied),
                Load::From(state) => RefCell::new(state),
                Load::Fresh => {
                    job.begin_phase("survey", None);
                    let state = RefCell::new(State::default());
                    job.announce(&state).await?;
                    state
                }
            };
            let phase = state.borrow().phase;
            job.name_phase(phase.name());
            let result = self.advance(job, &state).await;
            if result.is_err() {
                job.stash(&state);
            }
            result
        })
    }

    fn is_resumable(&self) -> bool {
        true
    }
}
