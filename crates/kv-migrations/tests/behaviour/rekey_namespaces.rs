//! A re-key from one namespace into another.

use std::cell::Cell;
use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::executor::block_on;
use kv_migrations::BoxFuture;
use kv_migrations::kv::{Answer, Key, KvError, MemoryStore, Request, Store, StoreExt};
use kv_migrations::{Collisions, Error, Migration, Rekey, RunReport};

use crate::rekey::{error, keys, migration};
use crate::service::{InitialEntry, Service, good, left};
use crate::stores::Intercepting;

fn entries(entries: &[(&str, &str)]) -> Vec<InitialEntry> {
    entries.iter().map(|(key, value)| InitialEntry::new(*key, *value)).collect()
}

/// A service with these entries, and another namespace with those.
pub fn two(own: &[(&str, &str)], other: &[(&str, &str)]) -> (Service, Service) {
    let service = Service::holding(&entries(own), 900);
    let other = service.elsewhere(&entries(other));
    (service, other)
}

fn run(service: &Service, rekey: Rekey) -> Result<Vec<RunReport>, Error> {
    service.drive(&service.runner(vec![migration(rekey)]))
}

/// All that is in a namespace but the service's own markers.
pub fn data(service: &Service) -> Vec<(Key, Vec<u8>)> {
    let entries = service.store.entries().into_iter();
    entries.filter(|(key, _)| !key.name.starts_with("migration_my-service_")).collect()
}

/// Key and value of each entry.
pub fn texts(service: &Service) -> Vec<(String, String)> {
    let text = |value: Vec<u8>| String::from_utf8(value).expect("it is text");
    data(service).into_iter().map(|(key, value)| (key.name, text(value))).collect()
}

