//! A run that goes only so far: to a migration, over a number of them, or over a few entries of the next one.

use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::{Backfill, Error, Fold, FoldOutput, Migration, Rekey, RunReport, State, Until};

use crate::service::{InitialEntry, Service, failure, filled, good, ids, marked, marking};

fn three(service: &Service) -> kv_migrations::Runner {
    service.runner(vec![good("001"), good("002"), good("003")])
}

fn run(runner: &kv_migrations::Runner, until: &Until) -> Result<RunReport, Error> {
    block_on(runner.run_pending_until(until, &(), &|_| {}))
}

/// A service with these users, whose requests take this number of operations.
fn filled_with(users: u32, operations: u64) -> Service {
    let entries = (0..users).map(|number| InitialEntry::new(format!("user_{number:05}"), "x"));
    Service::holding(&entries.collect::<Vec<_>>(), operations)
}

fn to(id: &str) -> Until {
    Until::Migration(id.to_owned())
}

#[test]
fn a_run_to_a_migration_leaves_those_after_it_and_says_so() {
    let service = Service::new();
    let report = run(&three(&service), &to("002")).unwrap();
    assert_eq!((report.ran.clone(), report.beyond.clone()), (ids(&["001", "002"]), ids(&["003"])));
    assert!(report.is_finished(), "it did what was asked: {report:?}");
    assert_eq!(report.to.as_deref(), Some("002"));
    assert_eq!(service.text("done/003"), None);

    let again = run(&three(&service), &to("002")).unwrap();
    assert_eq!((again.ran, again.beyond), (ids(&[]), ids(&["003"])), "safe to repeat");
    let earlier = run(&three(&service), &to("001")).unwrap();
    assert_eq!((earlier.skipped, earlier.beyond), (ids(&["001", "002"]), ids(&["003"])));
}

#[test]
fn an_earlier_migration_that_is_not_applied_is_applied_on_the_way() {
    let service = Service::new();
    service.migrate(vec![good("002")]);
    let report = run(&three(&service), &to("002")).unwrap();
    assert_eq!((report.ran, report.out_of_order), (ids(&["001"]), ids(&["001"])));
}

#[test]
fn steps_count_what_is_not_applied() {
    let service = Service::new();
    service.migrate(vec![good("002")]);
    let report = run(&three(&service), &Until::Steps(2)).unwrap();
    assert_eq!((report.ran, report.to.as_deref()), (ids(&["001", "003"]), Some("003")));
    let more = run(&three(&service), &Until::Steps(5)).unwrap();
    assert_eq!((more.ran, more.beyond), (ids(&[]), ids(&[])), "there is nothing more");
    assert!(more.remaining.is_empty());
}

#[test]
fn a_run_to_a_migration_that_is_not_registered_is_refused_before_anything_is_changed() {
    let service = Service::new();
    let error = run(&three(&service), &to("004")).expect_err("nothing tells where that is");
    assert!(matches!(&error, Error::UnknownMigration { id, .. } if id == "004"), "{error}");
    assert!(service.store.entries().is_empty());
}

#[test]
fn a_budget_that_ends_leaves_the_rest_of_what_was_asked_as_remaining_and_the_id_to_continue_with() {
    let service = filled_with(100, 40);
    let migrations = || vec![Migration::backfill("001", "", marking()), good("002"), good("003")];
    let first = run(&service.runner(migrations()), &Until::Steps(2)).unwrap();
    assert_eq!((first.remaining.clone(), first.beyond.clone()), (ids(&["001", "002"]), ids(&["003"])));
    let last = first.to.expect("the same number of steps could be others then");
    assert_eq!(last, "002");
    let mut reports = Vec::new();
    while reports.last().is_none_or(|report: &RunReport| !report.is_finished()) {
        service.clock.advance(Duration::from_secs(1));
        reports.push(run(&service.runner(migrations()), &to(&last)).unwrap());
    }
    assert!(reports.len() < 10, "{reports:?}");
    assert_eq!((marked(&service.store), service.text("done/003")), (100, None));
}

