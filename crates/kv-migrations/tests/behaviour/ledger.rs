//! Markers: which service they belong to, and what counts as applied.

use futures::executor::block_on;
use kv_migrations::{Error, State};

use crate::service::{Service, good, ids, quiet};

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
fn without_run_at_only_the_value_true_is_applied() {
    let service = Service::new();
    let values = ["true", "false", "TRUE", "true ", "", "1", "running"];
    for value in values {
        service.put(&format!("migration_my-service_{value}.a"), value, None);
        service.put(&format!("migration_my-service_{value}.b"), value, Some(r#"{"note":"by hand"}"#));
    }
    let names: Vec<String> =
        values.iter().flat_map(|value| [format!("{value}.a"), format!("{value}.b")]).collect();
    let runner = service.runner(names.iter().map(quiet).collect());
    let applied: Vec<String> = block_on(runner.status())
        .unwrap()
        .into_iter()
        .filter(|entry| entry.run)
        .map(|entry| entry.id)
        .collect();
    assert_eq!(applied, ids(&["true.a", "true.b"]));
    for name in names {
        assert_eq!(block_on(runner.is_run(&name)).unwrap(), name.starts_with("true."), "{name}");
    }
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
    auth_v2.migrate(vec![good("001"), good("002")]);

    let status = block_on(auth.runner(vec![good("001"), good("002")]).status()).unwrap();
    let states: Vec<State> = status.iter().map(|entry| entry.state).collect();
    assert_eq!(states, [State::Applied, State::Pending]);
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