fn pairs(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn hard_entries() -> Vec<InitialEntry> {
    let with_all = |key: &str| InitialEntry {
        metadata: Some(r#"{"z":1,"a":2}"#),
        ttl: Some(100_000),
        ..InitialEntry::new(key, [0xff, 0x00])
    };
    let mut entries: Vec<_> = ["42", "__proto__", "migration_notes", "ümläut"].map(with_all).into();
    entries.push(InitialEntry::new("k".repeat(512), "\u{FEFF}{}"));
    entries.push(InitialEntry::new("migration_other_009", "true"));
    entries
}

#[test]
fn all_entries_of_an_old_namespace_move_into_the_services_own_with_all_that_they_have() {
    let service = Service::holding(&[InitialEntry::new("own", "x")], 900);
    let old = service.elsewhere(&hard_entries());
    // The service was there before, and has data that looks like its markers.
    old.migrate(vec![good("001")]);
    old.put("migration_my-service_data", "data", None);
    let before: Vec<_> = data(&old).into_iter().filter(|(key, _)| !key.name.starts_with("done/")).collect();

    let reports = run(&service, Rekey::prefix("", "").in_namespace(old.store.clone())).unwrap();
    let after: Vec<_> = data(&service)
        .into_iter()
        .filter(|(key, _)| !key.name.starts_with("done/") && key.name != "own")
        .collect();
    assert_eq!(after, before);
    assert_eq!(service.text("own").as_deref(), Some("x"));
    assert_eq!(data(&old), [], "all are gone there");
    assert_eq!(old.text("migration_my-service_001").as_deref(), Some("true"), "but for the markers");
    assert_eq!(old.text("migration_my-service_data").as_deref(), Some("data"));
    let warnings = &reports.last().unwrap().warnings;
    let [warning] = &warnings[..] else { panic!("one warning: {warnings:?}") };
    assert!(warning.contains("long left out 1 keys that begin with `migration_`"), "{warning}");
}

#[test]
fn all_entries_move_into_another_namespace_and_the_markers_stay() {
    let service = Service::holding(&hard_entries(), 900);
    let new = service.elsewhere(&[]);
    let is_moved = |key: &Key| !key.name.starts_with("migration_");
    let before: Vec<_> = data(&service).into_iter().filter(|(key, _)| is_moved(key)).collect();
    let reports = run(&service, Rekey::prefix("", "").into_namespace(new.store.clone())).unwrap();
    assert_eq!(new.store.entries(), before, "and no marker");
    // Beside its own markers may be those of others: there all that begins so stays, as in any migration.
    assert_eq!(keys(&service), [""; 0]);
    assert_eq!(data(&service).len(), 2);
    let warnings = &reports.last().unwrap().warnings;
    assert!(warnings[0].contains("long left out 2 keys that begin with `migration_`"), "{warnings:?}");
    assert_eq!(service.migrate(vec![migration(Rekey::prefix("", ""))]), [""; 0], "it is applied");
}

#[test]
fn entries_move_between_two_namespaces_neither_of_which_is_the_services_own() {
    let (service, old) = two(&[("user_1", "own")], &[("user_1", "Ada"), ("user_2", "Bob")]);
    let new = service.elsewhere(&[]);
    let rekey = Rekey::prefix("user_", "user:").in_namespace(old.store.clone());
    run(&service, rekey.into_namespace(new.store.clone())).unwrap();
    assert_eq!(texts(&service), pairs(&[("user_1", "own")]));
    assert_eq!(old.store.entries(), []);
    assert_eq!(texts(&new), pairs(&[("user:1", "Ada"), ("user:2", "Bob")]));
    assert_eq!(new.store.entries().len(), 2);
}

#[test]
fn an_entry_stays_by_none_and_new_keys_may_look_like_old_ones() {
    let (service, old) = two(&[], &[("user_1", "Ada"), ("user_keep", "Bob"), ("user_x", "Cid")]);
    let rekey = Rekey::new("user_", |key| match &*key.name {
        "user_keep" => None,
        "user_x" => Some("user_1x".to_owned()),
        name => Some(name.to_owned()),
    });
    run(&service, rekey.in_namespace(old.store.clone())).unwrap();
    assert_eq!(texts(&service), pairs(&[("user_1", "Ada"), ("user_1x", "Cid")]));
    assert_eq!(texts(&old), pairs(&[("user_keep", "Bob")]));
}

#[test]
fn collisions_are_looked_for_where_the_new_keys_are() {
    let old = [("user_1", "Ada"), ("user_2", "Bob"), ("user_3", "Cid"), ("user_4", "Dan")];
    let own = [("user_2", "another"), ("user_3", "Cid"), ("user_9", "own")];
    let rekey = |old: &Service| Rekey::prefix("user_", "user_").in_namespace(old.store.clone());

    let (service, elsewhere) = two(&own, &old);
    let error = error(&service, rekey(&elsewhere));
    let text = "`user_2` would get its key in the other namespace, at which there is something else";
    assert!(error.contains("1 of the entries") && error.contains(text), "{error}");
    assert_eq!((texts(&service), texts(&elsewhere)), (pairs(&own), pairs(&old)), "nothing was written");
    assert!(service.text("migration_my-service_.namespace").is_none());

    let (service, elsewhere) = two(&own, &old);
    let skipping = rekey(&elsewhere).with_collisions(Collisions::Skip);
    let left: Vec<_> = left(run(&service, skipping).unwrap()).into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, ["user_2"]);
    assert_eq!(texts(&elsewhere), pairs(&[("user_2", "Bob")]));
    assert_eq!(service.text("user_2").as_deref(), Some("another"));
    assert_eq!(service.text("user_4").as_deref(), Some("Dan"));

    let (service, elsewhere) = two(&own, &old);
    run(&service, rekey(&elsewhere).with_collisions(Collisions::KeepNew)).unwrap();
    assert_eq!(texts(&elsewhere), []);
    assert_eq!(service.text("user_2").as_deref(), Some("another"));
}

#[test]
fn two_old_keys_with_one_new_key_collide_though_one_of_them_keeps_its_key() {
    let (service, old) = two(&[], &[("user_A", "1"), ("user_a", "2")]);
    let rekey = Rekey::new("user_", |key| Some(key.name.to_lowercase()));
    let error = error(&service, rekey.in_namespace(old.store.clone()));
    assert!(
        error.contains("`user_a` would get the key `user_a`, which another entry gets as well"),
        "{error}"
    );
    assert_eq!(texts(&old).len(), 2);
}

#[test]
fn a_new_key_like_a_marker_of_the_service_collides_only_where_the_markers_are() {
    let make = || Rekey::new("user_", |key| Some(key.name.replace("user_", "migration_my-service_")));
    let (service, old) = two(&[], &[("user_1", "Ada")]);
    let error = error(&service, make().in_namespace(old.store.clone()));
    assert!(error.contains("`migration_my-service_1`, which is the key of a marker"), "{error}");

    let (service, new) = two(&[("user_1", "Ada")], &[]);
    run(&service, make().into_namespace(new.store.clone())).unwrap();
    assert_eq!(new.text("migration_my-service_1").as_deref(), Some("Ada"));
}

#[test]
fn the_budget_counts_the_operations_of_all_namespaces() {
    let many: Vec<_> = (0..700).map(|number| InitialEntry::new(format!("user_{number:03}"), "x")).collect();
    let service = Service::new();
    let (old, new) = (service.elsewhere(&many), service.elsewhere(&[]));
    let rekey = Rekey::prefix("user_", "user_").in_namespace(old.store.clone());
    let runner = service.runner(vec![migration(rekey.into_namespace(new.store.clone()))]);
    let operations = || [&service, &old, &new].map(|it| it.store.operations()).iter().sum::<u64>();
    let mut before = operations();
    loop {
        let report = service.request(&runner).expect("it succeeds");
        let after = operations();
        assert_eq!(report.operations, after - before, "all operations are counted");
        assert!(report.operations <= 980, "{} operations in one request", report.operations);
        before = after;
        if report.is_finished() {
            break;
        }
    }
    assert_eq!((data(&old).len(), data(&new).len()), (0, 700));
}

/// A binding that the Worker does not have.
pub struct Unbound;

impl Store for Unbound {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(ready(Err(request.refused(None, "the Worker has no KV binding `OTHER_KV`"))))
    }
}

