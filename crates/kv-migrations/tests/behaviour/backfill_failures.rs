//! Entries of a backfill that fail: skipped, tried again, or not theirs to answer for, since KV failed.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use kv_migrations::kv::{KvError, MemoryStore, Request};
use kv_migrations::{Backfill, Migration, State};

use crate::service::{InitialEntry, Service, failure, filled, ids, touching};
use crate::stores::Refusing;

#[test]
fn an_entry_that_fails_is_named_and_the_next_run_continues_there() {
    let service = filled(20);
    let is_mended = Arc::new(AtomicBool::new(false));
    let times = Arc::<Mutex<Vec<String>>>::default();
    let make = || {
        let (is_mended, times) = (is_mended.clone(), times.clone());
        let backfill = Backfill::new("user_", async move |_, record, ()| {
            if record.name() == "user_00013" && !is_mended.load(Ordering::Relaxed) {
                return Err("no such customer".into());
            }
            times.lock().unwrap().push(record.name().to_owned());
            Ok(())
        });
        vec![Migration::backfill("001", "", backfill)]
    };
    let failed = failure(block_on(service.runner(make()).run_pending(&())));
    assert_eq!(failed.to_string(), "Migration 001 failed: at the entry `user_00013`: no such customer");
    let status = block_on(service.runner(make()).status()).unwrap().remove(0);
    assert_eq!(status.state, State::Failed);
    assert_eq!(status.error.as_deref(), Some("at the entry `user_00013`: no such customer"));
    assert_eq!(status.progress.map(|progress| progress.done), Some(13));

    is_mended.store(true, Ordering::Relaxed);
    times.lock().unwrap().clear();
    service.migrate(make());
    let seen = times.lock().unwrap().clone();
    assert_eq!(seen.len(), 7, "only those from the failed one on: {seen:?}");
}

#[test]
fn skipped_failures_are_retried_by_the_next_run() {
    let service = filled(30);
    let is_mended = Arc::new(AtomicBool::new(false));
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let make = || {
        let (is_mended, seen) = (is_mended.clone(), seen.clone());
        let backfill = Backfill::new("user_", async move |_, record, ()| {
            seen.lock().unwrap().push(record.name().to_owned());
            if record.name().ends_with('7') && !is_mended.load(Ordering::Relaxed) {
                return Err("seven".into());
            }
            Ok(record.put("done").await?)
        });
        vec![Migration::backfill("001", "", backfill.skip_failures(5))]
    };
    let failed = failure(block_on(service.runner(make()).run_pending(&())));
    assert_eq!(
        failed.reason,
        "3 of the entries failed and were skipped: `user_00007`: seven; `user_00017`: seven; `user_00027`: seven. All other \
         entries are done; the next run tries these again"
    );
    assert!(!block_on(service.runner(make()).is_run("001")).unwrap());
    assert_eq!(service.text("user_00029").as_deref(), Some("done"));

    seen.lock().unwrap().clear();
    failure(block_on(service.runner(make()).run_pending(&())));
    is_mended.store(true, Ordering::Relaxed);
    service.migrate(make());
    let seen = seen.lock().unwrap().clone();
    assert_eq!(
        seen,
        ids(&["user_00007", "user_00017", "user_00027", "user_00007", "user_00017", "user_00027"])
    );
    assert_eq!(service.text("user_00027").as_deref(), Some("done"));
}

#[test]
fn more_failures_than_may_be_skipped_fail_the_backfill() {
    let service = filled(10);
    let backfill = Backfill::new("user_", async |_, _, ()| Err("no".into())).skip_failures(2);
    let failed =
        failure(block_on(service.runner(vec![Migration::backfill("001", "", backfill)]).run_pending(&())));
    assert_eq!(failed.reason, "at the entry `user_00002`, after 2 others that were skipped: no");
}

