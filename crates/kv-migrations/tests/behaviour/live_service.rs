//! A re-key in two migrations, beside a service that writes all the time: the steps of docs/long-migrations.md, for an hour.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kv_migrations::clock::Clock;
use kv_migrations::kv::{MemoryStore, PutOptions, Store, StoreExt};
use kv_migrations::testing::{Delay, DelayedKv, MemoryLog, Origin, VirtualTime, Visibility};
use kv_migrations::{Migration, Rekey, RunReport, Runner};

use crate::service::start;
use crate::stores::Slow;

fn sessions() -> Rekey {
    Rekey::prefix("session_", "session:")
}

fn copying() -> Migration {
    Migration::rekey("copy", "", sessions().copying())
}

fn deleting() -> Migration {
    Migration::rekey("delete", "", sessions().deleting())
}

/// Which keys a release of the service knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Release {
    Old,
    /// It reads the new key first and then the old one, and writes both.
    Both,
    New,
}

/// Three hundred sessions, of which one is written from time to time: some are new, some end.
struct LiveService<S> {
    store: S,
    time: VirtualTime,
    release: Cell<Release>,
    /// The value of each session.
    sessions: RefCell<BTreeMap<u64, String>>,
    /// The sessions that ended while the release knew only one of the two keys: the other key stays.
    half_ended: RefCell<BTreeSet<u64>>,
    writes: Cell<u64>,
    is_writing: Cell<bool>,
}

fn old_key(session: u64) -> String {
    format!("session_{session:04}")
}

fn new_key(session: u64) -> String {
    format!("session:{session:04}")
}

impl<S: Store> LiveService<S> {
    fn new(store: S, time: &VirtualTime) -> Self {
        let sessions = (0..300).map(|session| (session, "first".to_owned())).collect();
        Self {
            store,
            time: time.clone(),
            release: Cell::new(Release::Old),
            sessions: RefCell::new(sessions),
            half_ended: RefCell::default(),
            writes: Cell::new(0),
            is_writing: Cell::new(false),
        }
    }

    fn keys(&self, session: u64) -> Vec<String> {
        match self.release.get() {
            Release::Old => vec![old_key(session)],
            Release::Both => vec![new_key(session), old_key(session)],
            Release::New => vec![new_key(session)],
        }
    }

    /// Serves one request: mostly an update of a session. One that has ended does not begin again.
    async fn serve(&self) {
        let number = self.writes.get() + 1;
        self.writes.set(number);
        let session = number.wrapping_mul(7_919) % 300;
        match number % 10 {
            _ if !self.sessions.borrow().contains_key(&session) => self.write(1_000 + number, "begins").await,
            3 => self.write(1_000 + number, "begins").await,
            7 => self.end(session).await,
            _ => self.write(session, &format!("update {number}")).await,
        }
    }

    async fn write(&self, session: u64, value: &str) {
        for key in self.keys(session) {
            self.store.put(&key, value.as_bytes(), &PutOptions::new()).await.unwrap();
        }
        self.sessions.borrow_mut().insert(session, value.to_owned());
    }

    async fn end(&self, session: u64) {
        for key in self.keys(session) {
            self.store.delete(&key).await.unwrap();
        }
        self.sessions.borrow_mut().remove(&session);
        if self.release.get() != Release::Both {
            self.half_ended.borrow_mut().insert(session);
        }
    }

    /// Serves a request every so often, until this much time has passed since the start of the test.
    async fn live(&self, every: Duration, until: Duration) {
        let end = start() + until;
        while self.time.now() < end {
            self.time.sleep(every).await;
            self.is_writing.set(true);
            self.serve().await;
            self.is_writing.set(false);
        }
    }

    /// The sessions of which the release finds another value than the last one that it wrote.
    async fn wrong(&self) -> Vec<String> {
        while self.is_writing.get() {
            self.time.sleep(Duration::from_millis(1)).await;
        }
        let mut wrong = Vec::new();
        let sessions = self.sessions.borrow().clone();
        for (session, value) in sessions {
            let mut found = None;
            for key in self.keys(session) {
                if found.is_none() {
                    found = self.store.get(&key).await.unwrap();
                }
            }
            if found.as_ref().map(|entry| entry.value.as_slice()) != Some(value.as_bytes()) {
                wrong.push(format!("{session}: {found:?} instead of {value}"));
            }
        }
        wrong
    }
}

