//! Clients of an object: ask it for anything.

use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{Caller, CoordinatorError, RunOutcome};
use kv_migrations::{Error, State, Until};

use super::instance::Instance;
use super::limits::{COLLISION, MAX_REQUESTS, is_given_up_because_of_faults};
use super::object::Object;
use crate::invariants::release_label;
use crate::mode::Mode;
use crate::network::NetworkConditions;
use crate::situation::Situation;
use crate::violation::violated;
use crate::world::{FAULTS_ARE_OVER_AFTER, World};

/// What a client asks for.
#[derive(Debug, Clone)]
pub(super) enum ObjectRequest {
    Migrate { is_queued: bool, until: Until },
    Rollback(String),
    RollbackUntil(Until),
    Status,
    Pause(String),
    Resume(String),
    Cancel(String),
    Reset(String),
    Mark(String),
    Unmark(String),
}

impl ObjectRequest {
    /// Whether it is a run, or a rollback.
    fn is_run(&self) -> bool {
        matches!(self, Self::Migrate { .. } | Self::Rollback(_) | Self::RollbackUntil(_))
    }

    /// Whether it means something else to another release.
    fn needs_same_release(&self) -> bool {
        matches!(self, Self::Migrate { .. } | Self::Rollback(_) | Self::RollbackUntil(_) | Self::Status)
    }
}

/// The answer of the object.
#[derive(Debug)]
pub(super) enum ObjectAnswer {
    Finished,
    /// What was asked for is applied, and something besides is not.
    FinishedInPart,
    Unfinished(Duration),
    /// The status says that all is applied.
    UpToDate,
    Status,
}

/// Makes the requests of a deployment.
pub async fn ask_while_faulty(object: Rc<Object>) {
    let world = object.world.clone();
    let random = &world.random;
    for _ in 0..world.deployment.requests {
        if random.chance(30) {
            mark_and_unmark(&object).await;
        }
        let request = draw(&world);
        let instance = object.current();
        let is_deploying = world.plan.situation.older_release().is_some();
        if random.chance(if is_deploying { 250 } else { 20 }) {
            // It continues beside the next instance.
            object.replace(&instance);
        }
        let worker = world.draw_release();
        if worker != instance.release && request.needs_same_release() {
            // The object refuses it, and nothing happens.
            world.monitor.trace.add(|| format!("{request:?} of a Worker with {worker} migrations: refused"));
            world.monitor.count(|tally| tally.release_refused = true);
            world.time.sleep(random.milliseconds(1_000..=10_000)).await;
            continue;
        }
        let (asked, faulty) = (object.clone(), instance.clone());
        let answer = instance.run(ask_of(&world, instance.clone(), request.clone()), move |fault| {
            asked.inject(&faulty, fault);
        });
        let max_patience = random.pick([2_000, 60_000, 600_000]);
        let patience = world.time.sleep(random.milliseconds(0..=max_patience));
        match select(answer, patience).await {
            Either::Left((answer, _)) => {
                world.monitor.trace.add(|| format!("{request:?}: {answer:?}"));
                let is_run = request.is_run();
                let error = answer.and_then(Result::err);
                world.monitor.count(|tally| {
                    tally.runs += u64::from(is_run);
                    tally.refused |=
                        matches!(error, Some(CoordinatorError::InProgress(_) | CoordinatorError::Paused(_)));
                });
            }
            Either::Right(_) => world.monitor.trace.add(|| format!("{request:?}: the client disconnects")),
        }
        let max_pause = random.pick([1_000, 10_000, 120_000]);
        world.time.sleep(random.milliseconds(0..=max_pause)).await;
    }
    object.remove_client();
}