#[test]
fn a_namespace_that_is_not_bound_fails_before_anything_is_written() {
    let makes: [fn(Rekey) -> Rekey; 3] = [|rekey| rekey, Rekey::copying, Rekey::deleting];
    for make in makes {
        let (service, old) = two(&[("user_1", "Ada")], &[("user_1", "Ada")]);
        for rekey in [
            Rekey::prefix("user_", "user:").in_namespace(Unbound),
            Rekey::prefix("user_", "user:").into_namespace(Unbound),
            Rekey::prefix("user_", "user:").in_namespace(old.store.clone()).into_namespace(Unbound),
        ] {
            let error = error(&service, make(rekey));
            assert!(error.contains("the Worker has no KV binding `OTHER_KV`"), "{error}");
            block_on(service.runner(vec![migration(Rekey::new("", |_| None))]).reset("long")).unwrap();
        }
        assert_eq!(texts(&service), pairs(&[("user_1", "Ada")]));
        assert_eq!(texts(&old), pairs(&[("user_1", "Ada")]));
    }
}

#[test]
fn a_rollback_without_the_namespace_leaves_the_migration_applied() {
    let (service, old) = two(&[], &[("user_1", "Ada")]);
    let rekey = |old| Rekey::prefix("user_", "user:").in_namespace(old);
    run(&service, rekey(old.store.clone())).unwrap();
    let error = service
        .roll_back(&service.runner(vec![migration(Rekey::prefix("user_", "user:").in_namespace(Unbound))]))
        .expect_err("it is not bound");
    assert!(error.to_string().contains("no KV binding"), "{error}");
    assert_eq!(service.text("migration_my-service_long").as_deref(), Some("true"));
    service.roll_back(&service.runner(vec![migration(rekey(old.store.clone()))])).unwrap();
    assert_eq!((texts(&service), texts(&old)), (pairs(&[]), pairs(&[("user_1", "Ada")])));
}

