//! A backfill, a fold and a re-key are cut off at every single KV operation and continued. The outcome is the same as
//! without a fault.

use std::collections::BTreeMap;

use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Backfill, Collisions, Fold, FoldOutput, Migration, Rekey};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::service::{InitialEntry, Service, marking, unmarking};
use crate::stores::{Flaky, ShortPages};

pub type MakeMigration = fn() -> Migration;

fn backfill() -> Migration {
    Migration::backfill("long", "Marks every user", marking()).with_down_backfill(unmarking())
}

/// Copies users in batches, and marks them.
fn batches() -> Migration {
    let copied = Backfill::in_batches("user_", 4, async |kv, records, ()| {
        for record in records {
            if record.value().ends_with(b"+") {
                continue;
            }
            let copy = record.name().replacen("user_", "copy_", 1);
            kv.put(&copy, record.value()).with_options_of(record.key()).await?;
            record.put([record.value(), b"+"].concat()).await?;
        }
        Ok(())
    });
    Migration::backfill("long", "Copies users", copied)
}

/// Counts up, once, in records of which it names one field.
fn typed() -> Migration {
    let counted = Backfill::typed("user_", async |_, _, user: &mut Counted, ()| {
        user.count = user.count.max(1);
        Ok(())
    });
    Migration::backfill("long", "Counts users", counted)
}

#[derive(Serialize, Deserialize)]
struct Counted {
    count: u64,
}

