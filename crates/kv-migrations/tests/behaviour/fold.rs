//! A fold reads every entry once, and writes its output.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::executor::block_on;
use kv_migrations::{Fold, FoldOutput, Migration, Record, State};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::service::{InitialEntry, Service, failure, ids};
use crate::stores::ShortPages;

/// Indexes users by town.
fn by_town() -> Migration {
    let fold = Fold::new(
        "user_",
        // Its order is random, and must not decide the order of the writes.
        HashMap::new,
        |towns: &mut HashMap<String, Vec<String>>, record, ()| {
            towns.entry(record.text()?.to_owned()).or_default().push(record.name().to_owned());
            Ok(())
        },
        |towns, ()| {
            let write = |(town, users): (&String, &Vec<String>)| {
                FoldOutput::json(format!("town_{town}"), users)?.with_metadata(&users.len())
            };
            towns.iter().map(write).collect()
        },
    );
    Migration::fold("long", "Indexes users by town", fold)
}

fn users(number: usize, towns: usize) -> Vec<InitialEntry> {
    (0..number).map(|n| InitialEntry::new(format!("user_{n:05}"), format!("t{:04}", n % towns))).collect()
}

#[test]
fn an_index_of_thousands_is_gathered_and_written_over_several_runs() {
    let entries = users(5_000, 1_200);
    let service = Service::holding(&entries, 100);
    let reports = service.drive(&service.runner_on(service.store.clone(), vec![by_town()])).unwrap();
    assert!(reports.len() > 12, "1,200 writes at 100 operations a run: {}", reports.len());

    let mut expected = BTreeMap::<String, Vec<&str>>::new();
    for entry in &entries {
        let town = format!("town_{}", String::from_utf8_lossy(&entry.value));
        expected.entry(town).or_default().push(&entry.key);
    }
    for (key, users) in &expected {
        let value = service.store.value(key).unwrap_or_else(|| panic!("{key} is missing"));
        assert_eq!(serde_json::from_slice::<Vec<&str>>(&value).unwrap(), *users, "{key}");
    }
    let towns = service.store.entries().into_iter().filter(|(key, _)| key.name.starts_with("town_"));
    assert_eq!(towns.count(), expected.len());
}

#[test]
fn a_fold_costs_its_lists_reads_and_writes() {
    let service = Service::holding(&users(10_000, 50), 900);
    let before = service.store.operations();
    service.drive(&service.runner_on(service.store.clone(), vec![by_town()])).unwrap();
    // Lists to count and to read, reads, writes; three more for the ledger, one for a checkpoint, and one for the marker.
    assert_eq!(service.store.operations() - before, 10 + 10 + 101 + 50 + 5);
}

#[test]
fn the_output_of_a_fold_is_written_with_its_metadata() {
    let service = Service::holding(&users(4, 1), 900);
    service.drive(&service.runner_on(service.store.clone(), vec![by_town()])).unwrap();
    let (key, _) = service.store.entries().into_iter().find(|(key, _)| key.name == "town_t0000").unwrap();
    assert_eq!(key.metadata.unwrap().as_json(), "4");
}

#[test]
fn an_entry_that_a_fold_cannot_read_fails_it_by_name() {
    let service = Service::new();
    service.store.insert("user_1", [0xff]);
    let failed = failure(block_on(service.runner(vec![by_town()]).run_pending(&())));
    assert_eq!(
        failed.reason,
        "at the entry `user_1`: the value of `user_1` is not UTF-8 text: read it with `Kv::bytes`"
    );
}

#[test]
fn a_fold_state_too_large_for_a_checkpoint_is_an_error_with_its_size() {
    let entries: Vec<InitialEntry> =
        (0..20).map(|n| InitialEntry::new(format!("user_{n:02}"), "x")).collect();
    // With pages of one key, a request reads a few keys.
    let service = Service::holding(&entries, 9);
    let hoarding = Fold::new(
        "user_",
        String::new,
        |hoard: &mut String, _, ()| {
            hoard.push_str(&"x".repeat(9 * 1024 * 1024));
            Ok(())
        },
        |_, ()| Ok(Vec::new()),
    );
    let migration = Migration::fold("long", "", hoarding);
    let store = ShortPages(service.store.clone(), 1);
    let error = service.drive(&service.runner_on(store, vec![migration])).unwrap_err().to_string();
    assert!(
        error.contains("its state has grown to ")
            && error.contains(" bytes, and a checkpoint holds 10485760. Keep less in the state, or split it"),
        "{error}"
    );
}

#[test]
fn a_fold_that_writes_a_key_twice_fails() {
    let service = Service::new();
    let twice = Fold::new(
        "user_",
        || (),
        |(), _, ()| Ok(()),
        |(), ()| Ok(vec![FoldOutput::new("a", "1"), FoldOutput::new("b", "2"), FoldOutput::new("a", "3")]),
    );
    let failed = failure(block_on(service.runner(vec![Migration::fold("001", "", twice)]).run_pending(&())));
    assert_eq!(failed.reason, "the key `a` would be written twice");
    assert_eq!(service.text("a"), None);
}

#[test]
fn a_fold_without_entries_writes_its_initial_state() {
    let service = Service::new();
    let count = Fold::new(
        "user_",
        || 0_u64,
        |count: &mut u64, _, ()| {
            *count += 1;
            Ok(())
        },
        |count, ()| Ok(vec![FoldOutput::json("count", count)?]),
    );
    assert_eq!(service.migrate(vec![Migration::fold("001", "", count)]), ids(&["001"]));
    assert_eq!(service.text("count").as_deref(), Some("0"));
}

