//! Recording a migration as applied without running it, and forgetting that it is applied, without a coordinator.

use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use kv_migrations::kv::Kv;
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Correction, Error, Migration, RunLock, State, Status};

use crate::service::{Service, failing, failure, filled, good, ids, marked, marking, quiet, unmarking};

const CORRECTIONS: [Correction; 3] = [Correction::Reset, Correction::Mark, Correction::Unmark];

fn long() -> Migration {
    Migration::backfill("001", "Marks every user", marking()).with_down_backfill(unmarking())
}

fn status(service: &Service, migrations: Vec<Migration>) -> Status {
    block_on(service.runner(migrations).status()).expect("it can be read").remove(0)
}

fn metadata(service: &Service, id: &str) -> String {
    let key = format!("migration_my-service_{id}");
    let entries = service.store.entries();
    let (key, _) = entries.into_iter().find(|(entry, _)| entry.name == key).expect("it has a marker");
    key.metadata.expect("this runner wrote it").as_json().to_owned()
}

#[test]
fn a_migration_that_was_done_by_hand_is_marked_and_does_not_run() {
    let service = Service::new();
    let migrations = || vec![good("001"), good("002")];
    let shown = block_on(service.runner(migrations()).mark("001")).expect("it is registered");
    assert_eq!((shown.state, shown.run, shown.reversible), (State::Applied, true, true));
    assert_eq!(shown, status(&service, migrations()), "the answer is the status");
    assert_eq!(
        service.text("migration_my-service_001").as_deref(),
        Some("true"),
        "for the TypeScript runner too"
    );
    assert_eq!(service.migrate(migrations()), ids(&["002"]));
    assert_eq!(service.text("done/001"), None, "its `up` did not run");
    let line = "[Migration] Marked as applied, without running it: 001, as somebody asked";
    assert!(service.log.lines().iter().any(|logged| logged.contains(line)), "{:?}", service.log.lines());
}

