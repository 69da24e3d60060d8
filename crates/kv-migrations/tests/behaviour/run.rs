//! A run: order, failures, reports, log lines, and the lock.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::executor::block_on;
use futures::future::{join, poll_immediate};
use kv_migrations::kv::{Answer, Kv, KvError, MemoryStore, PutOptions, Request, Store, StoreExt};
use kv_migrations::{Backfill, BoxError, BoxFuture, Budget, Error, Migration, RunLock, Runner, Stage, State};

use crate::service::{Service, failing, failure, filled, good, ids, marking};

#[test]
fn migrations_run_in_the_order_of_their_registration() {
    let order: Arc<Mutex<Vec<&str>>> = Arc::default();
    let noting = |id: &'static str| {
        let order = order.clone();
        Migration::new(id, "", async move |_, ()| {
            order.lock().expect("no test panics while it holds it").push(id);
            Ok(())
        })
    };
    let ran = Service::new().migrate(vec![noting("2"), noting("1"), noting("10")]);
    assert_eq!(ran, ids(&["2", "1", "10"]));
    assert_eq!(*order.lock().expect("no test panics while it holds it"), ["2", "1", "10"]);
}

#[test]
fn applied_migrations_are_skipped() {
    let service = Service::new();
    service.migrate(vec![good("001")]);
    let report = block_on(service.runner(vec![good("001"), good("002")]).run_pending(&())).unwrap();
    assert_eq!(report.ran, ids(&["002"]));
    assert_eq!(report.skipped, ids(&["001"]));
    assert!(report.is_finished());
    assert_eq!(report.retry_after, None);
}

#[test]
fn a_run_stops_at_the_first_failure_and_the_next_one_retries_it() {
    let service = Service::new();
    service.migrate(vec![good("001")]);
    let migrations = || vec![good("001"), good("002"), failing("003"), good("004")];

    let failure = failure(block_on(service.runner(migrations()).run_pending(&())));
    assert_eq!(failure.to_string(), "Migration 003 failed: boom");
    assert_eq!((failure.id.as_str(), failure.stage), ("003", Stage::Up));
    assert_eq!(failure.report.ran, ids(&["002"]));
    assert_eq!(failure.report.skipped, ids(&["001"]));
    assert_eq!(service.text("half").unwrap(), "done", "what it wrote stays");
    assert_eq!(service.text("done/004"), None, "those after it are not tried");
    assert_ne!(service.text("migration_my-service_003").as_deref(), Some("true"));

    let ran = service.migrate(vec![good("001"), good("002"), good("003"), good("004")]);
    assert_eq!(ran, ids(&["003", "004"]));
}

#[test]
fn the_status_has_the_state_of_each_migration_in_order() {
    let service = Service::new();
    let migrations = || vec![good("001"), failing("002"), crate::service::quiet("003")];
    block_on(service.runner(migrations()).run_pending(&())).unwrap_err();

    let runner = service.runner(migrations());
    let status = block_on(runner.status()).unwrap();
    let states: Vec<_> = status.iter().map(|entry| (entry.id.as_str(), entry.run, entry.state)).collect();
    assert_eq!(
        states,
        [("001", true, State::Applied), ("002", false, State::Failed), ("003", false, State::Pending)]
    );
    assert!(!block_on(runner.is_run("002")).unwrap());
    assert_ne!(
        service.text("migration_my-service_002").unwrap(),
        "true",
        "the rule of the TypeScript runner"
    );
    assert_eq!(status[0].run_at.as_deref(), Some(crate::service::START));
    assert_eq!(status[1].error.as_deref(), Some("boom"));
    assert_eq!(status[0].description.as_deref(), Some("Does 001"));
    assert_eq!(status[2].description, None, "an empty description is none");
    assert_eq!((status[0].reversible, status[1].reversible), (true, false));
}

#[test]
fn a_pending_migration_before_an_applied_one_runs_and_is_reported() {
    let service = Service::new();
    service.migrate(vec![good("001"), good("003")]);
    let report =
        block_on(service.runner(vec![good("001"), good("002"), good("003")]).run_pending(&())).unwrap();
    assert_eq!(report.ran, ids(&["002"]));
    assert_eq!(report.out_of_order, ids(&["002"]));
}