#[cfg(feature = "float_roundtrip")]
#[test]
fn a_fold_over_many_requests_gives_the_same_result() {
    let entries: Vec<InitialEntry> = (0..400)
        .map(|n| InitialEntry::new(format!("user_{n:05}"), format!("{}", f64::from(n).sqrt())))
        .collect();
    let sum = || {
        let fold = Fold::new(
            "user_",
            || 0.0_f64,
            |sum: &mut f64, record, ()| {
                *sum += record.text()?.parse::<f64>()?;
                Ok(())
            },
            |sum, ()| Ok(vec![FoldOutput::new("sum", format!("{:016x}", sum.to_bits()))]),
        );
        Migration::fold("long", "", fold)
    };
    let outcome = |operations, page| {
        let service = Service::holding(&entries, operations);
        let store = ShortPages(service.store.clone(), page);
        service.drive(&service.runner_on(store, vec![sum()])).unwrap();
        String::from_utf8(service.store.value("sum").unwrap()).unwrap()
    };
    let whole = outcome(100_000, 1_000);
    for page in 1..12 {
        assert_eq!(outcome(9, page), whole, "{page}");
    }
}

type Make = fn() -> Migration;

/// A fold of this state, which `each` changes at every entry.
fn folding<S: Serialize + DeserializeOwned + Default + 'static>(
    each: impl Fn(&mut S, &str) + Send + Sync + 'static,
) -> Migration {
    let each = move |state: &mut S, record: &Record, (): &()| {
        each(state, record.name());
        Ok(())
    };
    let close =
        |state: &S, (): &()| Ok(vec![FoldOutput::json("result", &serde_json::to_value(state).is_ok())?]);
    Migration::fold("001", "", Fold::new("user_", S::default, each, close))
}

#[test]
fn a_fold_whose_state_does_not_come_back_from_json_fails_in_the_smallest_test() {
    let cases: [(Make, &str); 4] = [
        (
            || folding(|pairs: &mut BTreeMap<(u8, u8), u8>, _| *pairs.entry((1, 2)).or_default() = 3),
            "keys that are text",
        ),
        (|| folding(|sum: &mut f64, _| *sum += f64::NAN), "Numbers must be finite"),
        (|| folding(|largest: &mut (f64, u8), _| largest.0 = f64::INFINITY), "line 1, column 5, at `[0]`"),
        // Only the last entry makes it one.
        (
            || {
                folding(|sum: &mut f64, name| {
                    if name == "user_00029" {
                        *sum = f64::NAN;
                    }
                })
            },
            "Numbers must be finite",
        ),
    ];
    for (migration, why) in cases {
        let service = Service::holding(&users(30, 3), 900);
        let result = block_on(service.runner(vec![migration()]).run_pending(&()));
        assert!(result.is_err(), "a checkpoint could not keep it ({why}), and the run said {result:?}");
        let reason = failure(result).reason;
        assert!(reason.starts_with("its state ") && reason.contains(why), "{reason}");
        assert_eq!(service.text("result"), None, "nothing is written");
        let status = block_on(service.runner(vec![migration()]).status()).unwrap().remove(0);
        assert_eq!((status.state, status.error), (State::Failed, Some(reason)));
        // Once it is mended, perhaps with another type, it starts over.
        let mended = folding(|sum: &mut f64, _| *sum += 1.0);
        assert_eq!(service.migrate(vec![mended]), ids(&["001"]));
    }
}

#[test]
fn a_fold_whose_state_has_no_order_comes_back_from_json() {
    type Gathered = (HashMap<String, f64>, HashSet<String>, Option<u64>, Vec<u128>);
    let service = Service::holding(&users(300, 3), 900);
    let gathering = folding(|state: &mut Gathered, name| {
        state.0.insert(name.to_owned(), 0.1 + 0.2);
        state.1.insert(name.to_owned());
        state.2 = Some(u64::MAX);
        state.3.push(u128::from(u64::MAX) + 1);
    });
    assert_eq!(service.migrate(vec![gathering]), ids(&["001"]));
}

/// What its closure did before it failed is in the state, and the entry is folded again.
#[test]
fn a_fold_whose_closure_fails_after_it_changed_the_state_counts_no_entry_twice() {
    let service = Service::holding(&users(10, 1), 12);
    let counting = |fails: bool| {
        let each = move |count: &mut u64, record: &Record, (): &()| {
            *count += 1;
            if fails && record.name() == "user_00005" { Err("boom".into()) } else { Ok(()) }
        };
        let close = |count: &u64, (): &()| Ok(vec![FoldOutput::json("count", count)?]);
        vec![Migration::fold("001", "", Fold::new("user_", || 0, each, close))]
    };
    // With a page for each key, the requests before the failure leave checkpoints.
    let runner = |fails| service.runner_on(ShortPages(service.store.clone(), 1), counting(fails));
    for attempt in 0..3 {
        let failed = failure(service.drive(&runner(true)));
        assert!(failed.reason.contains("at the entry `user_00005`"), "{attempt}: {}", failed.reason);
    }
    service.drive(&runner(false)).unwrap();
    assert_eq!(service.text("count").as_deref(), Some("10"));
}
