//! Recording all migrations up to one as applied without running them.

use futures::executor::block_on;
use kv_migrations::testing::{Fault, faulty};
use kv_migrations::{Budget, Error, Migration, State};

use crate::service::{Service, good, ids};

fn migrations() -> Vec<Migration> {
    vec![good("001"), good("002"), good("003"), good("004")]
}

#[test]
fn a_service_whose_data_is_as_some_migrations_leave_it_begins_after_them() {
    let service = Service::new();
    service.migrate(vec![good("002")]);
    let before = service.marker("002");
    let report =
        block_on(service.runner(migrations()).with_label("me").baseline("003")).expect("it is registered");
    assert_eq!((report.marked.clone(), report.skipped.clone()), (ids(&["001", "003"]), ids(&["002"])));
    assert_eq!((report.ran.len(), report.beyond.clone()), (0, ids(&["004"])));
    assert!(report.is_finished());
    assert_eq!(service.marker("002"), before, "what is applied stays as it is");
    assert!(service.marker("003").expect("it is marked").contains(r#""by":"me""#));

    let again = block_on(service.runner(migrations()).baseline("003")).expect("it is registered");
    assert_eq!((again.marked, again.skipped), (ids(&[]), ids(&["001", "002", "003"])));
    assert_eq!(service.migrate(migrations()), ids(&["004"]));
    assert_eq!(service.text("done/001"), None, "no `up` of theirs ran");
}

#[test]
fn a_baseline_to_a_migration_that_is_not_registered_changes_nothing() {
    let service = Service::new();
    let refused = block_on(service.runner(migrations()).baseline("005")).expect_err("nobody registers it");
    assert!(matches!(refused, Error::UnknownMigration { .. }), "{refused:?}");
    assert_eq!(service.store.entries().len(), 0);
}

/// A prefix that is mistyped would get markers of its own.
#[test]
fn a_baseline_under_a_prefix_that_looks_mistyped_is_refused() {
    let service = Service::new();
    service.migrate(vec![good("001"), good("002")]);
    let mistyped = service.neighbour("my-servcie");
    let refused = block_on(mistyped.runner(migrations()).baseline("004")).expect_err("it may be mistyped");
    assert!(matches!(refused, Error::AnotherPrefix { .. }), "{refused:?}");
    let runner = mistyped.runner(migrations()).with_other_service("my-service");
    assert_eq!(block_on(runner.baseline("004")).expect("it is allowed").marked.len(), 4);
}

#[test]
fn a_baseline_that_does_not_fit_into_the_budget_is_asked_for_again() {
    let service = Service::new();
    let make = || -> Vec<Migration> {
        (0..30).map(|number| Migration::new(format!("{number:03}"), "", async |_, ()| Ok(()))).collect()
    };
    let budget = Budget::default().with_operations(12);
    let (mut marked, mut requests) = (Vec::new(), 0);
    loop {
        let report =
            block_on(service.runner(make()).with_budget(budget).baseline("028")).expect("nothing fails");
        assert!(service.store.operations() <= 13 * (requests + 1), "{}", service.store.operations());
        requests += 1;
        marked.extend(report.marked.clone());
        if report.is_finished() {
            break;
        }
        assert!(report.retry_after.is_some());
        assert_eq!(report.remaining[0], format!("{:03}", marked.len()), "in the order of registration");
    }
    assert_eq!((marked.len(), requests), (29, 5), "no marker is begun when half of the budget is spent");
    let states = block_on(service.runner(make()).status()).expect("it can be read");
    assert_eq!(states[28].state, State::Applied);
    assert_eq!(states[29].state, State::Pending);
}

#[test]
fn a_baseline_that_is_cut_off_at_any_operation_can_be_asked_for_again() {
    let prepared = || {
        let service = Service::new();
        service.migrate(vec![good("002")]);
        service
    };
    let faultless = prepared();
    let count = faultless.store.operations();
    block_on(faultless.runner(migrations()).baseline("003")).expect("it succeeds");
    let (needed, expected) = (faultless.store.operations() - count, faultless.outcome());
    assert_eq!(needed, 3, "one list, and a marker each");
    for at in 0..needed {
        for fault in [Fault::Crash(at), Fault::AnswerLost(at), Fault::Refused(at)] {
            let service = prepared();
            let cut_off = service.runner_on(faulty(service.store.clone(), fault), migrations());
            block_on(cut_off.baseline("003")).expect_err("it is cut off");
            block_on(service.runner(migrations()).baseline("003")).expect("it can be asked for again");
            assert_eq!(service.outcome(), expected, "{fault:?}");
        }
    }
}