#[test]
fn an_applied_migration_that_is_not_registered_is_reported() {
    let service = Service::new();
    service.migrate(vec![good("001"), good("002")]);
    let report = block_on(service.runner(vec![good("001")]).run_pending(&())).unwrap();
    assert_eq!(report.missing, ids(&["002"]));
}

#[test]
fn a_migration_that_is_taken_off_the_list_half_made_is_reported_until_it_is_finished() {
    let service = filled(2_000);
    let half_made = || vec![Migration::backfill("001", "", marking()), failing("002")];
    block_on(service.runner(half_made()).run_pending(&())).unwrap();
    block_on(service.runner(vec![failing("002")]).run_pending(&())).unwrap_err();
    // Nobody knows whose a marker is that names no service.
    service.put("migration_my-service_000", "running", None);

    let runner = service.runner(vec![good("003")]);
    for _ in 0..2 {
        let report = block_on(runner.run_pending(&())).unwrap();
        assert_eq!((report.missing, report.unfinished), (ids(&[]), ids(&["001", "002"])));
    }
    let status = block_on(runner.status_report()).unwrap();
    assert_eq!(status.unfinished, ids(&["001", "002"]));
    assert_eq!(status.migrations.len(), 1, "the status itself has what is registered");

    let runner = service.runner(vec![Migration::backfill("001", "", marking()), good("002")]);
    service.drive(&runner).expect("both are registered again");
    assert_eq!(block_on(runner.run_pending(&())).unwrap().missing, ids(&["003"]));
    assert_eq!(block_on(service.runner(vec![]).run_pending(&())).unwrap().unfinished, ids(&[]));
}

#[test]
fn half_made_work_of_another_service_is_not_reported() {
    let service = filled(2_000);
    let other = service.neighbour("my-service_v2");
    block_on(other.runner(vec![Migration::backfill("001", "", marking())]).run_pending(&())).unwrap();
    let report = block_on(service.runner(vec![good("002")]).run_pending(&())).unwrap();
    assert_eq!(report.unfinished, ids(&[]));
}

#[test]
fn a_report_has_duration_and_operations_of_each_migration() {
    let service = Service::new();
    let clock = service.clock.clone();
    let slow = Migration::new("001", "", async move |kv, ()| {
        clock.advance(Duration::from_millis(1_250));
        kv.text("a").await?;
        kv.text("b").await?;
        Ok(())
    });
    let report = block_on(service.runner(vec![slow]).run_pending(&())).unwrap();
    assert_eq!((report.details[0].duration_ms, report.details[0].operations), (1_250, 2));
    assert_eq!(
        report.operations, 5,
        "two of its own, two to read the ledger for the first time, one to mark it"
    );
    let status = block_on(service.runner(vec![good("001")]).status()).unwrap();
    assert_eq!((status[0].duration_ms, status[0].operations), (Some(1_250), Some(2)));
}

#[test]
fn a_run_logs_what_begins_ends_and_fails() {
    let service = Service::new();
    block_on(service.runner(vec![good("001"), failing("002")]).run_pending(&())).unwrap_err();
    assert_eq!(
        service.log.lines(),
        [
            "[Migration] Running 001: Does 001",
            "[Migration] ✓ Completed 001",
            "[Migration] Running 002: Fails half-way",
            "[Migration] ✗ Migration 002 failed: boom",
        ]
    );
}

#[test]
fn a_failure_has_the_text_of_its_cause() {
    let broken = Migration::new("001", "", async |kv, ()| {
        kv.put("numbers", "[1, 2, \"hidden\"]").await?;
        let _: Option<Vec<u64>> = kv.json("numbers").await?;
        Ok(())
    });
    let failure = failure(block_on(Service::new().runner(vec![broken]).run_pending(&())));
    assert_eq!(
        failure.to_string(),
        "Migration 001 failed: the value of `numbers` is not the expected JSON: see line 1, column 15, at `[2]`"
    );
}

