//! Markers: which service they belong to, and what counts as applied.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::executor::block_on;
use kv_migrations::{Error, Migration, State};

use crate::service::{Service, failing, filled, good, ids, marked, marking, quiet};
use crate::stores::NeverComplete;

#[test]
fn a_marker_says_what_the_typescript_runner_wrote_and_whose_it_is() {
    let service = Service::new();
    service.migrate(vec![good("001")]);
    assert_eq!(service.text("migration_my-service_001").unwrap(), "true");
    assert_eq!(
        service.marker("001").unwrap(),
        r#"{"runAt":"2026-11-22T10:48:28.706Z","prefix":"my-service","durationMs":0,"operations":2}"#
    );
}

#[test]
fn a_marker_that_this_runner_did_not_write_is_applied_only_if_its_value_is_true() {
    let service = Service::new();
    let values = ["true", "false", "TRUE", "true ", "", "1", "running", "\u{FEFF}true"];
    let metadata = [
        ("a", None),
        ("b", Some(r#"{"note":"by hand"}"#)),
        ("c", Some(r#"{"runAt":"2026-11-22T10:48:28.706Z"}"#)),
        ("d", Some(r#"{"checkpointAt":"2026-11-22T10:48:28.706Z"}"#)),
        ("e", Some(r#"{"runAt":"2026-11-22T10:48:28.706Z","failedAt":"2026-11-22T10:48:28.706Z"}"#)),
    ];
    let cases = values.iter().flat_map(|value| metadata.map(|(name, json)| (*value, name, json)));
    // A bulk get does not show a byte order mark, and a marker with `runAt` is not read again: see docs/reference/guarantees.md.
    let cases: Vec<_> = cases.filter(|(value, name, _)| (*value, *name) != ("\u{FEFF}true", "c")).collect();
    let mut names = Vec::new();
    for (value, name, json) in cases {
        // An id must be visible.
        let id = format!("{}.{name}", value.replace('\u{FEFF}', "BOM "));
        service.put(&format!("migration_my-service_{id}"), value, json);
        names.push(id);
    }
    let runner = service.runner(names.iter().map(quiet).collect());
    let status = block_on(runner.status()).unwrap();
    for (name, status) in names.iter().zip(status) {
        assert_eq!(status.run, name.starts_with("true."), "{name:?} in the status");
        assert_eq!(block_on(runner.is_run(name)).unwrap(), status.run, "{name:?} asked for alone");
    }
    let pending: Vec<String> = names.into_iter().filter(|name| !name.starts_with("true.")).collect();
    assert_eq!(block_on(runner.run_pending(&())).unwrap().ran, pending, "a run agrees");
}

#[test]
fn a_marker_of_this_runner_is_believed_by_its_metadata() {
    let service = Service::new();
    service.migrate(vec![quiet("001")]);
    let before = service.store.operations();
    assert!(block_on(service.runner(vec![quiet("001")]).status()).unwrap()[0].run);
    assert_eq!(service.store.operations() - before, 1, "its value is not read");
}

#[test]
fn a_failed_marker_with_the_value_true_is_applied() {
    let service = Service::new();
    let failed = Some(r#"{"failedAt":"2026-11-22T10:48:28.706Z","prefix":"my-service","error":"boom"}"#);
    service.put("migration_my-service_001", "true", failed);
    let runner = service.runner(vec![good("001")]);
    assert_eq!(block_on(runner.status()).unwrap()[0].state, State::Applied);
    assert!(block_on(runner.is_run("001")).unwrap());
}

#[test]
fn services_whose_prefixes_overlap_do_not_see_each_other() {
    let auth = Service::new().neighbour("auth");
    let auth_v2 = auth.neighbour("auth_v2");
    auth.migrate(vec![good("001")]);
    auth_v2.migrate(vec![good("002"), good("003")]);

    let status = block_on(auth.runner(vec![good("001"), good("002")]).status()).unwrap();
    let states: Vec<State> = status.iter().map(|entry| entry.state).collect();
    assert_eq!(states, [State::Applied, State::Pending]);
    let states = block_on(auth_v2.runner(vec![good("001"), good("002")]).status()).unwrap();
    assert_eq!((states[0].state, states[1].state), (State::Pending, State::Applied));
    let report = block_on(auth.runner(vec![good("001")]).run_pending(&())).unwrap();
    assert_eq!(report.missing, ids(&[]), "the other service's markers are not reported as ours");
}

#[test]
fn a_marker_of_another_service_under_the_same_key_is_an_error_that_names_both() {
    let a = Service::new().neighbour("a");
    let a_b = a.neighbour("a_b");
    a.migrate(vec![good("b_c")]);

    let runner = a_b.runner(vec![good("c")]);
    let errors = [
        block_on(runner.status()).map(drop),
        block_on(runner.run_pending(&())).map(drop),
        block_on(runner.rollback("c", &())).map(drop),
        block_on(runner.is_run("c")).map(drop),
    ];
    for result in errors {
        let error = result.expect_err("it is not ours");
        assert!(matches!(error, Error::ForeignMarker { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("`migration_a_b_c`") && text.contains("`a_b`") && text.contains("`a`"),
            "{text}"
        );
    }
    assert_eq!(a.text("done/c"), None, "nothing ran");
    assert!(block_on(a.runner(vec![good("b_c")]).is_run("b_c")).unwrap(), "the other service's marker stays");
}

/// A service whose visitors have created many keys that begin like its markers.
fn with_keys_of_visitors(service: &Service, count: usize) {
    for number in 0..count {
        service.store.insert(&format!("migration_my-service_visitor_{number:05}"), "true");
    }
}

fn named(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:03}")).collect()
}

#[test]
fn keys_of_visitors_that_begin_like_markers_do_not_hide_what_is_applied_and_cost_ten_lists() {
    let service = Service::new();
    service.migrate(vec![quiet("000"), quiet("001")]);
    block_on(service.runner(vec![quiet("000"), failing("002")]).run_pending(&())).unwrap_err();
    with_keys_of_visitors(&service, 20_000);

    let runner = service.runner(vec![quiet("000"), quiet("001"), good("002"), good("003")]);
    let before = service.store.operations();
    let status = block_on(runner.status()).unwrap();
    assert_eq!(service.store.operations() - before, 10 + 1 + 1, "lists, one bulk get, and the failed one");
    let states: Vec<State> = status.iter().map(|status| status.state).collect();
    assert_eq!(states, [State::Applied, State::Applied, State::Failed, State::Pending]);
    assert_eq!(status[2].error.as_deref(), Some("boom"));

    let report = block_on(runner.run_pending(&())).unwrap();
    assert_eq!(report.ran, ids(&["002", "003"]));
    assert_eq!(report.skipped, ids(&["000", "001"]));
    assert!(report.missing_unknown && report.missing.is_empty(), "the report says what it does not know");
}

#[test]
fn a_backfill_is_resumed_although_the_list_of_markers_is_given_up() {
    let service = filled(2_000);
    let runner = service.runner(vec![Migration::backfill("long", "", marking())]);
    block_on(runner.run_pending(&())).unwrap();
    let before = marked(&service.store);
    with_keys_of_visitors(&service, 10_001);
    let progress = block_on(runner.status()).unwrap()[0].progress.clone().expect("it is under way");
    assert_eq!(usize::try_from(progress.done).unwrap(), before);
    service.drive(&runner).expect("it succeeds");
    assert_eq!(marked(&service.store), 2_000);
}

#[test]
fn a_ledger_that_does_not_fit_into_a_request_is_refused_and_nothing_runs() {
    let service = Service::new();
    with_keys_of_visitors(&service, 10_001);
    for id in named(101) {
        service.put(&format!("migration_my-service_{id}"), "planted", None);
    }
    let runner = service.runner(named(101).into_iter().map(quiet).collect());
    let before = service.store.entries();
    for result in [block_on(runner.status()).map(drop), block_on(runner.run_pending(&())).map(drop)] {
        let error = result.expect_err("it was read in part");
        assert!(matches!(error, Error::LedgerTooLarge { .. }), "{error}");
        assert!(error.to_string().contains("`migration_my-service_`"), "{error}");
    }
    assert_eq!(service.store.entries(), before);
    assert!(!block_on(runner.is_run("000")).unwrap(), "one marker is read by its key");
}

#[test]
fn a_store_that_always_says_that_there_is_more_is_asked_ten_times() {
    let service = Service::new();
    service.migrate(vec![quiet("001")]);
    let store = NeverComplete { store: service.store.clone(), lists: Arc::default() };
    let status =
        block_on(service.runner_on(store.clone(), vec![quiet("001"), good("002")]).status()).unwrap();
    assert_eq!((status[0].run, status[1].run), (true, false));
    assert_eq!(store.lists.load(Ordering::Relaxed), 10);
}
