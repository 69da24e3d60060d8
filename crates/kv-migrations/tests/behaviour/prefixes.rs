//! A backfill, a fold and a re-key over several prefixes.

use std::collections::BTreeMap;

use futures::executor::block_on;
use kv_migrations::kv::MemoryStore;
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Backfill, Fold, FoldOutput, Migration, Rekey, Runner};
use proptest::prelude::*;

use crate::service::{InitialEntry, Service, failure};
use crate::stores::{Flaky, ShortPages};

/// Not in the order of their bytes, and one without keys.
const PREFIXES: [&str; 4] = ["user_", "ä", "group_", "nobody_"];

fn marking() -> Migration {
    let mark = Backfill::new(PREFIXES, async |_, record, ()| {
        if record.value().ends_with(b"+") {
            return Ok(());
        }
        Ok(record.put([record.value(), b"+"].concat()).await?)
    });
    Migration::backfill("long", "", mark)
}

/// The keys, in the order in which they are gathered.
fn gathering() -> Migration {
    let gather = Fold::new(
        PREFIXES,
        Vec::new,
        |seen: &mut Vec<String>, record, (): &()| {
            seen.push(record.name().to_owned());
            Ok(())
        },
        |seen, ()| Ok(vec![FoldOutput::json("seen", seen)?]),
    );
    Migration::fold("long", "", gather)
}

fn moving() -> Migration {
    let pairs = [("user_", "u:"), ("ä", "a:"), ("group_", "group_of_"), ("nobody_", "n:")];
    Migration::rekey("long", "", Rekey::prefixes(pairs))
}

fn moved(key: &str) -> Option<String> {
    let rest = |prefix| key.strip_prefix(prefix);
    rest("user_")
        .map(|rest| format!("u:{rest}"))
        .or_else(|| Some(format!("a:{}", rest("ä")?)))
        .or_else(|| Some(format!("group_of_{}", rest("group_").filter(|rest| !rest.starts_with("of_"))?)))
}

fn service(keys: &[&str], operations: u64) -> Service {
    let entries: Vec<_> = keys.iter().map(|key| InitialEntry::new(*key, "x")).collect();
    Service::holding(&entries, operations)
}

