//! Steps that fail.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use futures::future::{join, pending, select};
use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{Caller, Coordinator, CoordinatorError, RunOutcome};
use kv_migrations::testing::VirtualTime;
use kv_migrations::{Backfill, BoxFuture, Budget, Error, Migration, Rekey, State};

use crate::object::Object;
use crate::service::{failing, good, ids};

/// Fails at the fiftieth user while `is_broken`.
fn stumbling(is_broken: &Arc<AtomicBool>) -> Migration {
    let is_broken = is_broken.clone();
    let mark = Backfill::new("user_", async move |_, record, ()| {
        if record.name() == "user_050" && is_broken.load(Ordering::Relaxed) {
            return Err("the upstream service is down".into());
        }
        Ok(record.put("x+").await?)
    });
    Migration::backfill("001", "Marks every user", mark)
}

#[test]
fn a_first_step_that_fails_is_answered_and_not_retried() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001"), failing("002"), good("003")]);
    let error = object.migrate(&coordinator).expect_err("it fails");
    let CoordinatorError::Runner(Error::Failed(failure)) = error else { panic!("{error:?}") };
    assert_eq!((failure.id.as_str(), failure.reason.as_str()), ("002", "boom"));
    assert_eq!(failure.report.ran, ids(&["001"]));
    assert_eq!(object.state(&coordinator, "002"), State::Failed);
    assert_eq!(object.storage.alarm(), None);
    assert_eq!(object.marker("002").as_deref(), Some("failed"), "KV has a copy");
}

#[test]
fn a_later_step_that_fails_is_retried() {
    let (object, is_broken) = (Object::new().with_users(100), Arc::new(AtomicBool::new(true)));
    let coordinator = object.instance(vec![stumbling(&is_broken)]);
    object.migrate(&coordinator).expect("its first step is before the trouble");
    object.pass(&coordinator, Duration::from_secs(30));
    let status = object.status(&coordinator, "001");
    assert_eq!(status.state, State::Failed, "visibly");
    assert!(status.error.is_some_and(|error| error.contains("the upstream service is down")));
    assert!(status.retry_at.is_some(), "and it says when it is tried again");

    is_broken.store(false, Ordering::Relaxed);
    object.pass(&coordinator, Duration::from_mins(20));
    assert_eq!(object.state(&coordinator, "001"), State::Applied);
    assert_eq!(object.marked(), 100);
    let history = coordinator.history().expect("it can be read");
    assert_eq!(history[0].outcome, RunOutcome::Finished);
    assert!(history[0].failed_attempts > 0);
    assert!(history[0].failures[0].error.contains("the upstream service is down"), "{history:?}");
}

#[test]
fn a_step_that_keeps_failing_fails_the_run_after_four_retries() {
    let (object, is_broken) = (Object::new().with_users(100), Arc::new(AtomicBool::new(true)));
    let coordinator = object.instance(vec![stumbling(&is_broken)]);
    object.migrate(&coordinator).expect("its first step is before the trouble");
    object.pass(&coordinator, Duration::from_hours(1));
    let status = object.status(&coordinator, "001");
    assert_eq!((status.state, status.retry_at), (State::Failed, None));
    assert_eq!(object.storage.alarm(), None);
    let history = coordinator.history().expect("it can be read");
    assert_eq!((history[0].outcome, history[0].failed_attempts), (RunOutcome::Failed, 5));

    is_broken.store(false, Ordering::Relaxed);
    object.migrate(&coordinator).expect("it carries on");
    object.pass(&coordinator, Duration::from_mins(1));
    assert_eq!(object.marked(), 100);
}

#[test]
fn a_new_run_replaces_one_that_waits_for_a_retry() {
    let (object, is_broken) = (Object::new().with_users(100), Arc::new(AtomicBool::new(true)));
    let coordinator = object.instance(vec![stumbling(&is_broken)]);
    object.migrate(&coordinator).expect("its first step is before the trouble");
    object.pass(&coordinator, Duration::from_secs(45));
    assert!(object.status(&coordinator, "001").retry_at.is_some());

    is_broken.store(false, Ordering::Relaxed);
    let report = object.serve(&coordinator, coordinator.run_pending(&Caller::default().queued()));
    assert_eq!(report.expect("it was mended").ran, ids(&["001"]));
    let outcomes: Vec<RunOutcome> =
        coordinator.history().expect("it can be read").iter().map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, [RunOutcome::Finished, RunOutcome::Failed]);
}

#[test]
fn a_waiting_caller_gets_the_error_of_the_last_retry() {
    let (object, is_broken) = (Object::new().with_users(100), Arc::new(AtomicBool::new(true)));
    let coordinator = object.instance(vec![stumbling(&is_broken)]);
    let result = object.serve(&coordinator, coordinator.run_pending(&Caller::default().queued()));
    let Err(CoordinatorError::Runner(Error::Failed(failure))) = result else { panic!("{result:?}") };
    assert_eq!(failure.id, "001");
}

