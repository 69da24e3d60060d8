//! A re-key that changes entries on their way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::executor::block_on;
use kv_migrations::{BoxError, Migration, MovingEntry, Rekey, Runner};

use crate::rekey::keys;
use crate::rekey_by_value;
use crate::service::{InitialEntry, Service, holding, left};

/// Stands for randomness: never the same again.
static NONCE: AtomicU64 = AtomicU64::new(0);

/// "Encrypts" a value under its new key, with a nonce: `nonce/key/value`.
pub async fn seal(entry: MovingEntry, new: &str, (): &()) -> Result<MovingEntry, BoxError> {
    let nonce = NONCE.fetch_add(1, Ordering::Relaxed);
    let value = [format!("{nonce}/{new}/").as_bytes(), entry.value()].concat();
    Ok(entry.with_value(value))
}

/// The value without the nonce; the value itself where there is none.
fn opened(value: &[u8]) -> Vec<u8> {
    let end = value.iter().position(|byte| *byte == b'/');
    let is_nonce = |end: &usize| *end > 0 && value[..*end].iter().all(u8::is_ascii_digit);
    end.filter(is_nonce).map_or(value, |end| &value[end + 1..]).to_vec()
}

async fn unseal(entry: MovingEntry, _: &str, (): &()) -> Result<MovingEntry, BoxError> {
    let value = opened(entry.value()).splitn(2, |byte| *byte == b'/').nth(1).map(<[u8]>::to_vec);
    let value = value.ok_or("it is not sealed")?;
    Ok(entry.with_value(value))
}

pub fn sealing() -> Rekey<()> {
    Rekey::prefix("user_", "user:").changing(seal).changing_back(unseal)
}

pub fn migration(rekey: Rekey<()>) -> Migration {
    Migration::rekey("long", "", rekey)
}

pub fn runner(service: &Service, rekey: Rekey<()>) -> Runner {
    service.runner(vec![migration(rekey)])
}

/// All entries but markers: without nonces.
pub fn contents(service: &Service) -> BTreeMap<String, Vec<u8>> {
    let entries = service.store.entries().into_iter().filter(|(key, _)| !key.name.starts_with("migration_"));
    entries.map(|(key, value)| (key.name, opened(&value))).collect()
}

pub fn bytes(value: &str) -> Vec<u8> {
    value.as_bytes().to_vec()
}

#[test]
fn a_copy_has_what_the_change_returns_and_what_it_does_not_set_stays() {
    let entry = |key: &str| InitialEntry {
        metadata: Some("[1]"),
        ttl: Some(100_000),
        ..InitialEntry::new(key, "\u{FEFF}x")
    };
    let service = Service::holding(&["user_all", "user_clear", "user_same"].map(entry), 900);
    let before = service.store.entries();
    let rekey = Rekey::prefix("user_", "user:").changing(async |entry, new, ()| match new {
        "user:all" => Ok(entry.with_value("y").with_metadata(&[2])?.with_expiration_ttl(5_000)),
        "user:clear" => Ok(entry.clear_metadata().clear_expiration()),
        _ => Ok(entry),
    });
    let now = before[0].0.expiration.unwrap() - 100_000;
    service.drive(&runner(&service, rekey)).unwrap();
    let after: BTreeMap<String, _> =
        service.store.entries().into_iter().map(|(key, value)| (key.name.clone(), (key, value))).collect();
    let (key, value) = &after["user:all"];
    assert_eq!((value.as_slice(), key.metadata.as_ref().unwrap().as_json()), (b"y".as_slice(), "[2]"));
    assert!(
        key.expiration.is_some_and(|at| (now + 5_000..now + 5_010).contains(&at)),
        "{:?}",
        key.expiration
    );
    let (key, value) = &after["user:clear"];
    assert_eq!((value, key.metadata.as_ref(), key.expiration), (&before[1].1, None, None));
    let (key, value) = &after["user:same"];
    assert_eq!(
        (value, &key.metadata, key.expiration),
        (&before[2].1, &before[2].0.metadata, before[2].0.expiration)
    );
    assert_eq!(after.len(), 4, "and the marker: the old keys are gone");
}

