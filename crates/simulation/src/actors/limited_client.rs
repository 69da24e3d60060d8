//! A pipeline, or a caller of an object, in a world whose every request is cut off.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use kv_migrations::Until;
use kv_migrations::clock::Clock;

use super::isolate::{Isolate, RequestEnd};
use super::limits::TOO_MANY_CHANGES;
use super::object::Object;
use super::object_client::{ObjectAnswer, ObjectRequest, ask_of};
use crate::fault::FaultCountdown;
use crate::invariants::{runs_that_fail_say_why, worlds_whose_requests_are_cut_off_end};
use crate::plan::{MigrationKind, PlannedMigration, Seal};
use crate::situation::RequestLimit;
use crate::violation::violated;
use crate::world::World;

/// How many requests a client makes in vain where the limit is too low.
const MAX_REQUESTS_BELOW: usize = 30;

/// Asks an isolate for runs, each of which is cut off, until all is finished.
pub async fn migrate_within(world: World, limit: RequestLimit) {
    let mut isolate = Isolate::start(&world, world.deployment.location);
    for number in 1..=max_requests(&world, limit) {
        let began = world.time.now();
        let end = isolate.migrate(&world, FaultCountdown::limited(limit)).await;
        if end.loses_isolate(&world.random) {
            isolate = Isolate::start(&world, isolate.location);
        }
        let pause = match end {
            RequestEnd::Finished => return all_is_applied(&world, number),
            RequestEnd::Unfinished(pause) => pause,
            RequestEnd::CutOff(_) => Duration::ZERO,
            RequestEnd::Failed(error) if may_give_up(&world, limit) && error.contains(TOO_MANY_CHANGES) => {
                Duration::ZERO
            }
            other => {
                let text = format!("request {number}, cut off by {limit:?}, ends with {other:?}");
                return world.monitor.check(violated("runs_without_faults_succeed", text));
            }
        };
        pause_after(&world, began, pause).await;
    }
    not_all_is_applied(&world, limit);
}

/// Asks an object for runs, each of whose steps is cut off, until all is finished.
pub async fn ask_within(object: Rc<Object>, limit: RequestLimit) {
    let world = object.world.clone();
    let mut is_finished = false;
    for number in 1..=max_requests(&world, limit) {
        let began = world.time.now();
        let (instance, faulty, asked) = (object.current(), object.current(), object.clone());
        let request = ObjectRequest::Migrate { is_queued: world.random.chance(500), until: Until::End };
        let answer = instance
            .run(ask_of(&world, instance.clone(), request), move |fault| asked.inject(&faulty, fault));
        let answer = answer.await;
        world.monitor.trace.add(|| format!("request {number}: {answer:?}"));
        if matches!(answer, Some(Ok(ObjectAnswer::Finished))) {
            all_is_applied(&world, number);
            is_finished = true;
            break;
        }
        // Its alarm goes on meanwhile.
        pause_after(&world, began, world.random.milliseconds(1_000..=20_000)).await;
    }
    if !is_finished {
        not_all_is_applied(&world, limit);
    }
    if let Ok(history) = object.current().coordinator.history() {
        world.monitor.check(runs_that_fail_say_why(&world.plan, limit, &history));
    }
    object.remove_client();
}

/// Whether a re-key that changes entries may give up, since each sweep is cut off between the record of a copy and the copy.
fn may_give_up(world: &World, limit: RequestLimit) -> bool {
    !limit.is_enough() && world.plan.migrations.iter().any(|planned| planned.seal != Seal::None)
}

/// The number of requests after which all must be applied: each gets at least one entry further in one of the phases of a
/// migration.
fn max_requests(world: &World, limit: RequestLimit) -> usize {
    if !limit.is_enough() {
        return MAX_REQUESTS_BELOW;
    }
    let tables = &world.plan.tables;
    let requests = |planned: &PlannedMigration| {
        let phases = if matches!(planned.kind, MigrationKind::Moving(_)) { 6 } else { 4 };
        20 + phases * tables[planned.table].entries.len()
    };
    world.plan.migrations.iter().map(requests).sum()
}

/// The next request begins a second after this one began, or when this one asks for it, or a little later.
async fn pause_after(world: &World, began: SystemTime, pause: Duration) {
    let now = world.time.now();
    let next = (now + pause).max(began + Duration::from_secs(1));
    let later = world.random.milliseconds(0..=world.random.pick([10, 1_000, 5_000]));
    world.time.sleep_until(next + later).await;
}

fn all_is_applied(world: &World, requests: usize) {
    world.monitor.count(|tally| {
        tally.ended_within = true;
        tally.requests_within = requests as u64;
    });
}

fn not_all_is_applied(world: &World, limit: RequestLimit) {
    let number = max_requests(world, limit);
    world.monitor.check(worlds_whose_requests_are_cut_off_end(limit, number));
}
