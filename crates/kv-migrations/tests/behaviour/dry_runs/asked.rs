//! What a dry run is asked for, and what it tells beside the changes.

use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use kv_migrations::kv::MemoryStore;
use kv_migrations::{Backfill, DryRun, DryRunEntry, DryRunMigration, Error, Migration, Rekey};

use super::{all, dry_run, kinds, only, plain, users};
use crate::service::{Service, good};

#[test]
fn values_are_shown_only_if_they_are_asked_for() {
    let service = Service::holding(&users(3), 900);
    for (options, has_values) in [(DryRun::new(), false), (DryRun::new().with_values(), true)] {
        let report = dry_run(&service.runner(kinds(&[1])), &options);
        let shows = |entry: &Option<DryRunEntry>| entry.as_ref().is_some_and(|entry| entry.value.is_some());
        let migration = only(&report);
        assert!(!migration.changes.is_empty());
        assert!(migration.changes.iter().any(|change| shows(&change.before)) == has_values, "{migration:#?}");
        assert!(migration.changes.iter().any(|change| shows(&change.after)) == has_values, "{migration:#?}");
    }
    let shown = dry_run(&service.runner(kinds(&[1])), &DryRun::new().showing(2));
    assert_eq!((only(&shown).changes.len(), only(&shown).more_changes), (2, 1));
}

#[test]
fn a_sample_takes_the_first_entries_of_each_long_migration() {
    let service = Service::holding(&users(2_500), 20_000);
    let report = dry_run(&service.runner(kinds(&[1, 3])), &all().with_entries(7));
    assert!(report.complete, "{report:#?}");
    let seen: Vec<_> =
        report.migrations.iter().map(|migration| migration.entries.map(|entries| entries.seen)).collect();
    assert_eq!(seen[0], Some(7));
    assert!(report.migrations[1].writes <= 7 && report.migrations[1].writes > 0, "{report:#?}");
    assert!(report.operations_sent < 60, "{}", report.operations_sent);
    let listed =
        only(&dry_run(&service.runner(vec![plain()]), &all().with_entries(7))).changes.last().cloned();
    let value = listed.and_then(|listed| listed.after?.value);
    assert_eq!(value.as_deref(), Some("2502"), "a closure lists everything");
}

#[test]
fn a_dry_run_goes_as_far_as_it_is_asked_to() {
    let service = Service::new();
    service.migrate(vec![good("001")]);
    let runner = service.runner(vec![good("001"), good("002"), good("003"), good("004")]);
    let ran = |options: &DryRun| {
        let report = dry_run(&runner, options);
        assert!(report.complete && report.remaining.is_empty(), "{report:#?}");
        report.migrations.into_iter().map(|migration| migration.id).collect::<Vec<_>>()
    };
    assert_eq!(ran(&DryRun::new()), ["002", "003", "004"]);
    assert_eq!(ran(&DryRun::new().to("003")), ["002", "003"]);
    assert_eq!(ran(&DryRun::new().steps(1)), ["002"]);
    assert_eq!(ran(&DryRun::new().steps(9)), ["002", "003", "004"]);
    assert_eq!(ran(&DryRun::new().only("003")), ["003"]);
    assert!(ran(&DryRun::new().only("001")).is_empty(), "it is applied");
    for options in [DryRun::new().to("009"), DryRun::new().only("009")] {
        let error = block_on(runner.dry_run(&options, &())).expect_err("it is not registered");
        assert!(matches!(error, Error::UnknownMigration { .. }), "{error}");
    }
}

#[test]
fn a_migration_knows_that_it_is_a_dry_run() {
    let service = Service::holding(&users(2), 900);
    let told = Arc::new(Mutex::new(Vec::new()));
    let migrations = || {
        let (plain, each) = (told.clone(), told.clone());
        let elsewhere = MemoryStore::new();
        let noted = Backfill::new("user_", async move |kv, _, (): &()| {
            each.lock().unwrap().push(kv.is_dry_run());
            Ok(())
        });
        vec![
            Migration::new("plain", "", async move |kv, (): &()| {
                plain.lock().unwrap().push(kv.with_store(elsewhere.clone()).is_dry_run());
                Ok(())
            }),
            Migration::backfill("each", "", noted),
        ]
    };
    dry_run(&service.runner(migrations()), &DryRun::new());
    assert_eq!(std::mem::take(&mut *told.lock().unwrap()), [true; 3]);
    service.migrate(migrations());
    assert_eq!(*told.lock().unwrap(), [false; 3]);
}

#[test]
fn other_namespaces_are_not_written_to_either() {
    let service = Service::new();
    let old = service.elsewhere(&users(5));
    let store = old.store.clone();
    let migrations = || {
        let store = store.clone();
        let all = Rekey::prefix("user_", "user_").in_namespace(store.clone());
        let flag = Migration::new("flag", "", async move |kv, (): &()| {
            kv.with_store(store.clone()).put("moved", "yes").await?;
            Ok(())
        });
        vec![Migration::rekey("all", "", all), flag]
    };
    let before = (service.store.entries(), old.store.entries());
    let report = dry_run(&service.runner(migrations()), &DryRun::new());
    assert_eq!((service.store.entries(), old.store.entries()), before);
    let [all, flag] = &report.migrations[..] else { panic!("{report:#?}") };
    let elsewhere = |migration: &DryRunMigration| {
        let changes = migration.changes.iter().filter(|change| change.elsewhere);
        changes.map(|change| change.operation.clone()).collect::<Vec<_>>()
    };
    assert_eq!((all.writes, all.deletes, elsewhere(all)), (5, 5, vec!["delete".to_owned(); 5]));
    assert_eq!(elsewhere(flag), ["put"]);
}

#[test]
fn a_ledger_that_is_newer_than_the_markers_counts() {
    let service = Service::new();
    let migrations = || vec![good("001"), good("002"), good("003")];
    let stale = service.runner(migrations());
    let ahead = Service::new();
    ahead.migrate(vec![good("001"), good("002")]);
    let known = block_on(ahead.runner(migrations()).status()).unwrap();
    let report = dry_run(&stale, &DryRun::new().with_ledger(known));
    assert_eq!(report.migrations.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["003"]);
    assert_eq!(report.in_progress, None);
    // And one that was rolled back since.
    let pending = block_on(stale.status()).unwrap();
    let report = dry_run(&ahead.runner(migrations()), &DryRun::new().with_ledger(pending));
    assert_eq!(report.migrations.len(), 3);
}

#[test]
fn a_dry_run_needs_no_lock_and_says_that_a_run_is_in_progress() {
    let service = Service::new();
    let told = Arc::new(Mutex::new(None));
    let (inner, lock) = (told.clone(), kv_migrations::RunLock::new());
    let beside = service.runner(vec![good("001"), good("002")]).with_lock(lock.clone());
    let running = Migration::new("001", "", async move |_, (): &()| {
        *inner.lock().unwrap() = Some(beside.dry_run(&DryRun::new(), &()).await?);
        Ok(())
    });
    block_on(service.runner(vec![running]).with_lock(lock).run_pending(&())).unwrap();
    let report = told.lock().unwrap().take().expect("it was made");
    assert_eq!(report.in_progress.as_deref(), Some("001"));
    assert_eq!(report.migrations.len(), 2);
}
