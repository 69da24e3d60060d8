//! Who asks an object for something.

use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use kv_migrations::coordinator::{Caller, CoordinatorError, Outcome};

use super::instance::Instance;
use super::object::Object;
use super::{ASKS_FOR_HELP, MOST_REQUESTS};
use crate::invariants::violated;
use crate::network::Weather;
use crate::world::{CALM_AFTER, World};

/// What can be asked for.
#[derive(Debug, Clone)]
enum Request {
    Migrate { waits: bool },
    Rollback(String),
    Status,
    Pause(String),
    Resume(String),
    Cancel(String),
}

/// What comes of it.
#[derive(Debug)]
enum Answer {
    Finished,
    Unfinished(Duration),
    Other,
}

/// Asks again and again, for anything.
pub async fn ask_while_it_is_bad(object: Rc<Object>) {
    let world = object.world.clone();
    let dice = &world.dice;
    for _ in 0..world.phase.requests {
        let request = draw(&world);
        let instance = object.current();
        if dice.chance(20) {
            // It goes on beside its successor.
            object.replace(&instance);
        }
        let (striking, struck) = (object.clone(), instance.clone());
        let answer = instance.within(ask(instance.clone(), request.clone()), move |fate| {
            striking.strike(&struck, fate);
        });
        let most = dice.pick([2_000, 60_000, 600_000]);
        let patience = world.time.sleep(i64::try_from(dice.between(0..=most)).unwrap_or(0));
        match select(answer, patience).await {
            Either::Left((answer, _)) => {
                world.witness.trace.note(|| format!("{request:?}: {answer:?}"));
                world.witness.count(|tally| {
                    tally.runs +=
                        u64::from(matches!(request, Request::Migrate { .. } | Request::Rollback(_)));
                    tally.refused |= matches!(
                        answer,
                        Some(Err(CoordinatorError::InProgress(_) | CoordinatorError::Paused(_)))
                    );
                });
            }
            Either::Right(_) => world.witness.trace.note(|| format!("{request:?}: the caller hangs up")),
        }
        let most = dice.pick([1_000, 10_000, 120_000]);
        world.time.sleep(i64::try_from(dice.between(0..=most)).unwrap_or(0)).await;
    }
    object.callers.set(object.callers.get() - 1);
}

fn draw(world: &World) -> Request {
    let (plan, dice) = (&world.plan, &world.dice);
    let id = || plan.migrations[dice.below(plan.migrations.len())].id.clone();
    match dice.between(0..=99) {
        0..=9 => Request::Status,
        10..=14 => Request::Pause(id()),
        15..=19 => Request::Resume(id()),
        20..=22 => Request::Cancel(id()),
        23..=39 if world.phase.has_rollbacks => match world.witness.undoable(plan.is_chained, dice) {
            Some(number) => Request::Rollback(plan.migrations[number].id.clone()),
            None => Request::Status,
        },
        percent => Request::Migrate { waits: percent > 80 },
    }
}

async fn ask(instance: Rc<Instance>, request: Request) -> Result<Answer, CoordinatorError> {
    let (coordinator, caller) = (&instance.coordinator, Caller::default().with_label("somebody"));
    let unfinished = |after: Option<Duration>| Answer::Unfinished(after.unwrap_or_default());
    Ok(match request {
        Request::Migrate { waits } => {
            let caller = if waits { caller.queued() } else { caller };
            let report = coordinator.run_pending(&caller).await?;
            if report.is_finished() { Answer::Finished } else { unfinished(report.retry_after) }
        }
        Request::Rollback(id) => {
            let report = coordinator.rollback(&id, &caller).await?;
            if report.is_finished() { Answer::Finished } else { unfinished(report.retry_after) }
        }
        Request::Status => coordinator.status().await.map(|_| Answer::Other)?,
        Request::Pause(id) => coordinator.pause(&id, &caller).await.map(|_| Answer::Other)?,
        Request::Resume(id) => coordinator.resume(&id, &caller).await.map(|_| Answer::Other)?,
        Request::Cancel(id) => coordinator.cancel(&id, &caller).await.map(|_| Answer::Other)?,
    })
}