#[test]
fn a_few_entries_are_changed_and_no_more_and_the_next_run_goes_on_behind_them() {
    let service = filled(100);
    let migrations = || vec![Migration::backfill("001", "", marking()), good("002")];
    let runner = service.runner(migrations());
    let report = run(&runner, &Until::Entries(7)).unwrap();
    assert_eq!(marked(&service.store), 7);
    let entries = report.entries.expect("it says what it did");
    assert_eq!((entries.seen, entries.changed), (7, 7));
    assert!(report.is_finished() && report.retry_after.is_none(), "it is done: {report:?}");
    assert_eq!((report.ran, report.beyond), (ids(&[]), ids(&["001", "002"])));
    assert_eq!(block_on(runner.status()).unwrap()[0].state, State::Running, "its checkpoint is recorded");

    service.clock.advance(Duration::from_secs(1));
    let more = run(&runner, &Until::Entries(5)).unwrap();
    assert_eq!((marked(&service.store), more.entries.unwrap().changed), (12, 5), "those of this run alone");
    service.clock.advance(Duration::from_secs(1));
    let applied = block_on(runner.run_pending(&())).unwrap();
    assert_eq!(applied.ran, ids(&["001", "002"]));
    assert_eq!(applied.details[0].entries.unwrap().changed, 100);
    assert_eq!(applied.entries, None);
}

#[test]
fn a_few_entries_are_no_more_where_entries_are_taken_in_batches_or_are_skipped() {
    let batches = Backfill::in_batches("user_", 10, async |kv, records, ()| {
        for record in records {
            if record.key().name == "user_00003" {
                return Err("no".into());
            }
            kv.put(&record.key().name, [record.value(), b"+"].concat()).await?;
        }
        Ok(())
    });
    let failing = marking().skip_failures(5);
    for (what, backfill, entries) in [
        ("whole batches", Backfill::in_batches("user_", 10, async |_, _, ()| Ok(())), 25),
        ("a batch that fails", batches.skip_failures(1), 8),
        ("one by one", failing, 9),
    ] {
        let service = filled(100);
        let runner = service.runner(vec![Migration::backfill("001", "", backfill)]);
        let report = run(&runner, &Until::Entries(entries)).unwrap();
        let seen = report.entries.map(|counts| counts.seen);
        assert_eq!(seen, Some(entries), "{what}: {report:?}");
    }
}

#[test]
fn a_few_entries_can_be_all_that_there_are() {
    let service = filled(5);
    let runner = service.runner(vec![Migration::backfill("001", "", marking()), good("002")]);
    let report = run(&runner, &Until::Entries(9)).unwrap();
    assert_eq!((report.ran, report.beyond), (ids(&["001"]), ids(&["002"])));
    assert_eq!(report.entries.unwrap().changed, 5);
    assert_eq!(run(&service.runner(vec![]), &Until::Entries(1)).unwrap().ran, ids(&[]), "nothing is pending");
}

#[test]
fn a_small_budget_does_not_make_more_of_a_few_entries() {
    let service = filled_with(60, 20);
    let runner = service.runner(vec![Migration::backfill("001", "", marking())]);
    let report = run(&runner, &Until::Entries(50)).unwrap();
    let changed = report.entries.unwrap().changed;
    assert!((1..50).contains(&changed), "as far as the budget goes: {report:?}");
    assert!(report.is_finished() && report.remaining.is_empty(), "{report:?}");
    assert_eq!(marked(&service.store) as u64, changed);
}

#[test]
fn a_few_entries_of_a_fold_a_rekey_or_a_closure_cannot_be_made() {
    let fold = Fold::new("user_", || 0_u64, |_, _, ()| Ok(()), |_, ()| Ok(Vec::<FoldOutput>::new()));
    for migration in [
        good("001"),
        Migration::fold("001", "", fold),
        Migration::rekey("001", "", Rekey::new("user_", |key| Some(key.name.replace("user_", "u:")))),
    ] {
        let service = filled(3);
        let before = service.store.entries();
        let error =
            run(&service.runner(vec![migration]), &Until::Entries(1)).expect_err("it has no such part");
        assert!(matches!(&error, Error::NotABackfill { id, .. } if id == "001"), "{error}");
        assert_eq!(service.store.entries(), before, "nothing was changed");
    }
}

#[test]
fn an_entry_that_fails_fails_a_run_of_a_few_entries_like_any_other() {
    let service = filled(3);
    let boom = Backfill::new("user_", async |_, _, ()| Err("boom".into()));
    let failed =
        failure(run(&service.runner(vec![Migration::backfill("001", "", boom)]), &Until::Entries(2)));
    assert!(failed.reason.contains("boom"), "{failed:?}");
}