#[test]
fn two_bindings_of_one_namespace_are_noticed_before_anything_is_deleted() {
    let makes: [fn(Rekey) -> Rekey; 3] =
        [|rekey| rekey, Rekey::deleting, |rekey| rekey.deleting().copying_missing()];
    for make in makes {
        for key in ["user_", "user:"] {
            let (service, _) = two(&[("user_1", "Ada"), ("user_2", "Bob")], &[]);
            let rekey = || make(Rekey::prefix("user_", key));
            let own = service.store.clone();
            for rekey in [rekey().in_namespace(own.clone()), rekey().into_namespace(own.clone())] {
                let text = error(&service, rekey);
                assert!(
                    text.contains("in the same namespace") && text.contains("Nothing was deleted"),
                    "{text}"
                );
                block_on(service.runner(vec![migration(Rekey::new("", |_| None))]).reset("long")).unwrap();
            }
            for (key, value) in [("user_1", "Ada"), ("user_2", "Bob")] {
                assert_eq!(service.text(key).as_deref(), Some(value));
            }
        }
    }
}

#[test]
fn what_tells_the_namespaces_apart_is_no_marker_and_is_gone_at_the_end() {
    let (service, old) = two(&[], &[("user_1", "Ada")]);
    let runner = service.runner(vec![migration(Rekey::prefix("", "").in_namespace(old.store.clone()))]);
    let report = service.request(&runner).unwrap();
    assert!(service.text("migration_my-service_.namespace").is_some(), "it is there while it waits");
    let status = block_on(runner.status_report()).unwrap();
    assert_eq!((report.missing, status.missing), (vec![], vec![]));
    let report = service.drive(&runner).unwrap().pop().unwrap();
    assert_eq!((report.missing, report.warnings), (vec![], vec![]));
    let names = |it: &Service| it.store.entries().into_iter().map(|(key, _)| key.name).collect::<Vec<_>>();
    assert_eq!(
        (names(&service), names(&old)),
        (vec!["migration_my-service_long".to_owned(), "user_1".to_owned()], vec![])
    );
}

#[test]
fn what_tells_the_namespaces_apart_is_written_again_if_it_is_gone() {
    let (service, old) = two(&[], &[("user_1", "Ada")]);
    let runner = service.runner(vec![migration(Rekey::prefix("", "").in_namespace(old.store.clone()))]);
    service.request(&runner).unwrap();
    block_on(service.store.delete("migration_my-service_.namespace")).unwrap();
    let report = service.request(&runner).unwrap();
    assert_eq!(old.text("user_1").as_deref(), Some("Ada"), "nothing is deleted before");
    assert!(report.retry_after.is_some_and(|wait| wait.as_secs() >= 90), "{report:?}");
    service.drive(&runner).unwrap();
    assert_eq!((texts(&service), texts(&old)), (pairs(&[("user_1", "Ada")]), pairs(&[])));
}

#[test]
fn a_checkpoint_is_not_read_for_another_direction_between_namespaces() {
    let ways: [fn(Rekey, MemoryStore) -> Rekey; 4] = [
        |rekey, _| rekey,
        Rekey::in_namespace,
        Rekey::into_namespace,
        |rekey, store| rekey.in_namespace(store.clone()).into_namespace(store),
    ];
    for (first, begin) in ways.iter().enumerate() {
        for (second, go_on) in ways.iter().enumerate().filter(|(second, _)| *second != first) {
            let (service, other) = two(&[("user_1", "Ada")], &[("user_1", "Ada")]);
            let make = |way: &fn(Rekey, MemoryStore) -> Rekey| {
                way(Rekey::prefix("user_", "user:"), other.store.clone())
            };
            service.request(&service.runner(vec![migration(make(begin))])).unwrap();
            let error = error(&service, make(go_on));
            assert!(error.contains("cannot read its checkpoint"), "{first} {second}: {error}");
        }
    }
}