#[test]
fn with_apply_despite_failures_it_is_applied_and_reports_them() {
    let service = filled(3);
    let backfill = Backfill::new("user_", async |_, record, ()| match record.name() {
        "user_00001" => Err("no".into()),
        _ => Ok(()),
    });
    let backfill = backfill.skip_failures(1).apply_despite_failures();
    let report =
        block_on(service.runner(vec![Migration::backfill("001", "", backfill)]).run_pending(&())).unwrap();
    assert_eq!(report.ran, ids(&["001"]));
    let failed = &report.details[0].failed_entries;
    assert_eq!((failed.len(), failed[0].key.as_str(), failed[0].reason.as_str()), (1, "user_00001", "no"));
}

#[test]
fn an_entry_that_kv_refused_is_not_skipped() {
    let service = filled(5);
    let refuses = |request: Request<'_>| matches!(request, Request::Put { key: "user_00002", .. });
    let store = Refusing { store: service.store.clone(), refuses };
    let migration = || Migration::backfill("001", "", touching().skip_failures(10).apply_despite_failures());
    let result = block_on(service.runner_on(store, vec![migration()]).run_pending(&()));
    let failed = failure(result);
    assert!(failed.reason.contains("503 Service Unavailable"), "{failed}");
    service.migrate(vec![migration()]);
    assert_eq!(service.text("user_00002").as_deref(), Some("x "));
}

type Make = fn() -> Backfill;

/// An error of a service, with the error of KV as its cause.
#[derive(Debug)]
struct Wrapped(KvError);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the customer was not saved")
    }
}

impl std::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// KV is out of order for writes of this key.
fn failing_at(
    service: &Service,
    key: &'static str,
) -> Refusing<MemoryStore, impl Fn(Request<'_>) -> bool + use<>> {
    let refuses = move |request: Request<'_>| matches!(request, Request::Put { .. }) && request.key() == key;
    Refusing { store: service.store.clone(), refuses }
}

#[test]
fn an_outage_of_kv_is_not_skipped_whatever_the_closure_makes_of_it() {
    let wrapping: [(&str, Make); 4] = [
        ("as the cause of an error", || {
            Backfill::new("user_", async |_, record, ()| Ok(record.put("done").await.map_err(Wrapped)?))
        }),
        ("in a text", || {
            Backfill::new("user_", async |_, record, ()| {
                record.put("done").await.map_err(|error| format!("not saved: {error}").into())
            })
        }),
        ("in no way", || {
            Backfill::new("user_", async |_, record, ()| match record.put("done").await {
                Ok(()) => Ok(()),
                Err(_) => Err("not saved".into()),
            })
        }),
        ("through a handle that it made itself", || {
            Backfill::new("user_", async |kv, record, ()| {
                match kv.clone().put(record.name(), "done").with_options_of(record.key()).await {
                    Ok(()) => Ok(()),
                    Err(_) => Err("not saved".into()),
                }
            })
        }),
    ];
    for (how, make) in wrapping {
        let service = filled(5);
        let migration = || Migration::backfill("001", "", make().skip_failures(3).apply_despite_failures());
        let runner = service.runner_on(failing_at(&service, "user_00002"), vec![migration()]);
        let result = block_on(runner.run_pending(&()));
        assert!(
            result.is_err(),
            "the error is passed on {how}: the entry was skipped, and the run said {result:?}"
        );
        let reason = failure(result).reason;
        assert!(reason.starts_with("at the entry `user_00002`: "), "{how}: {reason}");
        assert!(
            reason.contains("503 Service Unavailable"),
            "{how}, the reason must name KV's answer: {reason}"
        );
        service.migrate(vec![migration()]);
        assert_eq!(service.text("user_00002").as_deref(), Some("done"), "{how}");
    }
}

