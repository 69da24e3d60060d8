//! The handle that migrations get: what it keeps, what it reads, and which errors it returns.

use std::time::Duration;

use futures::TryStreamExt;
use futures::executor::block_on;
use kv_migrations::kv::{Entry, Expiration, Key, Kv, MemoryStore, Metadata, PutOptions, StoreExt};
use kv_migrations::testing::ManualClock;
use serde_json::json;

use crate::service::error_text;
use crate::stores::EmptyPages;

const SESSION: &str = "session_1";
/// Its fields are not sorted, and must not be.
const SCHEMA: &str = r#"{"schema":1,"by":"ada"}"#;
const EXPIRATION: u64 = 2_114_380_800;

/// A store with a session that has metadata and expires, and a handle on it.
fn with_session() -> (MemoryStore, Kv) {
    let store = MemoryStore::with_clock(ManualClock::default());
    let metadata = Some(Metadata::from_json(SCHEMA));
    let options = PutOptions::new().with_metadata(metadata).with_expiration(Some(Expiration::At(EXPIRATION)));
    block_on(store.put(SESSION, b"old", &options)).unwrap();
    (store.clone(), Kv::new(store))
}

/// The metadata and the expiration of an entry.
fn settings(store: &MemoryStore, name: &str) -> (Option<String>, Option<u64>) {
    let (key, _) = store.entries().into_iter().find(|(key, _)| key.name == name).expect("it is there");
    (key.metadata.map(|metadata| metadata.as_json().to_owned()), key.expiration)
}

#[test]
fn a_new_value_keeps_metadata_and_expiration() {
    let (store, kv) = with_session();
    block_on(async { kv.put(SESSION, "new").await }).unwrap();
    assert_eq!(store.value(SESSION).unwrap(), b"new");
    assert_eq!(settings(&store, SESSION), (Some(SCHEMA.to_owned()), Some(EXPIRATION)));

    block_on(async { kv.put(SESSION, "newer").with_metadata(&2).await }).unwrap();
    let only_what_was_set = (Some("2".to_owned()), Some(EXPIRATION));
    assert_eq!(settings(&store, SESSION), only_what_was_set);

    block_on(async { kv.put(SESSION, "newest").clear_metadata().clear_expiration().await }).unwrap();
    assert_eq!(settings(&store, SESSION), (None, None));

    let (store, kv) = with_session();
    block_on(async { kv.put(SESSION, "new").clear_options().await }).unwrap();
    assert_eq!(settings(&store, SESSION), (None, None));
}

#[test]
fn a_put_ignores_the_metadata_of_a_longer_key() {
    let (store, kv) = with_session();
    block_on(async { kv.put("session", "value").await }).unwrap();
    assert_eq!(settings(&store, "session"), (None, None));
}

#[test]
fn a_put_that_keeps_metadata_costs_one_operation_more() {
    let store = MemoryStore::new();
    let kv = Kv::new(store.clone());
    block_on(async { kv.put("key", "value").await }).unwrap();
    assert_eq!(store.operations(), 2);
    block_on(async { kv.put("key", "value").clear_metadata().clear_expiration().await }).unwrap();
    assert_eq!(store.operations(), 3);
    block_on(async { kv.put("key", "value").clear_options().await }).unwrap();
    assert_eq!(store.operations(), 4);
}

#[test]
fn integers_beyond_two_to_the_53_stay_exact() {
    let kv = Kv::new(MemoryStore::new());
    let exact = [u64::MAX, (1 << 53) + 1];
    block_on(async { kv.put_json("numbers", &exact).await }).unwrap();
    assert_eq!(block_on(kv.json::<[u64; 2]>("numbers")).unwrap().unwrap(), exact);
    assert_eq!(block_on(kv.text("numbers")).unwrap().unwrap(), "[18446744073709551615,9007199254740993]");
}

#[cfg(feature = "float_roundtrip")]
#[test]
fn numbers_of_17_digits_are_written_as_they_were_read() {
    let (store, kv) = with_session();
    for number in
        ["1.8708286933869707", "9.137833441248533", "0.30000000000000004", "2.2250738585072014e-308"]
    {
        block_on(store.put("number", number.as_bytes(), &PutOptions::new())).unwrap();
        let read: f64 = block_on(kv.json("number")).unwrap().expect("it is there");
        block_on(kv.put_json("number", &read).into_future()).unwrap();
        assert_eq!(store.value("number").as_deref(), Some(number.as_bytes()), "{number}");
    }
}

/// As `docs/reference/guarantees.md` says.
#[cfg(not(feature = "float_roundtrip"))]
#[test]
fn without_the_feature_some_numbers_of_17_digits_are_read_as_their_neighbours() {
    let (store, kv) = with_session();
    for (number, expected) in
        [("1.8708286933869707", 1.870_828_693_386_970_9), ("19.99", 19.99), ("52.520008", 52.520_008)]
    {
        block_on(store.put("number", number.as_bytes(), &PutOptions::new())).unwrap();
        let read: Option<f64> = block_on(kv.json("number")).unwrap();
        assert_eq!(read, Some(expected), "{number}");
    }
}

