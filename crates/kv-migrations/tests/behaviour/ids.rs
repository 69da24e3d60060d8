//! Ids that people misread: with characters that nobody sees, and such that look like another id.

use futures::executor::block_on;
use kv_migrations::coordinator::CoordinatorError;
use kv_migrations::{Error, InvalidId, RegistrationError};

use crate::object::Object;
use crate::service::{Service, good, ids, quiet};

/// Each has a character that a log or a page does not show.
const INVISIBLE: [(&str, &str); 5] = [
    ("001\u{200b}", "001\\u{200b}"),
    ("\u{202e}100", "\\u{202e}100"),
    ("001\u{85}a", "001\\u{85}a"),
    ("001 ", "\"001 \""),
    (" 001", "\" 001\""),
];

#[test]
fn an_id_with_what_nobody_sees_is_refused_and_shown_escaped_before_anything_runs() {
    for (id, shown) in INVISIBLE {
        let service = Service::new();
        let error = block_on(service.runner(vec![good("000"), good(id)]).run_pending(&())).expect_err(shown);
        let text = error.to_string();
        let Error::Registration(RegistrationError::InvalidId { position, reason, .. }) = error else {
            panic!("another error: {text}")
        };
        assert_eq!((position, reason), (2, InvalidId::Invisible), "{text}");
        assert!(text.contains(shown), "it is escaped: {text}");
        assert!(text.contains("take that out. Nothing was changed"), "{text}");
        assert_eq!(service.store.entries(), [], "nothing ran");
    }
}

#[test]
fn a_prefix_with_what_nobody_sees_is_refused_before_its_first_run() {
    let service = Service::new().neighbour("my-service\u{200b}");
    let error = block_on(service.runner(vec![good("001")]).run_pending(&())).expect_err("it is refused");
    assert!(error.to_string().contains(r#""my-service\u{200b}" cannot be the prefix"#), "{error}");
    service.put("migration_my-service\u{200b}_000", "true", None);
    assert_eq!(service.migrate(vec![quiet("000"), good("001")]), ids(&["001"]), "it is in use");
}

#[test]
fn an_id_with_what_nobody_sees_stays_valid_once_it_is_applied() {
    for (id, _) in INVISIBLE {
        let service = Service::new();
        service.put(&format!("migration_my-service_{id}"), "true", None);
        assert_eq!(service.migrate(vec![quiet(id), good("002")]), ids(&["002"]), "{id:?}");
    }
}

#[test]
fn a_coordinator_refuses_an_id_with_what_nobody_sees_and_does_not_retry() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001\u{200b}")]);
    let error = object.migrate(&coordinator).expect_err("it is refused");
    assert!(matches!(error, CoordinatorError::Runner(Error::Registration(_))), "{error}");
    assert_eq!(object.storage.alarm(), None, "nothing is left to do");
}

const WARNING: &str = "Migration 001_Add_feature is applied, and its id looks like 001_add-feature. If both are the \
                       same change, it has run twice: keep one of them";

#[test]
fn a_migration_that_was_renamed_to_what_looks_the_same_is_told_when_it_runs_again() {
    let service = Service::new();
    service.migrate(vec![good("001_add-feature")]);
    let runner = service.runner(vec![good("001_Add_feature")]);
    let report = service.request(&runner).expect("it may be another migration");
    assert_eq!((report.missing, report.warnings), (ids(&["001_add-feature"]), ids(&[WARNING])));
    assert!(service.log.lines().iter().any(|line| line.contains(WARNING)), "{:?}", service.log.lines());
    assert_eq!(service.request(&runner).unwrap().warnings, ids(&[]), "it is told once");
}

#[test]
fn ids_that_look_alike_are_told_by_a_coordinator_too() {
    let object = Object::new();
    let coordinator = object.instance(vec![good("001_add-feature"), good("002")]);
    object.migrate(&coordinator).expect("it succeeds");
    let coordinator = object.instance(vec![good("001_add-feature"), good("002"), good("001_Add_feature")]);
    assert_eq!(object.migrate(&coordinator).unwrap().warnings, ids(&[WARNING]));
    assert_eq!(coordinator.history().unwrap()[0].warnings, ids(&[WARNING]), "also for who did not listen");
}