#[test]
fn an_outage_of_a_second_namespace_is_not_skipped() {
    let service = filled(3);
    let refuses = |request: Request<'_>| request.key() == "copy_user_00001";
    let archive = Arc::new(Refusing { store: MemoryStore::new(), refuses });
    let backfill = Backfill::new("user_", async move |kv, record, ()| {
        let archive = kv.with_store(archive.clone());
        match archive.put(&format!("copy_{}", record.name()), record.value()).await {
            Ok(()) => Ok(()),
            Err(_) => Err("not archived".into()),
        }
    });
    let backfill = backfill.skip_failures(3).apply_despite_failures();
    let result = block_on(service.runner(vec![Migration::backfill("001", "", backfill)]).run_pending(&()));
    let reason = failure(result).reason;
    assert!(reason.starts_with("at the entry `user_00001`: not archived. KV had failed: "), "{reason}");
}

#[test]
fn an_outage_that_the_closure_copes_with_leaves_its_entry_done() {
    let service = filled(5);
    let backfill = Backfill::new("user_", async |kv, record, ()| {
        // Unless it can be changed, it is noted for later.
        if record.put("done").await.is_err() {
            kv.put(&format!("later_{}", record.name()), "").await?;
        }
        Ok(())
    });
    let migrations = vec![Migration::backfill("001", "", backfill)];
    let runner = service.runner_on(failing_at(&service, "user_00002"), migrations);
    assert!(block_on(runner.run_pending(&())).unwrap().is_finished());
    assert!(service.text("later_user_00002").is_some());
}

#[test]
fn what_kv_does_not_take_from_an_entry_is_skipped() {
    let service = filled(3);
    let backfill = Backfill::new("user_", async |kv, record, ()| {
        let key =
            if record.name() == "user_00001" { "k".repeat(600) } else { format!("of_{}", record.name()) };
        Ok(kv.put(&key, "").await?)
    });
    let backfill = backfill.skip_failures(1).apply_despite_failures();
    let runner = service.runner(vec![Migration::backfill("001", "", backfill)]);
    let report = block_on(runner.run_pending(&())).unwrap();
    let keys: Vec<&str> = report.details[0].failed_entries.iter().map(|failed| failed.key.as_str()).collect();
    assert_eq!(keys, ["user_00001"]);
}

#[test]
fn an_outage_while_failures_are_tried_again_leaves_them_to_the_next_run() {
    let service = filled(5);
    let is_mended = Arc::new(AtomicBool::new(false));
    let make = || {
        let is_mended = is_mended.clone();
        let backfill = Backfill::new("user_", async move |_, record, ()| {
            if record.name() == "user_00003" && !is_mended.load(Ordering::Relaxed) {
                return Err("bad".into());
            }
            Ok(record.put("done").await.map_err(Wrapped)?)
        });
        vec![Migration::backfill("001", "", backfill.skip_failures(2))]
    };
    failure(block_on(service.runner(make()).run_pending(&())));
    is_mended.store(true, Ordering::Relaxed);
    let runner = service.runner_on(failing_at(&service, "user_00003"), make());
    let reason = failure(block_on(runner.run_pending(&()))).reason;
    assert!(reason.starts_with("at the entry `user_00003`: the customer was not saved"), "{reason}");
    service.migrate(make());
    assert_eq!(service.text("user_00003").as_deref(), Some("done"));
}

/// A backfill for which every second entry is bad until it is mended, and the entries that it was called with.
struct Mendable {
    is_mended: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Mendable {
    fn new() -> Self {
        Self { is_mended: Arc::default(), seen: Arc::default() }
    }

    fn backfill(&self) -> Backfill {
        let (is_mended, seen) = (self.is_mended.clone(), self.seen.clone());
        Backfill::new("user_", async move |_, record, ()| {
            seen.lock().unwrap().push(record.name().to_owned());
            if record.name().ends_with(['1', '3', '5', '7', '9']) && !is_mended.load(Ordering::Relaxed) {
                return Err("odd".into());
            }
            Ok(record.put("done").await?)
        })
    }

    fn mend(&self) {
        self.is_mended.store(true, Ordering::Relaxed);
        self.seen.lock().unwrap().clear();
    }

    fn times(&self, name: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| *seen == name).count()
    }
}