/// Refuses a write to `user_1` once with 429, after the service has written there.
fn busy(store: &MemoryStore, is_busy: fn(Request<'_>) -> bool, written: &'static str) -> impl Store + use<> {
    let (inner, has_refused) = (store.clone(), AtomicBool::new(false));
    let answer = move |request: Request<'_>| {
        (is_busy(request) && !has_refused.swap(true, Ordering::Relaxed)).then(|| {
            inner.insert("user_1", written);
            Err(request.refused(Some(429), "Too Many Requests"))
        })
    };
    Intercepting { store: store.clone(), answer }
}

#[test]
fn a_write_of_the_service_amid_the_turn_of_an_entry_is_seen_in_its_own_namespace() {
    // Under the new key, which is the same in the other namespace: it stays, and the entry collides.
    let (service, new) = two(&[("user_1", "Ada")], &[]);
    let is_put = |request: Request<'_>| matches!(request, Request::Put { key: "user_1", .. });
    let rekey = Rekey::prefix("user_", "user_").into_namespace(busy(&new.store, is_put, "newer"));
    run(&service, rekey.with_collisions(Collisions::Skip)).unwrap();
    assert_eq!(texts(&new), pairs(&[("user_1", "newer")]));
    assert_eq!(texts(&service), pairs(&[("user_1", "Ada")]));

    // Under the old key: it is copied, too.
    let (service, old) = two(&[], &[("user_1", "Ada")]);
    let is_delete = |request: Request<'_>| matches!(request, Request::Delete { key: "user_1" });
    run(&service, Rekey::prefix("user_", "user_").in_namespace(busy(&old.store, is_delete, "newer")))
        .unwrap();
    assert_eq!((texts(&service), texts(&old)), (pairs(&[("user_1", "newer")]), pairs(&[])));
}

#[test]
fn what_is_written_under_an_old_key_meanwhile_is_moved_too() {
    let (service, old) = two(&[], &[("user_1", "Ada")]);
    let runner =
        service.runner(vec![migration(Rekey::prefix("user_", "user_").in_namespace(old.store.clone()))]);
    let step = Cell::new(0);
    while !service.request(&runner).unwrap().is_finished() {
        match step.replace(step.get() + 1) {
            0 => old.store.insert("user_1", "Ada Lovelace"),
            1 => old.store.insert("user_2", "Bob"),
            _ => {}
        }
    }
    assert_eq!(texts(&service), pairs(&[("user_1", "Ada Lovelace"), ("user_2", "Bob")]));
    assert_eq!(texts(&old), []);
}

#[test]
fn a_rollback_goes_the_other_way() {
    let migrations = |rekey: Rekey| Migration::rekey("long", "", rekey);
    let (service, old) = two(&[], &[("42", "x"), ("user_1", "Ada")]);
    let runner = service.runner(vec![migrations(Rekey::prefix("", "").in_namespace(old.store.clone()))]);
    service.drive(&runner).unwrap();
    assert_eq!(texts(&old), []);
    service.roll_back(&runner).unwrap();
    assert_eq!((texts(&service), texts(&old)), (pairs(&[]), pairs(&[("42", "x"), ("user_1", "Ada")])));

    let (service, new) = two(&[("user_1", "Ada")], &[("own", "y")]);
    let rekey = Rekey::prefix("user_", "user:").into_namespace(new.store.clone());
    let runner = service.runner(vec![migrations(rekey)]);
    service.drive(&runner).unwrap();
    assert_eq!(texts(&new), pairs(&[("own", "y"), ("user:1", "Ada")]));
    service.roll_back(&runner).unwrap();
    assert_eq!((texts(&service), texts(&new)), (pairs(&[("user_1", "Ada")]), pairs(&[("own", "y")])));
}