/// As if the `up` panicked, or ran out of memory: no error is recorded, and every step would end like this.
#[test]
fn a_step_that_is_cut_off_five_times_fails_the_run() {
    let (object, times) = (Object::new(), Arc::new(AtomicU32::new(0)));
    let migrations = || {
        let (times, time) = (times.clone(), object.time.clone());
        vec![Migration::new("001", "Never returns", async move |_, ()| {
            times.fetch_add(1, Ordering::Relaxed);
            time.sleep(Duration::from_hours(1)).await;
            Ok(())
        })]
    };
    let first = object.instance(migrations());
    object.serve_for(Duration::from_secs(1), &first, first.run_pending(&Caller::default()));
    for begun in 1..20 {
        let next = object.instance(migrations());
        while times.load(Ordering::Relaxed) == begun && object.storage.alarm().is_some() {
            object.serve_for(Duration::from_secs(1), &next, pending::<()>());
        }
    }
    assert_eq!(times.load(Ordering::Relaxed), 5);
    assert_eq!(object.storage.alarm(), None);
    let next = object.instance(migrations());
    let history = next.history().expect("it can be read");
    assert_eq!(history[0].outcome, RunOutcome::Failed);
    assert!(history[0].failures[0].error.contains("was cut off"), "{history:?}");
    assert_eq!(object.state(&next, "001"), State::Failed, "visibly");
}

/// Its `down` is a closure, which leaves no checkpoint.
#[test]
fn a_rollback_whose_step_is_cut_off_five_times_shows_why_in_the_status() {
    let object = Object::new();
    let migrations = || {
        let time = object.time.clone();
        let migration = Migration::new("001", "Never comes back", async |_, ()| Ok(()));
        vec![migration.with_down(async move |_, ()| {
            time.sleep(Duration::from_hours(1)).await;
            Ok(())
        })]
    };
    let first = object.instance(migrations());
    object.migrate(&first).expect("it is applied");
    object.serve_for(Duration::from_secs(1), &first, first.rollback("001", &Caller::default()));
    for _ in 0..600 {
        if object.storage.alarm().is_none() {
            break;
        }
        object.serve_for(Duration::from_secs(1), &object.instance(migrations()), pending::<()>());
    }
    let last = object.instance(migrations());
    let history = last.history().expect("it can be read");
    assert_eq!(history[0].outcome, RunOutcome::Failed, "{history:?}");
    let status = object.status(&last, "001");
    assert_eq!(status.state, State::Applied, "nothing is known to be undone");
    let error = status.error.expect("why it was not rolled back");
    assert!(error.contains("was cut off"), "{error}");
}

/// The pause has not taken effect, so that the steps that were cut off still count.
#[test]
fn to_pause_and_resume_during_each_step_does_not_keep_alive_a_run_whose_steps_are_all_cut_off() {
    let (object, times) = (Object::new().with_users(1), Arc::new(AtomicU32::new(0)));
    let migrations = || {
        let (times, time) = (times.clone(), object.time.clone());
        let stuck = Backfill::new("user_", async move |_, _, (): &()| {
            times.fetch_add(1, Ordering::Relaxed);
            time.sleep(Duration::from_hours(1)).await;
            Ok(())
        });
        vec![Migration::backfill("001", "Its first entry never ends", stuck)]
    };
    let caller = Caller::default();
    let first = object.instance(migrations());
    object.serve_for(Duration::from_secs(1), &first, first.run_pending(&caller));
    for begun in 1..20 {
        let next = object.instance(migrations());
        let meddle = async {
            while times.load(Ordering::Relaxed) <= begun {
                object.time.sleep(Duration::from_secs(1)).await;
            }
            let resume = async {
                object.time.sleep(Duration::from_millis(100)).await;
                next.resume("001", &caller).await.expect("it is about to pause");
            };
            join(next.pause("001", &caller), resume).await
        };
        object.serve_for(Duration::from_secs(20), &next, meddle);
    }
    assert_eq!(times.load(Ordering::Relaxed), 5);
    let history = object.instance(migrations()).history().expect("it can be read");
    assert_eq!(history[0].outcome, RunOutcome::Failed, "{history:?}");
}

/// As if each step ran out of CPU time. Without progress, five of them would fail the run.
#[test]
fn a_run_whose_every_step_is_cut_off_after_400_milliseconds_ends() {
    let object = Object { budget: Budget::default(), ..Object::new().with_users(300) };
    let migrations = || vec![crate::object::marking("001")];
    let first = object.instance(migrations());
    object.serve_for(Duration::from_millis(400), &first, first.run_pending(&Caller::default()));
    for _ in 0..100 {
        let Some(alarm) = object.storage.alarm() else { break };
        let ends = alarm.max(object.time.now()) + Duration::from_millis(400);
        let life = ends.duration_since(object.time.now()).expect("it ends later");
        object.serve_for(life, &object.instance(migrations()), pending::<()>());
    }
    let last = object.instance(migrations());
    assert_eq!(object.state(&last, "001"), State::Applied, "{:?}", last.history());
    assert_eq!(object.marked(), 300);
}

