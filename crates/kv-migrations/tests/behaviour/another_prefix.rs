//! A service's prefix that is mistyped, or changed: its migrations must not run again without a word.

use futures::executor::block_on;
use kv_migrations::coordinator::{Caller, CoordinatorError};
use kv_migrations::{Error, Migration, State};

use crate::object::Object;
use crate::service::{Service, failing, filled, good, ids, marking, quiet};

/// What the TypeScript runner writes beside `true`.
const TYPESCRIPT: Option<&str> = Some(r#"{"runAt":"2026-11-22T10:48:28.706Z"}"#);

fn list() -> Vec<Migration> {
    vec![good("001_init"), good("002_users")]
}

/// Asserts that a run of this service is refused because its migrations ran under another prefix, and changes nothing.
fn assert_refused(service: &Service, migrations: Vec<Migration>, other: &str) {
    let before = service.store.entries();
    let error = block_on(service.runner(migrations).run_pending(&())).expect_err("the prefix is wrong");
    let text = error.to_string();
    assert!(matches!(error, Error::AnotherPrefix { .. }), "{text}");
    assert!(text.contains(&format!("set the prefix back to `{other}`")), "the prefix is named: {text}");
    assert!(text.contains(&format!(".with_other_service(\"{other}\")")), "so is the builder: {text}");
    assert_eq!(service.store.entries(), before, "nothing ran");
}

fn assert_runs(service: &Service, migrations: Vec<Migration>) {
    let expected: Vec<String> = migrations.iter().map(|migration| migration.id().to_owned()).collect();
    assert_eq!(service.migrate(migrations), expected);
}

#[test]
fn a_mistyped_prefix_is_refused_and_named() {
    let service = Service::new();
    service.migrate(list());
    let mistyped = service.neighbour("my-servcie");
    assert_refused(&mistyped, list(), "my-service");
    assert_refused(&mistyped, vec![good("001_init"), good("002_users"), good("003_new")], "my-service");
    let status = block_on(mistyped.runner(list()).status()).unwrap();
    assert!(status.iter().all(|status| status.state == State::Pending), "looking is always allowed");
}

#[test]
fn a_mistyped_prefix_is_refused_when_a_namespace_is_taken_over_from_the_typescript_runner() {
    let service = Service::new();
    service.put("migration_my_auth_001_init", "true", TYPESCRIPT);
    service.put("migration_my_auth_002_users", "true", None);
    // Other services beside it, one of whose prefixes begins with its own.
    service.put("migration_my_auth_v2_001_init", "true", TYPESCRIPT);
    service.put("migration_my_auth_v2_002_orders", "true", TYPESCRIPT);
    service.put("migration_mods_001_seed", "true", TYPESCRIPT);
    assert_refused(&service.neighbour("my-auth"), list(), "my_auth");
}

#[test]
fn two_services_that_both_have_an_001_init_beside_others_do_not_refuse_each_other() {
    let service = Service::new();
    let (auth, mods) = (service.neighbour("auth"), service.neighbour("mods"));
    assert_runs(&auth, vec![good("001_init"), good("002_users")]);
    assert_runs(&mods, vec![good("001_init"), good("002_mods")]);

    let service = Service::new();
    for key in ["auth_001_init", "auth_002_users", "mods_001_init", "mods_002_mods"] {
        service.put(&format!("migration_{key}"), "true", TYPESCRIPT);
    }
    assert_runs(&service.neighbour("customer"), vec![good("001_init"), good("002_customers")]);
}

#[test]
fn a_service_that_begins_with_the_migrations_of_another_on_purpose_says_so() {
    let service = Service::new();
    service.neighbour("auth").migrate(vec![good("001_init")]);
    let mods = service.neighbour("mods");
    assert_refused(&mods, list(), "auth");
    let runner = mods.runner(list()).with_other_service("auth");
    assert_eq!(block_on(runner.run_pending(&())).unwrap().ran, ids(&["001_init", "002_users"]));
    let report = block_on(mods.runner(list()).run_pending(&())).expect("once it has begun it is known");
    assert_eq!(report.skipped, ids(&["001_init", "002_users"]));
}

#[test]
fn a_service_that_has_begun_is_not_refused() {
    let service = filled(2_000);
    let long = || Migration::backfill("001_init", "", marking());
    block_on(service.runner(vec![long()]).run_pending(&())).unwrap();
    service.put("migration_other_001_init", "true", TYPESCRIPT);
    service.drive(&service.runner(vec![long()])).expect("it is under way");

    let service = Service::new();
    block_on(service.runner(vec![failing("001_init")]).run_pending(&())).unwrap_err();
    service.put("migration_other_001_init", "true", TYPESCRIPT);
    assert_runs(&service, vec![good("001_init")]);
}

#[test]
fn what_is_not_applied_under_the_other_prefix_does_not_count() {
    let service = Service::new();
    block_on(service.neighbour("other").runner(vec![failing("001_init")]).run_pending(&())).unwrap_err();
    service.put("migration_typescript_001_init", "false", TYPESCRIPT);
    service.put("migration_notes_001_init", "application data", None);
    assert_runs(&service, list());
}

#[test]
fn a_namespace_with_too_many_keys_is_not_looked_through() {
    let service = Service::new();
    service.neighbour("auth").migrate(list());
    for number in 0..10_001 {
        service.store.insert(&format!("migration_a{number:05}"), "x");
    }
    let before = service.store.operations();
    assert_runs(&service, list());
    assert_eq!(service.store.operations() - before, 1 + 10 + 2 * 3, "it is given up after ten lists");
}

#[test]
fn looking_costs_one_list_and_only_until_something_is_applied() {
    let service = Service::new();
    service.neighbour("auth").migrate(vec![quiet("001_other")]);
    let operations = |migrations: Vec<Migration>| {
        let before = service.store.operations();
        block_on(service.runner(migrations).run_pending(&())).unwrap();
        service.store.operations() - before
    };
    assert_eq!(operations(vec![]), 1, "nothing is registered");
    assert_eq!(operations(vec![quiet("001")]), 1 + 1 + 1, "two lists, and the marker");
    assert_eq!(operations(vec![quiet("001"), quiet("002")]), 1 + 1, "one list, and the marker");
}

#[test]
fn a_coordinator_refuses_it_too_and_does_not_retry() {
    let object = Object::new();
    object.kv.insert("migration_my-servcie_001_init", "true");
    let coordinator = object.instance(list());
    let error = object.migrate(&coordinator).expect_err("the prefix is wrong");
    assert!(matches!(error, CoordinatorError::Runner(Error::AnotherPrefix { .. })), "{error}");
    assert_eq!(object.storage.alarm(), None, "nothing is left to do");
    assert_eq!(object.state(&coordinator, "001_init"), State::Pending);

    let runner = object.runner_on(object.kv.clone(), list()).with_other_service("my-servcie");
    let coordinator = object.instance_of(runner);
    let report = object.serve(&coordinator, coordinator.run_pending(&Caller::default()));
    assert_eq!(report.expect("it is allowed").ran, ids(&["001_init", "002_users"]));
}

#[test]
fn a_mistyped_prefix_is_found_behind_hundreds_of_others_that_anybody_made() {
    let service = Service::new();
    service.neighbour("my-service").migrate(list());
    // A visitor who can choose keys of data has put them before it, in the order of keys.
    for number in 0..200 {
        service.put(&format!("migration_a{number:03}_001_init"), "visited", TYPESCRIPT);
        service.put(&format!("migration_b{number:03}_002_users"), "false", None);
        service.put(&format!("migration_c{number:03}_001_init_else"), "true", TYPESCRIPT);
    }
    let mistyped = service.neighbour("my-servcie");
    let before = service.store.operations();
    assert_refused(&mistyped, list(), "my-service");
    let operations = service.store.operations() - before;
    assert_eq!(
        operations,
        2 + 4,
        "two lists, and four hundred values that are no certain markers, read in bulk"
    );
}
