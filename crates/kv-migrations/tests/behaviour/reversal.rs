//! A migration that changes its direction half-way: a checkpoint of one direction is no place to continue in the other.

use futures::executor::block_on;
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{BoxError, Fold, FoldOutput, Migration};

use crate::service::{Service, failure, filled, marked, marking, unmarking};

#[test]
fn a_backfill_after_a_failed_plain_down_covers_every_entry() {
    let service = filled(1_200);
    let make = || {
        vec![Migration::backfill("001", "", marking()).with_down(async |kv, ()| {
            for number in 0..50 {
                kv.put(&format!("user_{number:05}"), "x").await?;
            }
            Err(BoxError::from("boom"))
        })]
    };
    let runner = service.runner(make());
    assert!(!block_on(runner.run_pending(&())).unwrap().is_finished());
    let error = block_on(runner.rollback("001", &())).unwrap_err();
    assert!(failure(Err::<(), _>(error)).advice().contains("counts as not applied"));
    service.migrate(make());
    assert_eq!(marked(&service.store), 1_200);
}

#[test]
fn a_fold_after_a_failed_plain_down_writes_everything() {
    let service = Service::new();
    for number in 0..3_000 {
        service.store.insert(&format!("user_{number:05}"), format!("{number:05}"));
    }
    let make = || {
        let index = Fold::new(
            "user_",
            Vec::new,
            |all: &mut Vec<String>, record, ()| {
                all.push(record.text()?.to_owned());
                Ok(())
            },
            |all, ()| Ok(all.iter().map(|one| FoldOutput::new(format!("index_{one}"), "1")).collect()),
        );
        vec![Migration::fold("001", "", index).with_down(async |kv, ()| {
            let mut keys = kv.list("index_");
            while let Some(key) = keys.next().await? {
                kv.delete(&key.name).await?;
            }
            Ok(())
        })]
    };
    let runner = service.runner(make());
    for _ in 0..3 {
        assert!(!block_on(runner.run_pending(&())).unwrap().is_finished());
    }
    // The `down` needs more than 900 operations.
    block_on(runner.rollback("001", &())).unwrap_err();
    service.migrate(make());
    let index = service.store.entries().into_iter().filter(|(key, _)| key.name.starts_with("index_"));
    assert_eq!(index.count(), 3_000);
}

#[test]
fn a_rollback_covers_what_an_interrupted_up_changed() {
    let service = filled(1_000);
    let make = || vec![Migration::backfill("001", "", marking()).with_down_backfill(unmarking())];
    service.migrate(make());
    let runner = service.runner(make());
    assert!(!block_on(runner.rollback("001", &())).unwrap().is_finished());
    // A run in the other direction is cut off after 300 operations.
    let killed = service.runner_on(faulty(service.store.clone(), Fault::Crash(300)), make());
    block_on(killed.run_pending(&())).unwrap_err();
    // The rollback starts again.
    while !block_on(runner.rollback("001", &())).unwrap().is_finished() {}
    assert_eq!(marked(&service.store), 0);
}