#[test]
fn a_second_run_at_the_same_time_is_refused_and_changes_nothing() {
    let service = Service::new();
    let lock = RunLock::new();
    // Both runners share the lock, as in one isolate.
    let outer = service.runner(vec![{
        let (service, lock) = (service.clone(), lock.clone());
        Migration::new("001", "", async move |_, ()| {
            let second = service.runner(vec![good("002")]).with_lock(lock.clone());
            let error = second.run_pending(&()).await.unwrap_err();
            assert!(matches!(error, Error::RunInProgress { .. }), "{error:?}");
            let error = second.rollback("002", &()).await.unwrap_err();
            assert!(matches!(error, Error::RunInProgress { .. }), "{error:?}");
            assert_eq!(second.status().await.unwrap()[0].state, State::Pending, "looking is always allowed");
            let same = service.runner(vec![good("001")]).with_lock(lock.clone());
            assert_eq!(same.status().await.unwrap()[0].state, State::Running);
            Ok(())
        })
    }]);
    block_on(outer.with_lock(lock.clone()).run_pending(&())).expect("the first run continues");
    assert_eq!(service.text("done/002"), None);
    block_on(service.runner(vec![good("002")]).with_lock(lock).run_pending(&())).expect("it has ended");
}

/// A store of the kind that exists once in a process, as the KV of a Worker.
struct OfTheProcess(MemoryStore);

impl Store for OfTheProcess {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        self.0.call(request)
    }

    fn shared_lock(&self, service: &str) -> Option<RunLock> {
        Some(RunLock::of_process(service))
    }
}

#[test]
fn runners_on_the_kv_of_a_worker_exclude_each_other_without_being_given_a_lock() {
    let runner = |service: &str, migration| {
        Runner::new(Arc::new(OfTheProcess(MemoryStore::new())), service, vec![migration])
            .expect("it is valid")
    };
    let beside = Migration::new("001", "", async move |_, ()| {
        // As a cron trigger beside the routes: on another handle, and here on another namespace.
        let error = runner("shared", good("001")).run_pending(&()).await.unwrap_err();
        assert!(matches!(error, Error::RunInProgress { .. }), "{error:?}");
        runner("shared_v2", good("001")).run_pending(&()).await.expect("another service has another lock");
        let own = Runner::new(MemoryStore::new(), "shared", vec![good("001")]).expect("it is valid");
        own.run_pending(&()).await.expect("another store shares no lock unless it is given one");
        let given = Runner::new(MemoryStore::new(), "shared", vec![good("001")]).expect("it is valid");
        let error = given.with_lock(RunLock::of_process("shared")).run_pending(&()).await.unwrap_err();
        assert!(matches!(error, Error::RunInProgress { .. }), "{error:?}");
        Ok(())
    });
    block_on(runner("shared", beside).run_pending(&())).expect("the first run continues");
    block_on(runner("shared", good("001")).run_pending(&())).expect("it has ended");
}

#[test]
fn a_run_that_resumes_after_another_replaced_it_is_stopped() {
    assert_eq!(
        resumed_after_another(|wait| waiting(wait, async |kv| Ok(kv.put("late", "write").await?))),
        None
    );
}

/// An error as services define them.
#[derive(Debug)]
struct NotSaved(KvError);

impl fmt::Display for NotSaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it could not be saved")
    }
}

