//! A backfill beside a service that writes the same entries: no value that it read waits for long, and what the service
//! writes in the meantime is not overwritten. In virtual time, with KV's latencies.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures::future::{Either, select};
use kv_migrations::clock::Clock;
use kv_migrations::kv::{Answer, KvError, MemoryStore, PutOptions, Request, Store, StoreExt};
use kv_migrations::testing::{MemoryLog, VirtualTime};
use kv_migrations::{Backfill, BoxFuture, Budget, Migration, Runner};

use crate::service::{marked, marking, start};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// KV with latencies, which takes one write a second to a key, whether of the backfill or of the service.
#[derive(Clone)]
struct BusyKv {
    store: MemoryStore,
    time: VirtualTime,
    get: Duration,
    put: Duration,
    put_of_marker: Duration,
    written: Arc<Mutex<BTreeMap<String, SystemTime>>>,
    /// When the value of each key was read in bulk, and how long it took until it was written.
    read: Arc<Mutex<BTreeMap<String, SystemTime>>>,
    waits: Arc<Mutex<Vec<Duration>>>,
}

impl BusyKv {
    fn new(users: u32, get: u64, put: u64) -> Self {
        let time = VirtualTime::starting_at(start());
        let store = MemoryStore::with_clock(time.clone());
        for number in 0..users {
            store.insert(&format!("user_{number:05}"), "v0");
        }
        Self {
            store,
            time,
            get: MS(get),
            put: MS(put),
            put_of_marker: MS(put),
            written: Arc::default(),
            read: Arc::default(),
            waits: Arc::default(),
        }
    }

    /// Writes at once, or not at all if the key was written within a second.
    async fn write(&self, request: Request<'_>) -> Result<Answer, KvError> {
        let now = self.time.now();
        let last = self.written.lock().unwrap().get(request.key()).copied();
        if last.is_some_and(|last| now < last + MS(1_000)) {
            return Err(request.refused(Some(429), "Too Many Requests"));
        }
        self.written.lock().unwrap().insert(request.key().to_owned(), now);
        self.store.call(request).await
    }

    fn note(&self, request: Request<'_>, now: SystemTime) {
        match request {
            Request::Get { key } => drop(self.read.lock().unwrap().insert(key.to_owned(), now)),
            Request::GetBulk { keys } => {
                self.read.lock().unwrap().extend(keys.iter().map(|key| ((*key).to_owned(), now)));
            }
            Request::Put { key, .. } => {
                let read = self.read.lock().unwrap().get(key).copied();
                let wait =
                    read.filter(|_| key.starts_with("user_")).and_then(|read| now.duration_since(read).ok());
                self.waits.lock().unwrap().extend(wait);
            }
            _ => {}
        }
    }

    fn runner(&self, backfill: Backfill) -> Runner {
        Runner::new(self.clone(), "sim", vec![Migration::backfill("001", "", backfill)])
            .expect("it can be registered")
            .with_clock(Arc::new(self.time.clone()))
            .with_log(Arc::new(MemoryLog::default()))
            .with_budget(Budget::default().with_operations(100_000).with_time(MS(100_000_000)))
    }
}

/// Reads are noted when they are answered, and writes when they are sent.
impl Store for BusyKv {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            match request {
                Request::Put { .. } | Request::Delete { .. } => {
                    let is_marker = request.key().starts_with("migration_");
                    let latency = if is_marker { self.put_of_marker } else { self.put };
                    self.note(request, self.time.now());
                    self.time.sleep(latency / 2).await;
                    let result = self.write(request).await;
                    self.time.sleep(latency / 2).await;
                    result
                }
                _ => {
                    // KV answers whether or not anybody looks.
                    let answered = self.time.now() + self.get / 2;
                    self.time.sleep_until(answered).await;
                    let result = self.store.call(request).await;
                    self.note(request, answered);
                    self.time.sleep_until(answered + self.get / 2).await;
                    result
                }
            }
        })
    }
}

