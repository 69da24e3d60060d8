//! A checkpoint that a person or a tool has changed is refused: a migration does not go on from a state that it never had.

use futures::executor::block_on;
use kv_migrations::{Fold, FoldOutput, Migration, Rekey};
use proptest::prelude::*;

use crate::service::{InitialEntry, Service, failure, marking};

const MARKER: &str = "migration_my-service_long";

fn backfill() -> Migration {
    Migration::backfill("long", "", marking())
}

fn fold() -> Migration {
    let count = |count: &mut u64, _: &_, (): &()| {
        *count += 1;
        Ok(())
    };
    let fold = Fold::new("user_", u64::default, count, |count, ()| {
        Ok((0..60).map(|n| FoldOutput::new(format!("count_{n}"), count.to_string())).collect())
    });
    Migration::fold("long", "", fold)
}

fn rekey() -> Migration {
    Migration::rekey("long", "", Rekey::prefix("user_", "user:"))
}

const MIGRATIONS: [fn() -> Migration; 3] = [backfill, fold, rekey];

/// A service in the middle of the migration, and the checkpoint.
fn under_way(make: fn() -> Migration) -> (Service, Vec<u8>) {
    let users: Vec<InitialEntry> =
        (0..60).map(|n| InitialEntry::new(format!("user_{n:02}"), format!("Zoë {n}"))).collect();
    let service = Service::holding(&users, 30);
    assert!(!service.request(&service.runner(vec![make()])).expect("it succeeds").is_finished());
    let checkpoint = service.store.value(MARKER).expect("it is under way");
    (service, checkpoint)
}

/// Has the migration resume from this value, which it must refuse.
fn assert_refused(service: &Service, make: fn() -> Migration, damaged: &[u8]) {
    let before = service.store.entries();
    let metadata = service.marker("long").expect("it has metadata");
    service.put(MARKER, damaged, Some(&metadata));
    let failed = failure(block_on(service.runner(vec![make()]).run_pending(&())));
    assert!(failed.reason.starts_with("cannot read its checkpoint"), "{failed}");
    assert!(failed.reason.ends_with("reset it to start over: POST /migrations/long/reset"), "{failed}");
    assert_eq!(service.store.value(MARKER).as_deref(), Some(damaged), "it can still be looked at");
    let of_data = |entries: Vec<(kv_migrations::kv::Key, Vec<u8>)>| {
        entries.into_iter().filter(|(key, _)| key.name != MARKER).collect::<Vec<_>>()
    };
    assert_eq!(of_data(service.store.entries()), of_data(before), "nothing is changed");
}

/// Without its first line it is no checkpoint at all, and with nothing but that line it has no state: the migration starts
/// over.
#[test]
fn a_checkpoint_that_is_cut_anywhere_behind_its_first_line_is_refused() {
    for make in MIGRATIONS {
        let (service, checkpoint) = under_way(make);
        let start = 1 + checkpoint.iter().position(|byte| *byte == b'\n').expect("it has a first line");
        for length in start + 1..checkpoint.len() {
            assert_refused(&service, make, &checkpoint[..length]);
        }
    }
}

#[test]
fn a_checkpoint_that_is_longer_than_it_was_is_refused() {
    for make in MIGRATIONS {
        let (service, checkpoint) = under_way(make);
        for more in ["\n", "\0", "more"] {
            assert_refused(&service, make, &[&checkpoint, more.as_bytes()].concat());
        }
    }
}

/// A tool that copies a namespace as text replaces what is no text.
#[test]
fn a_checkpoint_that_was_copied_as_text_is_refused() {
    let (service, checkpoint) = under_way(rekey);
    let copied = String::from_utf8_lossy(&checkpoint).into_owned();
    assert_ne!(copied.as_bytes(), checkpoint, "the hashes in it are no text");
    assert_refused(&service, rekey, copied.as_bytes());
}

#[test]
fn a_checkpoint_of_another_kind_of_migration_is_refused() {
    for (number, make) in MIGRATIONS.into_iter().enumerate() {
        let (service, _) = under_way(make);
        for other in MIGRATIONS.into_iter().skip(number + 1) {
            let (_, checkpoint) = under_way(other);
            assert_refused(&service, make, &checkpoint);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_checkpoint_with_any_other_bytes_is_refused(
        kind in 0..MIGRATIONS.len(),
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 1..12),
    ) {
        let make = MIGRATIONS[kind];
        let (service, checkpoint) = under_way(make);
        let start = 1 + checkpoint.iter().position(|byte| *byte == b'\n').expect("it has a first line");
        let mut damaged = checkpoint.clone();
        let at = start + at.index(checkpoint.len() - start);
        damaged.splice(at..checkpoint.len().min(at + bytes.len()), bytes);
        if damaged != checkpoint {
            assert_refused(&service, make, &damaged);
        }
    }
}
