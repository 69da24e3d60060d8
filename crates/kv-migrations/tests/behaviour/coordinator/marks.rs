//! Recording a migration as applied without running it, and forgetting that it is applied.

use std::time::Duration;

use kv_migrations::coordinator::{
    Caller, Coordinator, CoordinatorError, InterventionKind, RunOutcome, TaskKind,
};
use kv_migrations::kv::{Metadata, PutOptions, StoreExt};
use kv_migrations::{BoxError, Correction, Error, Migration, State, Status};

use crate::object::{Object, marking};
use crate::service::{good, quiet};

fn correct(
    object: &Object,
    coordinator: &Coordinator,
    id: &str,
    correction: Correction,
) -> Result<Status, CoordinatorError> {
    object.serve(coordinator, coordinator.correct(id, correction, &Caller::default().with_label("me")))
}

#[test]
fn a_marked_migration_does_not_run_and_an_unmarked_one_runs_again() {
    let object = Object::new();
    let coordinator = object.instance(vec![quiet("001"), good("002")]);
    let shown = correct(&object, &coordinator, "001", Correction::Mark).expect("it is registered");
    assert_eq!((shown.state, shown.run), (State::Applied, true));
    object.pass(&coordinator, Duration::from_secs(1));
    assert_eq!(object.marker("001").as_deref(), Some("true"), "the copy in KV");
    assert_eq!(object.migrate(&coordinator).expect("nothing fails").ran, ["002"]);

    let shown = correct(&object, &coordinator, "001", Correction::Unmark).expect("it needs no `down`");
    assert_eq!((shown.state, shown.run), (State::Pending, false));
    object.pass(&coordinator, Duration::from_secs(2));
    assert_eq!(object.marker("001"), None, "the copy in KV");
    assert_eq!(object.migrate(&coordinator).expect("nothing fails").ran, ["001"]);

    let history = coordinator.history().expect("it can be read");
    let told: Vec<_> = history.iter().map(|entry| (entry.action, entry.migration.as_deref())).collect();
    let expected = [
        (TaskKind::Migrate, None),
        (TaskKind::Unmark, Some("001")),
        (TaskKind::Migrate, None),
        (TaskKind::Mark, Some("001")),
    ];
    assert_eq!(told, expected);
    assert_eq!((history[1].by.as_deref(), history[1].outcome), (Some("me"), RunOutcome::Finished));
    let lines = object.log.lines();
    assert!(lines.iter().any(|line| line.contains("001, as me asked")), "{lines:?}");
}

#[test]
fn what_cannot_be_marked_or_unmarked_is_refused_and_changes_nothing() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001"), good("002")]);
    object.migrate(&object.instance(vec![good("001")])).expect("nothing fails");
    let before = object.kv.entries();
    let applied = correct(&object, &coordinator, "001", Correction::Mark).expect("it is applied");
    assert!(applied.duration_ms.is_some(), "its own status: {applied:?}");
    let not_run = correct(&object, &coordinator, "002", Correction::Unmark).expect_err("it is pending");
    assert!(matches!(not_run, CoordinatorError::Runner(Error::NotRun { .. })), "{not_run:?}");
    for correction in [Correction::Mark, Correction::Unmark] {
        let unknown = correct(&object, &coordinator, "003", correction).expect_err("nothing knows it");
        assert!(matches!(unknown, CoordinatorError::Runner(Error::UnknownMigration { .. })), "{unknown:?}");
    }
    object.pass(&coordinator, Duration::from_secs(2));
    assert_eq!(object.kv.entries(), before);
    assert_eq!(coordinator.history().expect("it can be read").len(), 1);
}

/// A run has read which migrations are applied when its step began.
#[test]
fn nothing_is_marked_while_a_run_is_in_progress_at_any_migration() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001"), good("002")]);
    object.serve(&coordinator, async {
        let caller = Caller::default();
        coordinator.run_pending(&caller).await.expect("nothing fails");
        for (id, correction) in
            [("001", Correction::Mark), ("002", Correction::Mark), ("001", Correction::Unmark)]
        {
            let refused = coordinator.correct(id, correction, &caller).await.expect_err("it is running");
            assert!(matches!(refused, CoordinatorError::InProgress(_)), "{refused:?}");
        }
        coordinator.pause("001", &caller).await.expect("it is under way");
        let marked = coordinator.mark("002", &caller).await.expect("the run is paused, elsewhere");
        assert_eq!(marked.state, State::Applied);
        coordinator.resume("001", &caller).await.expect("it is paused still");
    });
    object.pass(&coordinator, Duration::from_mins(5));
    let history = coordinator.history().expect("it can be read");
    let run = history.iter().find(|entry| entry.action == TaskKind::Migrate).expect("it has ended");
    assert_eq!((run.outcome, run.ran.as_slice()), (RunOutcome::Finished, ["001".to_owned()].as_slice()));
}

