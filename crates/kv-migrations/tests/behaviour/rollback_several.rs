//! Rolling back several migrations: the last first, each as a single rollback does.

use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{BoxError, Error, Migration, RunReport, Runner, Stage, State};

use crate::service::{
    InitialEntry, Service, failing, failure, filled, good, ids, marked, marking, quiet, unmarking,
};

fn four() -> Vec<Migration> {
    vec![good("001"), good("002"), good("003"), good("004")]
}

/// A backfill between migrations that run in one piece.
fn mixed() -> Vec<Migration> {
    let long = Migration::backfill("003", "Marks every user", marking()).with_down_backfill(unmarking());
    vec![good("001"), good("002"), long, good("004")]
}

/// Twelve users, and all migrations applied, with so many operations for each request.
fn applied(operations: u64) -> Service {
    let users: Vec<InitialEntry> =
        (0..12).map(|number| InitialEntry::new(format!("user_{number:02}"), "x")).collect();
    let service = Service::holding(&users, operations);
    service.migrate(mixed());
    service
}

/// Asks for a rollback to a migration until it is finished.
fn finish(service: &Service, runner: &Runner, to: &str) -> Vec<RunReport> {
    let mut reports = Vec::new();
    while reports.last().is_none_or(|report: &RunReport| !report.is_finished()) {
        let report = block_on(runner.rollback_to(to, &())).expect("it can be continued");
        service.clock.advance(report.retry_after.unwrap_or_default());
        reports.push(report);
        assert!(reports.len() < 100, "it does not come to an end");
    }
    reports
}

#[test]
fn all_after_a_migration_are_rolled_back_the_last_first() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let migration = |id: &'static str| {
        let order = order.clone();
        quiet(id).with_down(async move |_, ()| {
            order.lock().unwrap().push(id);
            Ok(())
        })
    };
    let make = || vec![migration("003"), migration("001"), migration("002"), migration("004")];
    let service = Service::new();
    service.migrate(make());
    let report = block_on(service.runner(make()).rollback_to("003", &())).expect("all have a way back");
    assert_eq!(*order.lock().unwrap(), ["004", "002", "001"], "in reverse order of registration");
    assert_eq!(report.ran, ids(&["004", "002", "001"]));
    let details: Vec<_> = report.details.iter().map(|detail| detail.id.as_str()).collect();
    assert_eq!((details, report.to.as_deref()), (vec!["004", "002", "001"], Some("003")));
    assert!(report.is_finished());
    assert_eq!(service.store.entries().len(), 1, "one marker is left, and no note");
    assert_eq!(
        block_on(service.runner(make()).rollback_to("003", &())).expect("nothing is left").ran,
        ids(&[])
    );
    assert_eq!(service.migrate(make()), ids(&["001", "002", "004"]));
}

#[test]
fn the_last_that_are_applied_are_counted_and_all_can_be_taken_back() {
    let service = Service::new();
    service.migrate(vec![good("001"), good("002"), good("004")]);
    let report = block_on(service.runner(four()).rollback_steps(2, &())).expect("all have a way back");
    assert_eq!(
        (report.ran, report.to.as_deref()),
        (ids(&["004", "002"]), Some("001")),
        "003 was never applied"
    );
    service.migrate(four());
    let report = block_on(service.runner(four()).rollback_steps(9, &())).expect("all have a way back");
    assert_eq!((report.ran.len(), report.to), (4, None));
    service.migrate(four());
    let report = block_on(service.runner(four()).rollback_all(&())).expect("all have a way back");
    assert_eq!((report.ran.len(), report.to), (4, None));
    assert_eq!(service.store.entries().len(), 0);
}

#[test]
fn a_rollback_that_cannot_go_so_far_is_refused_before_it_begins() {
    let service = Service::new();
    let make = || vec![good("001"), quiet("002"), good("003")];
    service.migrate(vec![good("001"), quiet("002"), good("003"), good("004")]);
    let before = service.store.entries();
    let refused = |migrations: Vec<Migration>, to: &str| {
        let error = block_on(service.runner(migrations).rollback_to(to, &())).expect_err("it is impossible");
        assert_eq!(service.store.entries(), before, "{error}");
        error
    };
    let with_all = || vec![good("001"), quiet("002"), good("003"), good("004")];
    assert!(matches!(refused(with_all(), "005"), Error::UnknownMigration { .. }));
    let irreversible = refused(with_all(), "001");
    assert_eq!(irreversible.to_string(), "Migration 002 does not implement down() - cannot rollback");
    let unregistered = refused(make(), "002");
    assert!(matches!(unregistered, Error::NotRegistered { .. }), "{unregistered:?}");
    assert!(
        unregistered.to_string().starts_with("Migration 004 is applied and not registered"),
        "{unregistered}"
    );
    let far_enough = block_on(service.runner(with_all()).rollback_to("002", &())).expect("002 stays");
    assert_eq!(far_enough.ran, ids(&["004", "003"]));
}

