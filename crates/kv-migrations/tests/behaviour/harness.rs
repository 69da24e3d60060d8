//! The harness for tests of a service's own migrations, and the files of `wrangler kv bulk`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kv_migrations::clock::Clock;
use kv_migrations::kv::{Expiration, MemoryStore, PutOptions, StoreExt};
use kv_migrations::testing::{Harness, ManualClock};
use kv_migrations::{Backfill, Budget, Error, Migration, Rekey, RunReport, Until};

use crate::service::{failing, good, ids, start};

const SERVICE: &str = "my-service";

fn users() -> MemoryStore {
    let store = MemoryStore::with_clock(ManualClock::starting_at(start()));
    for number in 0..30 {
        store.insert(&format!("user_{number:02}"), format!("user {number}"));
    }
    store
}

fn rekey() -> Migration {
    Migration::rekey("001_users", "", Rekey::prefix("user_", "user:"))
}

fn upper() -> Migration {
    let upper =
        Backfill::new("user:", async |_, record, ()| Ok(record.put(record.text()?.to_uppercase()).await?));
    Migration::backfill("002_upper", "", upper)
}

fn small() -> Budget {
    Budget::default().with_operations(60)
}

/// The message of a panic.
fn panic_of(work: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(work)).expect_err("it should have panicked");
    panic.downcast_ref::<String>().cloned().expect("it is a text")
}

#[test]
fn a_list_runs_to_its_end_in_as_many_requests_as_it_takes_and_nobody_waits() {
    let store = users();
    let harness = Harness::new(&store, SERVICE, vec![rekey(), upper()]).with_budget(small());
    let reports = harness.migrate().unwrap();
    assert!(reports.len() > 3, "{}", reports.len());
    assert!(reports.iter().all(|report| report.operations <= 60));
    let ran: Vec<String> = reports.into_iter().flat_map(|report| report.ran).collect();
    assert_eq!(ran, ids(&["001_users", "002_upper"]));
    assert_eq!(harness.store().value("user:07").unwrap(), b"USER 7");
    assert!(harness.time().now() > start() + Duration::from_secs(90), "the re-key waits for KV");
    assert!(store.value("user:07").is_none(), "it works on a copy");
    assert!(harness.log().lines().iter().any(|line| line.contains("002_upper")));
}

#[test]
fn a_crash_before_each_of_a_hundred_and_fifty_operations_changes_nothing_in_the_end() {
    let harness = Harness::new(&users(), SERVICE, vec![rekey(), upper()]).with_budget(small());
    let operations = harness.crash_anywhere();
    assert!(operations > 150, "{operations}");
    assert_eq!(harness.store().entries().len(), 30, "its own data is as it was");
    assert!(harness.store().value("user_07").is_some());
}

/// It adds one each time, and a crash before its marker is written has it do so again.
#[test]
fn a_migration_that_must_not_run_twice_is_found() {
    let add = Migration::new("001_add", "", async |kv, (): &()| {
        let sum: u64 = kv.text("sum").await?.unwrap_or_default().parse().unwrap_or_default();
        Ok(kv.put("sum", (sum + 1).to_string()).await?)
    });
    let harness = Harness::new(&MemoryStore::new(), SERVICE, vec![add]);
    let text = panic_of(|| _ = harness.crash_anywhere());
    assert_eq!(
        text,
        r#"the data is not as without the crash: "sum" has another value, of 1 bytes, where 1 were expected"#
    );
}

/// What is written depends on when, so that only a check of one's own can tell.
#[test]
fn a_check_of_the_tests_own_says_what_must_hold_after_a_crash() {
    let times = AtomicU64::new(0);
    let stamp = Migration::new("001_stamp", "", async |kv, (): &()| {
        let now = kv.now().duration_since(std::time::UNIX_EPOCH)?;
        kv.put("stamp", now.as_millis().to_string()).await?;
        Ok(kv.put("twice", now.as_millis().to_string()).with_expiration_ttl(3_600).await?)
    });
    let harness = Harness::new(&users(), SERVICE, vec![stamp]);
    let operations = harness.crash_anywhere_and(|store| {
        times.fetch_add(1, Ordering::Relaxed);
        assert!(store.value("stamp").is_some() && store.value("twice").is_some());
    });
    assert_eq!(times.load(Ordering::Relaxed), operations);
    let text =
        panic_of(|| _ = harness.crash_anywhere_and(|store| panic!("{} entries", store.entries().len())));
    assert_eq!(text, "33 entries", "the test's own message is what it ends with");
}