#[test]
fn who_marked_it_stands_in_the_marker_and_in_the_log() {
    let service = Service::new();
    let runner = service.runner(vec![good("001")]).with_label("deploy \"4711\"");
    block_on(runner.mark("001")).expect("it is registered");
    let written = metadata(&service, "001");
    assert!(written.ends_with(r#","prefix":"my-service","by":"deploy \"4711\""}"#), "{written}");
    block_on(runner.unmark("001")).expect("it is applied");
    let lines = service.log.lines();
    let named = lines.iter().filter(|line| line.contains("as deploy \"4711\" asked")).count();
    assert_eq!(named, 2, "{lines:?}");
}

#[test]
fn a_label_never_displaces_the_prefix_of_the_service() {
    let prefix = "\u{e000}".repeat(100).leak();
    let service = Service::new().neighbour(prefix);
    let runner = service.runner(vec![good("001")]).with_label("\"".repeat(400));
    block_on(runner.mark("001")).expect("KV takes it");
    let entries = service.store.entries();
    let written = entries[0].0.metadata.as_ref().expect("it has metadata").as_json();
    assert!(written.len() <= 1_024 && written.contains("prefix") && !written.contains("by"), "{written}");
}

#[test]
fn what_failed_or_is_half_done_can_be_marked_and_its_checkpoint_goes() {
    let service = filled(1_700);
    block_on(service.runner(vec![long()]).run_pending(&())).expect("nothing fails");
    assert_eq!(status(&service, vec![long()]).state, State::Running);
    let shown = block_on(service.runner(vec![long()]).mark("001")).expect("it is registered");
    assert_eq!((shown.state, shown.progress), (State::Applied, None));
    let before = marked(&service.store);
    assert_eq!(service.migrate(vec![long()]), ids(&[]));
    assert_eq!(marked(&service.store), before, "what it did stays, and no more is done");

    let service = Service::new();
    failure(block_on(service.runner(vec![failing("001")]).run_pending(&())));
    let shown = block_on(service.runner(vec![failing("001")]).mark("001")).expect("it is registered");
    assert_eq!((shown.state, shown.error), (State::Applied, None));
}

#[test]
fn what_is_applied_is_marked_already() {
    let service = filled(3);
    service.migrate(vec![long()]);
    let (before, shown) = (service.store.entries(), status(&service, vec![long()]));
    let answered = block_on(service.runner(vec![long()]).with_label("me").mark("001"));
    assert_eq!(answered.expect("it is applied"), shown);
    assert_eq!(service.store.entries(), before, "not even who asked is changed");

    let by_hand = Service::new();
    by_hand.put("migration_my-service_001", "true", None);
    let answered = block_on(by_hand.runner(vec![quiet("001")]).mark("001")).expect("it is applied");
    assert_eq!((answered.state, answered.run_at), (State::Applied, None));
}

#[test]
fn an_unmarked_migration_is_pending_and_runs_again() {
    let service = Service::new();
    service.migrate(vec![quiet("001")]);
    let shown = block_on(service.runner(vec![quiet("001")]).unmark("001")).expect("it needs no `down`");
    assert_eq!((shown.state, shown.run, shown.run_at), (State::Pending, false, None));
    assert_eq!(service.marker("001"), None);
    assert_eq!(service.migrate(vec![quiet("001")]), ids(&["001"]));
}

#[test]
fn only_what_is_applied_is_unmarked() {
    let service = filled(1_700);
    block_on(service.runner(vec![long()]).run_pending(&())).expect("nothing fails");
    let before = service.store.entries();
    let runner = service.runner(vec![long(), good("002")]);
    for id in ["001", "002"] {
        let refused = block_on(runner.unmark(id)).expect_err("it is not applied");
        assert!(matches!(refused, Error::NotRun { .. }), "{refused:?}");
        assert_eq!(refused.to_string(), format!("Migration {id} has not been run - cannot unmark"));
    }
    assert_eq!(service.store.entries(), before);
}

#[test]
fn a_migration_that_was_removed_can_be_unmarked_and_not_marked() {
    let service = Service::new();
    service.migrate(vec![good("001")]);
    let runner = service.runner(vec![good("002")]);
    for id in ["001", "003"] {
        let refused = block_on(runner.mark(id)).expect_err("it is not registered");
        assert!(matches!(refused, Error::UnknownMigration { .. }), "{refused:?}");
    }
    let unknown = block_on(runner.unmark("003")).expect_err("nothing knows it");
    assert!(matches!(unknown, Error::UnknownMigration { .. }), "{unknown:?}");
    let shown = block_on(runner.unmark("001")).expect("its marker names the service");
    assert_eq!((shown.id.as_str(), shown.state, shown.description), ("001", State::Pending, None));
    assert_eq!(service.marker("001"), None);
}

/// `auth` and `v2_001` have the same key as `auth_v2` and `001`.
#[test]
fn what_may_be_a_marker_of_another_service_is_neither_marked_nor_unmarked() {
    let service = Service::new();
    let (auth, auth_v2) = (service.neighbour("auth"), service.neighbour("auth_v2"));
    auth_v2.migrate(vec![good("001")]);
    service.put("migration_auth_v2_002", "true", None);
    let before = service.store.entries();
    let runner = auth.runner(vec![good("v2_001")]);
    for refused in [block_on(runner.mark("v2_001")), block_on(runner.unmark("v2_001"))] {
        assert!(matches!(refused, Err(Error::ForeignMarker(_))), "{refused:?}");
    }
    let refused = block_on(runner.unmark("v2_002")).expect_err("it names no service");
    assert!(matches!(refused, Error::ForeignMarker(_)), "{refused:?}");
    assert_eq!(service.store.entries(), before);
}

#[test]
fn the_ledger_is_not_changed_during_a_run() {
    let service = Service::new();
    let lock = RunLock::new();
    let other = Arc::new(service.runner(vec![good("001")]).with_lock(lock.clone()));
    let refusals = Arc::new(Mutex::new(Vec::new()));
    let seen = refusals.clone();
    let running = Migration::new("001", "", async move |_: &Kv, (): &()| {
        for correction in CORRECTIONS {
            let refused = other.correct("001", correction).await;
            seen.lock().unwrap().push(matches!(refused, Err(Error::RunInProgress { .. })));
        }
        Ok(())
    });
    let runner = service.runner(vec![running]).with_lock(lock);
    block_on(runner.run_pending(&())).expect("nothing fails");
    assert_eq!(*refusals.lock().unwrap(), [true, true, true]);
}

/// The marker of one migration before it is corrected.
fn before(correction: Correction) -> Service {
    let service = filled(1_700);
    if correction == Correction::Unmark {
        service.migrate(vec![long()]);
    } else {
        block_on(service.runner(vec![long()]).run_pending(&())).expect("nothing fails");
    }
    service
}

#[test]
fn what_is_cut_off_at_any_operation_can_be_asked_for_again() {
    for correction in CORRECTIONS {
        let faultless = before(correction);
        let count = faultless.store.operations();
        block_on(faultless.runner(vec![long()]).correct("001", correction)).expect("it succeeds");
        let (needed, expected) = (faultless.store.operations() - count, faultless.outcome());
        assert_eq!(needed, 2, "{correction:?}: it reads and writes the marker");
        for at in 0..needed {
            for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
                let service = before(correction);
                let cut_off = service.runner_on(faulty(service.store.clone(), fault), vec![long()]);
                let error =
                    block_on(cut_off.correct("001", correction)).expect_err("it is cut off").to_string();
                let says = if at == 0 { "nothing was changed" } else { "The marker may not be written" };
                assert!(error.contains("injected") && error.contains(says), "{fault:?}: {error}");
                match block_on(service.runner(vec![long()]).correct("001", correction)) {
                    Ok(_) => {}
                    // It was done, and only its answer lost.
                    Err(Error::NotRun { .. }) if fault == Fault::AnswerLost(1) => {}
                    Err(error) => panic!("{correction:?}, {fault:?}: {error}"),
                }
                assert_eq!(service.outcome(), expected, "{correction:?}, {fault:?}");
            }
        }
    }
}
