//! Rolling back several migrations: all after one, the last of them by number, or all.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::kv::Store;
use kv_migrations::testing::{Delay, DelayedKv, Fault, Origin, Visibility, faulty};
use kv_migrations::{BoxError, Budget, Error, Migration, RunReport, Runner, Stage, State, Until};

use crate::service::{Service, failing, failure, filled, good, ids, marked, marking, quiet, unmarking};

const NOTE: &str = "migration_my-service_";

fn to(id: &str) -> Until {
    Until::Migration(id.to_owned())
}

fn roll_back(runner: &Runner, until: &Until) -> Result<RunReport, Error> {
    block_on(runner.rollback_until(until, &()))
}

fn four() -> Vec<Migration> {
    vec![good("001"), good("002"), good("003"), good("004")]
}

fn long(id: &'static str) -> Migration {
    Migration::backfill(id, "Marks every user", marking()).with_down_backfill(unmarking())
}

/// A service where these migrations are applied.
fn applied(migrations: Vec<Migration>) -> Service {
    let service = Service::new();
    service.migrate(migrations);
    service
}

/// The request that continues what the report leaves, as the routes name it.
fn continued(report: &RunReport) -> Until {
    report.to.clone().map_or(Until::End, Until::Migration)
}

/// Asks until it is finished.
fn finish(service: &Service, runner: &Runner, until: &Until) -> Vec<RunReport> {
    let mut reports = Vec::new();
    while reports.last().is_none_or(|report: &RunReport| !report.is_finished()) {
        let report = roll_back(runner, until).expect("it goes on");
        service.clock.advance(report.retry_after.unwrap_or_default());
        reports.push(report);
        assert!(reports.len() < 1_000, "it does not come to an end");
    }
    reports
}

#[test]
fn all_after_a_migration_are_rolled_back_the_last_first_and_a_repetition_does_nothing() {
    let service = applied(four());
    let runner = service.runner(four());
    let report = roll_back(&runner, &to("002")).unwrap();
    assert_eq!(report.rolled_back, ids(&["004", "003"]));
    assert_eq!((report.to.as_deref(), report.remaining), (Some("002"), ids(&[])));
    let took: Vec<_> = report.details.iter().map(|detail| detail.id.as_str()).collect();
    assert_eq!(took, ["004", "003"]);
    assert_eq!((service.text("done/003"), service.text("done/002").as_deref()), (None, Some("true")));
    let left: Vec<_> = service.store.entries().into_iter().map(|(key, _)| key.name).collect();
    assert_eq!(left, ["done/001", "done/002", "migration_my-service_001", "migration_my-service_002"]);

    let again = roll_back(&runner, &to("002")).unwrap();
    assert!(again.rolled_back.is_empty() && again.is_finished(), "{again:?}");
    assert_eq!(service.migrate(four()), ids(&["003", "004"]));
}

#[test]
fn a_number_of_steps_counts_what_is_applied_or_has_begun() {
    let service = applied(vec![good("001"), good("002"), good("004")]);
    let runner = service.runner(four());
    let report = roll_back(&runner, &Until::Steps(2)).unwrap();
    assert_eq!((report.rolled_back, report.to.as_deref()), (ids(&["004", "002"]), Some("001")));
    let rest = roll_back(&runner, &Until::Steps(9)).unwrap();
    assert_eq!((rest.rolled_back, rest.to), (ids(&["001"]), None));
    let none = roll_back(&runner, &Until::Steps(1)).unwrap();
    assert!(none.rolled_back.is_empty() && none.is_finished(), "{none:?}");
    assert!(service.store.entries().is_empty(), "no note is left: {:?}", service.store.entries());
}

