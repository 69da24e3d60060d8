//! A re-key whose mapping uses a table that is loaded beforehand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::executor::block_on;
use kv_migrations::kv::{Key, Kv, MemoryStore};
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Migration, Rekey, Result, Runner};

use crate::rekey::{drive, keys};
use crate::service::{InitialEntry, Service};

type Ids = BTreeMap<String, String>;

/// Loads all values of a namespace by their keys.
async fn load(kv: &Kv, users: &MemoryStore) -> Result<Ids> {
    let (users, mut ids) = (kv.with_store(users.clone()), BTreeMap::new());
    let mut names = users.list("");
    while let Some(name) = names.next().await? {
        let id = users.text(&name.name).await?;
        ids.extend(id.map(|id| (name.name, id)));
    }
    Ok(ids)
}

/// Moves `trip:{name}:…` to `trips/{id}/…`.
fn there(trip: &Key, ids: &Ids) -> Result<Option<String>> {
    let parts = trip.name.strip_prefix("trip:").and_then(|rest| rest.split_once(':'));
    let Some((name, rest)) = parts else { return Ok(None) };
    let id = ids.get(name).ok_or("nobody has this name")?;
    Ok(Some(format!("trips/{id}/{rest}")))
}

fn back(trip: &Key, ids: &Ids) -> Option<String> {
    let parts = trip.name.strip_prefix("trips/").and_then(|rest| rest.split_once('/'));
    let (id, rest) = parts?;
    let name = ids.iter().find_map(|(name, known)| (known == id).then_some(name));
    name.map(|name| format!("trip:{name}:{rest}"))
}

fn trips(users: &MemoryStore) -> Rekey<(), Ids> {
    let users = users.clone();
    Rekey::by_table("trip:", async move |kv, ()| load(kv, &users).await, |trip, ids, ()| there(trip, ids))
        .with_inverse("trips/", |trip, ids, ()| Ok(back(trip, ids)))
}

fn users() -> MemoryStore {
    let users = MemoryStore::new();
    users.insert("ada", "17");
    users.insert("bob", "4");
    users
}

