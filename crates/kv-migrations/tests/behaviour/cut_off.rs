//! Every request of a long migration is cut off: by a hard limit on time, on operations, on memory. Each still gets
//! further than the one before.

use std::collections::BTreeSet;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::future::{Either, select};
use kv_migrations::clock::Clock;
use kv_migrations::kv::{Answer, KvError, MemoryStore, Request, Store};
use kv_migrations::testing::{MemoryLog, VirtualTime};
use kv_migrations::{BoxFuture, Error, Fold, FoldOutput, Migration, MovingEntry, Rekey, RunReport, Runner};

use crate::service::{marked, marking, start, unmarking};
use crate::stores::{ShortPages, Slow};

const LATENCY: Duration = Duration::from_millis(10);

/// What ends a request.
#[derive(Debug, Clone, Copy)]
enum Limit {
    Time(u64),
    Operations(u64),
}

/// A service in virtual time, whose operations take 10 ms.
struct World {
    time: VirtualTime,
    store: MemoryStore,
    make: fn() -> Migration,
    /// The keys on a page of a list.
    page: u32,
}

/// A store that answers no more after this many operations.
struct Ending<S> {
    store: S,
    left: Arc<AtomicU64>,
}

impl<S: Store> Store for Ending<S> {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        let left = self.left.load(Ordering::Relaxed).saturating_sub(1);
        self.left.store(left, Ordering::Relaxed);
        if left == 0 { Box::pin(pending()) } else { self.store.call(request) }
    }
}

impl World {
    fn new(users: u32, make: fn() -> Migration) -> Self {
        let time = VirtualTime::starting_at(start());
        let store = MemoryStore::with_clock(time.clone());
        for number in 0..users {
            store.insert(&format!("user_{number:05}"), "x");
        }
        Self { time, store, make, page: 1_000 }
    }

    /// A request in an isolate of its own. `None` if the limit ends it.
    fn request(&self, limit: Limit) -> Option<Result<RunReport, Error>> {
        let (milliseconds, operations) = match limit {
            Limit::Time(milliseconds) => (milliseconds, u64::MAX),
            Limit::Operations(operations) => (u64::MAX >> 20, operations),
        };
        let left = Arc::new(AtomicU64::new(operations));
        let store = ShortPages(self.store.clone(), self.page);
        let slow = Slow::new(store, &self.time, LATENCY);
        let runner = Runner::new(Ending { store: slow, left: left.clone() }, "sim", vec![(self.make)()])
            .expect("it can be registered")
            .with_clock(Arc::new(self.time.clone()))
            .with_log(Arc::new(MemoryLog::default()));
        self.time.run(async {
            let end =
                poll_fn(|_| if left.load(Ordering::Relaxed) == 0 { Poll::Ready(()) } else { Poll::Pending });
            let end = select(end, self.time.sleep(Duration::from_millis(milliseconds)));
            match select(runner.run_pending(&()), end).await {
                Either::Left((result, _)) => Some(result),
                Either::Right(_) => None,
            }
        })
    }