/// Somebody marks a migration that is not applied, and takes that back: what it does has to be done all the same. Where
/// migrations build on those before, it is the last one.
async fn mark_and_unmark(object: &Rc<Object>) {
    let world = &object.world;
    let (plan, release) = (&world.plan, world.deployment.migrations);
    if release == 0 || plan.mode != Mode::Coordinator || plan.situation != Situation::default() {
        return;
    }
    // Beside the others it may be applied meanwhile. Then it is one that later rollbacks would have to know.
    if plan.is_chained && plan.has_rollbacks {
        return;
    }
    let number = if plan.is_chained { release - 1 } else { world.random.below(release) };
    if world.monitor.is_marked(number) || world.monitor.half_rolled_back().is_some() {
        return;
    }
    let id = || plan.migrations[number].id.clone();
    world.monitor.begin_marking(&[number]);
    let answer = send(object, ObjectRequest::Mark(id())).await;
    // Storage that fails may have written it.
    let refused = matches!(answer, Some(Err(ref error)) if !matches!(error, CoordinatorError::Storage(_)));
    world.time.sleep(world.random.milliseconds(0..=120_000)).await;
    if refused {
        return world.monitor.end_marking(&[number]);
    }
    loop {
        let instance = object.current();
        match send(object, ObjectRequest::Unmark(id())).await {
            Some(Ok(_) | Err(CoordinatorError::Runner(Error::NotRun { .. }))) => break,
            _ => world.time.sleep(Duration::from_secs(30)).await,
        }
        // A run is in progress. Its alarm may be lost, and its step may hang.
        if world.random.chance(200) {
            send(object, ObjectRequest::Migrate { is_queued: false, until: Until::End }).await;
        }
        if world.random.chance(50) {
            object.replace(&instance);
        }
    }
    world.monitor.end_marking(&[number]);
}

/// The answer to a request. `None` if the instance is lost, or hangs.
async fn send(object: &Rc<Object>, request: ObjectRequest) -> Option<Result<ObjectAnswer, CoordinatorError>> {
    let instance = object.current();
    let (asked, faulty) = (object.clone(), instance.clone());
    let answer = instance.run(ask_of(&object.world, instance.clone(), request.clone()), move |fault| {
        asked.inject(&faulty, fault);
    });
    let answer = match select(answer, object.world.time.sleep(Duration::from_mins(1))).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => None,
    };
    object.world.monitor.trace.add(|| format!("{request:?}: {answer:?}"));
    answer
}

fn draw(world: &World) -> ObjectRequest {
    let (plan, random) = (&world.plan, &world.random);
    let id = || plan.migrations[random.below(plan.migrations.len())].id.clone();
    let has_rollbacks = plan.has_rollbacks && world.deployment.allows_rollbacks;
    match random.between(0..=99) {
        0..=9 => ObjectRequest::Status,
        10..=14 => ObjectRequest::Pause(id()),
        15..=19 => ObjectRequest::Resume(id()),
        20..=22 => ObjectRequest::Cancel(id()),
        23..=29 if has_rollbacks && world.monitor.may_roll_back_several() => {
            ObjectRequest::RollbackUntil(Until::Steps(random.between(1..=3)))
        }
        23..=39 if has_rollbacks => match world.monitor.draw_rollback(random) {
            Some(number) => ObjectRequest::Rollback(plan.migrations[number].id.clone()),
            None => ObjectRequest::Status,
        },
        percent => {
            let until = world.draw_until(world.deployment.migrations);
            ObjectRequest::Migrate { is_queued: percent > 80, until }
        }
    }
}

/// Sends a request to an instance, and checks whether what the answer says is true.
pub(super) fn ask_of(
    world: &World,
    instance: Rc<Instance>,
    request: ObjectRequest,
) -> impl Future<Output = Result<ObjectAnswer, CoordinatorError>> + use<> {
    let (world, began) = (world.clone(), world.time.now());
    async move {
        let is_run = !matches!(request, ObjectRequest::Rollback(_) | ObjectRequest::RollbackUntil(_));
        if matches!(request, ObjectRequest::Cancel(_) | ObjectRequest::Reset(_)) {
            world.monitor.starts_over();
        }
        if matches!(request, ObjectRequest::RollbackUntil(_)) {
            world.monitor.count(|tally| tally.rolled_back_several = true);
        }
        let answer = ask(instance.clone(), request).await;
        if matches!(answer, Ok(ObjectAnswer::Finished | ObjectAnswer::UpToDate)) && is_run {
            world.monitor.told_that_all_is_applied(instance.release, began);
        }
        if world.plan.situation.older_release().is_some()
            && let Ok(history) = instance.coordinator.history()
        {
            world.monitor.check_finished_runs(&history);
        }
        answer
    }
}