#[test]
fn a_run_that_is_paused_or_waits_to_be_retried_at_it_is_cancelled_by_a_mark() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001"), good("002")]);
    object.migrate(&coordinator).expect("nothing fails");
    object.serve(&coordinator, coordinator.pause("001", &Caller::default())).expect("it is under way");
    let shown = correct(&object, &coordinator, "001", Correction::Mark).expect("it is paused");
    assert_eq!((shown.state, shown.progress), (State::Applied, None));
    let history = coordinator.history().expect("it can be read");
    assert_eq!((history[0].action, history[1].outcome), (TaskKind::Mark, RunOutcome::Cancelled));
    assert_eq!(history[1].interventions[1].action, InterventionKind::Mark);
    assert_eq!(object.migrate(&coordinator).expect("no run is paused").ran, ["002"]);
}

#[test]
fn a_rollback_that_waits_to_be_retried_is_cancelled_by_an_unmark() {
    let object = Object::new();
    let broken = quiet("001").with_down(async |_, ()| Err(BoxError::from("boom")));
    let coordinator = object.instance(vec![broken]);
    object.migrate(&coordinator).expect("nothing fails");
    // Its first step is cut off, so that it is retried.
    object.serve_for(Duration::from_millis(1), &coordinator, coordinator.rollback("001", &Caller::default()));
    object.pass(&coordinator, Duration::from_secs(16));
    let shown = correct(&object, &coordinator, "001", Correction::Unmark).expect("it is applied");
    assert_eq!((shown.state, shown.retry_at), (State::Pending, None));
}

/// The object has adopted what KV had before. Then a Worker without the coordinator has run once more.
#[test]
fn what_a_run_without_the_coordinator_left_in_kv_counts() {
    let make = || vec![quiet("001")];
    for correction in [Correction::Mark, Correction::Unmark] {
        let object = Object::new();
        let coordinator = object.instance(make());
        assert_eq!(object.state(&coordinator, "001"), State::Pending);
        let without = object.runner_on(object.kv.clone(), make());
        object.time.run(without.run_pending(&())).expect("nothing fails");
        let shown = correct(&object, &coordinator, "001", correction).expect("it is applied");
        assert_eq!(shown.run, correction == Correction::Mark);
        assert_eq!(shown.duration_ms.is_some(), shown.run, "as the run has left it: {shown:?}");
        let ran = object.migrate(&coordinator).expect("nothing fails").ran;
        assert_eq!(ran.is_empty(), shown.run, "{correction:?}: {ran:?}");
    }

    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("v2_001")]);
    assert_eq!(object.state(&coordinator, "v2_001"), State::Pending);
    let metadata = Metadata::from_json(r#"{"prefix":"my-service_v2"}"#);
    let options = PutOptions::new().with_metadata(metadata);
    let key = "migration_my-service_v2_001";
    let put = StoreExt::put(&object.kv, key, b"true", &options);
    object.time.run(put).expect("KV takes it");
    let refused = correct(&object, &coordinator, "v2_001", Correction::Mark).expect_err("it is another's");
    assert!(matches!(refused, CoordinatorError::Runner(Error::ForeignMarker(_))), "{refused:?}");
}

/// KV shows the copy for a while, as a run elsewhere would have left it.
#[test]
fn what_was_unmarked_stays_so_while_kv_shows_the_copy() {
    let object = Object::new();
    let make = || -> Vec<Migration> { vec![quiet("001")] };
    let coordinator = object.instance(make());
    object.migrate(&coordinator).expect("nothing fails");
    let copies = object.kv.entries();
    correct(&object, &coordinator, "001", Correction::Unmark).expect("it is applied");
    object.pass(&coordinator, Duration::from_secs(2));
    for (key, value) in copies {
        let options = PutOptions::new().with_metadata(key.metadata);
        object.time.run(StoreExt::put(&object.kv, &key.name, &value, &options)).expect("KV takes it");
    }
    assert_eq!(object.migrate(&coordinator).expect("nothing fails").ran, ["001"]);
}