/// What a pipeline does: it migrates until all is applied, and fails at any failure.
async fn pipeline(time: &VirtualTime, runner: &Runner) -> RunReport {
    loop {
        let report = runner.run_pending(&()).await.unwrap_or_else(|error| panic!("500: {error}"));
        if report.is_finished() {
            return report;
        }
        time.sleep(report.retry_after.unwrap()).await;
    }
}

async fn roll_back(time: &VirtualTime, runner: &Runner, id: &str) -> Vec<String> {
    loop {
        let report = runner.rollback(id, &()).await.unwrap_or_else(|error| panic!("500: {error}"));
        if report.is_finished() {
            return report.failed_entries.into_iter().map(|entry| entry.key).collect();
        }
        time.sleep(report.retry_after.unwrap()).await;
    }
}

fn runner(store: impl Store + 'static, time: &VirtualTime, migrations: Vec<Migration>) -> Runner {
    Runner::new(store, "my-service", migrations)
        .unwrap()
        .with_clock(Arc::new(time.clone()))
        .with_log(Arc::new(MemoryLog::default()))
}

fn filled(time: &VirtualTime) -> MemoryStore {
    let store = MemoryStore::with_clock(time.clone());
    (0..300).for_each(|session| store.insert(&old_key(session), "first"));
    store
}

fn with_prefix(store: &MemoryStore, prefix: &str) -> BTreeSet<String> {
    let names = store.entries().into_iter().map(|(key, _)| key.name);
    names.filter(|name| name.starts_with(prefix)).collect()
}

const HOUR: Duration = Duration::from_hours(1);