#[test]
fn what_is_applied_in_part_is_rolled_back_too_and_what_failed_in_one_piece_is_not() {
    let long = || Migration::backfill("002", "", marking()).with_down_backfill(unmarking());
    let service = filled(1_700);
    block_on(service.runner(vec![good("001"), long()]).run_pending(&())).expect("nothing fails");
    assert!(marked(&service.store) > 0);
    let report = block_on(service.runner(vec![good("001"), long()]).rollback_steps(1, &()))
        .expect("both have a way back");
    let runner = service.runner(vec![good("001"), long()]);
    let mut ran = report.ran.clone();
    while block_on(runner.rollback_all(&())).map(|report| ran.extend(report.ran.clone())).is_ok()
        && ran.len() < 2
    {}
    assert_eq!((ran, marked(&service.store)), (ids(&["002", "001"]), 0));

    let service = Service::new();
    let make = || vec![good("001"), failing("002")];
    failure(block_on(service.runner(make()).run_pending(&())));
    let report =
        block_on(service.runner(make()).rollback_all(&())).expect("002 has done nothing that is known");
    assert_eq!(report.ran, ids(&["001"]));
}

#[test]
fn an_unfinished_rollback_refuses_steps_and_is_finished_by_its_target() {
    let service = applied(14);
    let runner = service.runner(mixed());
    let first = block_on(runner.rollback_steps(3, &())).expect("it begins");
    assert_eq!((first.to.as_deref(), first.is_finished()), (Some("001"), false));
    assert_eq!(first.remaining.last().map(String::as_str), Some("002"));
    let refused = block_on(runner.rollback_steps(3, &())).expect_err("three others would follow");
    assert!(matches!(&refused, Error::RollbackUnfinished { to, .. } if to == "001"), "{refused:?}");
    let report = block_on(runner.status_report()).expect("it can be read");
    assert_eq!((report.missing.len(), report.unfinished.len()), (0, 0), "the note is no migration");

    service.clock.advance(first.retry_after.expect("it is unfinished"));
    finish(&service, &runner, "001");
    assert_eq!(marked(&service.store), 0);
    let states: Vec<_> =
        block_on(runner.status()).expect("it can be read").iter().map(|one| one.state).collect();
    assert_eq!(states, [State::Applied, State::Pending, State::Pending, State::Pending]);
    let report = block_on(runner.rollback_steps(1, &())).expect("nothing is unfinished");
    assert_eq!((report.ran, report.to), (ids(&["001"]), None));
}

#[test]
fn who_goes_forward_again_gives_a_rollback_up_by_one_that_takes_nothing_back() {
    let service = applied(14);
    let runner = service.runner(mixed());
    assert!(!block_on(runner.rollback_steps(3, &())).expect("it begins").is_finished());
    service.migrate(mixed());
    assert!(matches!(block_on(runner.rollback_steps(1, &())), Err(Error::RollbackUnfinished { .. })));
    assert_eq!(block_on(runner.rollback_to("004", &())).expect("nothing is after it").ran, ids(&[]));
    assert_eq!(block_on(runner.rollback_steps(1, &())).expect("it was given up").ran, ids(&["004"]));
}

#[test]
fn a_down_that_fails_ends_it_and_those_after_it_stay_rolled_back() {
    let broken = || quiet("002").with_down(async |_, ()| Err(BoxError::from("boom")));
    let service = Service::new();
    let make = || vec![good("001"), broken(), good("003")];
    service.migrate(make());
    let failed = failure(block_on(service.runner(make()).rollback_steps(3, &())));
    assert_eq!((failed.id.as_str(), failed.stage), ("002", Stage::Down));
    assert_eq!(failed.report.ran, ids(&["003"]), "what was rolled back before");
    let fixed = service.runner(vec![good("001"), good("002"), good("003")]);
    assert!(matches!(block_on(fixed.rollback_steps(3, &())), Err(Error::RollbackUnfinished { .. })));
    assert_eq!(block_on(fixed.rollback_all(&())).expect("it is mended").ran, ids(&["002", "001"]));
}

#[test]
fn a_single_step_in_one_piece_costs_no_note() {
    let service = Service::new();
    service.migrate(four());
    let before = service.store.operations();
    let report = block_on(service.runner(four()).rollback_steps(1, &())).expect("it has a way back");
    assert_eq!(report.ran, ids(&["004"]));
    assert_eq!(
        service.store.operations() - before,
        5,
        "list, note, marker, `down` and the marker's deletion"
    );
    assert_eq!(report.operations, 5);
}

#[test]
fn a_rollback_of_several_that_is_cut_off_anywhere_is_finished_by_its_target() {
    for operations in [900, 14] {
        let faultless = applied(operations);
        let count = faultless.store.operations();
        finish(&faultless, &faultless.runner(mixed()), "001");
        let (needed, expected) = (faultless.store.operations() - count, faultless.outcome());
        for at in 0..=needed {
            for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
                let service = applied(operations);
                let cut_off = service.runner_on(faulty(service.store.clone(), fault), mixed());
                let mut first = block_on(cut_off.rollback_steps(3, &()));
                while let Ok(report) = &first
                    && !report.is_finished()
                {
                    service.clock.advance(report.retry_after.unwrap_or_default());
                    first = block_on(cut_off.rollback_to("001", &()));
                }
                let is_done = service.text("migration_my-service_002").is_none();
                let runner = service.runner(mixed());
                if !is_done {
                    // Either nothing was rolled back, or the number is refused.
                    match block_on(runner.rollback_steps(3, &())) {
                        Ok(_) => {}
                        Err(Error::RollbackUnfinished { to, .. }) => assert_eq!(to, "001", "{fault:?}"),
                        Err(error) => panic!("{fault:?}: {error}"),
                    }
                }
                finish(&service, &runner, "001");
                assert_eq!(service.outcome(), expected, "{fault:?}, {operations} operations");
            }
        }
    }
}
