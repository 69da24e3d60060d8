//! A migration is applied in another revision than is registered; and what a service refuses to run with.

use futures::executor::block_on;
use kv_migrations::{Error, Finding, FindingKind, Migration, RegistrationError, Runner, Until};

use crate::object::Object;
use crate::service::{Service, good, ids};

fn findings(runner: &Runner) -> Vec<(FindingKind, String)> {
    let plan = block_on(runner.plan(&Until::End)).expect("the ledger can be read");
    plan.findings.into_iter().map(|Finding { kind, id, .. }| (kind, id)).collect()
}

fn revised(id: &str) -> Vec<(FindingKind, String)> {
    vec![(FindingKind::Revised, id.to_owned())]
}

#[test]
fn the_revision_that_was_applied_is_kept_and_another_one_is_told() {
    let service = Service::new();
    let at = |revision: &'static str| service.runner(vec![good("001").revision(revision), good("002")]);
    block_on(at("1").run_pending(&())).unwrap();
    assert!(service.marker("001").unwrap().contains(r#""revision":"1""#), "{:?}", service.marker("001"));
    assert_eq!(block_on(at("1").status()).unwrap()[0].revision.as_deref(), Some("1"));
    assert_eq!(findings(&at("1")), []);

    assert_eq!(findings(&at("2")), revised("001"));
    let report = block_on(at("2").run_pending(&())).unwrap();
    assert_eq!((report.revised, report.skipped), (ids(&["001"]), ids(&["001", "002"])), "it stays applied");
    assert_eq!(
        findings(&service.runner(vec![good("001"), good("002")])),
        revised("001"),
        "no revision is one too"
    );
}

#[test]
fn a_migration_that_is_marked_or_was_applied_before_has_its_revision_too() {
    let service = Service::new();
    let runner = service.runner(vec![good("001").revision("2")]);
    block_on(runner.mark("001")).unwrap();
    assert_eq!(findings(&runner), []);
    let old = Service::new();
    old.put("migration_my-service_001", "true", Some(r#"{"runAt":"2025-01-01T00:00:00.000Z"}"#));
    let runner = old.runner(vec![good("001").revision("2")]);
    assert_eq!(findings(&runner), revised("001"), "the runner before knew no revisions");
}

#[test]
fn a_revision_is_short_text() {
    for revision in [String::new(), "a\nb".to_owned(), "x".repeat(65)] {
        let registered =
            Runner::new(kv_migrations::kv::MemoryStore::new(), "p", vec![good("001").revision(revision)]);
        let error = registered.map(drop).expect_err("it cannot be kept in a marker");
        assert!(matches!(&error, RegistrationError::InvalidMigration { id, .. } if id == "001"), "{error}");
    }
}

#[test]
fn a_service_can_refuse_to_run_with_any_finding_before_anything_is_changed() {
    let service = Service::new();
    service.migrate(vec![good("gone"), good("002-B").revision("1")]);
    let migrations = || vec![good("001"), good("002-B").revision("2"), good("003"), good("002_b")];
    let cases = [
        (FindingKind::Missing, "gone is applied and not registered"),
        (FindingKind::OutOfOrder, "001 is registered before one that is applied"),
        (FindingKind::LookAlike, "002_b has an id that looks like one that is applied: 002-B"),
        (FindingKind::Revised, "002-B is applied in another revision than is registered"),
    ];
    for (kind, text) in cases {
        let before = service.store.entries();
        let error = block_on(service.runner(migrations()).refusing(kind).run_pending(&())).expect_err(text);
        assert!(error.to_string().starts_with(text), "{kind:?}: {error}");
        assert!(matches!(error, Error::Refused { .. }));
        assert_eq!(service.store.entries(), before, "{kind:?}");
    }
    let unaffected = service.runner(migrations()).refusing(FindingKind::Unfinished);
    assert_eq!(block_on(unaffected.run_pending(&())).unwrap().ran, ids(&["001", "003", "002_b"]));
}

#[test]
fn what_the_run_does_not_reach_refuses_nothing() {
    let service = Service::new();
    service.migrate(vec![good("002")]);
    let runner =
        service.runner(vec![good("002"), good("003"), Migration::new("00-2", "", async |_, ()| Ok(()))]);
    let runner = runner.refusing(FindingKind::LookAlike);
    let report = block_on(runner.run_pending_until(&Until::Steps(1), &(), &|_| {})).unwrap();
    assert_eq!(report.ran, ids(&["003"]));
    block_on(runner.run_pending(&())).expect_err("the next step is a look-alike");
}

#[test]
fn an_object_keeps_revisions_and_refuses_at_its_first_step_without_a_retry() {
    let object = Object::new();
    let first = object.instance(vec![good("001").revision("1")]);
    object.migrate(&first).expect("it succeeds");
    let runner = object.runner_on(object.kv.clone(), vec![good("001").revision("2"), good("002")]);
    let second = object.instance_of(runner.refusing(FindingKind::Revised));
    let error = object.migrate(&second).expect_err("it is refused");
    assert!(error.to_string().contains("001 is applied in another revision"), "{error}");
    assert_eq!(object.kv.value("done/002"), None);
    object.pass(&second, std::time::Duration::from_mins(20));
    assert_eq!(object.kv.value("done/002"), None, "no alarm tries again");
}
