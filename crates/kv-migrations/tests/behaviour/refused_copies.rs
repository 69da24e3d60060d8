//! A re-key beside a service that writes a key just before the re-key does: KV refuses the write of the re-key with 429, and
//! what the service wrote is not written over.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kv_migrations::clock::Clock;
use kv_migrations::kv::{Answer, KvError, MemoryStore, PutOptions, Request, Store, StoreExt};
use kv_migrations::testing::{DelayedKv, MemoryLog, VirtualTime};
use kv_migrations::{BoxFuture, Migration, MovingEntry, Rekey, Runner};

use crate::service::start;

const OLD: &str = "user_1";
const NEW: &str = "user:1";

/// What the service writes just before and just after a write of the re-key.
#[derive(Default)]
struct Turn {
    before: &'static [(&'static str, &'static str)],
    after: &'static [(&'static str, &'static str)],
}

/// A namespace in which every write of the re-key is the turn of the service as well. It takes one write a second to a key.
#[derive(Clone)]
struct Beside {
    store: MemoryStore,
    kv: DelayedKv,
    turns: Arc<Mutex<VecDeque<Turn>>>,
    /// What was at the new key after each write of the re-key.
    shown: Arc<Mutex<Vec<String>>>,
}

impl Beside {
    async fn write(&self, writes: &[(&str, &str)]) -> Result<(), KvError> {
        for (key, value) in writes {
            self.kv.at(0).put(key, value.as_bytes(), &PutOptions::default()).await?;
        }
        Ok(())
    }
}

impl Store for Beside {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let is_write = matches!(request, Request::Put { .. } | Request::Delete { .. });
            if !is_write || request.key().starts_with("migration_") {
                return self.kv.at(0).call(request).await;
            }
            let turn = self.turns.lock().unwrap().pop_front().unwrap_or_default();
            self.write(turn.before).await?;
            let result = self.kv.at(0).call(request).await;
            let shown = self.store.value(NEW).map(|value| String::from_utf8(value).unwrap());
            self.shown.lock().unwrap().extend(shown);
            self.write(turn.after).await?;
            result
        })
    }
}

