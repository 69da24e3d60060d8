//! A backfill, a fold and a re-key are cut off at every single KV operation, carried on, and end as if nothing had
//! happened.

use std::collections::BTreeMap;

use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Backfill, Fold, FoldOutput, Migration, Rekey};
use proptest::prelude::*;

use crate::stores::{Flaky, ShortPages};
use crate::world::{Seed, World};

type MakeMigration = fn() -> Migration;

/// Adds a mark to each value, once. As idempotent as the guide asks for.
fn backfill() -> Migration {
    let mark = Backfill::new("user_", async |_, record, ()| {
        if record.value().ends_with(b"+") {
            return Ok(());
        }
        Ok(record.put([record.value(), b"+"].concat()).await?)
    });
    let unmark = Backfill::new("user_", async |_, record, ()| match record.value().strip_suffix(b"+") {
        Some(value) => Ok(record.put(value).await?),
        None => Ok(()),
    });
    Migration::backfill("long", "Marks every user", mark.count_entries()).with_down_backfill(unmark)
}

/// How many entries there are for each length of their values, and their lengths together.
fn fold() -> Migration {
    let lengths = Fold::new(
        "user_",
        BTreeMap::new,
        |lengths: &mut BTreeMap<usize, Vec<String>>, record, ()| {
            lengths.entry(record.value().len()).or_default().push(record.name().to_owned());
            Ok(())
        },
        |lengths, ()| {
            let index =
                lengths.iter().map(|(length, keys)| FoldOutput::json(format!("length_{length:03}"), keys));
            index.chain([Ok(FoldOutput::new("lengths", lengths.len().to_string()))]).collect()
        },
    );
    Migration::fold("long", "Indexes users by length", lengths)
}

fn rekey() -> Migration {
    Migration::rekey("long", "user_… to user:…", Rekey::prefix("user_", "user:"))
}

/// Without a way back, and with keys that stay.
fn one_way() -> Migration {
    let mapping = Rekey::new("user_", |key| {
        let rest = key.name.strip_prefix("user_")?;
        (!rest.starts_with("keep")).then(|| format!("user:{rest}"))
    });
    Migration::rekey("long", "user_… to user:…, but for some", mapping)
}

fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = (0..9).map(|number| Seed::new(format!("user_{number}"), [b'x'; 3])).collect();
    seeds.push(Seed { metadata: Some(r#"{"a":1}"#), ttl: Some(100_000), ..Seed::new("user_a", "text") });
    seeds.push(Seed { metadata: Some(r#""m""#), ..Seed::new("user_binary", [0xff, 0x00, 0xfe]) });
    seeds.push(Seed { ttl: Some(75), ..Seed::new("user_expires", "soon") });
    seeds.push(Seed::new("user_keep", "here"));
    seeds.push(Seed::new("user_mark", "\u{FEFF}begins with a mark"));
    seeds.push(Seed::new("user_ümläut", ""));
    seeds.push(Seed::new("users", "another thing"));
    seeds.push(Seed::new("user:older", "was there before"));
    seeds
}

/// Where it breaks off, seen from its first operation on; and how.
fn break_off_everywhere(make: MakeMigration, operations: u64) {
    let calm = World::of(&seeds(), operations);
    calm.drive(&calm.runner_on(calm.store.clone(), make())).expect("without a fault it succeeds");
    let needed = calm.store.operations();
    let expected = calm.outcome();

    for at in 0..=needed {
        for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
            let world = World::of(&seeds(), operations);
            let first = world.drive(&world.runner_on(faulty(world.store.clone(), fault), make()));
            if let Err(error) = first {
                assert!(error.to_string().contains("injected"), "{fault:?}: another error: {error}");
            }
            world
                .drive(&world.runner_on(world.store.clone(), make()))
                .unwrap_or_else(|error| panic!("{fault:?}: it cannot be carried on: {error}"));
            assert_eq!(world.outcome(), expected, "{fault:?}");
        }
    }
}

#[test]
fn a_backfill_that_breaks_off_anywhere() {
    break_off_everywhere(backfill, 900);
    break_off_everywhere(backfill, 12);
}

#[test]
fn a_fold_that_breaks_off_anywhere() {
    break_off_everywhere(fold, 900);
    break_off_everywhere(fold, 10);
}

#[test]
fn a_rekey_that_breaks_off_anywhere() {
    break_off_everywhere(rekey, 900);
    break_off_everywhere(rekey, 15);
}

#[test]
fn a_rekey_without_a_way_back_that_breaks_off_anywhere() {
    break_off_everywhere(one_way, 900);
    break_off_everywhere(one_way, 15);
}

fn roll_back_breaking_off_everywhere(make: MakeMigration) {
    let applied = || {
        let world = World::of(&seeds(), 15);
        world.drive(&world.runner_on(world.store.clone(), make())).expect("it is applied");
        world
    };
    let calm = applied();
    let before = calm.store.operations();
    calm.undo(&calm.runner_on(calm.store.clone(), make())).expect("it is rolled back");
    let needed = calm.store.operations() - before;
    let expected = calm.outcome();
    assert!(!expected.iter().any(|(key, _)| key.name.starts_with("migration_")), "the marker is gone");

    for at in 0..=needed {
        for fault in [Fault::Crash(at), Fault::AnswerLost(at)] {
            let world = applied();
            let first = world.undo(&world.runner_on(faulty(world.store.clone(), fault), make()));
            let runner = world.runner_on(world.store.clone(), make());
            // What was refused last may have been the deletion of the marker, which took effect.
            if first.is_err() && world.store.value("migration_sim_long").is_some() {
                world.undo(&runner).unwrap_or_else(|error| panic!("{fault:?}: not carried on: {error}"));
            }
            assert_eq!(world.outcome(), expected, "{fault:?}");
        }
    }
}

#[test]
fn a_rollback_of_a_backfill_that_breaks_off_anywhere() {
    roll_back_breaking_off_everywhere(backfill);
}

#[test]
fn a_rollback_of_a_rekey_that_breaks_off_anywhere() {
    roll_back_breaking_off_everywhere(rekey);
}

#[test]
fn a_rollback_restores_what_was_there() {
    for make in [backfill, rekey] {
        // Read in bulk, as a backfill does, a byte order mark is lost.
        let seeds: Vec<Seed> = seeds().into_iter().filter(|seed| seed.key != "user_mark").collect();
        let untouched = World::of(&seeds, 20);
        let world = World::of(&seeds, 20);
        let runner = world.runner_on(world.store.clone(), make());
        world.drive(&runner).expect("it is applied");
        world.undo(&runner).expect("it is rolled back");
        let mut expected = untouched.outcome();
        if make().description().contains("user:") {
            // The inverse takes everything back that has such a key.
            expected.retain(|(key, _)| key.name != "user:older");
            let mut outcome = world.outcome();
            outcome.retain(|(key, _)| key.name != "user_older");
            assert_eq!(outcome, expected);
        } else {
            assert_eq!(world.outcome(), expected);
        }
    }
}

fn keys() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "user_[a-c]{1,3}",
        3 => "user_[0-9]{1,3}",
        1 => Just("user___proto__".to_owned()),
        1 => "user_[äöü€𝄞]{1,4}",
        1 => Just(format!("user_{}", "k".repeat(507))),
        1 => "[a-z]{1,3}",
    ]
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => "[a-z]{0,5}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => Just(vec![b'v'; 3_000]),
    ]
}

fn some_seeds() -> impl Strategy<Value = Vec<Seed>> {
    let ttl = prop_oneof![3 => Just(None), 1 => (60_u64..400).prop_map(Some), 1 => Just(Some(1_000_000))];
    let metadata = prop_oneof![2 => Just(None), 1 => Just(Some(r#"{"b":[1,2]}"#)), 1 => Just(Some("null"))];
    let rest = (values(), metadata, ttl);
    proptest::collection::btree_map(keys(), rest, 0..40).prop_map(|seeds| {
        let seed = |(key, (value, metadata, ttl))| Seed { key, value, metadata, ttl };
        seeds.into_iter().map(seed).collect()
    })
}

/// Whether a key is among those that a bulk get leaves out: the re-key's prefix would hide them.
fn bare(seeds: Vec<Seed>) -> Vec<Seed> {
    let bare = |seed: Seed| match seed.key.strip_prefix("user_") {
        Some(rest) if !rest.is_empty() => Seed { key: rest.to_owned(), ..seed },
        _ => seed,
    };
    let seeds: BTreeMap<String, Seed> =
        seeds.into_iter().map(bare).map(|seed| (seed.key.clone(), seed)).collect();
    seeds.into_values().collect()
}

/// Every key there is, to where `1` and `__proto__` are keys of their own.
fn rekey_of_all() -> Migration {
    let there = |key: &kv_migrations::kv::Key| {
        let name = key.name.as_str();
        (!name.starts_with("moved/") && name.len() < 500).then(|| format!("moved/{name}"))
    };
    let back = |key: &kv_migrations::kv::Key| key.name.strip_prefix("moved/").map(str::to_owned);
    Migration::rekey("long", "… to moved/…", Rekey::new("", there).with_inverse("moved/", back))
}

fn backfill_of_all() -> Migration {
    let mark = Backfill::new("", async |_, record, ()| {
        if record.value().ends_with(b"+") {
            return Ok(());
        }
        Ok(record.put([record.value(), b"+"].concat()).await?)
    });
    Migration::backfill("long", "Marks everything", mark)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_entries_pages_budgets_and_faults(
        seeds in some_seeds(),
        which in 0_usize..6,
        page in 1_u32..30,
        operations in 45_u64..100,
        breaks in proptest::collection::vec(0_u64..120, 0..5),
        noise in any::<u64>(),
    ) {
        let all: [(MakeMigration, bool); 6] = [
            (backfill, false), (fold, false), (rekey, false), (one_way, false),
            (rekey_of_all, true), (backfill_of_all, true),
        ];
        let (make, is_bare) = all[which];
        let seeds = if is_bare { bare(seeds) } else { seeds };

        let calm = World::of(&seeds, 100_000);
        calm.drive(&calm.runner_on(calm.store.clone(), make())).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let expected = calm.outcome();

        let world = World::of(&seeds, operations);
        let store = || ShortPages(world.store.clone(), page);
        for at in breaks {
            let _ = world.drive(&world.runner_on(faulty(store(), Fault::Crash(at)), make()));
        }
        let runner = world.runner_on(Flaky::new(store(), noise), make());
        world.drive(&runner).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(world.outcome(), expected);
    }
}
