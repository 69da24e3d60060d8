//! A rollback of several migrations, with a coordinator.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kv_migrations::coordinator::{Caller, Coordinator, CoordinatorError, HistoryEntry, RunOutcome, TaskKind};
use kv_migrations::{BoxError, Error, Migration, RunReport, State, Until};

use crate::object::{Object, marking};
use crate::service::{good, ids, quiet};

const NOTE: &str = "migration_my-service_";
const USERS: u32 = 60;

/// The `down` of 003 takes many steps.
fn four() -> Vec<Migration> {
    vec![good("001"), good("002"), marking("003"), good("004")]
}

fn to(id: &str) -> Until {
    Until::Migration(id.to_owned())
}

/// An object where these migrations are applied.
fn applied(migrations: Vec<Migration>) -> Object {
    let object = Object::new().with_users(USERS);
    let coordinator = object.instance(migrations);
    object.serve(&coordinator, coordinator.run_pending(&Caller::default().queued())).expect("nothing fails");
    object
}

fn roll_back(
    object: &Object,
    coordinator: &Coordinator,
    until: &Until,
) -> Result<RunReport, CoordinatorError> {
    object.serve(coordinator, coordinator.rollback_until(until, &Caller::default().with_label("me")))
}

fn states(object: &Object, coordinator: &Coordinator) -> Vec<State> {
    let statuses = object.serve(coordinator, coordinator.status()).expect("it can be read");
    statuses.into_iter().map(|status| status.state).collect()
}

fn latest(coordinator: &Coordinator) -> HistoryEntry {
    coordinator.history().expect("it can be read").remove(0)
}

fn refusal(result: Result<RunReport, CoordinatorError>) -> Error {
    match result {
        Err(CoordinatorError::Runner(error)) => error,
        other => panic!("it should have been refused: {other:?}"),
    }
}

#[test]
fn alarms_continue_it_and_the_history_says_what_was_rolled_back() {
    let object = applied(four());
    let coordinator = object.instance(four());
    let first = roll_back(&object, &coordinator, &Until::Steps(3)).expect("nothing fails");
    assert_eq!((first.rolled_back, first.remaining), (ids(&["004"]), ids(&["003", "002"])));
    assert_eq!(first.to.as_deref(), Some("001"));
    let shown = latest(&coordinator);
    assert_eq!((shown.outcome, shown.migration.as_deref()), (RunOutcome::Running, Some("003")));

    object.pass(&coordinator, Duration::from_mins(5));
    assert_eq!(states(&object, &coordinator)[1..], [State::Pending; 3]);
    assert_eq!((object.marked(), object.kv.value("done/002")), (0, None));
    assert!(object.kv.value("done/001").is_some());
    let entry = latest(&coordinator);
    assert_eq!((entry.action, entry.outcome), (TaskKind::Rollback, RunOutcome::Finished));
    assert_eq!((entry.to.as_deref(), entry.by.as_deref(), entry.migration), (Some("001"), Some("me"), None));
    assert_eq!(entry.ran, ids(&["004", "003", "002"]));
    assert_eq!(entry.details.len(), 1, "what it did to entries");
    assert!(entry.warnings.is_empty(), "{:?}", entry.warnings);
    let left: Vec<_> = object.kv.entries().into_iter().map(|(key, _)| key.name).collect();
    let markers: Vec<_> = left.iter().filter(|name| name.starts_with("migration_")).collect();
    assert_eq!(markers, ["migration_my-service_001"], "the copies in KV");
}

#[test]
fn who_waits_is_told_all_that_was_rolled_back() {
    let object = applied(four());
    let coordinator = object.instance(four());
    let queued = Caller::default().queued();
    let report = object.serve(&coordinator, coordinator.rollback_until(&Until::End, &queued));
    let report = report.expect("nothing fails");
    assert_eq!((report.rolled_back, report.ran), (ids(&["004", "003", "002", "001"]), ids(&[])));
    assert_eq!((report.details.len(), report.to), (4, None));
    let nothing = object.serve(&coordinator, coordinator.rollback_until(&Until::End, &queued));
    assert!(nothing.expect("nothing fails").rolled_back.is_empty());
    assert_eq!(coordinator.history().expect("it can be read").len(), 2, "it has done nothing");
}

#[test]
fn what_is_refused_begins_no_task_and_changes_nothing() {
    let object = applied(vec![good("001"), quiet("002"), good("003"), good("005")]);
    let all = || vec![good("001"), quiet("002"), good("003"), quiet("004"), good("005")];
    let coordinator = object.instance(all());
    let before = object.kv.entries();
    let refused = |until: &Until| refusal(roll_back(&object, &coordinator, until));
    assert!(matches!(refused(&to("001")), Error::Irreversible { id, .. } if id == "002"));
    assert!(matches!(refused(&Until::Steps(3)), Error::Irreversible { .. }));
    assert!(matches!(refused(&to("009")), Error::UnknownMigration { .. }));
    assert!(matches!(refused(&to("004")), Error::NotRun { .. }));
    let older = object.instance(vec![good("001"), quiet("002"), good("003")]);
    let unknown = refusal(roll_back(&object, &older, &to("002")));
    assert!(matches!(unknown, Error::NotRegistered { ids, .. } if ids == ["005"]));
    object.pass(&coordinator, Duration::from_mins(1));
    assert_eq!(object.kv.entries(), before);
    assert_eq!(coordinator.history().expect("it can be read").len(), 1);
}