/// Waits for all others, and then asks until all is finished, when nothing goes wrong any more.
pub async fn ask_until_finished(object: Rc<Object>) {
    let world = object.world.clone();
    while object.callers.get() > 0 {
        world.time.sleep(5_000).await;
    }
    world.namespace.set_weather(Weather::calm());
    object.calm_down();
    wait(&world, CALM_AFTER).await;
    world.witness.trace.note(|| "from here on nothing goes wrong".to_owned());
    if world.phase.is_cut_short {
        come_to_rest(&object).await;
    }
    if !world.phase.is_cut_short || world.witness.half_undone().is_some() {
        finish(&object).await;
    }
    // Until KV has all markers.
    for _ in 0..MOST_REQUESTS {
        if object.storage.alarm().is_none() {
            break;
        }
        wait(&world, Duration::from_mins(1)).await;
    }
    if let Ok(history) = object.current().coordinator.history() {
        world.witness.trace.note(|| format!("{history:#?}"));
        world.witness.is_idle(&history, world.namespace.truth());
    }
    object.end();
}

/// Until nothing goes on. What is paused is cancelled.
async fn come_to_rest(object: &Rc<Object>) {
    let world = &object.world;
    for _ in 0..MOST_REQUESTS {
        let latest = object.current().coordinator.history().unwrap_or_default().into_iter().next();
        match latest.map(|entry| (entry.outcome, entry.migration)) {
            Some((Outcome::Running, _)) => wait(world, Duration::from_mins(1)).await,
            Some((Outcome::Paused, id)) => {
                let answer = ask(object.current(), Request::Cancel(id.unwrap_or_default())).await;
                world.witness.trace.note(|| format!("what is paused is cancelled: {answer:?}"));
            }
            _ => return,
        }
    }
    world.witness.check(violated("a_calm_run_succeeds", "it does not come to rest"));
}

async fn finish(object: &Rc<Object>) {
    let world = &object.world;
    for _ in 0..MOST_REQUESTS {
        let request = match world.witness.half_undone() {
            Some(number) => Request::Rollback(world.plan.migrations[number].id.clone()),
            None => Request::Migrate { waits: false },
        };
        let answer = ask(object.current(), request.clone()).await;
        world.witness.trace.note(|| format!("{request:?}: {answer:?}"));
        if world.witness.may_ask_for_help() && asks_for_help(object) {
            return world.witness.count(|tally| tally.asked_for_help = true);
        }
        let is_migration = matches!(request, Request::Migrate { .. });
        match answer {
            Ok(Answer::Finished) if is_migration => return,
            Ok(Answer::Unfinished(time)) => wait(world, time.max(Duration::from_secs(1))).await,
            Ok(_) => {}
            Err(CoordinatorError::InProgress(_)) => wait(world, Duration::from_secs(20)).await,
            Err(CoordinatorError::Paused(activity)) => {
                let request = Request::Resume(activity.migration.unwrap_or_default());
                if let Err(error) = ask(object.current(), request).await {
                    let text = format!("what is paused cannot be resumed: {error}");
                    return world.witness.check(violated("a_calm_run_succeeds", text));
                }
            }
            Err(error) if error.to_string().contains(ASKS_FOR_HELP) && world.witness.may_ask_for_help() => {
                wait(world, Duration::from_mins(2)).await;
            }
            Err(error) => {
                let text = format!("it ended with {error}");
                return world.witness.check(violated("a_calm_run_succeeds", text));
            }
        }
    }
    let text = format!("it is not finished after {MOST_REQUESTS} requests");
    world.witness.check(violated("a_calm_run_succeeds", text));
}

/// Whether the attempts of an alarm failed so, which nobody is answered.
fn asks_for_help(object: &Object) -> bool {
    let history = object.current().coordinator.history().unwrap_or_default();
    let failures = history.iter().take(8).flat_map(|entry| &entry.failures);
    failures.filter(|failure| failure.error.contains(ASKS_FOR_HELP)).count() > 3
}

async fn wait(world: &World, duration: Duration) {
    world.time.sleep(i64::try_from(duration.as_millis()).unwrap_or(0)).await;
}
