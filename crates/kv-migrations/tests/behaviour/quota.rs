//! The free plan's daily quotas are used up: nothing fails, and the next day continues.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::kv::{KvErrorKind, Store};
use kv_migrations::testing::daily_quota;
use kv_migrations::{Error, Fold, FoldOutput, Migration, Rekey, State};

use crate::service::{Service, filled, good, ids, marked, marking, unmarking};

/// The time from the start of a test to the next day.
const UNTIL_MIDNIGHT: u64 = 13 * 3_600 + 11 * 60 + 32;

/// The store of a service, which takes this many puts, deletes and lists a day.
fn limited(service: &Service, limit: u64) -> impl Store + use<> {
    daily_quota(service.store.clone(), Arc::new(service.clock.clone()), limit)
}

fn six_puts(id: &'static str) -> Migration {
    Migration::new(id, "", async |kv, ()| {
        for number in 1..=6 {
            kv.put(&format!("setting/{number}"), "on").clear_metadata().clear_expiration().await?;
        }
        Ok(())
    })
}

fn marking_users() -> Migration {
    Migration::backfill("long", "Marks every user", marking()).with_down_backfill(unmarking())
}

#[test]
fn a_migration_that_uses_up_the_quota_waits_for_the_next_day_and_has_not_failed() {
    let service = Service::new();
    let runner = service.runner_on(limited(&service, 7), vec![good("001"), six_puts("002"), good("003")]);
    let report = block_on(runner.run_pending(&())).expect("nothing is wrong with it");
    assert!(report.quota_exhausted, "{report:?}");
    assert_eq!((report.ran, report.remaining), (ids(&["001"]), ids(&["002", "003"])));
    assert_eq!(report.retry_after, Some(Duration::from_secs(UNTIL_MIDNIGHT)));
    let status = block_on(runner.status()).unwrap();
    assert_eq!((status[1].state, &status[1].error), (State::Pending, &None), "no failure is recorded");

    service.clock.advance(Duration::from_secs(UNTIL_MIDNIGHT));
    let report = block_on(runner.run_pending(&())).unwrap();
    assert_eq!((report.ran, report.quota_exhausted), (ids(&["002"]), true), "003 needs an eighth put");
    let reports = service.drive(&runner).unwrap();
    assert_eq!(reports.last().map(|report| &report.ran), Some(&ids(&["003"])));
}

#[test]
fn a_marker_that_is_over_the_quota_is_written_on_the_next_day() {
    let service = Service::new();
    let runner = service.runner_on(limited(&service, 6), vec![six_puts("001")]);
    let report = service.request(&runner).expect("nothing is wrong with it");
    assert!(report.quota_exhausted && report.ran.is_empty(), "it may not count as applied: {report:?}");
    assert_eq!(service.text("setting/6").as_deref(), Some("on"), "its `up` has run");
    let runner = service.runner_on(limited(&service, 7), vec![six_puts("001")]);
    assert_eq!(block_on(runner.run_pending(&())).unwrap().ran, ids(&["001"]));
}

#[test]
fn a_ledger_that_cannot_be_listed_says_when_it_can() {
    let service = Service::new();
    let runner = service.runner_on(limited(&service, 0), vec![good("001")]);
    let error = block_on(runner.run_pending(&())).expect_err("its ledger cannot be listed");
    let Error::Ledger(error) = error else { panic!("{error}") };
    assert!(matches!(error.kind(), KvErrorKind::QuotaExhausted { .. }), "{error}");
}

#[test]
fn a_backfill_continues_day_after_day_and_back() {
    let service = filled(300);
    let runner = service.runner_on(limited(&service, 70), vec![marking_users()]);
    let reports = service.drive(&runner).expect("nothing is wrong with it");
    let days = reports.iter().filter(|report| report.quota_exhausted).count();
    assert!((4..8).contains(&days), "300 entries at 70 puts a day: {days}");
    assert_eq!(marked(&service.store), 300);
    let exhausted = reports.iter().find(|report| report.quota_exhausted).unwrap();
    assert!(exhausted.progress.is_some(), "it says how far it is: {exhausted:?}");

    let first = block_on(runner.rollback("long", &())).unwrap();
    assert!(first.quota_exhausted && !first.is_finished(), "{first:?}");
    assert_eq!(block_on(runner.status()).unwrap()[0].error, None, "no failure is recorded");
    service.clock.advance(first.retry_after.unwrap());
    service.roll_back(&runner).expect("nothing is wrong with it");
    assert_eq!((marked(&service.store), service.marker("long")), (0, None));
}

#[test]
fn an_entry_that_hides_the_refusal_of_its_write_is_changed_on_the_next_day() {
    let service = filled(20);
    let marking = kv_migrations::Backfill::new("user_", async |_, record, ()| {
        let value = [record.value(), b"+"].concat();
        if !record.value().ends_with(b"+") && record.put(value).await.is_err() {
            return Err("the value could not be saved".into());
        }
        Ok(())
    })
    .skip_failures(1_000);
    let runner = service.runner_on(limited(&service, 8), vec![Migration::backfill("long", "", marking)]);
    let reports = service.drive(&runner).expect("nothing is wrong with it");
    assert_eq!(marked(&service.store), 20);
    assert!(reports.iter().all(|report| report.details.iter().all(|done| done.failed_entries.is_empty())));
}

#[test]
fn a_fold_and_a_rekey_continue_day_after_day() {
    let service = filled(100);
    let keys = Fold::new(
        "user_",
        Vec::new,
        |keys: &mut Vec<String>, record, ()| {
            keys.push(record.name().to_owned());
            Ok(())
        },
        |keys, ()| keys.iter().map(|key| Ok(FoldOutput::new(format!("seen/{key}"), "1"))).collect(),
    );
    let migrations =
        vec![Migration::fold("001", "", keys), Migration::rekey("002", "", Rekey::prefix("user_", "user:"))];
    let reports = service.drive(&service.runner_on(limited(&service, 40), migrations)).unwrap();
    // Each day ends without a checkpoint, so that the next one repeats what came after the last.
    let days = reports.iter().filter(|report| report.quota_exhausted).count();
    assert!((5..40).contains(&days), "300 writes at 40 a day: {days}");
    let count = |start: &str| {
        let entries = service.store.entries().into_iter();
        entries.filter(|(key, _)| key.name.starts_with(start)).count()
    };
    assert_eq!((count("seen/user_"), count("user:"), count("user_")), (100, 100, 0));
}
