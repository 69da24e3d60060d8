//! How many entries a migration met, and what became of them: so that work on nothing does not pass for work.

use futures::executor::block_on;
use kv_migrations::kv::Key;
use kv_migrations::{
    Backfill, BoxError, Collisions, EntryCounts, Fold, FoldOutput, Migration, Rekey, RunReport,
};

use crate::object::{self, Object};
use crate::service::{InitialEntry, Service, filled, good, ids, marking, quiet, unmarking};

/// `[seen, changed, moved, left]`
fn counts(entries: Option<EntryCounts>) -> [u64; 4] {
    let EntryCounts { seen, changed, moved, left, .. } = entries.expect("it goes over entries");
    [seen, changed, moved, left]
}

/// The last report of a run of this migration, with everything that it applied.
fn run(service: &Service, migration: Migration) -> RunReport {
    let mut reports = service.drive(&service.runner(vec![migration])).expect("it succeeds");
    reports.pop().expect("there was one request")
}

fn marks() -> Migration {
    Migration::backfill("001", "", marking()).with_down_backfill(unmarking())
}

fn users(service: &Service, names: &[&str]) {
    for name in names {
        service.store.insert(&format!("user_{name}"), "x");
    }
}

#[test]
fn a_backfill_counts_what_it_saw_and_what_it_changed() {
    let service = filled(10);
    service.store.insert("user_00003", "x+");
    let report = run(&service, marks());
    assert_eq!(counts(report.details[0].entries), [10, 9, 0, 0]);
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
}

#[test]
fn the_counts_are_those_of_all_requests_and_stay_in_the_status_until_the_rollback() {
    let service = filled(2_000);
    let runner = service.runner(vec![marks()]);
    service.request(&runner).expect("it succeeds");
    let progress = block_on(runner.status()).unwrap()[0].progress.clone().expect("it is under way");
    assert_eq!(counts(Some(progress.entries)), [progress.done, progress.done, 0, 0]);
    let reports = service.drive(&runner).expect("it succeeds");
    assert_eq!(counts(reports.last().unwrap().details[0].entries), [2_000, 2_000, 0, 0]);
    assert_eq!(counts(block_on(runner.status()).unwrap()[0].entries), [2_000, 2_000, 0, 0]);

    let id = "001";
    let mut rollback = block_on(runner.rollback(id, &())).unwrap();
    while !rollback.is_finished() {
        service.clock.advance(rollback.retry_after.unwrap_or_default());
        rollback = block_on(runner.rollback(id, &())).unwrap();
    }
    assert_eq!(counts(rollback.entries), [2_000, 2_000, 0, 0]);
    assert_eq!(block_on(runner.status()).unwrap()[0].entries, None);
}

#[test]
fn a_backfill_counts_the_entries_that_it_skipped_as_left() {
    let service = Service::new();
    users(&service, &["a", "b", "bad", "c", "dull"]);
    let each = Backfill::new("user_", async |_, record, ()| match record.name() {
        "user_bad" => Err(BoxError::from("boom")),
        "user_dull" => Ok(()),
        _ => Ok(record.delete().await?),
    });
    let report =
        run(&service, Migration::backfill("001", "", each.skip_failures(5).apply_despite_failures()));
    assert_eq!(counts(report.details[0].entries), [5, 3, 0, 1]);
}

#[test]
fn a_fold_counts_what_it_saw_and_what_it_wrote() {
    let close = |count: &u64, (): &()| Ok(vec![FoldOutput::json("count", count)?]);
    let each = |count: &mut u64, _: &_, (): &()| {
        *count += 1;
        Ok(())
    };
    let fold = Fold::new("user_", || 0, each, close);
    let report = run(&filled(1_500), Migration::fold("001", "", fold));
    assert_eq!(counts(report.details[0].entries), [1_500, 1, 0, 0]);
}

#[test]
fn a_rekey_counts_what_it_moved_and_what_stays() {
    let service = Service::new();
    users(&service, &["a", "b", "taken", "stays"]);
    service.store.insert("user:taken", "another value");
    let mapping = |key: &Key| {
        let name = key.name.strip_prefix("user_")?;
        (name != "stays").then(|| format!("user:{name}"))
    };
    let rekey = Rekey::new("user_", mapping).with_collisions(Collisions::Skip);
    let report = run(&service, Migration::rekey("001", "", rekey));
    assert_eq!(counts(report.details[0].entries), [4, 0, 2, 2]);
    assert_eq!(report.details[0].failed_entries.len(), 1);
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
}

#[test]
fn a_mistyped_prefix_is_a_warning_in_the_report_and_in_the_log() {
    let service = filled(10);
    let mistyped = Backfill::new("usr_", async |_, record, ()| Ok(record.delete().await?));
    let report = run(&service, Migration::backfill("001", "", mistyped));
    assert_eq!(report.ran, ids(&["001"]), "it is applied: there may be nothing to do");
    assert_eq!(counts(report.details[0].entries), [0, 0, 0, 0]);
    let [warning] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
    assert!(warning.starts_with("Migration 001 is applied, but found no entry."), "{warning}");
    assert!(service.log.lines().iter().any(|line| line.contains(warning)), "{:?}", service.log.lines());
}

#[test]
fn a_mapping_that_moves_nothing_is_a_warning() {
    let service = filled(10);
    let rekey = Rekey::new("user_", |key| key.name.strip_prefix("usr_").map(|name| format!("user:{name}")));
    let report = run(&service, Migration::rekey("001", "", rekey));
    assert_eq!(counts(report.details[0].entries), [10, 0, 0, 10]);
    let [warning] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
    assert!(warning.contains("left all of the 10 entries that it found"), "{warning}");
}

#[test]
fn entries_that_need_no_change_are_no_warning_and_neither_is_a_migration_without_entries() {
    let service = Service::holding(&[InitialEntry::new("user_a", "x+")], 900);
    let report = run(&service, marks());
    assert_eq!(counts(report.details[0].entries), [1, 0, 0, 0]);
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    let report = run(&Service::new(), good("001"));
    assert_eq!((report.details[0].entries, report.warnings.len()), (None, 0));
    assert_eq!(block_on(Service::new().runner(vec![quiet("001")]).status()).unwrap()[0].entries, None);
}

#[test]
fn a_coordinator_counts_over_all_steps_and_keeps_it_in_the_history() {
    let object = Object::new().with_users(100);
    let nothing = Backfill::new("usr_", async |_, record, ()| Ok(record.delete().await?));
    let migrations = vec![object::marking("001"), Migration::backfill("002", "", nothing), good("003")];
    let coordinator = object.instance(migrations);
    let caller = kv_migrations::coordinator::Caller::default().until_finished();
    let report = object.serve(&coordinator, coordinator.run_pending(&caller)).expect("nothing fails");
    assert_eq!(counts(report.details[0].entries), [100, 100, 0, 0]);
    let [warning] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
    assert!(warning.contains("Migration 002"), "{warning}");

    let history = coordinator.history().expect("it can be read");
    assert_eq!(history[0].warnings, report.warnings, "also for who did not listen");
    let ids: Vec<&str> = history[0].details.iter().map(|applied| applied.id.as_str()).collect();
    assert_eq!(ids, ["001", "002"], "003 goes over no entries");
    assert_eq!(counts(history[0].details[0].entries), [100, 100, 0, 0]);
    assert_eq!(counts(object.status(&coordinator, "001").entries), [100, 100, 0, 0]);
}