#[test]
fn a_change_knows_the_context() {
    struct Region(&'static str);
    let service = holding(&[("user_1", "Ada")]);
    let rekey = Rekey::prefix("user_", "user:").changing(async |user, _, region: &Region| {
        let value = format!("{} in {}", user.text()?, region.0);
        Ok(user.with_value(value))
    });
    let runner =
        Runner::new(service.store.clone(), "my-service", vec![Migration::rekey("long", "", rekey)]).unwrap();
    block_on(runner.run_pending(&Region("eu"))).unwrap();
    assert_eq!(service.text("user:1").as_deref(), Some("Ada in eu"));
}

#[test]
fn a_nonce_does_no_harm() {
    let service = holding(&[("user_1", "Ada"), ("user_2", "Bob")]);
    assert_eq!(left(service.drive(&runner(&service, sealing())).unwrap()), []);
    assert_eq!(
        contents(&service),
        BTreeMap::from([
            ("user:1".to_owned(), b"user:1/Ada".to_vec()),
            ("user:2".to_owned(), b"user:2/Bob".to_vec()),
        ])
    );
}

#[test]
fn an_entry_that_changes_meanwhile_is_changed_and_copied_again() {
    let service = holding(&[("user_1", "Ada"), ("user_2", "Bob")]);
    let runner = runner(&service, sealing());
    service.request(&runner).unwrap();
    assert_eq!(keys(&service), ["user:1", "user:2", "user_1", "user_2"]);
    service.store.insert("user_1", "Ada Lovelace");
    service.drive(&runner).unwrap();
    assert_eq!(contents(&service).get("user:1").cloned(), Some(bytes("user:1/Ada Lovelace")));
    assert_eq!(keys(&service), ["user:1", "user:2"]);
}

#[test]
fn what_the_service_writes_over_a_changed_copy_wins() {
    let service = holding(&[("user_1", "Ada")]);
    let runner = runner(&service, sealing());
    service.request(&runner).unwrap();
    service.store.insert("user:1", "by the service");
    service.drive(&runner).unwrap();
    assert_eq!(
        (keys(&service), service.text("user:1").as_deref()),
        (vec!["user:1".to_owned()], Some("by the service"))
    );
}

#[test]
fn a_copy_that_would_expire_at_once_is_not_written() {
    let service = holding(&[("user_1", "Ada"), ("user_2", "Bob")]);
    let rekey = Rekey::prefix("user_", "user:").changing(async |entry, new, ()| {
        Ok(if new == "user:1" { entry.with_expiration_ttl(80) } else { entry })
    });
    let left = left(service.drive(&runner(&service, rekey)).unwrap());
    assert_eq!(keys(&service), ["user:2", "user_1"]);
    assert_eq!(
        left,
        [(
            "user_1".to_owned(),
            "was left: it would expire within 90 seconds at its new key `user:1`".to_owned()
        )]
    );
}

#[test]
fn an_error_of_the_change_names_the_entry_and_the_next_run_goes_on_there() {
    let service = holding(&[("user_1", "1"), ("user_2", "secret"), ("user_3", "3")]);
    let rekey = || {
        Rekey::prefix("user_", "user:").changing(async |entry, _, ()| {
            let number: u64 = entry.json()?;
            Ok(entry.with_value((number + 1).to_string()))
        })
    };
    let error = service.drive(&runner(&service, rekey())).unwrap_err().to_string();
    assert!(error.contains("at the entry `user_2`") && !error.contains("secret"), "{error}");
    assert!(keys(&service).contains(&"user_2".to_owned()));
    service.store.insert("user_2", "2");
    service.drive(&runner(&service, rekey())).unwrap();
    let expected = [("user:1", "2"), ("user:2", "3"), ("user:3", "4")];
    assert_eq!(
        contents(&service),
        expected.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).into()
    );
}

#[test]
fn what_the_change_returns_is_no_collision_at_the_new_key_and_the_unchanged_entry_is() {
    let upper = || {
        Rekey::prefix("user_", "user:").changing(async |entry, _, ()| {
            let value = entry.text()?.to_uppercase();
            Ok(entry.with_value(value))
        })
    };
    let service = holding(&[("user_1", "ada"), ("user:1", "ADA")]);
    service.drive(&runner(&service, upper())).unwrap();
    assert_eq!((keys(&service), service.text("user:1").as_deref()), (vec!["user:1".to_owned()], Some("ADA")));
    let service = holding(&[("user_1", "ada"), ("user:1", "ada")]);
    let error = service.drive(&runner(&service, upper())).unwrap_err().to_string();
    assert!(
        error.contains("`user_1` would get the key `user:1`, at which there is something else"),
        "{error}"
    );
    assert_eq!(keys(&service), ["user:1", "user_1"]);
}

