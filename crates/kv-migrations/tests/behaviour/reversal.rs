//! A migration that changes its direction half-way: a checkpoint of one direction is no place to continue in the other.

use futures::executor::block_on;
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{BoxError, Direction, Fold, FoldOutput, Migration, State};

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
    let status = block_on(runner.status()).unwrap().remove(0);
    assert_eq!((status.state, status.error.as_deref()), (State::Failed, Some("boom")));
    service.migrate(make());
    assert_eq!(marked(&service.store), 1_200);
}

/// Its checkpoint says that the migration goes the other way from now on.
#[test]
fn the_progress_of_a_plain_down_of_an_unfinished_backfill_says_when_its_checkpoint_was_written() {
    let service = filled(1_200);
    let down = async |_: &kv_migrations::kv::Kv, (): &()| Err(BoxError::from("boom"));
    let runner = service.runner(vec![Migration::backfill("001", "", marking()).with_down(down)]);
    assert!(!block_on(runner.run_pending(&())).unwrap().is_finished());
    let progress = failure(block_on(runner.rollback("001", &()))).report.progress.expect("it has begun");
    assert_eq!(progress.direction, Direction::Down);
    assert_ne!(progress.checkpoint_at, "", "it was written before the `down` began");
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

#[test]
fn a_half_done_rollback_whose_metadata_is_lost_is_still_a_rollback() {
    for is_rolled_back in [true, false] {
        let service = filled(1_000);
        let make = || vec![Migration::backfill("001", "", marking()).with_down_backfill(unmarking())];
        service.migrate(make());
        let runner = service.runner(make());
        assert!(!block_on(runner.rollback("001", &())).unwrap().is_finished());
        let half = marked(&service.store);
        assert!((1..1_000).contains(&half), "{half} are still marked");
        // A tool that writes values only.
        let checkpoint = service.store.value("migration_my-service_001").unwrap();
        service.put("migration_my-service_001", &checkpoint, None);

        let status = block_on(runner.status()).unwrap().remove(0);
        assert_eq!((status.state, status.run), (State::Running, false));
        if is_rolled_back {
            let before = service.store.operations();
            while !block_on(runner.rollback("001", &())).unwrap().is_finished() {}
            assert_eq!(marked(&service.store), 0);
            let needed = service.store.operations() - before;
            assert!(needed < 900, "it resumes where it stopped: {needed} operations");
        } else {
            service.migrate(make());
            assert_eq!(marked(&service.store), 1_000, "every entry is changed again");
        }
    }
}

#[test]
fn a_half_done_backfill_whose_metadata_is_lost_resumes() {
    let service = filled(1_500);
    let runner = service.runner(vec![Migration::backfill("001", "", marking())]);
    assert!(!service.request(&runner).unwrap().is_finished());
    let checkpoint = service.store.value("migration_my-service_001").unwrap();
    service.put("migration_my-service_001", &checkpoint, Some(r#"{"color":"red"}"#));
    let report = service.request(&runner).unwrap();
    assert!(report.is_finished());
    assert!(report.operations < 900, "it resumes where it stopped: {}", report.operations);
    assert_eq!(marked(&service.store), 1_500);
}
