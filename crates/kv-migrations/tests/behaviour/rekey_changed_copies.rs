//! How the copies of a re-key are known where they are changed on their way, and where KV has not confirmed them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use kv_migrations::kv::{Expiration, MemoryStore, Metadata, PutOptions, Request, StoreExt};
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Error, Migration, Rekey};

use crate::rekey::{keys, users};
use crate::rekey_changing::{contents, runner, sealing};
use crate::service::{InitialEntry, Service, holding, left};
use crate::stores::Intercepting;

/// Always the same for the same entry.
fn upper() -> Rekey<()> {
    Rekey::prefix("user_", "user:").changing(async |entry, _, ()| {
        let value = entry.text()?.to_uppercase();
        Ok(entry.with_value(value))
    })
}

type NewMigration = fn() -> Migration;

/// The migration, and what it makes of `ada`.
fn with_and_without_a_change() -> [(NewMigration, &'static str); 2] {
    [(|| Migration::rekey("long", "", users()), "ada"), (|| Migration::rekey("long", "", upper()), "ADA")]
}

fn put(store: &MemoryStore, key: &str, value: &str, metadata: Option<&str>, ttl: Option<u64>) {
    let options = PutOptions::new()
        .with_metadata(metadata.map(Metadata::from_json))
        .with_expiration(ttl.map(Expiration::After));
    block_on(store.put(key, value.as_bytes(), &options)).expect("KV takes it");
}

/// The value, the metadata, and whether it expires.
fn found(service: &Service, key: &str) -> Option<(String, Option<String>, bool)> {
    let entry = service.store.entries().into_iter().find(|(found, _)| found.name == key);
    entry.map(|(key, value)| {
        let metadata = key.metadata.map(|metadata| metadata.as_json().to_owned());
        (String::from_utf8(value).unwrap(), metadata, key.expiration.is_some())
    })
}

/// A crash, a lost answer, a refusal, or an outage at each operation of the rest of a run, which then goes on. `begin` makes a
/// service in the middle of it.
fn with_a_fault_anywhere(
    migration: NewMigration,
    begin: impl Fn() -> Service,
    mut check: impl FnMut(&Service, Result<(), Error>, Fault),
) {
    let faultless = begin();
    let before = faultless.store.operations();
    faultless.drive(&faultless.runner(vec![migration()])).unwrap();
    for at in 0..=faultless.store.operations() - before {
        let outage = Fault::temporary(503, at, 5);
        for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at), outage] {
            let service = begin();
            let _ =
                service.drive(&service.runner_on(faulty(service.store.clone(), fault), vec![migration()]));
            let result = service.drive(&service.runner(vec![migration()])).map(drop);
            check(&service, result, fault);
        }
    }
}

#[test]
fn an_entry_of_which_only_metadata_or_expiration_changes_is_copied_again_whatever_fails() {
    for (migration, value) in with_and_without_a_change() {
        for (metadata, ttl) in [("[2]", None), ("[1]", Some(100_000))] {
            let begin = || {
                let entry = InitialEntry { metadata: Some("[1]"), ..InitialEntry::new("user_1", "ada") };
                let service = Service::holding(&[entry], 900);
                service.request(&service.runner(vec![migration()])).unwrap();
                assert_eq!(keys(&service), ["user:1", "user_1"], "it is copied");
                put(&service.store, "user_1", "ada", Some(metadata), ttl);
                service
            };
            with_a_fault_anywhere(migration, begin, |service, result, fault| {
                result.unwrap_or_else(|error| panic!("{fault:?}: it cannot be continued: {error}"));
                let expected = (value.to_owned(), Some(metadata.to_owned()), ttl.is_some());
                assert_eq!(found(service, "user:1"), Some(expected), "{fault:?}");
                assert_eq!(keys(service), ["user:1"], "{fault:?}");
            });
        }
    }
}

