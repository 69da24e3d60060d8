//! One run at a time, whatever happens to an instance.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use futures::future::{Either, join_all, select};
use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{
    Caller, Coordinator, CoordinatorError, RowChange, RunOutcome, Storage, StorageError, TaskKind,
};
use kv_migrations::kv::{Kv, MemoryStore};
use kv_migrations::testing::{ObjectRuntime, VirtualTime};
use kv_migrations::{Backfill, BoxError, BoxFuture, Budget, Migration, State};

use crate::object::{Object, marking};
use crate::service::{good, ids, start};
use crate::stores::Slow;

/// Counts in KV how often it ran. It takes a second.
fn counting(id: &'static str, time: &VirtualTime) -> Migration {
    let time = time.clone();
    Migration::new(id, "Counts", async move |kv: &Kv, (): &()| {
        let count: u32 = kv.text(id).await?.map_or(Ok(0), |text| text.parse())?;
        time.sleep(Duration::from_secs(1)).await;
        kv.put(id, (count + 1).to_string()).await?;
        Ok::<_, BoxError>(())
    })
}

#[test]
fn of_a_hundred_callers_one_runs_and_the_others_learn_who_runs() {
    let object = Object::new();
    let coordinator = object.instance(vec![counting("001", &object.time), counting("002", &object.time)]);
    let callers: Vec<Caller> =
        (0..100).map(|number| Caller::default().with_label(format!("deploy {number}"))).collect();
    let answers =
        object.serve(&coordinator, join_all(callers.iter().map(|caller| coordinator.run_pending(caller))));

    let (ran, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(ran.len(), 1);
    for refusal in refused {
        let Err(CoordinatorError::InProgress(activity)) = refusal else { panic!("{refusal:?}") };
        assert_eq!(activity.by.as_deref(), Some("deploy 0"));
        assert!(activity.since.starts_with("2026-11-22T10:48:28.7"), "{activity:?}");
    }
    assert_eq!(object.kv.value("001").unwrap(), b"1");
    assert_eq!(object.kv.value("002").unwrap(), b"1");
}

#[test]
fn a_refusal_has_the_progress_of_the_run() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![marking("001")]);
    object.migrate(&coordinator).expect("nothing fails");
    let refusal = object.migrate(&coordinator).expect_err("a run is in progress");
    let CoordinatorError::InProgress(activity) = refusal else { panic!("{refusal:?}") };
    assert_eq!(activity.migration.as_deref(), Some("001"));
    assert!(activity.progress.is_some_and(|progress| progress.done > 0));
}

/// The old instance is suspended during an operation, and resumed after another instance has replaced it.
#[test]
fn an_instance_that_was_replaced_sends_and_writes_nothing() {
    let object = Object::new().with_users(100);
    let (old, new) = (object.instance(vec![marking("001")]), object.instance(vec![marking("001")]));
    let time = object.time.clone();

    let mut step = Box::pin(async {
        select(pin!(old.run_pending(&Caller::default())), pin!(object.call_alarms(&old))).await;
    });
    // The old instance is not polled after 100 ms.
    object.time.run(select(&mut step, pin!(time.sleep(Duration::from_millis(100)))));
    let begun = object.marked();
    assert!((1..20).contains(&begun), "{begun}");
    object.pass(&new, Duration::from_mins(2));
    assert_eq!(object.marked(), 100, "the new one has continued");

    object.kv.insert("user_050", "of the service");
    let (rows, operations) = (object.storage.clone(), object.kv.operations());
    let before = format!("{rows:?}");
    object.time.run(select(&mut step, pin!(time.sleep(Duration::from_secs(3)))));
    assert_eq!(object.kv.operations(), operations, "the old one sends nothing");
    assert_eq!(format!("{rows:?}"), before, "and writes nothing");
}

/// A clock that is 20 seconds ahead: to it, every lease has expired.
struct Ahead(VirtualTime);

impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        self.0.now() + Duration::from_secs(20)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        self.0.sleep(duration)
    }
}

