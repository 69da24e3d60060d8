//! Callers who wait share the next run that begins after they asked.

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{join, join_all, select};
use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{
    Caller, Coordinator, CoordinatorError, RowChange, RunOutcome, Storage, StorageError, TaskKind,
};
use kv_migrations::testing::ObjectRuntime;
use kv_migrations::{Migration, RunReport};

use crate::object::{Object, marking};
use crate::service::{failing, good};

/// Runs for a second.
fn slow(object: &Object, id: &'static str) -> Migration {
    let time = object.time.clone();
    Migration::new(id, "Takes its time", async move |kv: &kv_migrations::kv::Kv, (): &()| {
        time.sleep(Duration::from_secs(1)).await;
        Ok(kv.put(id, "done").await?)
    })
}

fn labelled(number: usize) -> Caller {
    Caller::default().queued().with_label(format!("caller {number}"))
}

/// This many callers, who ask one after the other while a run is under way.
async fn callers(
    object: &Object,
    coordinator: &Coordinator,
    number: usize,
) -> Vec<Result<RunReport, CoordinatorError>> {
    let callers: Vec<Caller> = (0..number).map(labelled).collect();
    let under_way = object.time.sleep(Duration::from_millis(300));
    under_way.await;
    join_all(callers.iter().map(|caller| coordinator.run_pending(caller))).await
}

#[test]
fn callers_who_ask_while_a_run_is_under_way_share_the_next_one() {
    let object = Object::new();
    let coordinator = object.instance(vec![slow(&object, "001")]);
    let first = Caller::default().with_label("first");
    let (ran, shared) =
        object.serve(&coordinator, join(coordinator.run_pending(&first), callers(&object, &coordinator, 10)));
    assert_eq!(ran.expect("it succeeds").ran, ["001"]);
    for report in shared {
        let report = report.expect("it succeeds");
        assert_eq!(
            (report.ran.len(), report.skipped.as_slice()),
            (0, ["001".to_owned()].as_slice()),
            "the next run"
        );
    }
}

/// The run that is under way may have passed what they wait for.
#[test]
fn the_history_has_who_asked_for_a_shared_run_and_how_many_shared_it() {
    let object = Object::new().with_users(100);
    let first = object.instance(vec![marking("001")]);
    object.migrate(&first).expect("nothing fails");
    // A deploy: the run in progress is of the same object, and the callers are of the new release.
    let coordinator = object.instance(vec![marking("001"), failing("002")]);
    object.serve(&coordinator, callers(&object, &coordinator, 10));
    let history = coordinator.history().expect("it can be read");
    let [shared, before] = history.as_slice() else { panic!("{history:?}") };
    assert_eq!((before.number, before.joined), (1, 0));
    assert_eq!((shared.by.as_deref(), shared.joined), (Some("caller 0"), 9));
    assert_eq!(shared.outcome, RunOutcome::Failed);
}

#[test]
fn callers_who_ask_before_the_first_step_share_that_run() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001")]);
    let labels: Vec<Caller> = (0..10).map(labelled).collect();
    let reports =
        object.serve(&coordinator, join_all(labels.iter().map(|caller| coordinator.run_pending(caller))));
    assert!(reports.into_iter().all(|report| report.expect("it succeeds").ran == ["001"]));
    let history = coordinator.history().expect("it can be read");
    assert_eq!(history.len(), 1, "{history:?}");
    assert_eq!((history[0].by.as_deref(), history[0].joined), (Some("caller 0"), 9));
}

#[test]
fn the_failure_of_a_shared_run_is_told_to_each() {
    let object = Object::new();
    let coordinator = object.instance(vec![slow(&object, "001"), failing("002")]);
    let caller = Caller::default();
    let first = coordinator.run_pending(&caller);
    let (first, shared) = object.serve(&coordinator, join(first, callers(&object, &coordinator, 5)));
    first.expect_err("002 fails");
    assert_eq!(shared.len(), 5);
    for result in shared {
        assert_eq!(result.expect_err("002 fails").to_string(), "Migration 002 failed: boom");
    }
    assert_eq!(coordinator.history().expect("it can be read").len(), 2, "the first, and the shared one");
}