#[test]
fn what_failed_in_one_piece_is_left_and_what_failed_half_way_is_rolled_back() {
    let service = filled(1_700);
    block_on(service.runner(vec![long("001"), quiet("002")]).run_pending(&())).unwrap();
    let runner = service.runner(vec![long("001"), good("002")]);
    let reports = finish(&service, &runner, &Until::End);
    assert_eq!(reports.last().unwrap().rolled_back, ids(&["001"]));
    assert_eq!(marked(&service.store), 0);

    let service = Service::new();
    let migrations = || vec![good("001"), failing("002")];
    failure(block_on(service.runner(migrations()).run_pending(&())));
    let report = roll_back(&service.runner(migrations()), &Until::End).unwrap();
    assert_eq!(report.rolled_back, ids(&["001"]), "of the other nothing is known that could be rolled back");
    assert_eq!(block_on(service.runner(migrations()).status()).unwrap()[1].state, State::Failed);
}

#[test]
fn what_cannot_be_rolled_back_refuses_all_of_it_before_anything_is_changed() {
    let service = applied(vec![good("001"), quiet("002"), good("003"), good("005")]);
    let before = service.store.entries();
    let refused = |migrations: Vec<Migration>, until: &Until| {
        let error = roll_back(&service.runner(migrations), until).expect_err("it is refused");
        assert_eq!(service.store.entries(), before, "{error}");
        error
    };
    let all = || vec![good("001"), quiet("002"), good("003"), quiet("004"), good("005")];
    let irreversible = refused(all(), &to("001"));
    assert!(matches!(&irreversible, Error::Irreversible { id, .. } if id == "002"), "{irreversible}");
    assert!(matches!(refused(all(), &Until::Steps(3)), Error::Irreversible { .. }));
    assert!(matches!(refused(all(), &Until::End), Error::Irreversible { .. }));
    assert!(matches!(refused(all(), &to("009")), Error::UnknownMigration { .. }));
    let not_run = refused(all(), &to("004"));
    assert_eq!(not_run.to_string(), "Migration 004 has not been run - cannot rollback to it");
    let few = refused(all(), &Until::Entries(7));
    assert!(matches!(&few, Error::NotABackfill { id, .. } if id == "005"), "{few}");

    let unknown = refused(vec![good("001"), quiet("002"), good("003")], &to("002"));
    assert!(matches!(&unknown, Error::NotRegistered { ids, .. } if *ids == ["005"]), "{unknown}");
    assert!(unknown.to_string().contains("not registered: `005`"), "{unknown}");

    let report = roll_back(&service.runner(all()), &to("002")).expect("those after it have a `down`");
    assert_eq!(report.rolled_back, ids(&["005", "003"]));
}

#[test]
fn what_has_begun_and_is_not_registered_any_more_refuses_it_too() {
    let service = filled(1_700);
    block_on(service.runner(vec![quiet("001"), long("002")]).run_pending(&())).unwrap();
    let runner = service.runner(vec![good("001")]);
    let error = roll_back(&runner, &Until::End).expect_err("it has changed users");
    assert!(matches!(&error, Error::NotRegistered { ids, .. } if *ids == ["002"]), "{error}");
    block_on(runner.reset("002")).expect("its marker names the service");
    assert_eq!(roll_back(&runner, &Until::End).unwrap().rolled_back, ids(&["001"]));
}

#[test]
fn too_many_keys_like_markers_leave_unknown_what_else_is_applied_and_refuse_it() {
    let service = applied(four());
    for number in 0..10_001 {
        service.store.insert(&format!("migration_my-service_visitor_{number}"), "x");
    }
    let error = roll_back(&service.runner(four()), &to("001")).expect_err("it is not known");
    assert!(matches!(error, Error::LedgerTooLarge { .. }), "{error}");
    assert!(error.to_string().contains("several are to be rolled back"), "{error}");
    assert!(block_on(service.runner(four()).rollback("004", &())).unwrap().is_finished(), "one can be");
}

/// The `down` of 003 takes several requests, and that of 002 one.
fn three() -> Vec<Migration> {
    vec![good("001"), good("002"), long("003"), good("004")]
}

fn small(service: &Service) -> Runner {
    service.runner(three()).with_budget(Budget::default().with_operations(40))
}

fn three_applied() -> Service {
    three_applied_with(100)
}

fn three_applied_with(users: u32) -> Service {
    let service = filled(users);
    service.migrate(three());
    service
}

