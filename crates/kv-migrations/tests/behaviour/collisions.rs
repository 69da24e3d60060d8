//! Entries that cannot have their new keys are found before anything is written.

use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::kv::StoreExt;
use kv_migrations::{Collisions, Migration, Rekey};

use crate::rekey::{drive, error, keys, migration, users};
use crate::service::{InitialEntry, Service};
use crate::stores::ShortPages;

/// Maps keys to lower case.
fn lower_case() -> Rekey {
    Rekey::new("user_", |key| {
        let lower = key.name.to_lowercase();
        (lower != key.name).then_some(lower)
    })
}

#[test]
fn two_entries_with_the_same_new_key_fail_before_anything_is_written() {
    let service = Service::holding(
        &[
            InitialEntry::new("user_Ada", "1"),
            InitialEntry::new("user_aDA", "1"),
            InitialEntry::new("user_x", "2"),
        ],
        900,
    );
    assert_eq!(
        error(&service, lower_case()),
        "Migration long failed: 1 of the entries cannot have their new keys: `user_aDA` would get the key `user_ada`, which \
         another entry gets as well. Nothing was written or deleted. Give them keys of their own, or let them stay \
         with `Collisions::Skip`. If the re-key was cancelled or reset before, what is at a new key may be its older copy: \
         compare both, and delete the wrong one"
    );
    assert_eq!(keys(&service), ["user_Ada", "user_aDA", "user_x"]);

    block_on(service.store.delete("user_aDA")).unwrap();
    drive(&service, lower_case()).expect("once there is room, the next run goes through");
    assert_eq!(keys(&service), ["user_ada", "user_x"]);
}

#[test]
fn a_new_key_that_is_taken_fails_before_anything_is_written() {
    let service = Service::holding(
        &[
            InitialEntry::new("user:1", "another"),
            InitialEntry::new("user_1", "one"),
            InitialEntry::new("user_2", "two"),
        ],
        900,
    );
    let error = error(&service, users());
    assert!(
        error.contains("`user_1` would get the key `user:1`, at which there is something else"),
        "{error}"
    );
    assert!(
        error.contains("cancelled or reset before, what is at a new key may be its older copy"),
        "nothing else explains it after a reset of a re-key that had copied: {error}"
    );
    assert_eq!(keys(&service), ["user:1", "user_1", "user_2"]);
}

#[test]
fn a_key_that_the_inverse_does_not_restore_is_a_collision() {
    let service =
        Service::holding(&[InitialEntry::new("user_Ada", "1"), InitialEntry::new("user_eve", "2")], 900);
    let rekey = Rekey::new("user_", |key| Some(key.name.replace("user_", "user:").to_lowercase()))
        .with_inverse("user:", |key| Some(key.name.replace("user:", "user_")));
    let error = error(&service, rekey);
    assert!(
        error.contains("`user_Ada` would get the key `user:ada`, for which the inverse gives `user_ada`"),
        "{error}"
    );
}

#[test]
fn all_collisions_are_counted_and_the_first_are_listed() {
    let entries: Vec<InitialEntry> = (0..60)
        .flat_map(|n| {
            [
                InitialEntry::new(format!("user_{n:02}"), "old"),
                InitialEntry::new(format!("user:{n:02}"), "new"),
            ]
        })
        .collect();
    let service = Service::holding(&entries, 50);
    let error = error(&service, users());
    assert!(
        error.contains("60 of the entries cannot have their new keys") && error.contains("and 40 more"),
        "{error}"
    );
}

#[test]
fn after_a_thousand_collisions_are_removed_the_next_run_succeeds() {
    let entries: Vec<InitialEntry> = (0..1_005)
        .flat_map(|n| {
            [
                InitialEntry::new(format!("user_{n:04}"), "old"),
                InitialEntry::new(format!("user:{n:04}"), "new"),
            ]
        })
        .collect();
    let service = Service::holding(&entries, 100_000);
    let migration = || Migration::rekey("long", "", Rekey::prefix("user_", "user:"));
    let runner = service.runner_on(service.store.clone(), vec![migration()]);
    service.drive(&runner).unwrap_err();
    for n in 0..1_005 {
        block_on(service.store.delete(&format!("user:{n:04}"))).unwrap();
    }
    service.clock.advance(Duration::from_hours(1));
    let mut last = String::new();
    for _ in 0..5 {
        match service.drive(&runner) {
            Ok(_) => return,
            Err(error) => last = error.to_string(),
        }
    }
    panic!("still: {last}");
}