/// It looked as if it had never begun, and nothing said that something is wrong.
#[test]
fn a_step_that_was_cut_off_shows_in_the_status() {
    let object = Object::new();
    let time = object.time.clone();
    let endless = || {
        let time = time.clone();
        vec![Migration::new("001", "Never returns", async move |_, ()| {
            time.sleep(Duration::from_hours(1)).await;
            Ok(())
        })]
    };
    let first = object.instance(endless());
    object.serve_for(Duration::from_secs(1), &first, first.run_pending(&Caller::default()));

    let status = |instance: &Coordinator| {
        let status = object.time.run(instance.status()).expect("it can be read").remove(0);
        (status.state, status.error)
    };
    let next = object.instance(endless());
    assert_eq!(status(&next), (State::Running, None), "it may still be under way");
    object.time.advance(Duration::from_secs(20));
    let is_told = |(state, error): (State, Option<String>)| {
        state == State::Running
            && error.is_some_and(|error| error.contains("cut off (1 of 5 times in a row)"))
    };
    assert!(is_told(status(&next)), "its time is up: {:?}", status(&next));
    object.serve_for(Duration::from_secs(1), &next, pending::<()>());
    assert!(is_told(status(&next)), "it is taken again: {:?}", status(&next));
}

/// The caller was cut off with the first attempt, and got no answer.
#[test]
fn a_first_step_that_was_cut_off_before_is_retried_when_it_fails() {
    let (object, is_broken) = (Object::new().with_users(100), Arc::new(AtomicBool::new(true)));
    let object = Object { budget: Budget::default(), ..object };
    let cut_off = object.instance(vec![stumbling(&is_broken)]);
    object.serve_for(Duration::from_millis(70), &cut_off, cut_off.run_pending(&Caller::default()));

    let next = object.instance(vec![stumbling(&is_broken)]);
    // The steps after it begin with a small budget, and reach the entry that fails after some seconds.
    object.pass(&next, Duration::from_secs(20));
    assert_eq!(object.state(&next, "001"), State::Failed);
    is_broken.store(false, Ordering::Relaxed);
    object.pass(&next, Duration::from_mins(1));
    assert_eq!(object.state(&next, "001"), State::Applied, "nobody had to ask");
}

/// The step renews its lease for ever.
#[test]
fn a_step_that_never_ends_fails_the_run() {
    let object = Object::new();
    let stuck = Migration::new("001", "Waits for ever", async |_, (): &()| {
        pending::<()>().await;
        Ok(())
    });
    let coordinator = object.instance(vec![stuck]);
    object.migrate(&coordinator).expect("the run is accepted");
    object.pass(&coordinator, Duration::from_hours(2));
    assert_eq!(object.state(&coordinator, "001"), State::Failed);
    assert_eq!(object.storage.alarm(), None);
}

/// Each retry starts over, and its first steps succeed.
#[test]
fn a_rekey_that_keeps_failing_at_an_entry_fails_the_run() {
    let object = Object::new().with_users(60);
    object.kv.insert("user:007", "of somebody else");
    let rekey = Migration::rekey("001", "user_… to user:…", Rekey::prefix("user_", "user:"));
    let coordinator = object.instance(vec![rekey]);
    object.migrate(&coordinator).expect("its first step is before the trouble");
    object.pass(&coordinator, Duration::from_hours(3));
    let status = object.status(&coordinator, "001");
    assert_eq!((status.state, status.retry_at), (State::Failed, None));
    assert_eq!(object.storage.alarm(), None);
}

/// A clock that is behind the runtime's.
struct Behind(VirtualTime);

const BEHIND: Duration = Duration::from_secs(20);

impl Clock for Behind {
    fn now(&self) -> SystemTime {
        self.0.now() - BEHIND
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        self.0.sleep(duration)
    }
}

#[test]
fn an_alarm_that_comes_twenty_seconds_early_by_the_clock_of_the_object_does_not_come_again_and_again() {
    let object = Object::new();
    let moving = Migration::rekey("001", "", Rekey::prefix("user_", "user:"));
    let runner = object.runner_on(object.kv.clone(), vec![moving]);
    let coordinator = object.instance_of(runner.with_clock(Arc::new(Behind(object.time.clone()))));
    let alarms = AtomicU32::new(0);
    let calls = object.runtime.call_alarms(async || {
        let number = alarms.fetch_add(1, Ordering::Relaxed);
        assert!(number < 100, "the alarm comes again and again");
        coordinator.alarm().await
    });
    // It finds nothing, and waits until KV would show what was written elsewhere.
    let work = async {
        coordinator.run_pending(&Caller::default()).await.expect("it waits");
        object.time.sleep(Duration::from_secs(113)).await;
    };
    object.time.run(select(pin!(work), pin!(calls)));
    assert_eq!(object.state(&coordinator, "001"), State::Applied, "it is a second late at most");
    let alarms = alarms.into_inner();
    assert!(alarms <= 2 + 22, "a step, one alarm a second for twenty seconds, and another step: {alarms}");
}
