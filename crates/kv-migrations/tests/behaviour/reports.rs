//! What a client in Rust can rely on: it reads reports with the types that wrote them, and errors cross threads.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use kv_migrations::coordinator::CoordinatorError;
use kv_migrations::kv::KvError;
use kv_migrations::{Backfill, Error, Event, Migration, RegistrationError, State};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::service::{failing, failure, filled, good};

/// Asserts that a report can be read from the JSON that it is written as.
fn assert_readable<T: Serialize + DeserializeOwned + PartialEq + Debug>(report: &T) {
    let json = serde_json::to_string(report).expect("a report is JSON");
    let read: T = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
    assert_eq!(&read, report, "{json}");
}

fn long() -> Migration {
    let touch = Backfill::new("user_", async |_, record, ()| Ok(record.put(record.value()).await?));
    Migration::backfill("002_long", "Touches every user", touch)
        .with_down_backfill(Backfill::new("user_", async |_, record, ()| {
            Ok(record.put(record.value()).await?)
        }))
}

#[test]
fn a_client_reads_reports_and_events_with_the_types_that_wrote_them() {
    let service = filled(2_000);
    let events = Arc::new(Mutex::new(Vec::new()));
    let runner = service.runner(vec![good("001"), long()]);
    let observer = |event: &Event| events.lock().expect("nobody panics").push(event.clone());

    let mut unfinished = block_on(runner.run_pending_observed(&(), &observer)).expect("it succeeds");
    assert!(unfinished.progress.is_some(), "2,000 entries take more than one request");
    unfinished.retry_after = None; // The header has it, not the body.
    assert_readable(&unfinished);
    let statuses = block_on(runner.status()).expect("it can be read");
    assert_eq!(statuses.last().map(|status| status.state), Some(State::Running));
    assert_readable(&statuses);

    let mut rollback = block_on(runner.rollback("002_long", &())).expect("it succeeds");
    rollback.retry_after = None;
    assert_readable(&rollback);

    let failing = service.runner(vec![failing("003")]);
    failure(block_on(failing.run_pending_observed(&(), &observer)));
    assert_readable(&block_on(failing.status()).expect("it can be read"));
    let events = events.lock().expect("nobody panics");
    for event in events.iter() {
        assert_readable(event);
    }
    let is_told = |is: fn(&Event) -> bool| events.iter().any(is);
    assert!(is_told(|event| matches!(event, Event::Started { .. })));
    assert!(is_told(|event| matches!(event, Event::Applied(_))));
    assert!(is_told(|event| matches!(event, Event::Paused { .. })));
    assert!(is_told(|event| matches!(event, Event::Failed { .. })));
}

/// anyhow, eyre and tower take only such errors.
#[test]
fn errors_are_send_and_sync() {
    fn assert_send_and_sync<E: std::error::Error + Send + Sync + 'static>() {}
    assert_send_and_sync::<Error>();
    assert_send_and_sync::<CoordinatorError>();
    assert_send_and_sync::<KvError>();
    assert_send_and_sync::<RegistrationError>();
}

#[test]
fn a_checkpoint_of_another_version_is_refused_and_kept() {
    let service = filled(2_000);
    block_on(service.runner(vec![long()]).run_pending(&())).expect("it succeeds");
    let key = "migration_my-service_002_long";
    let checkpoint = service.store.value(key).expect("it is not finished");
    let rest = checkpoint.strip_prefix(b"{\"version\":1,").expect("a checkpoint names its version");
    let later = [b"{\"version\":2,", rest].concat();
    let metadata = service.marker("002_long").expect("it has metadata");
    service.put(key, &later, Some(&metadata));

    let failed = failure(block_on(service.runner(vec![long()]).run_pending(&())));
    assert!(failed.reason.starts_with("cannot read its checkpoint"), "{failed}");
    assert_eq!(service.store.value(key), Some(later), "a later release can still resume from it");
}