#[test]
fn no_value_waits_longer_than_a_second_until_it_is_written() {
    for (get, put) in [(10, 10), (20, 50), (20, 100), (20, 250), (50, 600), (20, 1_000), (300, 4_000)] {
        for users in [198, 1_500] {
            let kv = BusyKv::new(users, get, put);
            let report = kv.time.run(kv.runner(marking()).run_pending(&())).expect("it succeeds");
            assert!(report.is_finished());
            let situation = format!("{users} entries, get {get} ms, put {put} ms");
            let longest = kv.waits.lock().unwrap().iter().max().copied().expect("entries were written");
            assert!(longest <= MS(1_000), "{situation}: a value waited for {longest:?}");
            // Two looks at markers, a mark, lists to count the keys and to change them, reads and writes.
            let least = u64::from(3 + 2 * users.div_ceil(1_000) + users.div_ceil(100) + users);
            if put <= 100 {
                let needed = report.operations;
                assert!(needed * 100 <= least * 105, "{situation}: {needed} operations instead of {least}");
            }
        }
    }
}

#[test]
fn no_value_waits_longer_than_a_second_while_a_checkpoint_is_written_slowly() {
    // In some of these KV answers a read while a checkpoint is on its way.
    for get in (40..=100).step_by(10) {
        let kv = BusyKv { put_of_marker: MS(4_000), ..BusyKv::new(1_200, get, 20) };
        let report = kv.time.run(kv.runner(marking()).run_pending(&())).expect("it succeeds");
        assert!(report.is_finished());
        let longest = kv.waits.lock().unwrap().iter().max().copied().expect("entries were written");
        assert!(longest <= MS(1_000), "get {get} ms: a value waited for {longest:?}");
    }
}

#[test]
fn values_that_were_read_when_entries_were_fast_are_read_again_when_they_become_slow() {
    let kv = BusyKv::new(400, 10, 10);
    let time = kv.time.clone();
    // Something outside of KV becomes slow amid the backfill.
    let backfill = Backfill::new("user_", async move |_, record, ()| {
        let is_slow = record.name() > "user_00150";
        time.sleep(MS(if is_slow { 700 } else { 1 })).await;
        Ok(record.put([record.value(), b"+"].concat()).await?)
    });
    kv.time.run(kv.runner(backfill).run_pending(&())).expect("it succeeds");
    // The time that the closure itself takes is not the walk's.
    let longest = kv.waits.lock().unwrap().iter().max().copied().expect("entries were written");
    assert!(longest <= MS(1_700), "a value waited for {longest:?}");
}

#[test]
fn a_backfill_whose_budget_ends_while_it_reads_ahead_leaves_no_entry_out() {
    // Reads that take longer than writes are still on their way when the last entry is done and the time is up.
    for limit in (12_000..45_000).step_by(300) {
        for (users, get, put) in [(5, 1_500, 900), (12, 2_000, 1_000), (9, 2_000, 1_200)] {
            let kv = BusyKv::new(users, get, put);
            let runner = kv.runner(marking()).with_budget(Budget::default().with_time(MS(limit)));
            let is_finished = (0..100).any(|_| {
                let report = kv.time.run(runner.run_pending(&())).expect("it succeeds");
                kv.time.advance(report.retry_after.unwrap_or_default());
                report.is_finished()
            });
            let marked = u32::try_from(marked(&kv.store)).expect("it is one of them");
            assert!(is_finished, "{users} entries, {limit} ms: it does not end");
            assert_eq!(marked, users, "get {get} ms, put {put} ms, {limit} ms: some are left out");
        }
    }
}

/// Writes or deletes entries, one after the other in an order that jumps, as the service does at the same place. Returns
/// what it left where.
async fn serve(kv: &BusyKv, users: u64, deletes: bool, left: &Mutex<BTreeMap<String, Option<String>>>) {
    for turn in 0_u64.. {
        kv.time.sleep(MS(4)).await;
        let name = format!("user_{:05}", turn * 7_919 % users);
        let value = (!deletes).then(|| format!("v{turn}"));
        let options = PutOptions::default();
        let request = match &value {
            Some(value) => Request::Put { key: &name, value: value.as_bytes(), options: &options },
            None => Request::Delete { key: &name },
        };
        if kv.write(request).await.is_ok() {
            left.lock().unwrap().insert(name, value);
        }
    }
}