#[test]
fn a_prefix_without_keys_costs_a_list_and_those_behind_the_last_key_none() {
    let number = 1_500;
    let keys: Vec<String> = (0..number).map(|number| format!("group_{number:04}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let cost = |prefixes: &[&'static str]| {
        let service = service(&keys, 100_000);
        let before = service.store.operations();
        let keep = Backfill::new(prefixes.to_vec(), async |_, _, ()| Ok(()));
        service.migrate(vec![Migration::backfill("long", "", keep.keys_only())]);
        service.store.operations() - before
    };
    let one = cost(&["group_"]);
    // Once to count, and once to walk.
    assert_eq!(cost(&["group_", "a_"]), one + 2);
    // Only to count: the last key that was counted comes before.
    assert_eq!(cost(&["group_", "user_", "z_"]), one + 2);
}

#[test]
fn a_checkpoint_does_not_carry_on_with_other_prefixes() {
    let service = service(&["group_1", "user_1", "user_2", "user_3", "ä1"], 14);
    let report = block_on(service.runner(vec![marking()]).run_pending(&())).expect("it has begun");
    assert!(!report.is_finished(), "{report:?}");
    let fewer = Backfill::new(["user_", "group_"], async |_, _, ()| Ok(()));
    service.clock.advance(std::time::Duration::from_secs(2));
    let failed =
        failure(block_on(service.runner(vec![Migration::backfill("long", "", fewer)]).run_pending(&())));
    assert!(
        failed.reason.contains("The migration's prefix, kind or state type has changed"),
        "{}",
        failed.reason
    );
    service.clock.advance(std::time::Duration::from_secs(2));
    service.drive(&service.runner(vec![marking()])).expect("with the same prefixes it carries on");
    assert_eq!(service.text("ä1").as_deref(), Some("x+"));
}

#[test]
fn a_write_ahead_under_another_prefix_of_the_backfill_is_refused() {
    let service = service(&["group_1"], 900);
    let copy = Backfill::new(["group_", "user_"], async |kv, record, ()| {
        let name = record.name().replace("group_", "user_");
        Ok(kv.put(&name, record.value()).await?)
    });
    let failed =
        failure(block_on(service.runner(vec![Migration::backfill("long", "", copy)]).run_pending(&())));
    assert!(
        failed.reason.contains("this backfill of `user_` would visit the key later"),
        "{}",
        failed.reason
    );
}

#[test]
fn a_mapping_that_leads_from_one_prefix_into_another_is_refused_before_anything_is_written() {
    let service = service(&["a_1", "b_1"], 900);
    let chain = || Migration::rekey("long", "", Rekey::prefixes([("a_", "b_"), ("b_", "c_")]));
    let failed = failure(service.drive(&service.runner(vec![chain()])));
    assert!(
        failed.reason.contains("`a_1` would get the key `b_1`, which would then get the key `c_1`"),
        "{}",
        failed.reason
    );
    assert_eq!(service.text("b_1").as_deref(), Some("x"));
}

fn entries() -> impl Strategy<Value = Vec<InitialEntry>> {
    let key = prop_oneof![
        3 => "user_[0-9]{1,2}",
        2 => "group_[a-c]{1,2}",
        1 => "[äa]{1,3}",
        1 => "user",
        1 => Just("group_".to_owned()),
        1 => Just(format!("user_{}", "k".repeat(500))),
    ];
    let metadata = prop_oneof![Just(None), Just(Some(r#"{"a":1}"#))];
    let ttl = prop_oneof![3 => Just(None), 1 => Just(Some(1_000_000))];
    let rest = ("[a-z]{0,3}".prop_map(String::into_bytes), metadata, ttl);
    proptest::collection::btree_map(key, rest, 0..40).prop_map(|entries| {
        let entry = |(key, (value, metadata, ttl))| InitialEntry { key, value, metadata, ttl };
        entries.into_iter().map(entry).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_change_to_several_prefixes_is_as_a_plain_loop_over_all_keys(
        entries in entries(),
        which in 0_usize..3,
        page in 1_u32..10,
        operations in 45_u64..80,
        breaks in proptest::collection::vec(0_u64..100, 0..4),
        noise in any::<u64>(),
    ) {
        let make: fn() -> Migration = [marking, gathering, moving][which];
        let is_in_scope = |key: &str| PREFIXES.iter().any(|prefix| key.starts_with(prefix));
        let service = Service::holding(&entries, operations);
        let before: Vec<_> = service.store.entries();
        let mut expected: BTreeMap<String, (_, Vec<u8>)> = BTreeMap::new();
        for (key, mut value) in before.clone() {
            let mut name = key.name.clone();
            match which {
                0 if is_in_scope(&name) => value.push(b'+'),
                2 => name = moved(&name).unwrap_or(name),
                _ => {}
            }
            expected.insert(name, ((key.metadata, key.expiration), value));
        }
        if which == 1 {
            let seen: Vec<&String> = before.iter().map(|(key, _)| &key.name).filter(|name| is_in_scope(name)).collect();
            expected.insert("seen".to_owned(), ((None, None), serde_json::to_vec(&seen).unwrap()));
        }

        let store = || ShortPages(service.store.clone(), page);
        for at in breaks {
            let _ = service.drive(&service.runner_on(faulty(store(), Fault::Crash(at)), vec![make()]));
        }
        let runner = service.runner_on(Flaky::new(store(), noise), vec![make()]);
        service.drive(&runner).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let data = || service.store.entries().into_iter().filter(|(key, _)| !key.name.starts_with("migration_"));
        let after: BTreeMap<_, _> =
            data().map(|(key, value)| (key.name, ((key.metadata, key.expiration), value))).collect();
        prop_assert_eq!(&after, &expected);

        if which == 2 {
            service.roll_back(&runner).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(data().collect::<Vec<_>>(), before);
        }
    }
}

#[test]
fn prefixes_that_overlap_are_refused_at_registration_in_every_kind_of_migration_and_in_what_undoes_it() {
    let backfill = |prefixes: [&'static str; 2]| Backfill::new(prefixes, async |_, _, (): &()| Ok(()));
    let fold = Fold::new(["a_b", "a_"], || 0, |_: &mut u8, _, (): &()| Ok(()), |_, ()| Ok(Vec::new()));
    let migrations: [Migration; 6] = [
        Migration::backfill("long", "", backfill(["a_", "a_b"])),
        Migration::fold("long", "", fold),
        Migration::rekey("long", "", Rekey::new(["a_", "a_b"], |_| None)),
        Migration::rekey("long", "", Rekey::prefixes([("a_", "x_"), ("a_b", "y_")])),
        Migration::rekey("long", "", Rekey::prefixes([("x_", "a_"), ("y_", "a_b")])),
        Migration::backfill("long", "", backfill(["x_", "y_"])).with_down_backfill(backfill(["a_", "a_b"])),
    ];
    for migration in migrations {
        let what = format!("{migration:?}");
        let refused = Runner::new(MemoryStore::new(), "sim", vec![migration]).expect_err(&what).to_string();
        assert_eq!(
            refused,
            "`long` cannot be registered: its prefixes `a_` and `a_b` overlap: entries of the longer one would be \
             visited twice. Take the longer one out",
            "{what}"
        );
    }
}