    /// A request that begins a second after the one before began, or when that asks for it.
    fn request_a_second_apart(&self, limit: Limit) -> Option<Result<RunReport, Error>> {
        let began = self.time.now();
        let result = self.request(limit);
        let pause = match &result {
            Some(Ok(report)) => report.retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let next = (self.time.now() + pause).max(began + Duration::from_secs(1));
        self.time.run(self.time.sleep_until(next));
        result
    }

    /// The value of the marker.
    fn checkpoint(&self) -> Option<Vec<u8>> {
        self.store.value("migration_sim_long")
    }

    /// How many requests it takes, all of them with this limit.
    fn requests_to_the_end(&self, limit: Limit, most: u32) -> Result<u32, String> {
        for number in 1..=most {
            match self.request_a_second_apart(limit) {
                Some(Ok(report)) if report.is_finished() => return Ok(number),
                Some(Err(error)) => return Err(format!("request {number}: {error}")),
                _ => {}
            }
        }
        Err(format!("not finished after {most} requests; the checkpoint is {:?}", self.checkpoint()))
    }
}

fn backfill() -> Migration {
    Migration::backfill("long", "", marking()).with_down_backfill(unmarking())
}

fn counted() -> Migration {
    Migration::backfill("long", "", marking())
}

fn fold() -> Migration {
    let keys = Fold::new(
        "user_",
        BTreeSet::new,
        |keys: &mut BTreeSet<String>, record, ()| {
            keys.insert(record.name().to_owned());
            Ok(())
        },
        |keys, ()| Ok(keys.iter().map(|key| FoldOutput::new(format!("seen_{key}"), "1")).collect()),
    );
    Migration::fold("long", "", keys)
}

/// Adds each key to what is there, and keeps the rest.
fn merging_fold() -> Migration {
    let keys = Fold::merging(
        "user_",
        BTreeSet::new,
        |keys: &mut BTreeSet<String>, record, ()| {
            keys.insert(record.name().to_owned());
            Ok(())
        },
        async |kv, keys, ()| {
            let names: Vec<String> = keys.iter().map(|key| format!("seen_{key}")).collect();
            let before = kv.get_many(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
            let output = |(name, before): (String, Option<Vec<u8>>)| {
                FoldOutput::new(name, [before.unwrap_or_default(), b"1".to_vec()].concat()).keep_metadata()
            };
            Ok(names.into_iter().zip(before).map(output).collect())
        },
    );
    Migration::fold("long", "", keys)
}

fn rekey() -> Migration {
    let rekey = Rekey::prefix("user_", "user:").with_visibility_delay(Duration::from_secs(2));
    Migration::rekey("long", "", rekey)
}

type Kind = (&'static str, fn() -> Migration);

const KINDS: [Kind; 5] = [
    ("a backfill", backfill),
    ("one that counts", counted),
    ("a fold", fold),
    ("a merging fold", merging_fold),
    ("a re-key", rekey),
];

#[test]
fn requests_that_are_killed_after_half_a_second_all_get_further() {
    for (name, make) in KINDS {
        let world = World::new(2_000, make);
        let mut before = None;
        for number in 1..=6 {
            world.request_a_second_apart(Limit::Time(500));
            let after = world.checkpoint();
            assert!(after.is_some(), "{name}: request {number} leaves nothing behind");
            assert_ne!(after, before, "{name}: request {number} gets no further than the one before");
            before = after;
        }
    }
}

#[test]
fn a_request_that_is_killed_repeats_less_than_a_second_of_work_in_the_next_one() {
    let world = World::new(2_000, backfill);
    let mut all = 0;
    for _ in 0..30 {
        world.request_a_second_apart(Limit::Time(500));
        all = marked(&world.store);
    }
    assert!(all > 1_000, "after 30 requests of half a second, {all} of 2,000 entries are done");
}

#[test]
fn a_migration_whose_every_request_is_killed_still_ends() {
    let limits = [Limit::Time(400), Limit::Time(650), Limit::Time(1_100), Limit::Time(2_500)];
    let operations = (12..18).chain([25, 40, 70, 150]).map(Limit::Operations);
    for limit in limits.into_iter().chain(operations) {
        for users in [3, 26] {
            for (name, make) in KINDS {
                let world = World::new(users, make);
                let requests = world.requests_to_the_end(limit, 600);
                assert!(requests.is_ok(), "{name} of {users} entries, {limit:?}: {}", requests.unwrap_err());
            }
        }
    }
}

fn changing() -> Migration {
    let mark = async |entry: MovingEntry, _: &str, (): &()| {
        let value = [entry.value(), b"!"].concat();
        Ok(entry.with_value(value))
    };
    Migration::rekey("move", "", Rekey::prefix("user_", "user:").changing(mark))
}

/// A copy is recorded before it is written: what is only recorded leaves the next request nothing to do but to wait.
#[test]
fn a_rekey_that_changes_entries_and_whose_every_request_is_killed_ends() {
    for limit in (12..=30).map(Limit::Operations) {
        for users in 1..=9 {
            let world = World::new(users, changing);
            world.requests_to_the_end(limit, 20 + 6 * users).expect("each request gets further");
            let last = world.store.value(&format!("user:{:05}", users - 1));
            assert_eq!(last.unwrap(), b"x!", "{limit:?}");
        }
    }
}

fn by_value() -> Migration {
    let rekey = Rekey::by_value("user_", |user| Ok(Some(user.name().replace("user_", "user:"))));
    Migration::rekey("long", "", rekey.with_visibility_delay(Duration::from_secs(2)))
}

/// Values that are read in bulk cost nothing more, and others up to three operations each: no estimate by the first entries
/// knows what the next ones take.
#[test]
fn a_rekey_by_value_whose_every_request_is_killed_ends_whichever_values_are_read_one_by_one() {
    const USERS: u32 = 6;
    for limit in (12..=15).map(Limit::Operations) {
        for single in 0..1_u32 << USERS {
            let world = World::new(USERS, by_value);
            for number in (0..USERS).filter(|number| single >> number & 1 == 1) {
                world.store.insert(&format!("user_{number:05}"), [0xff]);
            }
            let requests = world.requests_to_the_end(limit, 20 + 6 * USERS);
            assert!(requests.is_ok(), "{limit:?}, {single:b}: {}", requests.unwrap_err());
        }
    }
}

fn of_two_prefixes() -> Migration {
    Migration::rekey("move", "", Rekey::prefixes([("first_", "first:"), ("user_", "user:")]))
}

/// A request that lists the keys of a prefix again which is done has made no step by that.
#[test]
fn a_rekey_of_two_prefixes_whose_every_request_is_killed_ends() {
    for limit in (12..=20).map(Limit::Operations) {
        for users in 1..=9 {
            let world = World::new(users, of_two_prefixes);
            world.store.insert("first_1", "x");
            world.requests_to_the_end(limit, 30 + 4 * users).expect("each request gets further");
        }
    }
}

#[test]
fn a_fold_whose_every_request_is_killed_ends_though_all_values_but_the_first_are_read_one_by_one() {
    for operations in 12..18 {
        let world = World::new(13, fold);
        for number in 1..13 {
            world.store.insert(&format!("user_{number:05}"), [0xff, number]);
        }
        let requests = world.requests_to_the_end(Limit::Operations(operations), 600);
        assert!(requests.is_ok(), "killed after {operations} operations: {}", requests.unwrap_err());
    }
}

#[test]
fn a_fold_that_adds_to_what_is_there_and_whose_every_request_is_killed_adds_once() {
    for operations in 12..40 {
        let world = World::new(13, merging_fold);
        let requests = world.requests_to_the_end(Limit::Operations(operations), 600);
        assert!(requests.is_ok(), "killed after {operations} operations: {}", requests.unwrap_err());
        for number in 0..13 {
            let value = world.store.value(&format!("seen_user_{number:05}"));
            assert_eq!(value.as_deref(), Some(&b"1"[..]), "killed after {operations} operations: {number}");
        }
    }
}

#[test]
fn a_rekey_whose_every_request_is_killed_ends_though_each_is_too_short_to_list_all_keys() {
    for limit in [Limit::Time(400), Limit::Operations(30)] {
        let world = World { page: 1, ..World::new(60, rekey) };
        let requests = world.requests_to_the_end(limit, 600);
        assert!(requests.is_ok(), "{limit:?}: {}", requests.unwrap_err());
    }
}

#[test]
fn a_request_after_one_that_was_killed_does_less_and_the_next_ones_do_more_again() {
    let world = World::new(20_000, backfill);
    assert!(world.request_a_second_apart(Limit::Time(1_400)).is_none(), "it is killed");
    let mut operations = Vec::new();
    for _ in 0..6 {
        let report = world.request_a_second_apart(Limit::Time(60_000)).expect("it is not killed");
        operations.push(report.expect("it succeeds").operations);
    }
    assert!(operations[0] < 20, "no more than what is known to succeed: {operations:?}");
    assert!(operations.is_sorted(), "then more and more: {operations:?}");
    assert!((900..=980).contains(&operations[5]), "up to the whole budget: {operations:?}");
}

#[test]
fn requests_that_end_in_order_cost_one_checkpoint_more() {
    let world = World::new(5_000, backfill);
    let before = world.store.operations();
    let requests = world.requests_to_the_end(Limit::Time(60_000), 10).expect("nothing is killed");
    let least = 5_000 / 1_000 + 5_000 / 100 + 5_000;
    let needed = world.store.operations() - before;
    assert_eq!(requests, 6, "as few as the budget allows");
    assert!(needed * 100 <= least * 101, "{needed} operations, and {least} would have done");
}

#[test]
fn a_backfill_of_two_entries_does_not_wait_to_write_its_marker_again() {
    let world = World::new(2, backfill);
    let began = world.time.now();
    assert!(
        world.request(Limit::Time(60_000)).expect("it is not killed").expect("it succeeds").is_finished()
    );
    let took = world.time.now().duration_since(began).expect("time passes");
    assert!(took < Duration::from_millis(200), "it took {took:?}");
}

#[test]
fn a_rollback_whose_every_request_is_killed_still_ends() {
    for limit in [400, 1_100] {
        let world = World::new(100, backfill);
        world.requests_to_the_end(Limit::Time(60_000), 10).expect("it is applied");
        let rollback = || {
            let slow = Slow::new(world.store.clone(), &world.time, LATENCY);
            let runner = Runner::new(slow, "sim", vec![backfill()])
                .expect("it can be registered")
                .with_clock(Arc::new(world.time.clone()))
                .with_log(Arc::new(MemoryLog::default()));
            world.time.run(async {
                let rollback = pin!(runner.rollback("long", &()));
                match select(rollback, world.time.sleep(Duration::from_millis(limit))).await {
                    Either::Left((result, _)) => result.expect("it does not fail").is_finished(),
                    Either::Right(_) => false,
                }
            })
        };
        let is_finished = (0..100).any(|_| {
            let is_finished = rollback();
            world.time.run(world.time.sleep(Duration::from_secs(1)));
            is_finished
        });
        assert!(is_finished, "killed after {limit} ms each: {:?}", world.checkpoint());
        assert_eq!(marked(&world.store), 0);
    }
}
