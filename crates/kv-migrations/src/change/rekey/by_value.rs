//! What a re-key does in another way if its mapping sees values. A value may change at any time, and its new key with it.
//!
//! The survey and the check read values. A batch is planned before it is copied, so that the checkpoint knows each key to
//! which anything is copied. An entry that is read byte for byte, to be copied or deleted, is mapped again: if it gets another
//! key by then, that is noted, and the next sweep copies it there. When the batch is done, outdated copies are withdrawn.

use super::collision::Collision;
use super::found::Found;
use super::mapping::Target;
use super::pass::{Pass, Tools, run};
use super::plan::{Plan, Visit, claim, gives_way, load_existing, release};
use super::relocation::{BoxRecord, Part, Relocation, ValueSteps, expires_soon};
use super::retarget::set_target;
use super::state::{RekeyPhase, RekeyState};
use super::survey::{look, survey_by};
use super::withdraw::withdraw;
use crate::change::Job;
use crate::change::record::Record;
use crate::change::values::{Loaded, load_values};
use crate::change::walk::{Loading, WalkEnd};
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::{Entry, Key, without_byte_order_mark};
use crate::session::Session;

/// The steps of a re-key whose mapping sees values.
pub(super) struct ByValue;

impl ValueSteps for ByValue {
    fn run<'a>(
        &'a self,
        phase: RekeyPhase,
        relocation: &'a Relocation<'a>,
        job: &'a mut Job<'_>,
        state: &'a mut RekeyState,
    ) -> BoxFuture<'a, Result<WalkEnd>> {
        Box::pin(async move {
            match phase {
                RekeyPhase::Survey => survey_by(&Surveying(relocation), job, state).await,
                RekeyPhase::Plan => run(&Planning(relocation), job, state).await,
                RekeyPhase::Withdraw => withdraw(relocation, job, state).await,
                _ => run(&Checking(relocation), job, state).await,
            }
        })
    }

    fn target(
        &self,
        relocation: &Relocation<'_>,
        session: &Session<'_>,
        key: &Key,
        entry: &mut Entry,
    ) -> Result<Target> {
        let key = Key { metadata: entry.metadata.clone(), ..key.clone() };
        map_value(relocation, session, key, &mut entry.value)
    }

    fn is_current(
        &self,
        relocation: &Relocation<'_>,
        session: &Session<'_>,
        key: &Key,
        mut value: Vec<u8>,
        new: &str,
    ) -> bool {
        // An error is told when it is looked at closer.
        let target = map_value(relocation, session, key.clone(), &mut value);
        matches!(target, Ok(Target::Moves(now)) if now == new)
    }

    fn retarget(&self, old: String, target: Target) -> BoxRecord {
        Box::new(move |relocation, state| {
            let (new, collision) = match target {
                Target::Stays => (None, None),
                Target::Moves(new) => match claim_unless_it_gives_way(relocation, &old, &new, state)? {
                    None => (Some(new), None),
                    collision => (None, collision),
                },
                Target::Collides(collision) => (None, Some(collision)),
            };
            if let Some(collision) = collision {
                relocation.leave(collision, state)?;
            }
            if new.is_some() {
                state.needs_sweep = true;
                if relocation.settings.part == Part::Copying {
                    state.next_suspects.entry(old.clone()).or_insert(0);
                }
            }
            set_new_key(relocation, &old, new, state);
            state.targets.is_changed = true;
            Ok(())
        })
    }
}

/// Claims the new key for the entry, unless the entry gives way to what is there.
fn claim_unless_it_gives_way(
    relocation: &Relocation<'_>,
    old: &str,
    new: &str,
    state: &mut RekeyState,
) -> Result<Option<Collision>> {
    if gives_way(state, old, new) { Ok(None) } else { claim(relocation, old, new, Visit::Repeated, state) }
}

/// Notes the key that an entry gets by now, and frees the one that it had.
fn set_new_key(relocation: &Relocation<'_>, old: &str, new: Option<String>, state: &mut RekeyState) {
    // Where both keys stay, what is at a new key is the service's, unless it is known to be a copy.
    // So it is if the entry gave way to it.
    let gave_way = state.targets.get(old).is_some_and(|before| gives_way(state, old, before));
    // A changed copy is recorded before it is written.
    let is_recorded = relocation.changing.is_some();
    let may_have_copy = relocation.settings.part == Part::Whole && !gave_way && !is_recorded;
    if let Some(before) = set_target(state, old, new, may_have_copy) {
        release(old, &before, state);
    }
}

/// Where an entry goes that has this value. It stays in its place.
fn map_value(
    relocation: &Relocation<'_>,
    session: &Session<'_>,
    key: Key,
    value: &mut Vec<u8>,
) -> Result<Target> {
    // A bulk get leaves a byte order mark out. A mapping must not depend on how the entry was read.
    let text = without_byte_order_mark(value);
    let is_whole = text.len() == value.len();
    let seen = if is_whole { std::mem::take(value) } else { text.to_vec() };
    let mut record = Record::new(&relocation.old, key, seen);
    let target = relocation.mapping.target_of(session, &mut record, relocation.inverse.as_ref());
    if is_whole {
        *value = record.into_value();
    }
    target
}

