//! The test tools themselves: virtual time, the executor, and the runtime of an object.

use std::cell::RefCell;
use std::time::Duration;

use futures::executor::block_on;
use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{CoordinatorError, RowChange, Storage, StorageError};
use kv_migrations::kv::{MemoryStore, StoreExt};
use kv_migrations::testing::{Executor, Fault, ManualClock, ObjectRuntime, Stopped, VirtualTime, faulty};

#[test]
fn sleeping_takes_exactly_as_long_as_asked_for() {
    let time = VirtualTime::default();
    let start = time.now();
    let short = Duration::from_millis(10);
    time.run(async { futures::join!(time.sleep(short), time.sleep(short * 3)) });
    assert_eq!(time.now(), start + short * 3);
}

#[test]
fn an_executor_runs_the_task_that_is_chosen() {
    let order = RefCell::new(Vec::new());
    let mut executor = Executor::new(VirtualTime::default(), |ready| ready - 1);
    for number in 0..3 {
        let order = &order;
        executor.spawn(async move { order.borrow_mut().push(number) });
    }
    assert_eq!(executor.run(|| false), Stopped::AllDone);
    drop(executor);
    assert_eq!(order.into_inner(), [2, 1, 0]);
}

#[test]
fn an_executor_stops_when_no_task_waits_for_a_time() {
    let mut executor = Executor::new(VirtualTime::default(), |_| 0);
    executor.spawn(std::future::pending());
    assert_eq!(executor.run(|| false), Stopped::Stuck);
    assert_eq!(executor.run(|| true), Stopped::Asked);
}

#[test]
fn a_failed_alarm_is_called_again_six_times_with_growing_pauses() {
    let time = VirtualTime::default();
    let runtime = ObjectRuntime::new(time.clone());
    let start = time.now();
    runtime.write(&[RowChange::alarm(start)]).unwrap();
    let calls = RefCell::new(Vec::new());
    time.run(runtime.call_alarms(async || {
        calls.borrow_mut().push(time.now().duration_since(start).unwrap().as_secs());
        if calls.borrow().len() == 7 {
            runtime.stop();
        }
        Err(CoordinatorError::Storage(StorageError::new("it is overloaded")))
    }));
    assert_eq!(calls.into_inner(), [0, 2, 6, 14, 30, 62, 126]);
    assert_eq!(runtime.alarm(), None, "the sixth retry was the last");
}

#[test]
fn a_fault_without_an_end_begins_where_it_says() {
    let store = faulty(MemoryStore::new(), Fault::temporary(503, 2, u64::MAX));
    let fails: Vec<bool> = (0..4).map(|_| block_on(store.get("key")).is_err()).collect();
    assert_eq!(fails, [false, false, true, true]);
}

#[test]
fn a_clock_that_is_moved_by_any_time_does_not_go_back() {
    let (manual, time) = (ManualClock::default(), VirtualTime::default());
    for _ in 0..2 {
        let before = (manual.now(), time.now());
        manual.advance(Duration::MAX);
        time.advance(Duration::MAX);
        assert!(manual.now() >= before.0 && time.now() >= before.1);
    }
    time.run(time.sleep(Duration::MAX));
}