#[test]
fn callers_who_hung_up_begin_no_run() {
    let object = Object::new();
    let coordinator = object.instance(vec![slow(&object, "001")]);
    let caller = Caller::default();
    object.serve(&coordinator, async {
        let hung_up = async {
            let asked = pin!(callers(&object, &coordinator, 100));
            select(asked, pin!(object.time.sleep(Duration::from_millis(500)))).await;
        };
        join(coordinator.run_pending(&caller), hung_up).await.0.expect("it succeeds");
        object.time.sleep(Duration::from_mins(1)).await;
    });
    assert_eq!(coordinator.history().expect("it can be read").len(), 1);
    let rows = object.storage.get("number").expect("memory does not fail");
    assert_eq!(rows.as_deref(), Some(b"[1,1]".as_slice()), "not even one that does nothing");

    let report = object.serve(&coordinator, callers(&object, &coordinator, 1)).remove(0);
    report.expect("it succeeds");
    object.migrate(&object.instance(vec![slow(&object, "001"), good("002")])).expect("it succeeds");
    assert_eq!(
        coordinator.history().expect("it can be read")[0].joined,
        0,
        "nor do they count for later ones"
    );
}

#[test]
fn each_rollback_is_its_own() {
    let object = Object::new();
    let ids = ["001", "002", "003"];
    let coordinator = object.instance(ids.map(good).into());
    object.migrate(&coordinator).expect("it succeeds");
    let caller = Caller::default().queued();
    let rolled_back = object.serve(&coordinator, join_all(ids.map(|id| coordinator.rollback(id, &caller))));
    for (id, report) in ids.iter().zip(rolled_back) {
        assert_eq!(report.expect("it succeeds").rolled_back.as_deref(), Some(*id));
    }
    let history = coordinator.history().expect("it can be read");
    assert_eq!(history.iter().filter(|entry| entry.action == TaskKind::Rollback).count(), 3);
}

/// Counts what is asked of an object's storage.
#[derive(Clone)]
struct Counting {
    runtime: ObjectRuntime,
    reads: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
}

impl Storage for Counting {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.runtime.get(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.runtime.list(prefix)
    }

    fn write(&self, changes: &[RowChange]) -> Result<(), StorageError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.runtime.write(changes)
    }
}

#[derive(Debug)]
struct Cost {
    operations: u64,
    reads: u64,
    writes: u64,
    /// How often the futures of the callers were polled.
    polls: u64,
}

/// What it takes until this many callers have their answer, who wait behind a run of many steps.
fn cost(number: usize) -> Cost {
    let object = Object::new().with_users(200);
    let counting =
        Counting { runtime: object.runtime.clone(), reads: Arc::default(), writes: Arc::default() };
    let runner = object.runner_on(object.kv.clone(), vec![marking("001"), good("002")]);
    let coordinator = Coordinator::new(runner, Arc::new(counting.clone()), || Ok(()));
    let (first, polls) = (Caller::default(), Cell::new(0));
    let callers: Vec<Caller> = (0..number).map(labelled).collect();
    object.serve(&coordinator, async {
        coordinator.run_pending(&first).await.expect("nothing fails");
        let counted = callers.iter().map(|caller| {
            let mut run = Box::pin(coordinator.run_pending(caller));
            let polls = &polls;
            std::future::poll_fn(move |context| {
                polls.set(polls.get() + 1);
                run.as_mut().poll(context)
            })
        });
        for report in join_all(counted).await {
            assert_eq!(report.expect("nothing fails").skipped.len(), 2);
        }
    });
    let steps = coordinator.history().expect("it can be read")[0].steps;
    assert!(steps > 5, "it takes many steps: {steps}");
    Cost {
        operations: object.kv.operations(),
        reads: counting.reads.load(Ordering::Relaxed),
        writes: counting.writes.load(Ordering::Relaxed),
        polls: polls.get(),
    }
}

#[test]
fn a_thousand_callers_who_wait_cost_little_more_than_one() {
    let (one, thousand) = (cost(1), cost(1_000));
    assert_eq!(thousand.operations, one.operations, "{one:?} {thousand:?}");
    assert!(thousand.writes <= one.writes + 2, "{one:?} {thousand:?}");
    assert!(
        thousand.polls <= 1_000 * 6,
        "no step of the run before wakes who waits for its end: {thousand:?}"
    );
    assert!(thousand.reads <= one.reads + 1_000 * 15, "{one:?} {thousand:?}");
}