fn counted_entries() -> Vec<InitialEntry> {
    let number = |number: usize| {
        let value = format!(r#"{{"x": 1.50, "count": {}, "deep": {{"y": [] }} }}"#, number % 3);
        InitialEntry { metadata: Some("[7]"), ..InitialEntry::new(format!("user_{number}"), value) }
    };
    (0..12).map(number).collect()
}

/// The keys for each length of their values, and the number of lengths.
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

/// Without an inverse, and with keys that stay.
fn one_way() -> Migration {
    let mapping = Rekey::new("user_", |key| {
        let rest = key.name.strip_prefix("user_")?;
        (!rest.starts_with("keep")).then(|| format!("user:{rest}"))
    });
    Migration::rekey("long", "user_… to user:…, but for some", mapping)
}

/// The prefixes of the entries, not in the order of their bytes.
fn backfill_of_several() -> Migration {
    let mark = Backfill::new(["users", "user_", "user:"], async |_, record, ()| {
        if record.value().ends_with(b"+") {
            return Ok(());
        }
        Ok(record.put([record.value(), b"+"].concat()).await?)
    });
    Migration::backfill("long", "Marks everything", mark)
}

fn fold_of_several() -> Migration {
    let gather = Fold::new(
        ["users", "user_", "user:"],
        Vec::new,
        |seen: &mut Vec<String>, record, ()| {
            seen.push(record.name().to_owned());
            Ok(())
        },
        |seen, ()| Ok(vec![FoldOutput::json("seen", seen)?]),
    );
    Migration::fold("long", "Lists everything", gather)
}

fn rekey_of_several() -> Migration {
    let pairs = [("user_", "u:"), ("user:", "old/"), ("users", "all/")];
    Migration::rekey("long", "… to shorter keys", Rekey::prefixes(pairs))
}

fn copying() -> Migration {
    Migration::rekey("long", "user_… also at user:…", Rekey::prefix("user_", "user:").copying())
}

fn deleting() -> Migration {
    Migration::rekey("long", "no more user_…", Rekey::prefix("user_", "user:").deleting())
}

fn deleting_and_copying() -> Migration {
    let rekey = Rekey::prefix("user_", "user:").deleting().copying_missing();
    Migration::rekey("long", "no more user_…, and all at user:…", rekey)
}

/// All entries with both keys, but for one that has only its old key, and one that is newer under its new key.
fn copied_entries() -> Vec<InitialEntry> {
    let mut entries = entries();
    for entry in entries.clone() {
        if entry.key != "user_3" && entry.key.starts_with("user_") {
            let value = if entry.key == "user_5" { b"newer".to_vec() } else { entry.value };
            entries.push(InitialEntry { key: entry.key.replace("user_", "user:"), value, ..entry });
        }
    }
    entries
}

fn entries() -> Vec<InitialEntry> {
    let mut entries: Vec<InitialEntry> =
        (0..9).map(|number| InitialEntry::new(format!("user_{number}"), [b'x'; 3])).collect();
    entries.push(InitialEntry {
        metadata: Some(r#"{"a":1}"#),
        ttl: Some(100_000),
        ..InitialEntry::new("user_a", "text")
    });
    entries.push(InitialEntry {
        metadata: Some(r#""m""#),
        ..InitialEntry::new("user_binary", [0xff, 0x00, 0xfe])
    });
    entries.push(InitialEntry { ttl: Some(75), ..InitialEntry::new("user_expires", "soon") });
    entries.push(InitialEntry::new("user_keep", "here"));
    entries.push(InitialEntry::new("user_mark", "\u{FEFF}begins with a mark"));
    entries.push(InitialEntry::new("user_ümläut", ""));
    entries.push(InitialEntry::new("users", "another thing"));
    entries.push(InitialEntry::new("user:older", "was there before"));
    entries
}

/// Cuts the migration off at each of its operations, in each way.
fn break_off_everywhere(make: MakeMigration, operations: u64) {
    break_off_everywhere_with(&entries(), make, operations);
}

pub fn break_off_everywhere_with(entries: &[InitialEntry], make: MakeMigration, operations: u64) {
    let faultless = Service::holding(entries, operations);
    faultless
        .drive(&faultless.runner_on(faultless.store.clone(), vec![make()]))
        .expect("without a fault it succeeds");
    let needed = faultless.store.operations();
    let expected = faultless.outcome();

    for at in 0..=needed {
        for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
            let service = Service::holding(entries, operations);
            let first = service.drive(&service.runner_on(faulty(service.store.clone(), fault), vec![make()]));
            if let Err(error) = first {
                assert!(error.to_string().contains("injected"), "{fault:?}: another error: {error}");
            }
            service
                .drive(&service.runner_on(service.store.clone(), vec![make()]))
                .unwrap_or_else(|error| panic!("{fault:?}: it cannot be continued: {error}"));
            assert_eq!(service.outcome(), expected, "{fault:?}");
        }
    }
}

#[test]
fn a_backfill_that_is_cut_off_anywhere_is_continued() {
    break_off_everywhere(backfill, 900);
    break_off_everywhere(backfill, 12);
}

#[test]
fn batches_that_are_cut_off_anywhere_are_continued() {
    break_off_everywhere(batches, 900);
    break_off_everywhere(batches, 20);
}

#[test]
fn a_typed_backfill_that_is_cut_off_anywhere_is_continued() {
    break_off_everywhere_with(&counted_entries(), typed, 900);
    break_off_everywhere_with(&counted_entries(), typed, 12);
}

#[test]
fn a_fold_that_is_cut_off_anywhere_is_continued() {
    break_off_everywhere(fold, 900);
    break_off_everywhere(fold, 10);
}

#[test]
fn a_rekey_that_is_cut_off_anywhere_is_continued() {
    break_off_everywhere(rekey, 900);
    break_off_everywhere(rekey, 15);
}

#[test]
fn a_rekey_without_inverse_that_is_cut_off_anywhere_is_continued() {
    break_off_everywhere(one_way, 900);
    break_off_everywhere(one_way, 15);
}

/// What is at a new key wins, else the longest value.
fn choosing() -> Migration {
    let mapping = Rekey::new("user_", |key| Some(key.name.replace("user_", "user:").to_lowercase()))
        .choosing(|a, b| Ok(a.value().len().cmp(&b.value().len())))
        .with_collisions(Collisions::KeepNew);
    Migration::rekey("long", "user_… to user:… in lower case", mapping)
}

#[test]
fn a_rekey_that_chooses_and_is_cut_off_anywhere_is_continued() {
    let mut entries = entries();
    for (key, value) in
        [("user_A", "the longest"), ("user_BINARY", "x"), ("user:3", "new"), ("user:mark", "new")]
    {
        entries.push(InitialEntry::new(key, value));
    }
    break_off_everywhere_with(&entries, choosing, 900);
    break_off_everywhere_with(&entries, choosing, 15);
}

#[test]
fn a_change_to_several_prefixes_that_is_cut_off_anywhere_is_continued() {
    break_off_everywhere(backfill_of_several, 12);
    break_off_everywhere(fold_of_several, 10);
    break_off_everywhere(rekey_of_several, 15);
}

#[test]
fn the_copying_of_a_rekey_that_is_cut_off_anywhere_is_continued() {
    break_off_everywhere(copying, 900);
    break_off_everywhere(copying, 15);
}

#[test]
fn the_deleting_of_a_rekey_that_is_cut_off_anywhere_is_continued() {
    for make in [deleting, deleting_and_copying] {
        break_off_everywhere_with(&copied_entries(), make, 900);
        break_off_everywhere_with(&copied_entries(), make, 15);
    }
}

fn roll_back_breaking_off_everywhere(make: MakeMigration) {
    let applied = || {
        let service = Service::holding(&entries(), 15);
        service.drive(&service.runner_on(service.store.clone(), vec![make()])).expect("it is applied");
        service
    };
    let faultless = applied();
    let before = faultless.store.operations();
    faultless
        .roll_back(&faultless.runner_on(faultless.store.clone(), vec![make()]))
        .expect("it is rolled back");
    let needed = faultless.store.operations() - before;
    let expected = faultless.outcome();
    assert!(!expected.iter().any(|(key, _)| key.name.starts_with("migration_")), "the marker is gone");

    for at in 0..=needed {
        for fault in [Fault::Crash(at), Fault::AnswerLost(at)] {
            let service = applied();
            let first =
                service.roll_back(&service.runner_on(faulty(service.store.clone(), fault), vec![make()]));
            let runner = service.runner_on(service.store.clone(), vec![make()]);
            // The last operation may have been the deletion of the marker, which took effect.
            if first.is_err() && service.store.value("migration_my-service_long").is_some() {
                service
                    .roll_back(&runner)
                    .unwrap_or_else(|error| panic!("{fault:?}: not continued: {error}"));
            }
            assert_eq!(service.outcome(), expected, "{fault:?}");
        }
    }
}

#[test]
fn a_rollback_of_a_backfill_that_is_cut_off_anywhere_is_continued() {
    roll_back_breaking_off_everywhere(backfill);
}

#[test]
fn a_rollback_of_a_rekey_that_is_cut_off_anywhere_is_continued() {
    roll_back_breaking_off_everywhere(rekey);
}

#[test]
fn a_rollback_of_a_part_of_a_rekey_that_is_cut_off_anywhere_is_continued() {
    roll_back_breaking_off_everywhere(copying);
    roll_back_breaking_off_everywhere(deleting_and_copying);
}

#[test]
fn a_rollback_restores_all_entries() {
    for make in [backfill, rekey] {
        // A bulk read, as of a backfill, loses a byte order mark.
        let entries: Vec<InitialEntry> =
            entries().into_iter().filter(|entry| entry.key != "user_mark").collect();
        let untouched = Service::holding(&entries, 20);
        let service = Service::holding(&entries, 20);
        let runner = service.runner_on(service.store.clone(), vec![make()]);
        service.drive(&runner).expect("it is applied");
        service.roll_back(&runner).expect("it is rolled back");
        let mut expected = untouched.outcome();
        if make().description().contains("user:") {
            // The inverse also moves keys that had the new prefix before.
            expected.retain(|(key, _)| key.name != "user:older");
            let mut outcome = service.outcome();
            outcome.retain(|(key, _)| key.name != "user_older");
            assert_eq!(outcome, expected);
        } else {
            assert_eq!(service.outcome(), expected);
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

pub fn some_entries() -> impl Strategy<Value = Vec<InitialEntry>> {
    let ttl = prop_oneof![3 => Just(None), 1 => (60_u64..400).prop_map(Some), 1 => Just(Some(1_000_000))];
    let metadata = prop_oneof![2 => Just(None), 1 => Just(Some(r#"{"b":[1,2]}"#)), 1 => Just(Some("null"))];
    let rest = (values(), metadata, ttl);
    proptest::collection::btree_map(keys(), rest, 0..40).prop_map(|entries| {
        let entry = |(key, (value, metadata, ttl))| InitialEntry { key, value, metadata, ttl };
        entries.into_iter().map(entry).collect()
    })
}

/// The entries without their prefix: among them are keys that a bulk get leaves out.
fn bare(entries: Vec<InitialEntry>) -> Vec<InitialEntry> {
    let bare = |entry: InitialEntry| match entry.key.strip_prefix("user_") {
        Some(rest) if !rest.is_empty() => InitialEntry { key: rest.to_owned(), ..entry },
        _ => entry,
    };
    let entries: BTreeMap<String, InitialEntry> =
        entries.into_iter().map(bare).map(|entry| (entry.key.clone(), entry)).collect();
    entries.into_values().collect()
}

/// Moves all keys, including `1` and `__proto__`.
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
    fn any_entries_pages_budgets_and_faults_lead_to_the_faultless_outcome(
        entries in some_entries(),
        which in 0_usize..7,
        page in 1_u32..30,
        operations in 45_u64..100,
        breaks in proptest::collection::vec(0_u64..120, 0..5),
        noise in any::<u64>(),
    ) {
        let all: [(MakeMigration, bool); 7] = [
            (backfill, false), (fold, false), (rekey, false), (one_way, false),
            (rekey_of_all, true), (backfill_of_all, true), (batches, false),
        ];
        let (make, is_bare) = all[which];
        let entries = if is_bare { bare(entries) } else { entries };

        let faultless = Service::holding(&entries, 100_000);
        faultless.drive(&faultless.runner_on(faultless.store.clone(), vec![make()])).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let expected = faultless.outcome();

        let service = Service::holding(&entries, operations);
        let store = || ShortPages(service.store.clone(), page);
        for at in breaks {
            let _ = service.drive(&service.runner_on(faulty(store(), Fault::Crash(at)), vec![make()]));
        }
        let runner = service.runner_on(Flaky::new(store(), noise), vec![make()]);
        service.drive(&runner).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(service.outcome(), expected);
    }
}