#[test]
fn a_new_key_that_has_the_same_already_gets_the_expiration_of_the_entry_whatever_fails() {
    for (migration, value) in with_and_without_a_change() {
        let begin = || {
            let service = holding(&[("user_1", "ada")]);
            put(&service.store, "user:1", value, None, Some(5_000));
            service
        };
        with_a_fault_anywhere(migration, begin, |service, result, fault| {
            result.unwrap_or_else(|error| panic!("{fault:?}: it cannot be continued: {error}"));
            assert_eq!(found(service, "user:1"), Some((value.to_owned(), None, false)), "{fault:?}");
            assert_eq!(keys(service), ["user:1"], "{fault:?}");
        });
    }
}

/// What happened when the service wrote `user:1` before an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The run ended before.
    Never,
    /// There was no copy.
    BeforeTheCopy,
    /// There was one, or it was just about to be written.
    AfterTheCopy,
}

/// A run during which the service writes `user:1` before the operation of this number.
fn run_while_the_service_writes(service: &Service, at: u64) -> (Result<(), Error>, Moment) {
    let (operations, moment) = (AtomicU64::new(0), Arc::new(Mutex::new(Moment::Never)));
    let (memory, noted) = (service.store.clone(), moment.clone());
    let store = Intercepting {
        store: service.store.clone(),
        answer: move |request: Request<'_>| {
            if operations.fetch_add(1, Ordering::Relaxed) == at {
                let is_copied_now = matches!(request, Request::Put { .. }) && request.key() == "user:1";
                let has_copy = is_copied_now || memory.value("user:1").is_some();
                *noted.lock().unwrap() = if has_copy { Moment::AfterTheCopy } else { Moment::BeforeTheCopy };
                if !is_copied_now {
                    memory.insert("user:1", "theirs");
                }
            }
            None
        },
    };
    let result = service.drive(&service.runner_on(store, vec![Migration::rekey("long", "", sealing())]));
    let moment = *moment.lock().unwrap();
    (result.map(drop), moment)
}

#[test]
fn what_the_service_writes_at_a_new_key_at_any_moment_costs_no_entry() {
    for at in 0.. {
        let service = holding(&[("user_1", "Ada")]);
        let (result, moment) = run_while_the_service_writes(&service, at);
        match moment {
            Moment::Never => return,
            Moment::AfterTheCopy => {
                result.unwrap_or_else(|error| panic!("before operation {at}: {error}"));
            }
            Moment::BeforeTheCopy => {
                let error = result.expect_err("there is no copy of the entry").to_string();
                assert!(error.contains("`user_1` would get the key `user:1`"), "before {at}: {error}");
                let kept = ["user_1", "user:1"].map(|key| service.text(key));
                assert_eq!(
                    kept,
                    [Some("Ada".to_owned()), Some("theirs".to_owned())],
                    "before operation {at}"
                );
            }
        }
    }
}

#[test]
fn what_the_service_writes_at_a_new_key_after_a_crash_anywhere_costs_no_entry() {
    let faultless = holding(&[("user_1", "Ada")]);
    faultless.drive(&runner(&faultless, sealing())).unwrap();
    for at in 0..faultless.store.operations() {
        for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
            let service = holding(&[("user_1", "Ada")]);
            let migrations = vec![Migration::rekey("long", "", sealing())];
            let _ = service.drive(&service.runner_on(faulty(service.store.clone(), fault), migrations));
            if service.text("user:1").is_some() {
                continue;
            }
            service.store.insert("user:1", "theirs");
            let error = service.drive(&runner(&service, sealing())).map(drop).expect_err("there is no copy");
            assert!(error.to_string().contains("`user_1` would get the key `user:1`"), "{fault:?}: {error}");
            let kept = ["user_1", "user:1"].map(|key| service.text(key));
            assert_eq!(kept, [Some("Ada".to_owned()), Some("theirs".to_owned())], "{fault:?}");
        }
    }
}

