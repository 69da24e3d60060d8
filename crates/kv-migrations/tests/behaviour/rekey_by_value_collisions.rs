//! A re-key whose mapping sees values, and what stands at the new keys already.

use futures::executor::block_on;
use kv_migrations::kv::{MemoryStore, StoreExt};
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Collisions, Migration, Rekey, Runner};

use crate::rekey::migration;
use crate::rekey_by_value::{drive_writing, entries, pairs, reversible_users, users};
use crate::rekey_by_value_crashes::{initial_entries, keys_left};
use crate::service::{InitialEntry, Service, holding};

/// Two entries have something else at the keys that their first values give.
fn contested() -> Vec<InitialEntry> {
    let mut entries = initial_entries();
    entries.extend([InitialEntry::new("user:a:0", "a/new"), InitialEntry::new("user:b:1", "b/new")]);
    entries
}

fn keep_new() -> Rekey {
    users().with_collisions(Collisions::KeepNew)
}

fn skipping() -> Rekey {
    reversible_users().with_collisions(Collisions::Skip)
}

#[test]
fn an_entry_gives_way_only_to_what_the_survey_found_at_the_key_of_its_last_value() {
    let initial = [("user:a:1", "a/new"), ("user_1", "a/old"), ("user_2", "a/y")];
    let others = [("user:a:1", "a/new"), ("user:a:2", "a/y")];
    for (value, own) in
        [("a/other", None), ("b/other", Some(("user:b:1", "b/other"))), ("none", Some(("user_1", "none")))]
    {
        let service = holding(&initial);
        let left = drive_writing(&service, keep_new, |store| store.insert("user_1", value));
        assert_eq!(left.unwrap(), [], "with {value}");
        let expected = pairs(&others).into_iter().chain(pairs(own.as_slice()));
        assert_eq!(entries(&service), expected.collect::<Vec<_>>(), "with {value}");
    }
}

#[test]
fn an_entry_that_would_give_way_to_what_is_gone_by_then_stays() {
    let service = holding(&[("user:a:1", "a/new"), ("user_1", "a/old")]);
    let left = drive_writing(&service, keep_new, |store| {
        block_on(store.delete("user:a:1")).expect("KV deletes it");
    });
    let [(key, reason)] = <[_; 1]>::try_from(left.unwrap()).expect("one is left");
    assert!(key == "user_1" && reason.contains("which is gone"), "{key}: {reason}");
    assert_eq!(entries(&service), pairs(&[("user_1", "a/old")]));
}

#[test]
fn choosing_by_value_is_refused_at_registration() {
    let rekeys: [Migration; 2] = [
        migration(users().choosing(|one, other| Ok(one.value().cmp(other.value())))),
        Migration::rekey(
            "long",
            "",
            Rekey::by_value_and_table("user_", async |_, (): &()| Ok(()), |_, (), ()| Ok(None))
                .choosing(|one, other| Ok(one.value().cmp(other.value()))),
        ),
    ];
    for rekey in rekeys {
        let refused = Runner::new(MemoryStore::new(), "sim", vec![rekey]).expect_err("it cannot choose");
        let refused = refused.to_string();
        assert!(refused.contains("`choosing` does not go with a mapping that sees values"), "{refused}");
    }
}

#[test]
fn collisions_by_value_are_settled_alike_after_a_crash_anywhere() {
    for (rekey, operations) in [(keep_new as fn() -> Rekey, 900), (keep_new, 25), (skipping, 900)] {
        let run = |store: &Service, fault: Option<Fault>| {
            let migrations = vec![migration(rekey())];
            match fault {
                Some(fault) => store.drive(&store.runner_on(faulty(store.store.clone(), fault), migrations)),
                None => store.drive(&store.runner(migrations)),
            }
        };
        let faultless = Service::holding(&contested(), operations);
        run(&faultless, None).unwrap();
        let (needed, expected) = (faultless.store.operations(), faultless.outcome());
        for at in 0..=needed {
            for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
                let service = Service::holding(&contested(), operations);
                let _ = run(&service, Some(fault));
                run(&service, None)
                    .unwrap_or_else(|error| panic!("{fault:?}: it cannot be continued: {error}"));
                assert_eq!(service.outcome(), expected, "{fault:?}");
            }
        }
    }
}

#[test]
fn an_entry_that_gives_way_and_gets_another_key_after_a_crash_anywhere_is_moved_there() {
    let run = |service: &Service, fault: Option<Fault>| {
        let migrations = vec![migration(keep_new())];
        match fault {
            Some(fault) => {
                service.drive(&service.runner_on(faulty(service.store.clone(), fault), migrations))
            }
            None => service.drive(&service.runner(migrations)),
        }
    };
    let faultless = Service::holding(&contested(), 900);
    run(&faultless, None).unwrap();
    for at in 0..=faultless.store.operations() {
        for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
            let service = Service::holding(&contested(), 900);
            let _ = run(&service, Some(fault));
            let is_there = service.text("user_0").is_some();
            if is_there {
                service.store.insert("user_0", "c/changed");
            }
            let reports = run(&service, None)
                .unwrap_or_else(|error| panic!("{fault:?}: it cannot be continued: {error}"));
            let left: Vec<_> = reports.into_iter().flat_map(keys_left).collect();
            assert_eq!(left, Vec::<String>::new(), "{fault:?}");
            assert_eq!(service.text("user:c:0").is_some(), is_there, "{fault:?}");
            assert_eq!(service.text("user_0"), None, "{fault:?}");
            assert_eq!(service.text("user:a:0").as_deref(), Some("a/new"), "{fault:?}");
            assert_eq!(service.text("user:b:1").as_deref(), Some("b/new"), "{fault:?}");
        }
    }
}