#[test]
fn a_corrected_mapping_ignores_the_keys_of_the_one_before() {
    let entries = [InitialEntry::new("user_a", "1"), InitialEntry::new("user_b", "2")];
    let service = Service::holding(&entries, 900);
    let wrong = Rekey::new("user_", |key| {
        Some(if key.name == "user_a" { "new:1".to_owned() } else { format!("{}x", key.name) })
    })
    .with_collisions(Collisions::Skip);
    // With a page for each key, what was surveyed before the failing key is kept.
    let pages = || ShortPages(service.store.clone(), 1);
    let runner = service.runner_on(pages(), vec![Migration::rekey("long", "", wrong)]);
    service.drive(&runner).unwrap_err();
    let right =
        Rekey::new("user_", |key| Some(if key.name == "user_a" { "new:2" } else { "new:1" }.to_owned()))
            .with_collisions(Collisions::Skip);
    let runner = service.runner_on(pages(), vec![Migration::rekey("long", "", right)]);
    let reports = service.drive(&runner).unwrap();
    let keys: Vec<String> = service.store.entries().into_iter().map(|(key, _)| key.name).collect();
    assert_eq!(
        keys,
        ["migration_my-service_long", "new:1", "new:2"],
        "{:?}",
        reports.last().unwrap().details[0].failed_entries
    );
}

#[test]
fn with_collisions_skip_colliding_entries_stay_and_are_reported() {
    let service = Service::holding(
        &[
            InitialEntry::new("user:1", "another"),
            InitialEntry::new("user_1", "one"),
            InitialEntry::new("user_2", "two"),
            InitialEntry::new("user_3", "three"),
        ],
        900,
    );
    let rekey = users().with_collisions(Collisions::Skip);
    let reports = service.drive(&service.runner_on(service.store.clone(), vec![migration(rekey)])).unwrap();
    assert_eq!(keys(&service), ["user:1", "user:2", "user:3", "user_1"]);
    assert_eq!(service.store.value("user:1").unwrap(), b"another");
    let failed = &reports.last().unwrap().details[0].failed_entries;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].key, "user_1");
    assert_eq!(failed[0].reason, "was left: it would get the key `user:1`, at which there is something else");
}

/// A report lists a thousand of them, and the history keeps them.
#[test]
fn the_reason_of_an_entry_that_is_left_is_short_whatever_the_length_of_its_new_key() {
    let rest = "k".repeat(500);
    let (old, new) = (format!("user_{rest}"), format!("user:{rest}"));
    let entries = [InitialEntry::new(old, "one"), InitialEntry::new(new, "another")];
    let service = Service::holding(&entries, 900);
    let rekey = users().with_collisions(Collisions::Skip);
    let reports = service.drive(&service.runner(vec![migration(rekey)])).unwrap();
    let reason = &reports.last().unwrap().details[0].failed_entries[0].reason;
    assert!(reason.len() <= 200, "{} bytes: {reason}", reason.len());
    assert!(
        reason.starts_with("was left: it would get the key `user:kkk")
            && reason.ends_with("kkk`, at which there is something else"),
        "{reason}"
    );
}

#[test]
fn an_impossible_new_key_fails_before_anything_is_written() {
    let long = format!("user_{}", "k".repeat(505));
    let service = Service::holding(&[InitialEntry::new("user_1", "x"), InitialEntry::new(&long, "y")], 900);
    let error = error(&service, Rekey::prefix("user_", "customer:"));
    assert!(error.contains("514 bytes, which KV does not take"), "{error}");
    assert_eq!(keys(&service).len(), 2);
}