/// Entries that expire do so in each of the runs alike.
#[test]
fn each_crash_begins_at_the_same_time() {
    let store = users();
    let options = PutOptions::new().with_expiration(Some(Expiration::After(300)));
    futures::executor::block_on(store.put("user_soon", b"x", &options)).unwrap();
    let harness = Harness::new(&store, SERVICE, vec![rekey(), upper()]).with_budget(small());
    assert!(harness.crash_anywhere() > 150);
}

#[test]
fn what_goes_up_comes_down() {
    let store = users().with_bulk(
        r#"[{"key":"user_x","value":"/w==","base64":true,"expiration":1900000000,"metadata":[1]}]"#,
    );
    Harness::new(&store.unwrap(), SERVICE, vec![good("000"), rekey()]).with_budget(small()).up_then_down();
}

#[test]
fn a_rollback_that_loses_something_is_found_and_the_entry_named() {
    let lossy = || {
        Migration::new("001_note", "", async |kv, (): &()| Ok(kv.put("note", "new").clear_metadata().await?))
            .with_down(async |kv, ()| Ok(kv.put("note", "old").await?))
    };
    let store = MemoryStore::from_bulk(r#"[{"key":"note","value":"old","metadata":{"a":1}}]"#).unwrap();
    let text = panic_of(|| Harness::new(&store, SERVICE, vec![lossy()]).up_then_down());
    assert_eq!(text, r#"The rollback does not restore everything: "note" has other metadata"#);

    let leaves = || {
        Migration::new("001_extra", "", async |kv, (): &()| Ok(kv.put("extra", "1").await?))
            .with_down(async |_, ()| Ok(()))
    };
    let text = panic_of(|| Harness::new(&users(), SERVICE, vec![leaves()]).up_then_down());
    assert_eq!(text, r#"The rollback does not restore everything: "extra" should not be there"#);

    let text = panic_of(|| Harness::new(&users(), SERVICE, vec![upper()]).up_then_down());
    assert!(text.starts_with("The rollback fails: Migration 002_upper"), "{text}");
}

/// For the summary of a pull request: it may be public, and so it has no value.
#[test]
fn what_a_run_changed_is_told_by_keys() {
    let store =
        users().with_bulk(r#"[{"key":"user:07","value":"SECRET"},{"key":"a\n::b","value":"1"}]"#).unwrap();
    let touch = Migration::new("003_touch", "", async |kv, (): &()| {
        kv.put("user:07", "SECRET").with_metadata(&1).await?;
        Ok(kv.delete("a\n::b").await?)
    });
    let harness = Harness::new(&store, SERVICE, vec![touch]);
    assert!(harness.changes().is_empty());
    harness.migrate().unwrap();
    assert_eq!(
        harness.changes().to_string(),
        "0 added, 1 changed, 1 deleted\n~ \"user:07\"\n- \"a\\n::b\"\n"
    );

    let harness = Harness::new(&users(), SERVICE, vec![rekey()]);
    harness.store().insert("migration_my-service2_001", "of another service");
    harness.migrate().unwrap();
    let changes = harness.changes();
    assert_eq!((changes.added.len(), changes.changed.len(), changes.deleted.len()), (31, 0, 30));
    let text = changes.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["31 added, 0 changed, 30 deleted", r#"+ "migration_my-service2_001""#]);
    assert_eq!((lines[21], lines[42], lines.len()), ("+ and 11 more", "- and 10 more", 43));

    let store = users().with_bulk(r#"[{"key":"soon","value":"1","expiration_ttl":60}]"#).unwrap();
    let waits = Harness::new(&store, SERVICE, vec![rekey()]);
    waits.migrate().unwrap();
    assert!(waits.store().value("soon").is_none());
    assert!(!waits.changes().deleted.contains(&"soon".to_owned()), "it expired by itself");
}

#[test]
fn a_failure_is_returned_and_what_was_done_before_stays() {
    let harness = Harness::new(&users(), SERVICE, vec![good("001"), failing("002")]);
    let error = harness.migrate().unwrap_err();
    assert!(matches!(&error, Error::Failed(failure) if failure.id == "002"), "{error}");
    assert!(harness.store().value("done/001").is_some());
    let text = panic_of(|| _ = harness.crash_anywhere());
    assert!(text.starts_with("The run fails: Migration 002 failed: boom"), "{text}");
    let refused = panic_of(|| drop(Harness::new(&users(), SERVICE, vec![good("1"), good("1")]).migrate()));
    assert!(refused.starts_with("The migrations cannot be registered: "), "{refused}");
}

#[test]
fn a_context_is_given_to_each_migration_and_several_are_rolled_back_by_number() {
    let greet = |id: &'static str| {
        Migration::new(id, "", async move |kv, greeting: &String| Ok(kv.put(id, greeting.as_str()).await?))
            .with_down(async move |kv, _: &String| Ok(kv.delete(id).await?))
    };
    let migrations = vec![greet("001"), greet("002"), greet("003")];
    let harness = Harness::with_context(&MemoryStore::new(), SERVICE, migrations, "hello".to_owned())
        .with_budget(Budget::default().with_operations(6));
    harness.migrate().unwrap();
    assert_eq!(harness.store().value("002").unwrap(), b"hello");
    let rolled_back = harness.roll_back(&Until::Steps(2)).unwrap();
    assert!(rolled_back.len() > 1, "it takes more than one request: {rolled_back:?}");
    let rolled_back: Vec<String> =
        rolled_back.into_iter().flat_map(|report: RunReport| report.rolled_back).collect();
    assert_eq!(rolled_back, ids(&["003", "002"]));
    assert!(harness.store().value("001").is_some());
}

/// The forms are those of wrangler 4.86: `kv bulk put` reads the first; `kv bulk get` prints the second from Cloudflare, the third
/// with `--local`, and a line after either.
#[test]
fn every_form_of_wranglers_files_is_read() {
    let put = r#"[
        { "key": "a", "value": "1", "expiration": 1900000000, "metadata": { "z": 1, "a": [2.50] } },
        { "key": "b", "value": "AP8=", "base64": true, "expiration_ttl": 60 },
        { "key": "__proto__", "value": "" }
    ]"#;
    let clock = ManualClock::starting_at(start());
    let store = MemoryStore::with_clock(clock.clone()).with_bulk(put).unwrap();
    let entries = store.entries();
    let names: Vec<&str> = entries.iter().map(|(key, _)| key.name.as_str()).collect();
    assert_eq!(names, ["__proto__", "a", "b"]);
    let (key, value) = &entries[1];
    assert_eq!((value.as_slice(), key.expiration), (b"1".as_slice(), Some(1_900_000_000)));
    assert_eq!(key.metadata.as_ref().unwrap().as_json(), r#"{"a":[2.5],"z":1}"#);
    assert_eq!(entries[2].1, [0, 0xff]);
    clock.advance(Duration::from_secs(61));
    assert!(store.value("b").is_none(), "it has expired");

    for printed in [
        "{ \"a\": \"1\", \"gone\": null }\n\nSuccess!\n",
        "{ \"a\": { \"value\": \"1\" }, \"gone\": { \"value\": null } }\n\nSuccess!\n",
        "{ \"a\": { \"value\": \"1\", \"metadata\": null, \"expiration\": null }, \"gone\": null }",
    ] {
        let entries = MemoryStore::from_bulk(printed).expect(printed).entries();
        assert_eq!(entries.len(), 1, "{printed}");
        assert_eq!((entries[0].0.name.as_str(), entries[0].1.as_slice()), ("a", b"1".as_slice()));
        assert_eq!((entries[0].0.expiration, &entries[0].0.metadata), (None, &None));
    }
    assert!(MemoryStore::from_bulk("[]").unwrap().entries().is_empty());
}

#[test]
fn a_file_of_another_kind_is_refused_and_no_value_is_told() {
    for (json, reason) in [
        ("", "The file cannot be read: it is empty"),
        (
            r#"[{ "key": "secret-key", "value": "*secret*", "base64": true }]"#,
            r#"The file cannot be read: the entry "secret-key": its value is no base64"#,
        ),
        ("[] []", "The file cannot be read: something stands after the JSON"),
    ] {
        assert_eq!(MemoryStore::from_bulk(json).unwrap_err().to_string(), reason, "{json}");
    }
    for json in [
        r#"[{ "name": "secret" }]"#,
        r#"[{ "key": "a", "value": 7 }]"#,
        r#""secret""#,
        r#"{ "a": ["secret"] }"#,
        "[{",
    ] {
        let error = MemoryStore::from_bulk(json).unwrap_err().to_string();
        assert!(error.starts_with("The file cannot be read: it is no array of objects"), "{json}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let store = users();
    assert!(
        store
            .clone()
            .with_bulk(r#"[{"key":"a","value":"1"},{"key":"b","value":"*","base64":true}]"#)
            .is_err()
    );
    assert_eq!(store.entries().len(), 30, "nothing was added");
}