#[test]
fn a_budget_that_ends_leaves_the_rest_and_the_last_that_is_to_stay() {
    let service = three_applied();
    let first = roll_back(&small(&service), &Until::Steps(3)).unwrap();
    assert_eq!((first.rolled_back.clone(), first.remaining.clone()), (ids(&["004"]), ids(&["003", "002"])));
    assert!(first.retry_after.is_some() && first.progress.is_some(), "{first:?}");
    assert_eq!(first.to.as_deref(), Some("001"));
    assert_eq!(service.text(NOTE).as_deref(), Some("to=001"));
    service.clock.advance(first.retry_after.unwrap());

    let refused = roll_back(&small(&service), &Until::Steps(3)).expect_err("it would be one more");
    assert!(
        matches!(&refused, Error::RollbackUnfinished { to, .. } if to.as_deref() == Some("001")),
        "{refused}"
    );
    let rest = finish(&service, &small(&service), &continued(&first));
    assert_eq!(rest.last().unwrap().rolled_back, ids(&["002"]));
    assert_eq!((marked(&service.store), service.text("done/001").as_deref()), (0, Some("true")));
    assert_eq!(service.text(NOTE), None);
    assert_eq!(roll_back(&small(&service), &Until::Steps(1)).unwrap().rolled_back, ids(&["001"]));
}

#[test]
fn all_can_be_asked_for_again_and_the_note_then_says_so() {
    let service = three_applied();
    let first = roll_back(&small(&service), &Until::End).unwrap();
    assert_eq!((first.to.clone(), service.text(NOTE).as_deref()), (None, Some("to=")));
    service.clock.advance(first.retry_after.unwrap());
    let refused = roll_back(&small(&service), &Until::Steps(1)).expect_err("all are being rolled back");
    assert!(matches!(&refused, Error::RollbackUnfinished { to: None, .. }), "{refused}");
    finish(&service, &small(&service), &Until::End);
    assert!(block_on(small(&service).status()).unwrap().iter().all(|status| !status.run));
    assert_eq!(service.text(NOTE), None);
}

#[test]
fn another_id_takes_the_place_of_the_first() {
    let service = three_applied();
    let first = roll_back(&small(&service), &to("001")).unwrap();
    service.clock.advance(first.retry_after.unwrap());
    let second = roll_back(&small(&service), &to("002")).unwrap();
    service.clock.advance(second.retry_after.unwrap());
    assert_eq!(service.text(NOTE).as_deref(), Some("to=002"));
    finish(&service, &small(&service), &to("002"));
    assert_eq!((service.text(NOTE), service.text("done/002").as_deref()), (None, Some("true")));
}

#[test]
fn a_run_gives_up_a_rollback_that_is_not_finished_but_a_run_of_a_few_entries_does_not() {
    let service = three_applied();
    let first = roll_back(&small(&service), &to("001")).unwrap();
    service.clock.advance(first.retry_after.unwrap());
    let few = block_on(small(&service).run_pending_until(&Until::Entries(1), &(), &|_| {}));
    assert_eq!((few.unwrap().ran, service.text(NOTE).as_deref()), (ids(&[]), Some("to=001")));
    service.clock.advance(first.retry_after.unwrap());

    assert_eq!(service.migrate(three()), ids(&["003", "004"]));
    assert_eq!((service.text(NOTE), marked(&service.store)), (None, 100));
    let given_up = service.log.lines().iter().filter(|line| line.contains("is given up")).count();
    assert_eq!(given_up, 1);
    assert_eq!(roll_back(&service.runner(three()), &Until::Steps(1)).unwrap().rolled_back, ids(&["004"]));
}

#[test]
fn one_of_them_that_fails_says_what_was_rolled_back_before_and_the_next_request_goes_on_there() {
    let broken = || quiet("002").with_down(async |_, ()| Err(BoxError::from("boom")));
    let with = |second: Migration| vec![good("001"), second, good("003"), good("004")];
    let service = applied(with(broken()));
    let failed = failure(roll_back(&service.runner(with(broken())), &Until::Steps(3)));
    assert_eq!((failed.id.as_str(), failed.stage), ("002", Stage::Down));
    assert_eq!(failed.report.rolled_back, ids(&["004", "003"]));
    assert!(failed.advice().contains("Those registered after it are rolled back"), "{}", failed.advice());
    let refused = roll_back(&service.runner(with(good("002"))), &Until::Steps(3)).expect_err("001 would be");
    assert!(refused.to_string().contains("Roll back to 001 to finish it"), "{refused}");
    let mended = roll_back(&service.runner(with(good("002"))), &to("001")).unwrap();
    assert_eq!(mended.rolled_back, ids(&["002"]));
    assert_eq!(service.text(NOTE), None);
}

