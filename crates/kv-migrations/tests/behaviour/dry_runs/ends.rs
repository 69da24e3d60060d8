//! How a dry run ends before all is told.

use futures::executor::block_on;
use kv_migrations::kv::{Answer, KvError, MemoryStore, Request, Store};
use kv_migrations::{Backfill, BoxFuture, DryRun, DryRunStop, Error, Migration, State};

use super::{dry_run, only, plain, users};
use crate::service::{Service, good};

#[test]
fn a_dry_run_ends_in_good_order_once_its_budget_is_used_up() {
    let service = Service::holding(&users(2_000), 40);
    let each = Backfill::new("user_", async |kv, user, (): &()| {
        kv.text(&format!("of_{}", user.name())).await?;
        user.put("x").await?;
        Ok(())
    });
    let migrations = || vec![Migration::backfill("long", "", each), good("next")];
    let report = dry_run(&service.runner(migrations()), &DryRun::new());
    assert_eq!((report.complete, report.stopped), (false, Some(DryRunStop::Budget)));
    assert_eq!(report.remaining, ["long", "next"]);
    let long = only(&report);
    assert!(!long.complete && long.error.is_none(), "{long:#?}");
    let seen = long.entries.expect("it met some").seen;
    assert!(seen > 5 && long.writes >= seen, "{long:#?}");
    assert!((40..=56).contains(&report.operations_sent), "{}", report.operations_sent);
}

#[test]
fn a_closure_that_is_cut_off_has_not_failed() {
    let service = Service::holding(&users(100), 40);
    let greedy = Migration::new("greedy", "", async |kv, (): &()| {
        for user in 0..100 {
            kv.text(&format!("user_{user:04}")).await.ok();
            kv.put("last", "x").clear_options().await.ok();
        }
        Ok(())
    });
    let report = dry_run(&service.runner(vec![greedy]), &DryRun::new());
    assert!(!report.complete, "{report:#?}");
    assert!(!only(&report).complete);
}

#[test]
fn a_dry_run_ends_once_it_keeps_too_much() {
    let service = Service::holding(&users(400), 5_000);
    let large = Backfill::new("user_", async |_, user, (): &()| {
        user.put(vec![b'x'; 100_000]).await?;
        Ok(())
    });
    let report = dry_run(&service.runner(vec![Migration::backfill("large", "", large)]), &DryRun::new());
    assert_eq!((report.complete, report.stopped), (false, Some(DryRunStop::Memory)));
    let large = only(&report);
    assert!((160..200).contains(&large.writes), "{}", large.writes);
    assert_eq!(large.entries.map(|entries| entries.seen), Some(large.writes));
}

#[test]
fn a_migration_that_fails_ends_the_dry_run_and_is_not_recorded() {
    let service = Service::holding(&users(3), 900);
    let failing = Migration::new("bad", "", async |kv, (): &()| {
        kv.put("half", "made").await?;
        Err("boom".into())
    });
    let runner = service.runner(vec![good("first"), failing, good("last")]);
    let before = service.store.entries();
    let report = dry_run(&runner, &DryRun::new());
    assert_eq!((report.complete, report.stopped), (false, Some(DryRunStop::Failed)));
    assert_eq!(report.remaining, ["bad", "last"]);
    let [first, bad] = &report.migrations[..] else { panic!("{report:#?}") };
    assert!(first.complete && first.error.is_none());
    assert!(!bad.complete && bad.error.as_deref() == Some("boom"), "{bad:#?}");
    assert_eq!(bad.writes, 1);
    assert_eq!(service.store.entries(), before);
    assert!(block_on(runner.status()).unwrap().iter().all(|status| status.state == State::Pending));
    assert!(service.log.lines().is_empty(), "{:?}", service.log.lines());
}

#[test]
fn what_would_refuse_a_run_refuses_a_dry_run() {
    let service = Service::new();
    service.neighbour("old-name").migrate(vec![good("001")]);
    let error = block_on(service.runner(vec![good("001"), good("002")]).dry_run(&DryRun::new(), &()));
    assert!(matches!(error, Err(Error::AnotherPrefix { .. })), "{error:?}");
}

/// What KV answers with 5xx is retried as in a run, and then fails the migration.
#[test]
fn a_read_that_kv_fails_fails_the_dry_run() {
    struct Failing(MemoryStore);
    impl Store for Failing {
        fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
            match request {
                Request::Get { key: "number" } => {
                    Box::pin(async move { Err(request.refused(Some(503), "Service Unavailable")) })
                }
                _ => self.0.call(request),
            }
        }
    }
    let service = Service::new();
    let report = dry_run(&service.runner_on(Failing(service.store.clone()), vec![plain()]), &DryRun::new());
    assert_eq!(report.stopped, Some(DryRunStop::Failed));
    let error = only(&report).error.clone().unwrap_or_default();
    assert!(error.contains("503"), "{error}");
    assert_eq!(service.store.entries(), []);
}