/// Maps some keys to what no entry can have as its key.
fn partly_impossible() -> Rekey {
    Rekey::new("user_", |key| {
        Some(match key.name.strip_prefix("user_")? {
            "dot" => ".".to_owned(),
            "empty" => String::new(),
            "long" => "k".repeat(513),
            "marker" => "migration_my-service_000".to_owned(),
            rest => format!("user:{rest}"),
        })
    })
}

fn with_impossible_keys() -> Service {
    let names = ["user_1", "user_dot", "user_empty", "user_long", "user_marker", "user_z"];
    let entries = names.map(|key| InitialEntry::new(key, "x"));
    Service::holding(&entries, 900)
}

#[test]
fn with_collisions_skip_entries_whose_new_keys_are_impossible_stay_and_the_others_move() {
    let service = with_impossible_keys();
    let rekey = partly_impossible().with_collisions(Collisions::Skip);
    let reports = service.drive(&service.runner(vec![migration(rekey)])).unwrap();
    assert_eq!(keys(&service), ["user:1", "user:z", "user_dot", "user_empty", "user_long", "user_marker"]);
    let failed = &reports.last().unwrap().details[0].failed_entries;
    let told: Vec<(&str, &str)> = failed.iter().map(|it| (it.key.as_str(), it.reason.as_str())).collect();
    let starts = [
        ("user_dot", "was left: it would get the key `.` of 1 bytes, which KV does not take"),
        ("user_empty", "was left: it would get the key `` of 0 bytes, which KV does not take"),
        ("user_long", "was left: it would get the key `kkk"),
        (
            "user_marker",
            "was left: it would get the key `migration_my-service_000`, which is the key of a marker",
        ),
    ];
    assert_eq!(told.len(), starts.len(), "{told:?}");
    for ((key, reason), (expected, start)) in told.into_iter().zip(starts) {
        assert!(key == expected && reason.starts_with(start), "{key}: {reason}");
    }
}

#[test]
fn impossible_new_keys_are_all_listed_before_anything_is_written() {
    let service = with_impossible_keys();
    let before = keys(&service);
    let error = error(&service, partly_impossible());
    for key in ["user_dot", "user_empty", "user_long", "user_marker"] {
        assert!(error.contains(&format!("`{key}`")), "{key} is not named: {error}");
    }
    assert_eq!(keys(&service), before);
}

#[test]
fn an_entry_with_an_impossible_new_key_that_is_written_meanwhile_is_left_and_told() {
    let service = Service::holding(&[InitialEntry::new("user_1", "x")], 900);
    let rekey = partly_impossible().with_collisions(Collisions::Skip);
    let runner = service.runner(vec![migration(rekey)]);
    service.request(&runner).unwrap();
    assert_eq!(keys(&service), ["user:1", "user_1"], "it is copied");
    service.store.insert("user_long", "later");
    let reports = service.drive(&runner).unwrap();
    assert_eq!(keys(&service), ["user:1", "user_long"]);
    let failed = &reports.last().unwrap().details[0].failed_entries;
    assert_eq!(failed.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), ["user_long"]);
}

#[test]
fn the_same_value_and_metadata_at_the_new_key_are_no_collision() {
    let same = |key: &str, ttl| InitialEntry { metadata: Some("[1]"), ttl, ..InitialEntry::new(key, "same") };
    let service = Service::holding(&[same("user_1", None), same("user:1", Some(100_000))], 900);
    drive(&service, users()).unwrap();
    assert_eq!(keys(&service), ["user:1"]);
    let entries = service.store.entries();
    let (moved, _) = entries.iter().find(|(key, _)| key.name == "user:1").unwrap();
    assert_eq!(moved.expiration, None, "it has the expiration of the entry that was moved");
    let other = InitialEntry::new("user_2", "same");
    let service = Service::holding(&[other, same("user:2", None)], 900);
    let error = error(&service, users());
    assert!(
        error.contains("`user_2` would get the key `user:2`, at which there is something else"),
        "{error}"
    );
}

#[test]
fn a_mapping_that_would_move_its_own_results_fails() {
    let service = Service::holding(&[InitialEntry::new("user_1", "x")], 900);
    let error = error(&service, Rekey::new("user_", |key| Some(key.name.replacen("user_", "user_v2_", 1))));
    assert!(error.contains("`user_v2_1`, which would then get the key `user_v2_v2_1`"), "{error}");
}