#[test]
fn a_baseline_marks_all_at_once_and_the_copies_in_kv_follow() {
    let make = || -> Vec<Migration> { (0..60).map(|number| quiet(format!("{number:03}"))).collect() };
    let object = Object::new();
    object.migrate(&object.instance(vec![quiet("001")])).expect("nothing fails");
    let coordinator = object.instance(make());
    let report = object.serve(&coordinator, coordinator.baseline("058", &Caller::default().with_label("me")));
    let report = report.expect("it is registered");
    assert_eq!((report.marked.len(), report.skipped), (58, vec!["001".to_owned()]));
    assert_eq!(report.beyond, ["059"]);
    let states = object.serve(&coordinator, coordinator.status()).expect("it can be read");
    assert!(states[..59].iter().all(|status| status.run) && !states[59].run);
    let entry = coordinator.history().expect("it can be read").remove(0);
    assert_eq!((entry.action, entry.migration.as_deref()), (TaskKind::Baseline, Some("058")));
    assert_eq!((entry.by.as_deref(), entry.ran.len()), (Some("me"), 58));

    object.pass(&coordinator, Duration::from_mins(2));
    assert_eq!(
        object.kv.entries().len(),
        59,
        "a step copies no more than its budget allows, and the next one goes on"
    );
    assert_eq!(object.migrate(&coordinator).expect("nothing fails").ran, ["059"]);
    let again = object.serve(&coordinator, coordinator.baseline("058", &Caller::default()));
    assert_eq!(again.expect("it is registered").marked, Vec::<String>::new());
    assert_eq!(coordinator.history().expect("it can be read").len(), 3, "it has done nothing");
}

#[test]
fn a_baseline_is_refused_during_a_run_and_ends_one_that_is_paused_at_what_it_marks() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![good("001"), marking("002"), good("003")]);
    let caller = Caller::default();
    object.serve(&coordinator, async {
        coordinator.run_pending(&caller).await.expect("nothing fails");
        let refused = coordinator.baseline("003", &caller).await.expect_err("it is running");
        assert!(matches!(refused, CoordinatorError::InProgress(_)), "{refused:?}");
        coordinator.pause("002", &caller).await.expect("it is under way");
        let report = coordinator.baseline("002", &caller).await.expect("it is paused");
        assert_eq!((report.marked, report.skipped), (vec!["002".to_owned()], vec!["001".to_owned()]));
        let unknown = coordinator.baseline("004", &caller).await.expect_err("nobody registers it");
        assert!(matches!(unknown, CoordinatorError::Runner(Error::UnknownMigration { .. })), "{unknown:?}");
    });
    assert_eq!(object.migrate(&coordinator).expect("no run is paused").ran, ["003"]);
}

#[test]
fn a_baseline_leaves_what_a_run_without_the_coordinator_applied_as_it_is() {
    let object = Object::new();
    let make = || vec![quiet("001"), quiet("002")];
    let coordinator = object.instance(make());
    assert_eq!(object.state(&coordinator, "001"), State::Pending);
    let without = object.runner_on(object.kv.clone(), vec![quiet("001")]);
    object.time.run(without.run_pending(&())).expect("nothing fails");
    let report = object.serve(&coordinator, coordinator.baseline("002", &Caller::default()));
    assert_eq!(report.expect("it is registered").marked, ["002"]);
    assert!(object.status(&coordinator, "001").duration_ms.is_some(), "as the run has left it");
}

#[test]
fn a_baseline_under_a_prefix_that_looks_mistyped_is_refused() {
    let object = Object::new();
    for id in ["001", "002"] {
        let metadata = Metadata::from_json(r#"{"runAt":"2026-11-22T10:48:28.706Z","prefix":"other"}"#);
        let options = PutOptions::new().with_metadata(metadata);
        let key = format!("migration_other_{id}");
        let put = StoreExt::put(&object.kv, &key, b"true", &options);
        object.time.run(put).expect("KV takes it");
    }
    let coordinator = object.instance(vec![good("001"), good("002")]);
    let refused = object.serve(&coordinator, coordinator.baseline("002", &Caller::default()));
    assert!(matches!(refused, Err(CoordinatorError::Runner(Error::AnotherPrefix { .. }))), "{refused:?}");
    assert_eq!(object.state(&coordinator, "001"), State::Pending);
}