/// Somebody has removed what cannot be rolled back by hand, or what was to stay.
#[test]
fn a_mark_and_an_unmark_get_out_of_a_rollback_that_fails() {
    let broken = || quiet("002").with_down(async |_, ()| Err(BoxError::from("boom")));
    let migrations = || vec![good("001"), broken(), good("003")];
    let service = applied(migrations());
    failure(roll_back(&service.runner(migrations()), &to("001")));
    block_on(service.runner(migrations()).unmark("002")).expect("it is applied");
    let report = roll_back(&service.runner(migrations()), &to("001")).unwrap();
    assert!(report.rolled_back.is_empty() && service.text(NOTE).is_none(), "{report:?}");

    let service = applied(migrations());
    failure(roll_back(&service.runner(migrations()), &to("001")));
    block_on(service.runner(migrations()).unmark("001")).expect("it is applied");
    let refused =
        roll_back(&service.runner(migrations()), &to("001")).expect_err("it is not applied any more");
    assert!(matches!(refused, Error::NotRun { .. }), "{refused}");
    let mended = service.runner(vec![good("001"), good("002"), good("003")]);
    assert_eq!(roll_back(&mended, &Until::Steps(1)).unwrap().rolled_back, ids(&["002"]), "nothing names it");
    assert_eq!(service.text(NOTE), None);
}

#[test]
fn the_note_is_no_migration_and_no_marker_of_another_service() {
    let service = three_applied();
    roll_back(&small(&service), &to("001")).unwrap();
    assert!(service.text(NOTE).is_some());
    let status = block_on(small(&service).status_report()).unwrap();
    assert_eq!((status.missing, status.unfinished), (ids(&[]), ids(&[])));
    assert!(block_on(small(&service).plan(&Until::End)).unwrap().findings.is_empty());
    for neighbour in ["my", "my-service_v2", "other"] {
        let neighbour = service.neighbour(neighbour).runner(vec![good("001")]);
        let status = block_on(neighbour.status_report()).unwrap();
        assert_eq!((status.missing, status.unfinished), (ids(&[]), ids(&[])));
    }
}

/// `auth` and `v2_` have the key of the note of `auth_v2`.
#[test]
fn a_marker_of_another_service_at_the_key_of_the_note_is_left_alone() {
    let service = Service::new();
    let auth = service.neighbour("auth");
    auth.migrate(vec![good("v2_")]);
    let other = service.neighbour("auth_v2");
    other.migrate(four());
    let before = service.store.entries();
    let refused = roll_back(&other.runner(four()), &to("001")).expect_err("the key is taken");
    assert!(matches!(refused, Error::ForeignMarker(_)), "{refused}");
    assert_eq!(service.store.entries(), before);
    assert!(block_on(other.runner(four()).rollback("004", &())).unwrap().is_finished(), "one can be");
    other.migrate(four());
    assert!(block_on(auth.runner(vec![good("v2_")]).is_run("v2_")).unwrap());
}

#[test]
fn one_step_leaves_no_note_and_takes_no_more_operations_than_the_list() {
    let service = applied(four());
    let count = service.store.operations();
    let report = roll_back(&service.runner(four()), &Until::Steps(1)).unwrap();
    assert_eq!((report.operations, service.store.operations() - count), (3, 3), "list, `down`, marker");
    let report = roll_back(&service.runner(four()), &Until::Steps(2)).unwrap();
    assert_eq!(report.operations, 8, "a list, a read of 004, two for each, and two for the note");
}