fn done(service: &Service) -> usize {
    service.store.entries().into_iter().filter(|(_, value)| value == b"done").count()
}

#[test]
fn after_a_fix_one_run_finishes_and_believes_no_failure_of_the_old_code() {
    for applies in [false, true] {
        let service = filled(20);
        let code = Mendable::new();
        let make = || {
            let backfill = code.backfill().skip_failures(5);
            vec![Migration::backfill(
                "001",
                "",
                if applies { backfill.apply_despite_failures() } else { backfill },
            )]
        };
        let reason = failure(block_on(service.runner(make()).run_pending(&()))).reason;
        assert_eq!(reason, "at the entry `user_00011`, after 5 others that were skipped: odd");
        code.mend();
        let report = block_on(service.runner(make()).run_pending(&())).unwrap();
        assert_eq!(report.ran, ids(&["001"]));
        assert_eq!((done(&service), report.details[0].failed_entries.len()), (20, 0), "applies: {applies}");
        let first: Vec<String> = code.seen.lock().unwrap().iter().take(5).cloned().collect();
        let skipped = ["user_00001", "user_00003", "user_00005", "user_00007", "user_00009"];
        assert_eq!(first, ids(&skipped), "what was skipped is tried first");
        assert_eq!(code.times("user_00010"), 0, "what was done stays done");
    }
}

#[test]
fn a_fix_while_a_backfill_is_under_way_reaches_what_was_skipped_before() {
    let entries: Vec<InitialEntry> =
        (0..60).map(|n| InitialEntry::new(format!("user_{n:05}"), "x")).collect();
    let service = Service::holding(&entries, 20);
    let code = Mendable::new();
    let make = || {
        let backfill = code.backfill().skip_failures(100).apply_despite_failures();
        service.runner(vec![Migration::backfill("001", "", backfill)])
    };
    for _ in 0..2 {
        let report = service.request(&make()).unwrap();
        assert!(!report.is_finished() && report.progress.unwrap().failed > 0);
    }
    code.mend();
    let reports = service.drive(&make()).unwrap();
    assert_eq!(done(&service), 60, "no entry may be left as the old code left it");
    let failed_entries = &reports.last().unwrap().details[0].failed_entries;
    assert!(failed_entries.is_empty(), "{failed_entries:?}");
}

#[test]
fn an_entry_that_always_fails_is_tried_a_few_times_and_not_for_ever() {
    let entries: Vec<InitialEntry> =
        (0..60).map(|n| InitialEntry::new(format!("user_{n:05}"), "x")).collect();
    let service = Service::holding(&entries, 20);
    let code = Mendable::new();
    let backfill = code.backfill().skip_failures(100).apply_despite_failures();
    let reports = service.drive(&service.runner(vec![Migration::backfill("001", "", backfill)])).unwrap();
    let failed: Vec<&str> =
        reports.last().unwrap().details[0].failed_entries.iter().map(|e| e.key.as_str()).collect();
    assert_eq!(failed.len(), 30, "each once: {failed:?}");
    assert!(failed.is_sorted(), "{failed:?}");
    let most = (0..60).map(|n| code.times(&format!("user_{n:05}"))).max().unwrap();
    assert!(most <= 3, "an entry was tried {most} times");
}

#[test]
fn entries_that_failed_before_fail_the_run_once_none_may_be_skipped_any_more() {
    let service = filled(6);
    let code = Mendable::new();
    failure(block_on(
        service
            .runner(vec![Migration::backfill("001", "", code.backfill().skip_failures(5))])
            .run_pending(&()),
    ));
    let strict = code.backfill().apply_despite_failures();
    let reason =
        failure(block_on(service.runner(vec![Migration::backfill("001", "", strict)]).run_pending(&())))
            .reason;
    assert_eq!(reason, "at the entry `user_00001`: odd");
}