async fn ask(instance: Rc<Instance>, request: ObjectRequest) -> Result<ObjectAnswer, CoordinatorError> {
    let (coordinator, caller) =
        (&instance.coordinator, Caller::default().with_label(release_label(instance.release)));
    let unfinished = |after: Option<Duration>| ObjectAnswer::Unfinished(after.unwrap_or_default());
    Ok(match request {
        ObjectRequest::Migrate { is_queued, until } => {
            let caller = if is_queued { caller.queued() } else { caller };
            let report = coordinator.run_pending_until(&until, &caller).await?;
            match report.is_finished() {
                true if report.beyond.is_empty() => ObjectAnswer::Finished,
                true => ObjectAnswer::FinishedInPart,
                false => unfinished(report.retry_after),
            }
        }
        ObjectRequest::Rollback(id) => {
            let report = coordinator.rollback(&id, &caller).await?;
            if report.is_finished() { ObjectAnswer::Finished } else { unfinished(report.retry_after) }
        }
        ObjectRequest::RollbackUntil(until) => {
            let report = coordinator.rollback_until(&until, &caller).await?;
            if report.is_finished() { ObjectAnswer::Finished } else { unfinished(report.retry_after) }
        }
        ObjectRequest::Mark(id) => coordinator.mark(&id, &caller).await.map(|_| ObjectAnswer::Status)?,
        ObjectRequest::Unmark(id) => coordinator.unmark(&id, &caller).await.map(|_| ObjectAnswer::Status)?,
        ObjectRequest::Status => {
            let status = coordinator.status().await?;
            let is_applied = status.iter().all(|status| status.state == State::Applied);
            if is_applied { ObjectAnswer::UpToDate } else { ObjectAnswer::Status }
        }
        ObjectRequest::Pause(id) => coordinator.pause(&id, &caller).await.map(|_| ObjectAnswer::Status)?,
        ObjectRequest::Resume(id) => coordinator.resume(&id, &caller).await.map(|_| ObjectAnswer::Status)?,
        ObjectRequest::Cancel(id) => coordinator.cancel(&id, &caller).await.map(|_| ObjectAnswer::Status)?,
        ObjectRequest::Reset(id) => coordinator.reset(&id, &caller).await.map(|_| ObjectAnswer::Status)?,
    })
}

/// Waits for all other clients, and then asks for runs until all is finished, without faults.
pub async fn ask_until_finished(object: Rc<Object>) {
    let world = object.world.clone();
    while object.clients.get() > 0 {
        world.time.sleep(Duration::from_secs(5)).await;
    }
    world.namespace.set_conditions(NetworkConditions::faultless());
    object.end_faults();
    world.time.sleep(FAULTS_ARE_OVER_AFTER).await;
    world.monitor.trace.add(|| "there are no more faults".to_owned());
    if world.deployment.is_cut_short {
        become_idle(&object).await;
    }
    if !world.deployment.is_cut_short || world.monitor.half_rolled_back().is_some() {
        finish(&object).await;
    }
    // The alarm is set until KV has all markers.
    for _ in 0..MAX_REQUESTS {
        if object.runtime.alarm().is_none() {
            break;
        }
        world.time.sleep(Duration::from_mins(1)).await;
    }
    if object.runtime.alarm().is_some() {
        world.monitor.check(violated("alarms_end", "the alarm is still set"));
    }
    if let Ok(history) = object.current().coordinator.history() {
        world.monitor.trace.add(|| format!("{history:#?}"));
        world.monitor.object_is_idle(&history, world.namespace.truth());
    }
    object.end();
}

/// Waits until no run is in progress, and cancels a paused one.
async fn become_idle(object: &Rc<Object>) {
    let world = &object.world;
    for _ in 0..MAX_REQUESTS {
        let latest = object.current().coordinator.history().unwrap_or_default().into_iter().next();
        match latest.map(|entry| (entry.outcome, entry.migration)) {
            Some((RunOutcome::Running, _)) => world.time.sleep(Duration::from_mins(1)).await,
            Some((RunOutcome::Paused, id)) => {
                let answer =
                    ask_of(world, object.current(), ObjectRequest::Cancel(id.unwrap_or_default())).await;
                world.monitor.trace.add(|| format!("the paused run is cancelled: {answer:?}"));
            }
            _ => return,
        }
    }
    world.monitor.check(violated("runs_without_faults_succeed", "it does not become idle"));
}

