//! What a migration passed over is not told only once: its marker, the status and the history keep it.

use futures::executor::block_on;
use kv_migrations::coordinator::{Caller, Coordinator};
use kv_migrations::kv::MemoryStore;
use kv_migrations::{Backfill, BoxError, Budget, Collisions, Migration, Rekey};

use crate::object::Object;
use crate::service::{Service, good, ids, marking, quiet};

/// Marks every user, except those that are `bad`.
fn skipping(id: &'static str, prefix: &'static str) -> Migration {
    let each = Backfill::new(prefix, async |_, record, ()| match record.value() {
        b"bad" => Err(BoxError::from("boom")),
        value => Ok(record.put([value, b"+"].concat()).await?),
    });
    let each = each.skip_failures(1_000).apply_despite_failures();
    Migration::backfill(id, "", each).with_down(async |_, ()| Ok(()))
}

fn insert(store: &MemoryStore, prefix: &str, count: usize, value: &str) {
    for number in 0..count {
        store.insert(&format!("{prefix}{number:04}"), value);
    }
}

#[test]
fn the_status_shows_what_was_skipped_until_the_migration_is_rolled_back() {
    let service = Service::new();
    insert(&service.store, "user_", 3, "bad");
    insert(&service.store, "user_good", 3, "x");
    let runner = service.runner(vec![skipping("001", "user_")]);
    service.drive(&runner).expect("they are skipped");

    for _ in 0..2 {
        let status = &block_on(runner.status()).unwrap()[0];
        assert_eq!((status.run, status.failed), (true, 3));
        assert_eq!(status.failed_keys, ["user_0000", "user_0001", "user_0002"]);
        assert_eq!(
            block_on(runner.run_pending(&())).unwrap().skipped,
            ids(&["001"]),
            "a run changes nothing"
        );
    }
    block_on(runner.rollback("001", &())).unwrap();
    assert_eq!(block_on(runner.status()).unwrap()[0].failed, 0);

    insert(&service.store, "user_", 2, "mended");
    service.drive(&runner).expect("one is skipped");
    let status = &block_on(runner.status()).unwrap()[0];
    assert_eq!(
        (status.failed, &status.failed_keys[..]),
        (1, &ids(&["user_0002"])[..]),
        "it was applied again"
    );
}

#[test]
fn a_rekey_shows_what_it_left_at_old_keys() {
    let service = Service::new();
    insert(&service.store, "user_", 3, "x");
    service.store.insert("user:0001", "another value");
    let rekey = Rekey::prefix("user_", "user:").with_collisions(Collisions::Skip);
    let runner = service.runner(vec![Migration::rekey("001", "", rekey)]);
    service.drive(&runner).expect("one stays");
    let status = &block_on(runner.status()).unwrap()[0];
    assert_eq!((status.failed, &status.failed_keys[..]), (1, &ids(&["user_0001"])[..]));
}

#[test]
fn a_marker_has_the_total_and_as_many_keys_as_fit() {
    let service = Service::new();
    insert(&service.store, &format!("user_{}_", "ü".repeat(100)), 1_000, "bad");
    let runner = service.runner(vec![skipping("001", "user_")]);
    let mut reports = service.drive(&runner).expect("they are skipped");
    let report = reports.pop().expect("there was one request");
    assert_eq!(report.details[0].failed_entries.len(), 1_000, "the report lists all");

    let metadata = service.marker("001").expect("it is applied");
    assert!(metadata.len() <= 1_024, "{metadata}");
    assert!(metadata.starts_with(r#"{"runAt":"2026-"#), "as the TypeScript runner reads it: {metadata}");
    assert!(metadata.contains(r#""prefix":"my-service""#), "{metadata}");
    let status = &block_on(runner.status()).unwrap()[0];
    assert_eq!(status.failed, 1_000);
    assert!((5..30).contains(&status.failed_keys.len()), "{:?}", status.failed_keys);
    for key in &status.failed_keys {
        assert!(key.starts_with("user_ü") && key.ends_with('…') && key.len() <= 67, "it is cut: {key}");
    }
}

#[test]
fn the_status_shows_what_was_applied_out_of_order() {
    let service = Service::new();
    service.migrate(vec![quiet("002")]);
    service.migrate(vec![quiet("001"), quiet("002"), quiet("003")]);
    let status = block_on(service.runner(vec![quiet("001"), quiet("002"), quiet("003")]).status()).unwrap();
    let out_of_order: Vec<bool> = status.iter().map(|status| status.out_of_order).collect();
    assert_eq!(out_of_order, [true, false, false]);
}

fn run_to_end(object: &Object, coordinator: &Coordinator) {
    let caller = Caller::default().until_finished();
    object.serve(coordinator, coordinator.run_pending(&caller)).expect("it succeeds");
}

#[test]
fn with_a_coordinator_the_history_lists_what_was_skipped_up_to_a_thousand_in_all() {
    let object = Object { budget: Budget::default(), ..Object::new() };
    for prefix in ["a_", "b_"] {
        insert(&object.kv, prefix, 600, "bad");
    }
    run_to_end(&object, &object.instance(vec![skipping("001", "a_")]));
    let coordinator = object.instance(vec![skipping("001", "a_"), skipping("002", "b_")]);
    let history = coordinator.history().expect("it can be read");
    assert_eq!(history[0].details[0].failed_entries.len(), 600);
    assert_eq!(history[0].details[0].failed_entries[0].reason, "boom");
    assert_eq!(history[0].details[0].more_failed_entries, 0);

    run_to_end(&object, &coordinator);
    let history = coordinator.history().expect("it can be read");
    let kept: Vec<(usize, u64)> = history
        .iter()
        .map(|entry| (entry.details[0].failed_entries.len(), entry.details[0].more_failed_entries))
        .collect();
    assert_eq!(kept, [(600, 0), (400, 200)], "the newest are kept, and the others counted");
    assert_eq!(object.status(&coordinator, "001").failed, 600, "the marker has the total");
}

#[test]
fn with_a_coordinator_the_history_keeps_what_the_report_says() {
    let object = Object::new().with_users(100);
    run_to_end(&object, &object.instance(vec![quiet("002"), quiet("removed")]));
    object.migrate(&object.instance(vec![quiet("002"), crate::object::marking("half")])).expect("it begins");
    let next = object.instance(vec![quiet("001"), quiet("002")]);
    object.pass(&next, std::time::Duration::from_mins(15));
    let entry = &next.history().expect("it can be read")[0];
    assert_eq!(entry.ran, ids(&["001"]), "{entry:?}");
    assert_eq!(entry.out_of_order, ids(&["001"]));
    assert_eq!(entry.missing, ids(&["removed"]));
    assert_eq!(entry.unfinished, ids(&["half"]));
    assert!(object.status(&next, "001").out_of_order);
}

#[test]
fn with_a_coordinator_the_history_keeps_what_a_rollback_skipped() {
    let object = Object { budget: Budget::default(), ..Object::new() };
    insert(&object.kv, "user_", 3, "x");
    let back = Backfill::new("user_", async |_, _, ()| Err(BoxError::from("boom")));
    let back = back.skip_failures(10).apply_despite_failures();
    let migration = Migration::backfill("001", "", marking()).with_down_backfill(back);
    let coordinator = object.instance(vec![migration, good("002")]);
    run_to_end(&object, &coordinator);
    let caller = Caller::default().until_finished();
    object.serve(&coordinator, coordinator.rollback("001", &caller)).expect("all are skipped");
    let entry = &coordinator.history().expect("it can be read")[0];
    assert_eq!((entry.details[0].id.as_str(), entry.details[0].failed_entries.len()), ("001", 3));
}