/// Moves one entry, and returns what was at its new key after each write, and what is left in the end: at the old key and at
/// the new one.
fn shown(rekey: Rekey, turns: impl Into<VecDeque<Turn>>) -> (Vec<String>, [Option<&'static str>; 2]) {
    let time = VirtualTime::starting_at(start());
    let store = MemoryStore::with_clock(time.clone());
    store.insert(OLD, "v0");
    let kv = DelayedKv::new(store.clone(), time.clone(), Duration::ZERO);
    let turns = Arc::new(Mutex::new(turns.into()));
    let beside = Beside { store: store.clone(), kv, turns: turns.clone(), shown: Arc::default() };
    let runner = Runner::new(beside.clone(), "my-service", vec![Migration::rekey("move", "", rekey)])
        .unwrap()
        .with_clock(Arc::new(time.clone()))
        .with_log(Arc::new(MemoryLog::default()));
    time.run(async {
        loop {
            let report = runner.run_pending(&()).await.expect("it succeeds");
            if report.is_finished() {
                break;
            }
            time.sleep(report.retry_after.unwrap()).await;
        }
    });
    assert!(turns.lock().unwrap().is_empty(), "the re-key wrote as often as the service had a turn");
    let found = |key| store.value(key).map(|value| if value == b"v1" { "v1" } else { "what is older" });
    let shown = std::mem::take(&mut *beside.shown.lock().unwrap());
    (shown, [found(OLD), found(NEW)])
}

fn users() -> Rekey {
    Rekey::prefix("user_", "user:")
}

const BOTH_KEYS: &[(&str, &str)] = &[(NEW, "v1"), (OLD, "v1")];

#[test]
fn what_the_service_wrote_at_the_new_key_just_before_the_first_copy_stays() {
    let turn = || [Turn { before: BOTH_KEYS, after: &[] }];
    let (shown_to_service, left) = shown(users().copying(), turn());
    assert_eq!(left, [Some("v1"), Some("v1")]);
    assert!(shown_to_service.iter().all(|value| value == "v1"), "{shown_to_service:?}");

    let (shown_to_service, left) = shown(users(), turn());
    assert_eq!(left, [None, Some("v1")]);
    assert!(shown_to_service.iter().all(|value| value == "v1"), "{shown_to_service:?}");
}

#[test]
fn what_the_service_wrote_at_the_new_key_just_before_an_entry_is_copied_again_stays() {
    for (rekey, old_in_the_end) in [(users().copying(), Some("v1")), (users(), None)] {
        // It was written under its old key alone after the first copy.
        let first = Turn { before: &[], after: &[(OLD, "v0 changed")] };
        let again = Turn { before: BOTH_KEYS, after: &[] };
        let (shown_to_service, left) = shown(rekey, [first, again]);
        assert_eq!(left, [old_in_the_end, Some("v1")]);
        let [first, rest @ ..] = &shown_to_service[..] else { panic!("nothing was written") };
        assert_eq!(first, "v0");
        assert!(rest.iter().all(|value| value == "v1"), "{shown_to_service:?}");
    }
}

#[test]
fn what_the_service_wrote_at_the_new_key_just_before_a_missing_copy_is_made_stays() {
    let turn = Turn { before: &[(NEW, "v1")], after: &[] };
    let (shown_to_service, left) = shown(users().copying_missing(), [turn]);
    assert_eq!(left, [None, Some("v1")]);
    assert!(shown_to_service.iter().all(|value| value == "v1"), "{shown_to_service:?}");
}

#[test]
fn what_the_service_wrote_at_the_old_key_just_before_it_is_deleted_is_moved_too() {
    let deletion = Turn { before: &[(OLD, "v1")], after: &[] };
    let (_, left) = shown(users(), [Turn::default(), deletion]);
    assert_eq!(left, [None, Some("v1")]);
}

/// Answers the first write of the new key, which takes effect, with 500, and refuses the next one with 429.
struct LosingAnAnswer {
    store: MemoryStore,
    writes: AtomicU32,
}

impl Store for LosingAnAnswer {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let is_copy = matches!(request, Request::Put { .. }) && request.key() == NEW;
            match is_copy.then(|| self.writes.fetch_add(1, Ordering::Relaxed)) {
                Some(0) => {
                    self.store.call(request).await?;
                    Err(request.refused(Some(500), "Internal Server Error"))
                }
                Some(1) => Err(request.refused(Some(429), "Too Many Requests")),
                _ => self.store.call(request).await,
            }
        })
    }
}

#[test]
fn a_changed_copy_whose_answer_was_lost_is_known_though_it_is_refused_when_it_is_tried_again() {
    let nonces = AtomicU32::new(0);
    let change = async move |entry: MovingEntry, _: &str, (): &()| {
        Ok(entry.with_value(format!("nonce {}", nonces.fetch_add(1, Ordering::Relaxed))))
    };
    let time = VirtualTime::starting_at(start());
    let store = MemoryStore::with_clock(time.clone());
    store.insert(OLD, "v0");
    let losing = LosingAnAnswer { store: store.clone(), writes: AtomicU32::new(0) };
    let migration = Migration::rekey("move", "", users().changing(change));
    let runner = Runner::new(losing, "my-service", vec![migration])
        .unwrap()
        .with_clock(Arc::new(time.clone()))
        .with_log(Arc::new(MemoryLog::default()));
    time.run(async {
        while let Some(pause) = runner.run_pending(&()).await.expect("it knows its copy").retry_after {
            time.sleep(pause).await;
        }
    });
    assert_eq!((store.value(OLD), store.value(NEW)), (None, Some(b"nonce 0".to_vec())));
}