#[test]
fn while_it_is_under_way_or_paused_everything_else_is_refused_as_during_any_run() {
    let object = applied(four());
    let coordinator = object.instance(four());
    let caller = Caller::default();
    roll_back(&object, &coordinator, &to("001")).expect("nothing fails");
    for until in [Until::Steps(1), to("002"), Until::End] {
        let refused = roll_back(&object, &coordinator, &until).expect_err("one is under way");
        assert!(matches!(refused, CoordinatorError::InProgress(_)), "{refused:?}");
    }
    let refused = object.migrate(&coordinator).expect_err("one is under way");
    assert!(matches!(refused, CoordinatorError::InProgress(_)), "{refused:?}");
    object.serve(&coordinator, coordinator.pause("003", &caller)).expect("it is at this migration");
    assert_eq!(object.state(&coordinator, "003"), State::Paused);
    let refused = roll_back(&object, &coordinator, &Until::Steps(1)).expect_err("it is paused");
    assert!(matches!(refused, CoordinatorError::Paused(_)), "{refused:?}");
    object.serve(&coordinator, coordinator.resume("003", &caller)).expect("it is paused");
    object.pass(&coordinator, Duration::from_mins(5));
    assert_eq!(latest(&coordinator).ran, ids(&["004", "003", "002"]));
}

#[test]
fn a_cancelled_one_is_over_and_steps_count_from_there() {
    let object = applied(four());
    let coordinator = object.instance(four());
    roll_back(&object, &coordinator, &to("001")).expect("nothing fails");
    object
        .serve(&coordinator, coordinator.cancel("003", &Caller::default()))
        .expect("it is at this migration");
    object.pass(&coordinator, Duration::from_secs(5));
    assert_eq!((latest(&coordinator).outcome, object.kv.value(NOTE)), (RunOutcome::Cancelled, None));
    let report = roll_back(&object, &coordinator, &Until::Steps(1)).expect("nothing is unfinished");
    assert_eq!(report.rolled_back, ids(&["002"]));
}

/// Its `down` fails while `is_broken`.
fn breaking(is_broken: &Arc<AtomicBool>) -> Vec<Migration> {
    let is_broken = is_broken.clone();
    let second = quiet("002").with_down(async move |_, ()| {
        if is_broken.load(Ordering::Relaxed) { Err(BoxError::from("boom")) } else { Ok(()) }
    });
    vec![good("001"), second, good("003"), good("004")]
}

#[test]
fn after_a_failure_steps_are_refused_until_it_is_finished_or_a_run_gives_it_up() {
    let is_broken = Arc::new(AtomicBool::new(true));
    for is_finished in [true, false] {
        is_broken.store(true, Ordering::Relaxed);
        let object = applied(breaking(&is_broken));
        let coordinator = object.instance(breaking(&is_broken));
        let Error::Failed(failure) = refusal(roll_back(&object, &coordinator, &Until::Steps(3))) else {
            panic!("its `down` fails");
        };
        assert_eq!((failure.id.as_str(), failure.report.rolled_back), ("002", ids(&["004", "003"])));
        object.pass(&coordinator, Duration::from_secs(3));
        assert_eq!(object.kv.value(NOTE).as_deref(), Some(b"to=001".as_slice()), "for a run without it");
        assert_eq!(latest(&coordinator).ran, ids(&["004", "003"]));
        let refused = refusal(roll_back(&object, &coordinator, &Until::Steps(1)));
        assert!(matches!(refused, Error::RollbackUnfinished { to, .. } if to.as_deref() == Some("001")));

        is_broken.store(false, Ordering::Relaxed);
        if is_finished {
            let report = roll_back(&object, &coordinator, &to("001")).expect("it was mended");
            assert_eq!(report.rolled_back, ids(&["002"]));
        } else {
            assert_eq!(object.migrate(&coordinator).expect("nothing fails").ran, ids(&["003", "004"]));
        }
        object.pass(&coordinator, Duration::from_secs(3));
        assert_eq!(object.kv.value(NOTE), None);
        let next = roll_back(&object, &coordinator, &Until::Steps(1)).expect("nothing is unfinished");
        assert_eq!(next.rolled_back, ids(&[if is_finished { "001" } else { "004" }]));
    }
}