async fn finish(object: &Rc<Object>) {
    let world = &object.world;
    let mut has_given_up = false;
    for _ in 0..MAX_REQUESTS {
        let request = match world.monitor.half_rolled_back() {
            Some(number) => ObjectRequest::Rollback(world.plan.migrations[number].id.clone()),
            None => ObjectRequest::Migrate { is_queued: false, until: Until::End },
        };
        let answer = ask_of(world, object.current(), request.clone()).await;
        world.monitor.trace.add(|| format!("{request:?}: {answer:?}"));
        if world.monitor.may_report_collision() && reports_collision(object) {
            return world.monitor.count(|tally| tally.collision_reported = true);
        }
        let is_migration = matches!(request, ObjectRequest::Migrate { .. });
        match answer {
            Ok(ObjectAnswer::Finished) if is_migration => return,
            Ok(ObjectAnswer::Unfinished(time)) => world.time.sleep(time.max(Duration::from_secs(1))).await,
            Ok(_) => {}
            Err(CoordinatorError::InProgress(_)) => world.time.sleep(Duration::from_secs(20)).await,
            Err(CoordinatorError::Paused(activity)) => {
                let request = ObjectRequest::Resume(activity.migration.unwrap_or_default());
                match ask_of(world, object.current(), request).await {
                    Err(error) if world.plan.situation == Situation::DamagedRows => {
                        follow_advice(object, &error).await;
                    }
                    Ok(_) => {}
                    Err(error) => {
                        let text = format!("the paused run cannot be resumed: {error}");
                        return world.monitor.check(violated("runs_without_faults_succeed", text));
                    }
                }
            }
            Err(error) if error.to_string().contains(COLLISION) && world.monitor.may_report_collision() => {
                world.time.sleep(Duration::from_mins(2)).await;
            }
            Err(error) if !has_given_up && is_given_up_because_of_faults(world, &error.to_string()) => {
                has_given_up = true;
            }
            Err(error) if world.plan.situation == Situation::DamagedRows => {
                follow_advice(object, &error).await;
                world.time.sleep(Duration::from_secs(20)).await;
            }
            Err(error) => {
                let text = format!("it ended with {error}");
                return world.monitor.check(violated("runs_without_faults_succeed", text));
            }
        }
    }
    let text = format!("it is not finished after {MAX_REQUESTS} requests");
    world.monitor.check(violated("runs_without_faults_succeed", text));
}

/// Does what an error advises against a row or a checkpoint that cannot be read.
async fn follow_advice(object: &Rc<Object>, error: &CoordinatorError) {
    let world = &object.world;
    let first = || world.plan.migrations[0].id.clone();
    let text = error.to_string();
    let request = match error {
        CoordinatorError::Storage(error) if error.unreadable_row().is_some() => {
            let row = error.unreadable_row().unwrap_or_default();
            let named = world.plan.migrations.iter().find(|planned| row.ends_with(&planned.marker()));
            match named.filter(|_| text.contains("/reset")) {
                Some(planned) => ObjectRequest::Reset(planned.id.clone()),
                None => ObjectRequest::Cancel(first()),
            }
        }
        CoordinatorError::Runner(Error::Failed(failure)) if text.contains("/reset") => {
            ObjectRequest::Reset(failure.id.clone())
        }
        // The next run succeeds.
        _ => return,
    };
    world.monitor.count(|tally| tally.advice_followed = true);
    let answer = ask_of(world, object.current(), request.clone()).await;
    world.monitor.trace.add(|| format!("{request:?}: {answer:?}"));
}

/// Whether steps failed because of a collision. Alarms take those steps, so that no client gets the error.
fn reports_collision(object: &Object) -> bool {
    let history = object.current().coordinator.history().unwrap_or_default();
    let failures = history.iter().take(8).flat_map(|entry| &entry.failures);
    failures.filter(|failure| failure.error.contains(COLLISION)).count() > 3
}