impl std::error::Error for NotSaved {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn a_migration_that_wraps_the_loss_of_its_lease_has_not_failed_by_itself() {
    let wrapping = async |kv: &Kv| Ok(kv.put("late", "write").await.map_err(NotSaved)?);
    assert_eq!(resumed_after_another(|wait| waiting(wait, wrapping)), None, "in a closure");
    for hides in [false, true] {
        let backfill = |wait: Wait| {
            let each = Backfill::new("user_", async move |_, record, ()| {
                wait().await?;
                let result = record.put("late").await;
                if hides { Err("it could not be saved".into()) } else { Ok(result?) }
            });
            Migration::backfill("001", "", each)
        };
        assert_eq!(resumed_after_another(backfill), None, "in a backfill, {hides}");
    }
}

#[test]
fn a_run_that_resumes_after_another_replaced_it_tells_what_it_failed_with() {
    assert_eq!(
        resumed_after_another(|wait| waiting(wait, async |_| Err("boom".into()))).as_deref(),
        Some("boom")
    );
}

/// Waits until another run has replaced this one.
type Wait = Box<dyn Fn() -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// Waits, and then does this.
fn waiting(wait: Wait, then: impl AsyncFn(&Kv) -> Result<(), BoxError> + Send + Sync + 'static) -> Migration {
    Migration::new("001", "", async move |kv: &Kv, ()| {
        wait().await?;
        then(kv).await
    })
}

/// The reason of a run that is given up while it waits, is replaced by another, and then goes on.
fn resumed_after_another(migration: impl Fn(Wait) -> Migration) -> Option<String> {
    // A minute uses up the first budget, and leaves most of the second one.
    let [spent, unspent] = [25, 600].map(|seconds| {
        let budget = Budget::default().with_time(Duration::from_secs(seconds));
        resumed_with_budget(budget, &migration)
    });
    assert_eq!(spent, unspent);
    spent
}

fn resumed_with_budget(budget: Budget, migration: impl Fn(Wait) -> Migration) -> Option<String> {
    let service = Service::new();
    service.store.insert("user_1", "x");
    let lock = RunLock::new();
    let (wake, woken) = futures::channel::oneshot::channel::<()>();
    let woken = Mutex::new(Some(woken));
    let silent = migration(Box::new(move || {
        let woken = woken.lock().expect("no test panics while it holds it").take();
        Box::pin(async move { Ok(woken.expect("it runs once").await?) })
    }));
    let first = service.runner(vec![silent]).with_lock(lock.clone()).with_budget(budget);
    let second = service.runner(vec![good("001")]).with_lock(lock);

    let reason = block_on(async {
        let mut hung = Box::pin(first.run_pending(&()));
        for _ in 0..30 {
            assert!(poll_immediate(&mut hung).await.is_none(), "it waits to be woken");
        }
        service.clock.advance(Duration::from_secs(59));
        second.run_pending(&()).await.expect_err("the lease of the first run is not up yet");
        service.clock.advance(Duration::from_secs(1));
        second.run_pending(&()).await.expect("the lease is up");
        let third = second.run_pending(&());
        wake.send(()).expect("the first run waits for it");
        let (hung, third) = join(hung, third).await;
        third.expect("the one that comes back holds no lock");
        let Err(Error::Superseded { reason, .. }) = hung else { panic!("it was replaced: {hung:?}") };
        reason
    });
    assert_eq!(service.text("late"), None, "it must not write beside the next run");
    assert_eq!(service.text("user_1").as_deref(), Some("x"));
    assert_eq!(service.text("migration_my-service_001").as_deref(), Some("true"), "nor undo its marker");
    reason
}

#[test]
fn operations_on_another_store_count_for_the_run() {
    let service = Service::new();
    let other = MemoryStore::new();
    block_on(other.put("flag", b"on", &PutOptions::default())).unwrap();
    let copy = Migration::new("001", "Copies the flag", async move |kv, ()| {
        let value = kv.with_store(other.clone()).bytes("flag").await?.unwrap_or_default();
        Ok(kv.put("flag", value).clear_metadata().clear_expiration().await?)
    });
    let report = block_on(service.runner(vec![copy]).run_pending(&())).unwrap();
    assert_eq!(service.text("flag").unwrap(), "on");
    assert_eq!(report.details[0].operations, 2, "one on each store");
}

#[test]
fn a_handle_that_outlives_its_run_writes_nothing_and_blocks_nothing() {
    let service = Service::new();
    let lock = RunLock::new();
    let kept: Arc<Mutex<Option<Kv>>> = Arc::default();
    let keep = kept.clone();
    let keeping = Migration::new("001", "", async move |kv: &Kv, ()| {
        *keep.lock().expect("no test panics while it holds it") = Some(kv.clone());
        Ok(())
    });
    block_on(service.runner(vec![keeping]).with_lock(lock.clone()).run_pending(&())).unwrap();
    let kv = kept.lock().expect("no test panics while it holds it").take().unwrap();
    block_on(service.runner(vec![good("002")]).with_lock(lock).run_pending(&()))
        .expect("the first has ended");
    block_on(async { kv.put("late", "write").await }).expect_err("its run has ended");
    assert_eq!(service.text("late"), None);
}