/// Replaced before it would have renewed its lease anyway.
#[test]
fn an_instance_that_was_replaced_sends_nothing_to_another_namespace() {
    let object = Object { budget: Budget::default(), ..Object::new() };
    let other = MemoryStore::with_clock(object.time.clone());
    let migrations = || {
        let there = Arc::new(Slow::new(other.clone(), &object.time, Duration::from_millis(10)));
        vec![Migration::new("001", "Writes there", async move |kv: &Kv, (): &()| {
            let there = kv.with_store(there.clone());
            for number in 0..100 {
                there.put(&format!("user_{number:03}"), "x").await?;
            }
            Ok(())
        })]
    };
    let old = object.instance(migrations());
    let runner = object.runner_on(object.kv.clone(), migrations());
    let new = object.instance_of(runner.with_clock(Arc::new(Ahead(object.time.clone()))));

    let mut step = Box::pin(async {
        select(pin!(old.run_pending(&Caller::default())), pin!(object.call_alarms(&old))).await;
    });
    let wait = |milliseconds| object.time.sleep(Duration::from_millis(milliseconds));
    object.time.run(select(&mut step, pin!(wait(100))));
    let begun = other.entries().len();
    assert!((1..100).contains(&begun), "{begun}");
    // The old one looks at its lease once a second.
    object.time.run(select(pin!(new.alarm()), pin!(wait(1_000))));

    let sent = other.operations();
    object.time.run(select(&mut step, pin!(wait(3_000))));
    assert!(
        other.operations() <= sent + 1,
        "the old one goes on writing: {} more",
        other.operations() - sent
    );
}

#[test]
fn a_step_that_was_cut_off_is_continued_once_its_lease_expires() {
    let object = Object::new().with_users(100);
    let cut_off = object.instance(vec![marking("001")]);
    object.serve_for(Duration::from_millis(100), &cut_off, cut_off.run_pending(&Caller::default()));
    assert!(object.marked() < 100);

    let next = object.instance(vec![marking("001")]);
    object.pass(&next, Duration::from_secs(10));
    let held = object.marked();
    object.pass(&next, Duration::from_mins(1));
    assert!(held < 20, "an operation may still be on its way: {held} entries");
    assert_eq!(object.marked(), 100, "and nobody had to ask");
}

#[test]
fn a_lease_from_a_clock_an_hour_ahead_expires() {
    let object = Object::new();
    let ahead = object.instance(vec![good("001")]);
    // The instance is cut off while it holds the lease. Its clock is an hour ahead.
    object.time.advance(Duration::from_hours(1));
    object.serve_for(Duration::from_millis(15), &ahead, ahead.run_pending(&Caller::default()));
    assert!(object.storage.alarm().is_some_and(|at| at > object.time.now()), "it has the lease");
    let right = object.with_storage(VirtualTime::starting_at(start()), object.storage.clone());
    let next = right.instance(vec![good("001")]);
    right.time.run(next.status()).expect("it can be read");
    right.pass(&next, Duration::from_mins(70));
    assert_eq!(
        right.serve(&next, next.run_pending(&Caller::default())).expect("it is free").skipped,
        ids(&["001"])
    );
}

/// An operation takes 10 ms, and the run is cut off after every multiple of that.
#[test]
fn a_run_that_is_cut_off_anywhere_is_continued_and_repeats_nothing_finished() {
    let migrations =
        |object: &Object| vec![counting("001", &object.time), marking("002"), counting("003", &object.time)];
    let mut cut_off = Duration::ZERO;
    loop {
        let object = Object::new().with_users(30);
        let first = object.instance(migrations(&object));
        let waiting = Caller::default().queued();
        let is_finished = object.serve_for(cut_off, &first, first.run_pending(&waiting)).is_some();
        let next = object.instance(migrations(&object));
        object.pass(&next, Duration::from_mins(2));
        object.serve(&next, next.run_pending(&Caller::default().queued())).expect("nothing fails");

        let context = format!("cut off after {cut_off:?}");
        assert_eq!(object.marked(), 30, "{context}");
        for id in ["001", "003"] {
            // The run may have been cut off before its last operation was answered.
            let count = object.kv.value(id).unwrap();
            assert!(count == b"1" || count == b"2", "{context}");
            assert_eq!(object.marker(id).as_deref(), Some("true"), "{context}");
        }
        assert_eq!(object.marker("002").as_deref(), Some("true"), "{context}");
        if is_finished {
            break;
        }
        cut_off += Duration::from_millis(10);
    }
}