#[test]
fn what_the_service_writes_or_deletes_while_an_entry_waits_is_not_lost() {
    for deletes in [false, true] {
        let kv = BusyKv::new(198, 20, 100);
        let left = Mutex::default();
        kv.time.run(async {
            let runner = kv.runner(marking());
            let run = pin!(runner.run_pending(&()));
            match select(run, pin!(serve(&kv, 198, deletes, &left))).await {
                Either::Left((report, _)) => assert!(report.expect("it succeeds").is_finished()),
                Either::Right(_) => unreachable!("the service goes on"),
            }
        });
        let left = left.into_inner().unwrap();
        assert!(left.len() > 100, "the service did much: {}", left.len());
        for (name, value) in left {
            let found = kv.store.value(&name).map(|value| String::from_utf8(value).expect("it is text"));
            let found = found.as_deref().map(|value| value.trim_end_matches('+'));
            assert_eq!(found, value.as_deref(), "{name} is not as the service left it");
        }
    }
}

#[test]
fn an_entry_whose_closure_writes_it_twice_is_written_twice() {
    let kv = BusyKv::new(20, 20, 100);
    let twice = Backfill::new("user_", async |_, record, ()| {
        record.put("first").await?;
        Ok(record.put("second").await?)
    });
    kv.time.run(kv.runner(twice).run_pending(&())).expect("it succeeds");
    let values: Vec<_> =
        kv.store.entries().into_iter().filter(|(key, _)| key.name.starts_with("user_")).collect();
    assert!(values.iter().all(|(_, value)| value == b"second"), "{values:?}");
}

#[test]
fn an_entry_that_is_worked_on_again_after_a_write_of_the_service_knows() {
    let kv = BusyKv::new(1, 20, 100);
    let seen = Arc::<Mutex<Vec<(String, bool)>>>::default();
    let (shared, service) = (seen.clone(), kv.clone());
    let backfill = Backfill::new("user_", async move |_, record, ()| {
        let is_first = shared.lock().unwrap().is_empty();
        shared.lock().unwrap().push((record.text()?.to_owned(), record.is_repeated()));
        if is_first {
            let options = PutOptions::default();
            let write = Request::Put { key: "user_00000", value: b"v1", options: &options };
            service.write(write).await?;
        }
        Ok(record.put([record.value(), b"+"].concat()).await?)
    });
    kv.time.run(kv.runner(backfill).run_pending(&())).expect("it succeeds");
    assert_eq!(*seen.lock().unwrap(), [("v0".to_owned(), false), ("v1".to_owned(), true)]);
    assert_eq!(kv.store.value("user_00000").unwrap(), b"v1+");
    assert!(kv.time.run(kv.store.get("user_00000")).is_ok());
}

#[test]
fn a_copy_under_the_same_key_elsewhere_does_not_hide_what_the_service_wrote() {
    let kv = BusyKv::new(1, 20, 100);
    let (other, service) = (MemoryStore::new(), kv.clone());
    let copies = other.clone();
    let moving = Backfill::new("user_", async move |kv, record, ()| {
        kv.with_store(copies.clone()).put(record.name(), record.value()).await?;
        if !record.is_repeated() {
            let options = PutOptions::default();
            let write = Request::Put { key: "user_00000", value: b"v1", options: &options };
            service.write(write).await?;
        }
        Ok(record.delete().await?)
    });
    kv.time.run(kv.runner(moving).run_pending(&())).expect("it succeeds");
    assert_eq!(kv.store.value("user_00000"), None);
    assert_eq!(other.value("user_00000").as_deref(), Some(&b"v1"[..]), "what the service wrote is moved");
}