#[test]
fn maps_and_none_are_stored_as_json() {
    let kv = Kv::new(MemoryStore::new());
    block_on(async {
        kv.put_json("map", &std::collections::HashMap::from([("a", 1)])).await.unwrap();
        kv.put_json("value", &json!({"a": [null]})).await.unwrap();
        kv.put_json("none", &None::<u8>).await.unwrap();
        assert_eq!(kv.text("map").await.unwrap().unwrap(), r#"{"a":1}"#);
        assert_eq!(kv.text("value").await.unwrap().unwrap(), r#"{"a":[null]}"#);
        assert_eq!(kv.text("none").await.unwrap().unwrap(), "null");
    });
}

#[test]
fn a_value_that_is_not_text_or_json_is_an_error_without_the_value() {
    let kv = Kv::new(MemoryStore::new());
    block_on(async {
        kv.put("bytes", [0xFF, 0x00]).await.unwrap();
        assert_eq!(kv.bytes("bytes").await.unwrap().unwrap(), [0xFF, 0x00]);
        assert!(error_text(kv.text("bytes").await).contains("`bytes` is not UTF-8"));
        kv.put("name", r#"{"name": "Ada"}"#).await.unwrap();
        let error = error_text(kv.json::<u8>("name").await);
        assert!(error.contains("`name`") && !error.contains("Ada"), "{error}");
        let unwritable = std::collections::HashMap::from([((1, 2), 3)]);
        let error = error_text(kv.put_json("map", &unwritable).await);
        assert!(error.contains("cannot be written as JSON"), "{error}");
        assert_eq!(kv.bytes("map").await.unwrap(), None, "nothing was written");
    });
}

#[test]
fn a_list_continues_to_its_last_page() {
    let store = MemoryStore::new();
    let kv = Kv::new(store.clone());
    let names: Vec<String> = (0..2_500).map(|number| format!("user_{number:04}")).collect();
    for name in &names {
        block_on(store.put(name, b"", &PutOptions::default())).unwrap();
    }
    block_on(store.put("users", b"", &PutOptions::default())).unwrap();
    let before = store.operations();
    let listed: Vec<Key> = block_on(kv.list("user_").into_stream().try_collect()).unwrap();
    let listed: Vec<String> = listed.into_iter().map(|key| key.name).collect();
    assert_eq!(listed, names);
    assert_eq!(store.operations() - before, 3);
}

#[test]
fn get_many_reads_exactly_what_a_bulk_get_leaves_out() {
    let store = MemoryStore::new();
    let kv = Kv::new(store.clone());
    let mut names: Vec<String> = (0..250).map(|number| format!("key_{number}")).collect();
    names.extend(["1", "__proto__", "binary", "missing"].map(str::to_owned));
    for name in names.iter().filter(|name| *name != "missing") {
        let value: &[u8] = if name == "binary" { &[0xC3, 0x28] } else { name.as_bytes() };
        block_on(store.put(name, value, &PutOptions::default())).unwrap();
    }
    let before = store.operations();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let many = block_on(kv.get_many(&keys)).unwrap();
    assert_eq!(store.operations() - before, 3 + 3, "three bulk gets, and three single ones");
    for (key, found) in keys.iter().zip(many) {
        assert_eq!(found, block_on(kv.bytes(key)).unwrap(), "{key}");
    }
}

#[test]
fn an_entry_about_to_expire_can_be_rewritten() {
    let clock = ManualClock::default();
    let store = MemoryStore::with_clock(clock.clone());
    let options = PutOptions::new().with_expiration(Some(Expiration::At(100)));
    block_on(store.put("key", b"old", &options)).unwrap();
    clock.advance(Duration::from_secs(90));

    let runner = kv_migrations::Runner::new(
        store.clone(),
        "my-service",
        vec![kv_migrations::Migration::new("001", "", async |kv, ()| Ok(kv.put("key", "new").await?))],
    );
    let runner = runner.unwrap().with_clock(std::sync::Arc::new(clock.clone()));
    block_on(runner.run_pending(&())).unwrap();
    assert_eq!(block_on(store.get("key")).unwrap(), Some(Entry::new(b"new".to_vec())));
    clock.advance(Duration::from_secs(71));
    assert_eq!(store.value("key"), None, "it still expires");
}

#[test]
fn a_list_continues_after_an_empty_page() {
    let (store, _) = with_session();
    for number in 0..1_500 {
        block_on(store.put(&format!("user_{number:04}"), b"", &PutOptions::default())).unwrap();
    }
    let kv = Kv::new(EmptyPages(store.clone()));
    let users: Vec<Key> = block_on(kv.list("user_").into_stream().try_collect()).unwrap();
    assert_eq!(users.len(), 1_500);
    block_on(async { kv.put(SESSION, "new").await }).unwrap();
    assert_eq!(settings(&store, SESSION), (Some(SCHEMA.to_owned()), Some(EXPIRATION)));
}

#[test]
fn with_options_of_a_key_its_metadata_and_expiration_are_kept() {
    let (store, kv) = with_session();
    block_on(async {
        let session = kv.list("session_").next().await.unwrap().expect("it is there");
        let before = store.operations();
        kv.put("session:1", "value").with_options_of(&session).await.unwrap();
        assert_eq!(store.operations() - before, 1, "nothing had to be looked up");
    });
    assert_eq!(settings(&store, "session:1"), (Some(SCHEMA.to_owned()), Some(EXPIRATION)));
}

#[test]
fn values_too_large_for_a_bulk_get_are_read_singly() {
    let store = MemoryStore::new();
    let kv = Kv::new(store.clone());
    let large = vec![b'x'; 9 * 1024 * 1024];
    for key in ["a", "b", "c"] {
        block_on(store.put(key, &large, &PutOptions::default())).unwrap();
    }
    let values = block_on(kv.get_many(&["a", "b", "c"])).unwrap();
    assert!(values.iter().all(|value| value.as_ref() == Some(&large)));
}

#[test]
fn the_debug_text_of_a_put_does_not_show_its_value() {
    let kv = Kv::new(MemoryStore::new());
    let put = kv.put("key", "hidden");
    assert!(!format!("{put:?}").contains("hidden") && !format!("{put:?}").contains("104"), "{put:?}");
}