/// Two keys with the same FNV-1a hash of 64 bits, which takes seconds to find: a hash without a secret key takes them for
/// one.
const ADA: &str = "user_ada.lovelace";
const MADE_TO_MATCH: &str = "user_ZL0P3RooTPiuYmE-Z5Fg_IrDOMWC";

/// Takes the new key from the metadata, which users of the service choose.
fn by_account() -> Rekey {
    Rekey::new("user_", |key| {
        let account: String = key.metadata.as_ref()?.parse().ok()?;
        Some(format!("account:{account}"))
    })
}

fn with_account(key: &str, value: &str) -> InitialEntry {
    InitialEntry { metadata: Some(r#""ada""#), ..InitialEntry::new(key, value) }
}

#[test]
fn the_two_keys_that_were_made_to_match_do_match() {
    let hash = |key: &str| {
        let hash = 0xcbf2_9ce4_8422_2325_u64;
        key.bytes().fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    assert_eq!(hash(ADA), hash(MADE_TO_MATCH), "the tests below could not fail");
}

#[test]
fn an_entry_whose_key_was_made_to_match_anothers_hash_fails_the_rekey() {
    let entries = [with_account(ADA, "hers"), with_account(MADE_TO_MATCH, "forged")];
    let service = Service::holding(&entries, 900);
    let error = error(&service, by_account());
    assert!(error.contains(&format!("`{ADA}` would get the key `account:ada`, which another")), "{error}");
    assert_eq!(keys(&service), [MADE_TO_MATCH, ADA], "nothing was written or deleted");
}

#[test]
fn an_entry_whose_key_was_made_to_match_anothers_hash_replaces_nothing_with_collisions_skip() {
    let entries = [with_account(ADA, "hers"), with_account(MADE_TO_MATCH, "forged")];
    let service = Service::holding(&entries, 900);
    drive(&service, by_account().with_collisions(Collisions::Skip)).unwrap();
    assert_eq!(keys(&service), ["account:ada", ADA]);
    assert_eq!(service.text("account:ada").as_deref(), Some("forged"), "its key comes first");
    assert_eq!(service.text(ADA).as_deref(), Some("hers"), "an entry that could not move is still there");
}

#[test]
fn an_entry_whose_key_was_made_to_match_anothers_hash_and_that_appears_later_replaces_nothing() {
    for collisions in [Collisions::Fail, Collisions::Skip] {
        let service = Service::holding(&[with_account(ADA, "hers")], 900);
        let rekey = by_account().with_collisions(collisions);
        let runner = service.runner_on(service.store.clone(), vec![migration(rekey)]);
        service.request(&runner).unwrap();
        assert_eq!(keys(&service), ["account:ada", ADA], "it is copied");
        service.put(MADE_TO_MATCH, "forged", Some(r#""ada""#));
        let result = service.drive(&runner);
        assert_eq!(result.is_err(), collisions == Collisions::Fail, "{collisions:?}");
        assert_eq!(service.text("account:ada").as_deref(), Some("hers"), "{collisions:?}");
        assert_eq!(service.text(MADE_TO_MATCH).as_deref(), Some("forged"), "{collisions:?}");
    }
}

#[test]
fn the_hashes_of_a_rekey_have_a_key_of_their_own_that_a_test_can_set() {
    let checkpoint = |hash_key: Option<[u64; 2]>| {
        let service = Service::holding(&[InitialEntry::new("user_Ada", "1")], 900);
        let mut runner = service.runner_on(service.store.clone(), vec![migration(lower_case())]);
        if let Some(key) = hash_key {
            runner = runner.with_hash_keys(move || key);
        }
        service.request(&runner).unwrap();
        service.store.value("migration_my-service_long").unwrap()
    };
    assert_ne!(checkpoint(None), checkpoint(None), "the key is random");
    assert_eq!(checkpoint(Some([1, 2])), checkpoint(Some([1, 2])));
    assert_ne!(checkpoint(Some([1, 2])), checkpoint(Some([1, 3])));
}