/// The steps of the documentation, and then all of them back. The migrations see the namespace at one place, the service at another.
fn follow_the_documentation(
    every: Duration,
    store: &MemoryStore,
    time: &VirtualTime,
    at_runner: &(impl Store + Clone + 'static),
    at_service: impl Store,
    kv_delay: Duration,
) {
    let service = LiveService::new(at_service, time);
    let slow = || Slow::new(at_runner.clone(), time, Duration::from_millis(20));
    let steps = async {
        // 1. The release that writes both keys, and copies.
        service.release.set(Release::Both);
        time.sleep(kv_delay).await;
        let report = pipeline(time, &runner(slow(), time, vec![copying()])).await;
        assert_eq!(report.ran, ["copy"]);
        time.sleep(kv_delay).await;
        assert_eq!(service.wrong().await, [""; 0], "after copying");

        // 2. The release that knows only the new keys, and deletes the old ones.
        service.release.set(Release::New);
        time.sleep(Duration::from_mins(5)).await;
        let report = pipeline(time, &runner(slow(), time, vec![copying(), deleting()])).await;
        assert_eq!(report.ran, ["delete"]);
        let left = report.details[0].failed_entries.iter().map(|entry| entry.key.clone());
        let left: BTreeSet<String> = left.collect();
        time.sleep(kv_delay).await;
        assert_eq!(service.wrong().await, [""; 0], "after deleting");
        left
    };
    let (left, ()) = time.run(async { futures::join!(steps, service.live(every, HOUR)) });
    assert!(
        service.writes.get() >= HOUR.as_secs() / (every.as_secs() + 1),
        "the service was alive all the time"
    );
    time.run(async { assert_eq!(service.wrong().await, [""; 0], "after an hour") });
    if kv_delay.is_zero() {
        let live: BTreeSet<String> =
            service.sessions.borrow().keys().map(|&session| new_key(session)).collect();
        assert_eq!(with_prefix(store, "session:"), live, "no session that has ended came back");
    }
    let old_keys = with_prefix(store, "session_");
    assert_eq!(old_keys, left, "every other old key is deleted");
    let half_ended: BTreeSet<String> = service.half_ended.borrow().iter().map(|&it| old_key(it)).collect();
    assert!(
        left.is_subset(&half_ended),
        "only the sessions that ended under their new keys are left: {left:?}"
    );

    // And back: the release that writes both keys, then the one that knows only the old ones.
    let back = async {
        service.release.set(Release::Both);
        time.sleep(kv_delay).await;
        let both = runner(slow(), time, vec![copying(), deleting()]);
        assert_eq!(roll_back(time, &both, "delete").await, [""; 0]);
        time.sleep(kv_delay).await;
        assert_eq!(service.wrong().await, [""; 0], "after the rollback of deleting");
        service.release.set(Release::Old);
        time.sleep(kv_delay).await;
        assert_eq!(service.wrong().await, [""; 0], "the release of before finds everything");
        roll_back(time, &runner(slow(), time, vec![copying()]), "copy").await;
        time.sleep(kv_delay).await;
        assert_eq!(service.wrong().await, [""; 0], "after the rollback of copying");
    };
    let passed = time.now().duration_since(start()).unwrap();
    time.run(async { futures::join!(back, service.live(every, passed + HOUR)) });
    time.run(async { assert_eq!(service.wrong().await, [""; 0], "in the end") });
    assert_eq!(with_prefix(store, "migration_").len(), 0, "both are rolled back");
}

#[test]
fn the_documented_steps_succeed_beside_a_service_that_writes_all_the_time() {
    for every in [30, 120] {
        let time = VirtualTime::starting_at(start());
        let store = filled(&time);
        let every = Duration::from_secs(every);
        follow_the_documentation(every, &store, &time, &store, store.clone(), Duration::ZERO);
    }
}

#[test]
fn the_documented_steps_succeed_where_the_service_is_elsewhere_and_each_sees_the_other_late() {
    for every in [30, 120] {
        let time = VirtualTime::starting_at(start());
        let store = filled(&time);
        let kv = DelayedKv::new(store.clone(), time.clone(), Duration::from_mins(1));
        let delay = Duration::from_secs(90);
        follow_the_documentation(Duration::from_secs(every), &store, &time, &kv.at(0), kv.at(1), delay);
    }
}

#[test]
fn the_documented_steps_succeed_beside_a_busy_service() {
    let time = VirtualTime::starting_at(start());
    let store = filled(&time);
    follow_the_documentation(Duration::from_secs(1), &store, &time, &store, store.clone(), Duration::ZERO);
}

/// Shows a write to an old key a minute late, and one to a new key at once: the two are never alike where an entry was just
/// written.
struct OldKeysLate;

impl Visibility for OldKeysLate {
    fn delay(&self, key: &str, origin: Origin) -> Delay {
        let is_late = key.starts_with("session_") && origin == Origin::Elsewhere;
        let delay = if is_late { Duration::from_mins(1) } else { Duration::ZERO };
        Delay { read: delay, list: delay }
    }
}

#[test]
fn the_documented_steps_succeed_where_some_entry_has_always_just_been_written_under_one_key() {
    let time = VirtualTime::starting_at(start());
    let store = filled(&time);
    let kv = DelayedKv::new(store.clone(), time.clone(), OldKeysLate);
    let delay = Duration::from_secs(90);
    follow_the_documentation(Duration::from_secs(10), &store, &time, &kv.at(0), kv.at(1), delay);
}

#[test]
fn in_one_migration_a_rekey_fails_beside_such_a_service_and_names_the_two() {
    let time = VirtualTime::starting_at(start());
    let store = filled(&time);
    let service = LiveService::new(store.clone(), &time);
    service.release.set(Release::Both);
    let runner = runner(store.clone(), &time, vec![Migration::rekey("move", "", sessions())]);
    let steps = async {
        loop {
            match runner.run_pending(&()).await {
                Ok(report) if report.is_finished() => return None,
                Ok(report) => time.sleep(report.retry_after.unwrap()).await,
                Err(error) => return Some(error.to_string()),
            }
        }
    };
    let live = service.live(Duration::from_secs(30), HOUR);
    let (error, ()) = time.run(async { futures::join!(steps, live) });
    let error = error.expect("otherwise nobody would need two migrations");
    assert!(error.contains("there are two migrations: `copying()` and `deleting()`"), "{error}");
    time.run(async { assert_eq!(service.wrong().await, [""; 0], "nothing is lost") });
}