#[test]
fn a_later_step_that_fails_is_retried_and_another_rollback_takes_its_place() {
    let is_broken = Arc::new(AtomicBool::new(true));
    let migrations = || -> Vec<Migration> {
        let [first, second, ..] = <[Migration; 4]>::try_from(breaking(&is_broken)).expect("there are four");
        vec![first, second, marking("003")]
    };
    let object = applied(migrations());
    let coordinator = object.instance(migrations());
    roll_back(&object, &coordinator, &Until::Steps(2)).expect("the first step succeeds");
    object.pass(&coordinator, Duration::from_secs(20));
    let status = object.status(&coordinator, "002");
    assert!(status.retry_at.is_some() && status.error.is_some(), "{status:?}");
    let refused = refusal(roll_back(&object, &coordinator, &Until::Steps(1)));
    assert!(matches!(refused, Error::RollbackUnfinished { .. }), "{refused:?}");
    assert!(object.status(&coordinator, "002").retry_at.is_some(), "a refusal ends nothing");
    is_broken.store(false, Ordering::Relaxed);
    let report = roll_back(&object, &coordinator, &to("001")).expect("it was mended");
    assert_eq!(report.rolled_back, ids(&["002"]));
}

/// The object has adopted what KV had before. Then a Worker without the coordinator has run once more.
#[test]
fn steps_count_what_a_run_without_the_coordinator_applied() {
    let make = || vec![good("001"), good("002"), good("003")];
    let object = applied(vec![good("001"), good("002")]);
    let coordinator = object.instance(make());
    let without = object.runner_on(object.kv.clone(), make());
    assert_eq!(object.time.run(without.run_pending(&())).expect("nothing fails").ran, ids(&["003"]));
    let report = roll_back(&object, &coordinator, &Until::Steps(1)).expect("nothing fails");
    assert_eq!(report.rolled_back, ids(&["003"]));
}

#[test]
fn a_rollback_that_was_begun_without_a_coordinator_is_finished_with_one() {
    let object = Object::new().with_users(USERS);
    let without = object.runner_on(object.kv.clone(), four());
    loop {
        let report = object.time.run(without.run_pending(&())).expect("nothing fails");
        object.time.advance(report.retry_after.unwrap_or_default());
        if report.is_finished() {
            break;
        }
    }
    let begun = object.time.run(without.rollback_until(&to("001"), &())).expect("nothing fails");
    assert_eq!(begun.remaining, ids(&["003", "002"]), "{begun:?}");

    let coordinator = object.instance(four());
    let refused = refusal(roll_back(&object, &coordinator, &Until::Steps(3)));
    assert!(matches!(&refused, Error::RollbackUnfinished { to: Some(to), .. } if to == "001"), "{refused}");
    roll_back(&object, &coordinator, &to("001")).expect("nothing fails");
    object.pass(&coordinator, Duration::from_mins(5));
    assert_eq!(states(&object, &coordinator)[1..], [State::Pending; 3]);
    assert_eq!(object.kv.value(NOTE), None, "the copy of the note is deleted too");
    let one = roll_back(&object, &coordinator, &Until::Steps(1)).expect("it is finished");
    assert_eq!(one.rolled_back, ids(&["001"]));
}

/// The second of two that wait counts from where the first has ended.
#[test]
fn steps_that_wait_count_when_they_begin() {
    let object = applied(four());
    let coordinator = object.instance(four());
    let queued = Caller::default().queued();
    let one = Until::Steps(1);
    let (first, second) = object.serve(&coordinator, async {
        futures::join!(coordinator.rollback_until(&one, &queued), coordinator.rollback_until(&one, &queued))
    });
    let both = [first.expect("nothing fails").rolled_back, second.expect("nothing fails").rolled_back];
    assert_eq!(both, [ids(&["004"]), ids(&["003"])]);
}

#[test]
fn an_instance_that_ends_at_any_moment_leaves_it_to_the_next_one() {
    let faultless = applied(four());
    let coordinator = faultless.instance(four());
    roll_back(&faultless, &coordinator, &Until::Steps(3)).expect("nothing fails");
    faultless.pass(&coordinator, Duration::from_mins(5));
    let expected = names(&faultless);
    // The request is taken on once KV was listed.
    for moment in (30..1_500).step_by(23) {
        let object = applied(four());
        let first = object.instance(four());
        let caller = Caller::default();
        let after = Duration::from_millis(moment);
        object.serve_for(after, &first, async {
            first.rollback_until(&Until::Steps(3), &caller).await.ok();
            std::future::pending::<()>().await;
        });
        let next = object.instance(four());
        object.pass(&next, Duration::from_mins(5));
        assert_eq!(names(&object), expected, "after {after:?}");
        let entry = latest(&next);
        assert_eq!(
            (entry.action, entry.outcome),
            (TaskKind::Rollback, RunOutcome::Finished),
            "after {after:?}"
        );
    }
}

fn names(object: &Object) -> Vec<(String, Vec<u8>)> {
    let entries = object.kv.entries().into_iter();
    entries.map(|(key, value)| (key.name, value)).collect()
}