/// Reads the values of entries, and maps them.
fn load<'a>(
    relocation: &'a Relocation<'a>,
    session: &'a Session<'a>,
    keys: Vec<Key>,
    is_of_interest: &dyn Fn(&Key) -> bool,
) -> Loading<'a, Plan> {
    let plan = |key: Key| {
        let plan = if is_of_interest(&key) { Plan::Unmapped { is_large: false } } else { Plan::Stays };
        (key, plan)
    };
    let mut plans: Vec<(Key, Plan)> = keys.into_iter().map(plan).collect();
    Box::pin(async move {
        let is_unmapped = |plan: &Plan| matches!(plan, Plan::Unmapped { .. });
        let unmapped = plans.iter().filter(|(_, plan)| is_unmapped(plan));
        let names: Vec<&str> = unmapped.map(|(key, _)| key.name.as_str()).collect();
        if names.is_empty() {
            return Ok(plans);
        }
        let values = load_values(&relocation.old, &names).await?;
        let unmapped = plans.iter_mut().filter(|(_, plan)| is_unmapped(plan));
        for ((key, plan), value) in unmapped.zip(values) {
            *plan = match value {
                Loaded::Value(mut value) => {
                    let target = map_value(relocation, session, key.clone(), &mut value)?;
                    Plan::of_target(target)
                }
                Loaded::Missing => Plan::Stays,
                Loaded::Unread => Plan::Unmapped { is_large: false },
                Loaded::Large => Plan::Unmapped { is_large: true },
            };
        }
        Ok(plans)
    })
}

/// Reads an entry singly, and maps it, where that is not done.
async fn resolve(relocation: &Relocation<'_>, tools: &Tools<'_>, key: &Key, plan: Plan) -> Result<Plan> {
    let Plan::Unmapped { is_large } = plan else { return Ok(plan) };
    let read = async {
        let Some(mut entry) = tools.old.get(&key.name).await? else { return Ok(Plan::Stays) };
        let target = ByValue.target(relocation, tools.session, key, &mut entry)?;
        let existing = if is_large { Loaded::Large } else { Loaded::Unread };
        Ok(match Plan::of_target(target) {
            Plan::Moves { new, .. } => Plan::Moves { new, existing },
            plan => plan,
        })
    };
    if is_large { tools.large_values.alone(read).await } else { read.await }
}

struct Surveying<'a>(&'a Relocation<'a>);

impl Pass for Surveying<'_> {
    fn relocation(&self) -> &Relocation<'_> {
        self.0
    }

    fn load<'a>(&'a self, session: &'a Session<'a>, keys: Vec<Key>, _: &mut RekeyState) -> Loading<'a, Plan> {
        let plans = load(self.0, session, keys, &|_| true);
        Box::pin(async move { load_existing(&self.0.new, plans.await).await })
    }

    fn work<'a>(&'a self, tools: Tools<'a>, key: Key, plan: Plan) -> BoxFuture<'a, Result<Found>> {
        Box::pin(async move {
            let plan = resolve(self.0, &tools, &key, plan).await?;
            look(self.0, tools, key, plan).await
        })
    }
}

/// Plans a batch.
struct Planning<'a>(&'a Relocation<'a>);

impl Pass for Planning<'_> {
    fn relocation(&self) -> &Relocation<'_> {
        self.0
    }

    fn load<'a>(
        &'a self,
        session: &'a Session<'a>,
        keys: Vec<Key>,
        state: &mut RekeyState,
    ) -> Loading<'a, Plan> {
        let is_copying = self.0.settings.part == Part::Copying;
        load(self.0, session, keys, &|key| {
            let is_settled = is_copying && !state.is_of_interest(&key.name);
            !is_settled && !state.left.contains_key(&key.name) && !expires_soon(&session.kv, key)
        })
    }

    fn work<'a>(&'a self, tools: Tools<'a>, key: Key, plan: Plan) -> BoxFuture<'a, Result<Found>> {
        Box::pin(async move {
            let old = key.name.clone();
            Ok(match resolve(self.0, &tools, &key, plan).await? {
                Plan::Moves { new, .. } => Found::Recorded(Box::new(move |relocation, state| {
                    if let Some(collision) = claim_unless_it_gives_way(relocation, &old, &new, state)? {
                        return relocation.leave(collision, state);
                    }
                    set_new_key(relocation, &old, Some(new), state);
                    Ok(())
                })),
                Plan::Collides(collision) => Found::Collides(collision),
                _ => Found::Nothing,
            })
        })
    }
}

/// Looks for entries under old keys that are to be moved, or that have nothing at their new keys where both stay.
struct Checking<'a>(&'a Relocation<'a>);

impl Checking<'_> {
    fn is_copying(&self) -> bool {
        self.0.settings.part == Part::Copying
    }
}

impl Pass for Checking<'_> {
    fn relocation(&self) -> &Relocation<'_> {
        self.0
    }

    fn load<'a>(
        &'a self,
        session: &'a Session<'a>,
        keys: Vec<Key>,
        state: &mut RekeyState,
    ) -> Loading<'a, Plan> {
        let plans = load(self.0, session, keys, &|key| {
            !state.left.contains_key(&key.name) && !expires_soon(&session.kv, key)
        });
        if !self.is_copying() {
            return plans;
        }
        Box::pin(async move { load_existing(&self.0.new, plans.await).await })
    }

    fn work<'a>(&'a self, tools: Tools<'a>, key: Key, plan: Plan) -> BoxFuture<'a, Result<Found>> {
        Box::pin(async move {
            let plan = resolve(self.0, &tools, &key, plan).await?;
            let (new, existing) = match Found::unless_it_moves(plan) {
                Ok(to) => to,
                // Also one that was written after the survey and cannot have its new key.
                Err(found) => return Ok(found),
            };
            if self.is_copying() {
                let is_missing = tools.is_missing(&new, existing).await?;
                return Ok(if is_missing { Found::Uncopied { old: key.name } } else { Found::Copied });
            }
            Ok(Found::Recorded(Box::new(|_, state| {
                state.targets.is_stopped = true;
                Ok(())
            })))
        })
    }
}