fn entries() -> Vec<InitialEntry> {
    let mut entries: Vec<InitialEntry> =
        ["trip:ada:rome", "trip:bob:1", "trip:bob:__proto__", "trip:no name"]
            .into_iter()
            .map(|key| InitialEntry::new(key, key))
            .collect();
    entries.push(InitialEntry {
        metadata: Some(r#"{"a":1}"#),
        ttl: Some(100_000),
        ..InitialEntry::new("trip:ada:oslo", [0xff, 0])
    });
    entries
}

#[test]
fn new_keys_may_depend_on_a_table_from_another_namespace() {
    let (service, users) = (Service::holding(&entries(), 900), users());
    let runner = service.runner(vec![Migration::rekey("long", "", trips(&users))]);
    service.drive(&runner).unwrap();
    let moved = ["trip:no name", "trips/17/oslo", "trips/17/rome", "trips/4/1", "trips/4/__proto__"];
    assert_eq!(keys(&service), moved);
    service.roll_back(&runner).unwrap();
    let before = ["trip:ada:oslo", "trip:ada:rome", "trip:bob:1", "trip:bob:__proto__", "trip:no name"];
    assert_eq!(keys(&service), before);
}

#[test]
fn all_requests_map_by_the_table_that_the_first_one_has_loaded() {
    let entries: Vec<InitialEntry> =
        (0..60).map(|n| InitialEntry::new(format!("trip:ada:{n:02}"), "x")).collect();
    let (service, users, loaded) = (Service::holding(&entries, 60), users(), Arc::new(AtomicUsize::new(0)));
    let (store, count) = (users.clone(), loaded.clone());
    let load = async move |kv: &Kv, (): &()| {
        count.fetch_add(1, Ordering::Relaxed);
        load(kv, &store).await
    };
    let rekey = Rekey::by_table("trip:", load, |trip, ids, ()| there(trip, ids));
    let runner = service.runner(vec![Migration::rekey("long", "", rekey)]);
    let mut requests = 0;
    while !service.request(&runner).unwrap().is_finished() {
        requests += 1;
        users.insert("ada", format!("{requests}"));
    }
    assert!(requests > 2, "the budget has to be too small for one request: {requests}");
    assert!(keys(&service).iter().all(|key| key.starts_with("trips/17/")), "{:?}", keys(&service));
    assert_eq!(loaded.load(Ordering::Relaxed), 1, "the table is in the checkpoint");
}

#[test]
fn an_entry_for_which_the_mapping_fails_is_named_and_nothing_is_written() {
    let (service, users) = (Service::holding(&entries(), 900), users());
    service.store.insert("trip:eve:rome", "x");
    let run = || service.drive(&service.runner(vec![Migration::rekey("long", "", trips(&users))]));
    let error = run().unwrap_err().to_string();
    assert!(error.contains("at the entry `trip:eve:rome`: nobody has this name"), "{error}");
    assert!(!keys(&service).iter().any(|key| key.starts_with("trips/")), "{:?}", keys(&service));

    // The next run loads the table again.
    users.insert("eve", "5");
    run().unwrap();
    assert!(keys(&service).contains(&"trips/5/rome".to_owned()));
}

#[test]
fn a_table_that_does_not_load_fails_the_migration_before_anything_is_written() {
    let fails = |rekey: Rekey<(), Ids>, operations: u64| {
        let service = Service::holding(&entries(), operations);
        let result = service.drive(&service.runner(vec![Migration::rekey("long", "", rekey)]));
        assert_eq!(keys(&service).len(), entries().len(), "nothing is written");
        result.unwrap_err().to_string()
    };
    let map = |trip: &Key, ids: &Ids, (): &()| there(trip, ids);
    let broken = Rekey::by_table("trip:", async |_: &Kv, (): &()| Err("no such namespace".into()), map);
    assert!(fails(broken, 900).contains("no such namespace"));

    let greedy = async |kv: &Kv, (): &()| {
        for _ in 0..2_000 {
            drop(kv.get("trip:").await);
        }
        Ok(Ids::new())
    };
    let error = fails(Rekey::by_table("trip:", greedy, map), 900);
    assert!(error.contains("the table of its mapping could not be loaded within"), "{error}");

    let large = async |_: &Kv, (): &()| Ok(Ids::from([("x".to_owned(), "y".repeat(5_000_000))]));
    let error = fails(Rekey::by_table("trip:", large, map), 900);
    assert!(error.contains("5000008 bytes of JSON, and a checkpoint holds 4194304 of it"), "{error}");
}

#[test]
fn a_table_that_the_next_release_cannot_read_is_refused() {
    let (service, users) = (Service::holding(&entries(), 900), users());
    service.request(&service.runner(vec![Migration::rekey("long", "", trips(&users))])).unwrap();
    let other = Rekey::by_table("trip:", async |_, ()| Ok(7_u32), |_, _, ()| Ok(None));
    let result = service.drive(&service.runner(vec![Migration::rekey("long", "", other)]));
    let error = result.unwrap_err().to_string();
    assert!(error.contains("the table of its mapping does not come back from JSON"), "{error}");
    service.drive(&service.runner(vec![Migration::rekey("long", "", trips(&users))])).unwrap();
}

#[test]
fn the_mapping_sees_the_context_and_a_plain_rekey_fits_any() {
    fn plain() -> Rekey {
        Rekey::prefix("user_", "user:")
    }
    struct Env(&'static str);
    let service = Service::holding(&[InitialEntry::new("user_1", "x"), InitialEntry::new("a", "x")], 900);
    let by_context = Rekey::by_table(
        "a",
        async |_, _: &Env| Ok(()),
        |key, (), env| Ok((key.name == "a").then(|| env.0.to_owned())),
    );
    let migrations =
        vec![Migration::rekey("1", "", by_context.copying()), Migration::rekey("2", "", plain())];
    let runner = Runner::new(service.store.clone(), "my-service", migrations)
        .unwrap()
        .with_clock(Arc::new(service.clock.clone()));
    while !block_on(runner.run_pending(&Env("b"))).unwrap().is_finished() {
        service.clock.advance(std::time::Duration::from_secs(91));
    }
    assert_eq!(keys(&service), ["a", "b", "user:1"]);
    // And one whose context is `()`.
    drive(&service, plain()).unwrap();
}

#[test]
fn a_rekey_by_table_that_is_cut_off_anywhere_is_continued() {
    let run = |service: &Service, fault: Option<Fault>| {
        let migrations = vec![Migration::rekey("long", "", trips(&users()))];
        match fault {
            Some(fault) => {
                service.drive(&service.runner_on(faulty(service.store.clone(), fault), migrations))
            }
            None => service.drive(&service.runner(migrations)),
        }
    };
    for operations in [900, 20] {
        let faultless = Service::holding(&entries(), operations);
        run(&faultless, None).unwrap();
        let (needed, expected) = (faultless.store.operations(), faultless.outcome());
        for at in 0..=needed {
            for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
                let service = Service::holding(&entries(), operations);
                let _ = run(&service, Some(fault));
                run(&service, None).unwrap_or_else(|error| panic!("{fault:?}: not continued: {error}"));
                assert_eq!(service.outcome(), expected, "{fault:?}");
            }
        }
    }
}