#[test]
fn a_refused_write_of_a_changed_copy_is_looked_at_again() {
    let refusing = |service: &Service, writes: fn(&MemoryStore, u64, &Request<'_>) -> Option<u16>| {
        let (memory, puts) = (service.store.clone(), AtomicU64::new(0));
        Intercepting {
            store: service.store.clone(),
            answer: move |request: Request<'_>| {
                let is_copy = matches!(request, Request::Put { .. }) && request.key() == "user:1";
                let number = if is_copy { puts.fetch_add(1, Ordering::Relaxed) } else { return None };
                let status = writes(&memory, number, &request)?;
                Some(Err(request.refused(Some(status), "injected")))
            },
        }
    };
    // KV takes it, answers 503, and refuses the next attempt, because it comes within a second.
    let service = holding(&[("user_1", "Ada")]);
    let store = refusing(&service, |memory, number, request| {
        if let (0, Request::Put { value, .. }) = (number, request) {
            memory.insert("user:1", *value);
            return Some(503);
        }
        (number == 1).then_some(429)
    });
    let migrations = vec![Migration::rekey("long", "", sealing())];
    let reports = service.drive(&service.runner_on(store, migrations)).expect("its own copy is no collision");
    assert_eq!(left(reports), []);
    assert_eq!(contents(&service), [("user:1".to_owned(), b"user:1/Ada".to_vec())].into());

    // Somebody else has written it.
    let service = holding(&[("user_1", "Ada")]);
    let store = refusing(&service, |memory, number, _| {
        (number == 0).then(|| memory.insert("user:1", "theirs"))?;
        Some(429)
    });
    let migrations = vec![Migration::rekey("long", "", sealing())];
    let error = service.drive(&service.runner_on(store, migrations)).map(drop).unwrap_err().to_string();
    assert!(
        error.contains("`user_1` would get the key `user:1`, at which there is something else"),
        "{error}"
    );
    let kept = ["user_1", "user:1"].map(|key| service.text(key));
    assert_eq!(kept, [Some("Ada".to_owned()), Some("theirs".to_owned())]);
}

#[test]
fn a_copy_that_is_written_again_after_a_crash_is_known_though_kv_refuses_that_write() {
    let faultless = holding(&[("user_1", "ada")]);
    faultless.drive(&runner(&faultless, upper())).unwrap();
    let operations = faultless.store.operations();
    let run = |service: &Service, fault| {
        let migrations = vec![Migration::rekey("long", "", upper())];
        service.drive(&service.runner_on(faulty(service.store.clone(), fault), migrations))
    };
    for at in 0..operations {
        for refused in 0..operations {
            let service = holding(&[("user_1", "ada")]);
            let _ = run(&service, Fault::Crash(at));
            let reports = run(&service, Fault::temporary(429, refused, 1));
            let reports = reports.unwrap_or_else(|error| panic!("crash at {at}, 429 at {refused}: {error}"));
            assert_eq!(left(reports), [], "crash at {at}, 429 at {refused}");
            assert_eq!(keys(&service), ["user:1"], "crash at {at}, 429 at {refused}");
        }
    }
}

#[test]
fn a_service_that_writes_both_keys_meanwhile_collides_with_nothing_if_it_writes_what_the_change_returns() {
    for ttl in [None, Some(100_000)] {
        let service = holding(&[("user_1", "ada"), ("user_2", "bob")]);
        let runner = runner(&service, upper());
        service.request(&runner).unwrap();
        put(&service.store, "user_1", "lovelace", None, None);
        put(&service.store, "user:1", "LOVELACE", None, ttl);
        let reports = service.drive(&runner).unwrap_or_else(|error| panic!("with the TTL {ttl:?}: {error}"));
        assert_eq!(left(reports), []);
        assert_eq!(keys(&service), ["user:1", "user:2"]);
        assert_eq!(found(&service, "user:1"), Some(("LOVELACE".to_owned(), None, false)));
    }
}

#[test]
fn a_service_that_writes_both_keys_meanwhile_collides_where_the_change_never_returns_the_same() {
    let service = holding(&[("user_1", "Ada")]);
    let runner = runner(&service, sealing());
    service.request(&runner).unwrap();
    service.store.insert("user_1", "Lovelace");
    service.store.insert("user:1", "999/user:1/Lovelace");
    let error = service.drive(&runner).map(drop).unwrap_err().to_string();
    assert!(
        error.contains("`user_1` would get the key `user:1`, at which there is something else"),
        "{error}"
    );
    let kept = ["user_1", "user:1"].map(|key| service.text(key));
    assert_eq!(kept, [Some("Lovelace".to_owned()), Some("999/user:1/Lovelace".to_owned())]);
}