/// The step is suspended until its lease has expired, and resumes just after another task has replaced its own.
#[test]
fn a_step_that_resumes_too_late_does_not_end_the_next_task() {
    let budget = Budget::default().with_operations(60);
    let object = Object { budget, ..Object::new().with_users(100) };
    let has_stumbled = AtomicBool::new(false);
    let mark = Backfill::new("user_", async move |_, record, ()| {
        if record.name() == "user_070" && !has_stumbled.swap(true, Ordering::Relaxed) {
            return Err("the upstream service is down".into());
        }
        Ok(record.put("x+").await?)
    });
    let unmark = Backfill::new("user_", async |_, record, ()| Ok(record.put("x").await?));
    let migration = Migration::backfill("001", "Marks every user", mark).with_down_backfill(unmark);
    let coordinator = object.instance(vec![migration]);
    let mut rings = Box::pin(object.call_alarms(&coordinator));
    let ten_milliseconds = || object.time.sleep(Duration::from_millis(10));

    object.time.run(select(&mut rings, pin!(coordinator.run_pending(&Caller::default()))));
    while object.marked() < 90 {
        object.time.run(select(&mut rings, ten_milliseconds()));
    }
    // The second step has failed, and the third one is in progress.
    object.time.run(object.time.sleep(Duration::from_secs(20)));
    let caller = Caller::default().with_label("rollback").until_finished();
    object.time.run(select(
        pin!(coordinator.rollback("001", &caller)),
        select(&mut rings, object.time.sleep(Duration::from_mins(5))),
    ));

    let history = coordinator.history().expect("it can be read");
    let ends: Vec<_> = history.iter().map(|entry| (entry.action, entry.outcome)).collect();
    assert_eq!(ends, [(TaskKind::Rollback, RunOutcome::Finished), (TaskKind::Migrate, RunOutcome::Failed)]);
    assert_eq!((object.marked(), object.state(&coordinator, "001")), (0, State::Pending));
}

/// The instance that was asked never learns the result.
#[test]
fn a_caller_gets_an_answer_when_another_instance_ends_its_run() {
    let object = Object::new();
    let (old, new) = (object.instance(vec![good("001")]), object.instance(vec![good("001")]));
    let caller = Caller::default().until_finished();
    let report = object.serve_for(Duration::from_mins(2), &new, old.run_pending(&caller));
    let report = report.expect("it does not wait for ever").expect("nothing failed");
    assert!(report.is_finished());
}

/// Storage that fails once, after this many calls.
struct Failing {
    storage: ObjectRuntime,
    left: AtomicI64,
}

impl Failing {
    fn count(&self) -> Result<(), StorageError> {
        let is_it = self.left.fetch_sub(1, Ordering::Relaxed) == 0;
        if is_it { Err(StorageError::new("it is overloaded")) } else { Ok(()) }
    }
}

impl Storage for Failing {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.count()?;
        self.storage.get(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        self.count()?;
        self.storage.list(prefix)
    }

    fn write(&self, changes: &[RowChange]) -> Result<(), StorageError> {
        self.count()?;
        self.storage.write(changes)
    }
}

#[test]
fn a_run_is_continued_wherever_the_storage_fails() {
    for failing_call in 0.. {
        let object = Object::new().with_users(30);
        let migrations = vec![counting("001", &object.time), marking("002"), counting("003", &object.time)];
        let storage =
            Arc::new(Failing { storage: object.runtime.clone(), left: AtomicI64::new(failing_call) });
        let store = Slow::new(object.kv.clone(), &object.time, Duration::from_millis(10));
        let coordinator = Coordinator::new(object.runner_on(store, migrations), storage.clone(), || Ok(()));
        let context = format!("failed at call {failing_call}");
        let caller = Caller::default().queued();
        let work = async {
            let first = coordinator.run_pending(&caller).await;
            if first.is_err() {
                coordinator.run_pending(&caller).await.expect(&context);
            }
        };
        let rings = pin!(object.call_alarms(&coordinator));
        let time = object.time.sleep(Duration::from_mins(10));
        let (work, others) = (pin!(work), select(rings, time));
        let is_answered = matches!(object.time.run(select(work, others)), Either::Left(_));
        assert!(is_answered, "{context}: it waits for ever");
        assert_eq!(object.marked(), 30, "{context}");
        for id in ["001", "002", "003"] {
            assert_eq!(object.marker(id).as_deref(), Some("true"), "{context}");
        }
        if storage.left.load(Ordering::Relaxed) >= 0 {
            assert!(failing_call > 100);
            break;
        }
    }
}
