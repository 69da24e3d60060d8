//! Backfills and folds come to an end: beside a service that adds entries, and when their own closure writes under their
//! prefix.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::executor::block_on;
use kv_migrations::kv::MemoryStore;
use kv_migrations::{Backfill, Fold, FoldOutput, Migration, RunReport};

use crate::service::{InitialEntry, Service, failure};

/// Users whose names begin with all letters, from `user_a0000` on.
fn from_a_to_z(number: usize) -> Vec<InitialEntry> {
    let letters = ('a'..='z').cycle();
    letters.zip(0..number).map(|(letter, n)| InitialEntry::new(format!("user_{letter}{n:04}"), "x")).collect()
}

/// The key of an entry in the second version of a service.
fn second_version(name: &str) -> String {
    format!("user_v2_{}", name.trim_start_matches("user_"))
}

fn number_of(service: &Service, prefix: &str) -> usize {
    service.store.entries().iter().filter(|(key, _)| key.name.starts_with(prefix)).count()
}

#[test]
fn a_backfill_that_copies_entries_to_new_keys_of_its_prefix_fails_at_once_and_names_rekey() {
    for number in [50, 5_000] {
        let service = Service::holding(&from_a_to_z(number), 900);
        let copying = Backfill::new("user_", async |kv, record, ()| {
            Ok(kv.put(&second_version(record.name()), record.value()).await?)
        });
        let migration = Migration::backfill("001", "", copying.skip_failures(1_000).apply_despite_failures());
        let result = block_on(service.runner(vec![migration]).run_pending(&()));
        assert!(result.is_err(), "{number} entries: it would feed itself, and the run said {result:?}");
        let reason = failure(result).reason;
        assert!(
            reason.starts_with("at the entry `user_a0000`: KV put of `user_v2_a0000` failed: "),
            "{reason}"
        );
        assert!(reason.contains("`Rekey`") && reason.contains("allow_writes_ahead"), "{reason}");
        assert_eq!(number_of(&service, "user_"), number, "nothing was written");
    }
}

#[test]
fn a_write_ahead_whose_error_the_closure_hides_fails_all_the_same() {
    let service = Service::holding(&from_a_to_z(50), 900);
    let hiding = Backfill::new("user_", async |kv, record, ()| {
        let _ = kv.put(&second_version(record.name()), record.value()).await;
        Ok(())
    });
    let result = block_on(service.runner(vec![Migration::backfill("001", "", hiding)]).run_pending(&()));
    assert!(result.is_err(), "what it wrote is not there, and the run said {result:?}");
    assert!(failure(result).reason.contains("`Rekey`"));
}

#[test]
fn writes_ahead_that_are_meant_are_made() {
    for number in [50, 5_000] {
        let service = Service::holding(&from_a_to_z(number), 900);
        let copying = Backfill::new("user_", async |kv, record, ()| {
            if record.name().starts_with("user_v2_") {
                return Ok(());
            }
            Ok(kv.put(&second_version(record.name()), record.value()).await?)
        });
        let migration = Migration::backfill("001", "", copying.allow_writes_ahead());
        service.drive(&service.runner_on(service.store.clone(), vec![migration])).unwrap();
        assert_eq!(number_of(&service, "user_v2_"), number);
        assert_eq!(number_of(&service, "user_v2_v2_"), 0);
    }
}

#[test]
fn writes_that_no_entry_follows_from_are_made() {
    let service = Service::holding(&from_a_to_z(5), 900);
    let archive = MemoryStore::new();
    let (other, name) = (archive.clone(), "user_v2");
    let backfill = Backfill::new("user_", async move |kv, record, ()| {
        record.put("itself").await?;
        kv.put("user_", "before its entry").await?;
        kv.put("customer_1", "under another prefix").await?;
        kv.delete("user_e0004x").await?;
        Ok(kv.with_store(other.clone()).put(name, "in another namespace").await?)
    });
    service.migrate(vec![Migration::backfill("001", "", backfill)]);
    assert!(archive.value(name).is_some() && service.text("customer_1").is_some());
    assert_eq!(service.text("user_").as_deref(), Some("before its entry"));
}

/// The progress of all reports.
fn assert_within_total(reports: &[RunReport]) {
    for progress in reports.iter().filter_map(|report| report.progress.as_deref()) {
        let total = progress.total.unwrap_or(u64::MAX);
        assert!(progress.done <= total, "{} of {total} entries are done", progress.done);
    }
}

#[test]
fn a_service_that_appends_does_not_keep_a_backfill_going() {
    let service = Service::holding(&from_a_to_z(200), 60);
    let (store, number) = (service.store.clone(), AtomicU64::new(0));
    let backfill = Backfill::new("user_", async move |_, record, ()| {
        for _ in 0..2 {
            store.insert(&format!("user_z_{:06}", number.fetch_add(1, Ordering::Relaxed)), "of new code");
        }
        Ok(record.put("done").await?)
    });
    let migration = Migration::backfill("001", "", backfill);
    let reports = service.drive(&service.runner_on(service.store.clone(), vec![migration])).unwrap();
    assert!(reports.len() < 12, "{} requests for 200 entries", reports.len());
    assert_within_total(&reports);
    let changed = service.store.entries().into_iter().filter(|(_, value)| value == b"done").count();
    assert_eq!(changed, 200, "those that were there when it began");
}

#[test]
fn a_service_that_inserts_entries_sees_them_changed_and_the_progress_within_its_total() {
    let service = Service::holding(&from_a_to_z(200), 60);
    let store = service.store.clone();
    let backfill = Backfill::new("user_", async move |_, record, ()| {
        if record.value() == b"x" {
            store.insert(&format!("user_y_{}", record.name()), "of old code");
        }
        Ok(record.put("done").await?)
    });
    let migration = Migration::backfill("001", "", backfill.read_singly());
    let reports = service.drive(&service.runner_on(service.store.clone(), vec![migration])).unwrap();
    assert_within_total(&reports);
    let changed = service.store.entries().into_iter().filter(|(_, value)| value == b"done").count();
    assert!(changed > 300, "{changed} entries are changed, and most of 200 more came before its end");
}

#[test]
fn a_service_that_appends_does_not_keep_a_fold_going() {
    let service = Service::holding(&from_a_to_z(200), 6);
    let (store, number) = (service.store.clone(), Arc::new(AtomicU64::new(0)));
    let count = Fold::new(
        "user_",
        || 0_u64,
        move |count: &mut u64, _, ()| {
            *count += 1;
            for _ in 0..2 {
                store.insert(&format!("user_z_{:06}", number.fetch_add(1, Ordering::Relaxed)), "of new code");
            }
            Ok(())
        },
        |count, ()| Ok(vec![FoldOutput::json("count", count)?]),
    );
    let store = crate::stores::ShortPages(service.store.clone(), 7);
    let reports = service.drive(&service.runner_on(store, vec![Migration::fold("001", "", count)])).unwrap();
    assert_within_total(&reports);
    assert_eq!(service.text("count").as_deref(), Some("200"));
}

#[test]
fn a_backfill_of_nothing_ends() {
    let service = Service::new();
    let backfill = Backfill::new("user_", async |_, _, ()| Err("there is no entry".into()));
    let report =
        block_on(service.runner(vec![Migration::backfill("001", "", backfill)]).run_pending(&())).unwrap();
    assert!(report.is_finished(), "{report:?}");
}