/// Rolls back `steps`, and when that is refused what it names instead, as a script would.
fn as_a_script(
    service: &Service,
    store: &(impl Store + Clone + 'static),
    until: &Until,
) -> Result<(), Error> {
    let mut until = until.clone();
    for _ in 0..100 {
        let runner =
            service.runner_on(store.clone(), three()).with_budget(Budget::default().with_operations(16));
        match roll_back(&runner, &until) {
            Ok(report) => {
                service.clock.advance(report.retry_after.unwrap_or_default());
                if report.is_finished() {
                    return Ok(());
                }
                until = continued(&report);
            }
            Err(Error::RollbackUnfinished { to, .. }) => {
                until = to.map_or(Until::End, Until::Migration);
            }
            Err(error) => return Err(error),
        }
    }
    panic!("it does not come to an end");
}

/// What is asked for again is the same request, without a word of the first.
#[test]
fn what_is_cut_off_at_any_operation_is_finished_by_the_same_request() {
    for until in [to("001"), Until::Steps(3), Until::End] {
        let faultless = three_applied_with(12);
        let count = faultless.store.operations();
        as_a_script(&faultless, &faultless.store, &until).unwrap();
        let (needed, expected) = (faultless.store.operations() - count, faultless.outcome());
        for at in 0..needed {
            for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
                let service = three_applied_with(12);
                let store = faulty(service.store.clone(), fault);
                let first = as_a_script(&service, &Arc::new(store), &until);
                if first.is_ok() {
                    // The refusal was retried.
                    assert_eq!(service.outcome(), expected, "{until:?}, {fault:?}");
                    continue;
                }
                let error = first.unwrap_err().to_string();
                assert!(error.contains("injected"), "{fault:?}: {error}");
                service.clock.advance(Duration::from_secs(2));
                if at + 1 == needed && fault == Fault::AnswerLost(at) && matches!(until, Until::Steps(_)) {
                    // All is done: a number of steps would be others.
                    assert_eq!(service.outcome(), expected, "{until:?}, {fault:?}");
                    continue;
                }
                as_a_script(&service, &service.store, &until)
                    .unwrap_or_else(|error| panic!("{until:?}, {fault:?}: {error}"));
                assert_eq!(service.outcome(), expected, "{until:?}, {fault:?}");
            }
        }
    }
}

/// Lists show a marker only a minute after it was written; reads show it at once, where it was written.
struct LateLists;

impl Visibility for LateLists {
    fn delay(&self, _: &str, origin: Origin) -> Delay {
        let read = if origin == Origin::Here { Duration::ZERO } else { Duration::from_mins(1) };
        Delay { read, list: Duration::from_mins(1) }
    }
}

#[test]
fn what_a_late_list_does_not_show_yet_is_rolled_back_in_its_turn() {
    let service = Service::new();
    let kv = DelayedKv::new(service.store.clone(), service.clock.clone(), LateLists);
    let runner = |migrations| service.runner_on(kv.at(0), migrations);
    service.drive(&runner(four().into_iter().take(2).collect())).unwrap();
    service.clock.advance(Duration::from_mins(1));
    service.drive(&runner(four())).unwrap();
    let report = roll_back(&runner(four()), &Until::Steps(3)).unwrap();
    assert_eq!(report.rolled_back, ids(&["004", "003", "002"]), "the list shows only 001 and 002");
    assert_eq!(report.to.as_deref(), Some("001"));
}

#[test]
fn elsewhere_within_the_delay_of_kv_nothing_is_rolled_back() {
    let service = Service::new();
    let kv = DelayedKv::new(service.store.clone(), service.clock.clone(), LateLists);
    service.drive(&service.runner_on(kv.at(0), four())).unwrap();
    let elsewhere = service.runner_on(kv.at(1), four());
    let error = roll_back(&elsewhere, &to("002")).unwrap_err();
    assert!(matches!(error, Error::NotRun { .. }), "{error}");
    assert_eq!(roll_back(&elsewhere, &Until::Steps(2)).unwrap().rolled_back, ids(&[]));
    service.clock.advance(Duration::from_mins(1));
    assert_eq!(roll_back(&elsewhere, &to("002")).unwrap().rolled_back, ids(&["004", "003"]));
}