#[test]
fn a_rollback_changes_entries_back_and_without_a_way_back_there_is_none() {
    let service = holding(&[("user_1", "Ada"), ("user_2", "Bob")]);
    let runner = runner(&service, sealing());
    service.drive(&runner).unwrap();
    service.roll_back(&runner).unwrap();
    assert_eq!(
        contents(&service),
        BTreeMap::from([("user_1".to_owned(), b"Ada".to_vec()), ("user_2".to_owned(), b"Bob".to_vec())])
    );
    assert!(!migration(Rekey::prefix("user_", "user:").changing(seal)).is_reversible());
    assert!(!migration(Rekey::new("user_", |_| None).changing(seal).changing_back(unseal)).is_reversible());
}

#[test]
fn copying_changes_the_copies_and_leaves_what_the_service_wrote() {
    let service = holding(&[("user_1", "Ada"), ("user_2", "Bob"), ("user:2", "by the service")]);
    let copying = Migration::rekey("copying", "", sealing().copying());
    let deleting = || Migration::rekey("deleting", "", sealing().deleting());
    service.migrate(vec![copying]);
    assert_eq!(keys(&service), ["user:1", "user:2", "user_1", "user_2"]);
    assert_eq!(contents(&service).get("user:1").cloned(), Some(bytes("user:1/Ada")));
    assert_eq!(service.text("user:2").as_deref(), Some("by the service"));
    service.migrate(vec![deleting()]);
    assert_eq!(keys(&service), ["user:1", "user:2"]);
}

#[test]
fn copying_copies_again_what_was_written_under_the_old_key_alone() {
    let service = holding(&[("user_1", "Ada")]);
    let runner = service.runner(vec![migration(sealing().copying())]);
    service.request(&runner).unwrap();
    service.store.insert("user_1", "Ada Lovelace");
    service.drive(&runner).unwrap();
    assert_eq!(contents(&service).get("user:1").cloned(), Some(bytes("user:1/Ada Lovelace")));
}

#[test]
fn deleting_changes_what_it_copies() {
    let service = holding(&[("user_1", "Ada"), ("user_2", "Bob"), ("user:2", "newer")]);
    service.migrate(vec![Migration::rekey("deleting", "", sealing().deleting().copying_missing())]);
    assert_eq!(keys(&service), ["user:1", "user:2"]);
    assert_eq!(contents(&service).get("user:1").cloned(), Some(bytes("user:1/Ada")));
}

#[test]
fn a_checkpoint_of_a_rekey_is_not_read_by_one_that_changes() {
    let service = holding(&[("user_1", "Ada")]);
    service.request(&service.runner(vec![crate::rekey::migration(crate::rekey::users())])).unwrap();
    let error = service.drive(&runner(&service, sealing())).unwrap_err().to_string();
    assert!(error.contains("cannot read its checkpoint"), "{error}");
}

#[test]
fn changed_copies_cost_little_more_than_a_read_a_write_and_a_delete_per_entry() {
    let entries: Vec<InitialEntry> =
        (0..2_000).map(|n| InitialEntry::new(format!("user_{n:04}"), "x")).collect();
    let service = Service::holding(&entries, 900);
    let before = service.store.operations();
    service.drive(&runner(&service, sealing())).unwrap();
    let (needed, least) = (service.store.operations() - before, 3 * 2_000);
    assert!(needed * 100 <= least * 106, "{needed} operations, where {least} are the least");
}

/// To the keys that the values give.
pub fn sealing_by_value() -> Rekey<()> {
    rekey_by_value::users().changing(seal)
}

#[test]
fn a_changed_copy_is_withdrawn_when_its_entry_gets_another_key() {
    let service = holding(&[("user_1", "a/x"), ("user_2", "a/y")]);
    let runner = runner(&service, sealing_by_value());
    service.request(&runner).unwrap();
    assert_eq!(keys(&service), ["user:a:1", "user:a:2", "user_1", "user_2"]);
    service.store.insert("user_1", "b/x");
    assert_eq!(left(service.drive(&runner).unwrap()), []);
    let expected = [("user:a:2", "user:a:2/a/y"), ("user:b:1", "user:b:1/b/x")];
    assert_eq!(contents(&service), expected.map(|(key, value)| (key.to_owned(), bytes(value))).into());
}

#[test]
fn an_outdated_changed_copy_that_the_service_has_changed_is_left_and_reported() {
    let service = holding(&[("user_1", "a/x")]);
    let runner = runner(&service, sealing_by_value());
    service.request(&runner).unwrap();
    service.store.insert("user_1", "b/x");
    service.store.insert("user:a:1", "by the service");
    let left = left(service.drive(&runner).unwrap());
    assert_eq!(left.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["user:a:1"]);
    let expected = [("user:a:1", "by the service"), ("user:b:1", "user:b:1/b/x")];
    assert_eq!(contents(&service), expected.map(|(key, value)| (key.to_owned(), bytes(value))).into());
}
