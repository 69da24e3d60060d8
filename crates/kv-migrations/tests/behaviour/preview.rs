//! What a run would do, before it does it.

use futures::executor::block_on;
use kv_migrations::coordinator::Caller;
use kv_migrations::{
    Error, Finding, FindingKind, Migration, MigrationKind, PlanReport, Runner, State, Until,
};

use crate::object::{self, Object};
use crate::service::{Service, failing, filled, good, ids, marking};

fn plan(runner: &Runner, until: &Until) -> PlanReport {
    block_on(runner.plan(until)).expect("the ledger can be read")
}

fn steps(plan: &PlanReport) -> Vec<&str> {
    plan.steps.iter().map(|step| step.id.as_str()).collect()
}

fn found(plan: &PlanReport) -> Vec<(FindingKind, &str, Option<&str>)> {
    plan.findings
        .iter()
        .map(|Finding { kind, id, other, .. }| (*kind, id.as_str(), other.as_deref()))
        .collect()
}

#[test]
fn the_plan_is_what_the_run_then_does_and_changes_nothing() {
    for until in [Until::End, Until::Migration("003".to_owned()), Until::Steps(1), Until::Steps(9)] {
        let service = Service::new();
        service.migrate(vec![good("001")]);
        let runner = service.runner(vec![good("001"), good("002"), good("003"), good("004")]);
        let before = service.store.entries();
        let plan = plan(&runner, &until);
        assert_eq!(service.store.entries(), before, "{until:?}");
        let run = block_on(runner.run_pending_until(&until, &(), &|_| {})).unwrap();
        assert_eq!(
            (steps(&plan), &plan.beyond, &plan.to),
            (run.ran.iter().map(String::as_str).collect(), &run.beyond, &run.to),
            "{until:?}"
        );
    }
}

#[test]
fn a_step_says_what_it_is_and_where_it_would_resume() {
    let service = filled(100);
    let long = || Migration::backfill("001", "Marks users", marking());
    let runner = service.runner(vec![long(), good("002")]);
    block_on(runner.run_pending_until(&Until::Entries(7), &(), &|_| {})).unwrap();
    let plan = plan(&service.runner(vec![long(), good("002")]), &Until::End);
    let [first, second] = &plan.steps[..] else { panic!("{plan:?}") };
    assert_eq!((first.kind, first.state, first.reversible), (MigrationKind::Backfill, State::Running, false));
    assert_eq!(first.description.as_deref(), Some("Marks users"));
    assert_eq!(first.progress.as_ref().map(|progress| progress.done), Some(7));
    assert_eq!((second.kind, second.state), (MigrationKind::Plain, State::Pending));
}

#[test]
fn what_failed_is_a_step_with_its_reason() {
    let service = Service::new();
    let runner = service.runner(vec![failing("001")]);
    block_on(runner.run_pending(&())).expect_err("it fails");
    let plan = plan(&runner, &Until::End);
    assert_eq!(plan.steps[0].state, State::Failed);
    assert!(plan.steps[0].error.is_some(), "{plan:?}");
}

#[test]
fn what_looks_like_a_mistake_is_found_before_the_run() {
    let service = filled(3);
    service.migrate(vec![good("gone"), good("002_b"), good("009-Z")]);
    let half = service.runner(vec![Migration::backfill("half", "", marking())]);
    block_on(half.run_pending_until(&Until::Entries(1), &(), &|_| {})).unwrap();
    let runner = service.runner(vec![good("001_a"), good("002_b"), good("003_c"), good("009_z")]);
    let expected = [
        (FindingKind::Missing, "009-Z", None),
        (FindingKind::Missing, "gone", None),
        (FindingKind::Unfinished, "half", None),
        (FindingKind::OutOfOrder, "001_a", None),
        (FindingKind::LookAlike, "009_z", Some("009-Z")),
    ];
    assert_eq!(found(&plan(&runner, &Until::End)), expected);
    let near = plan(&runner, &Until::Migration("003_c".to_owned()));
    assert_eq!(found(&near), expected[..4], "what the run does not reach is no finding of it");
}

#[test]
fn another_prefix_is_a_finding_of_the_plan_and_refuses_the_run() {
    let service = Service::new();
    service.migrate(vec![good("001")]);
    let renamed = service.neighbour("renamed");
    let runner = renamed.runner(vec![good("001")]);
    assert_eq!(found(&plan(&runner, &Until::End)), [(FindingKind::AnotherPrefix, "my-service", None)]);
    let error = block_on(runner.run_pending(&())).expect_err("it may be a mistake");
    assert!(matches!(error, Error::AnotherPrefix { .. }), "{error}");
}

#[test]
fn a_plan_costs_one_list_and_one_more_where_nothing_is_applied() {
    let service = Service::new();
    for (operations, what) in [(2, "nothing is applied"), (1, "something is")] {
        let runner = service.runner(vec![good("001"), good("002")]);
        let before = service.store.operations();
        plan(&runner, &Until::End);
        assert_eq!(service.store.operations() - before, operations, "{what}");
        service.migrate(vec![good("001")]);
    }
}

#[test]
fn a_migration_that_is_not_registered_has_no_plan() {
    let service = Service::new();
    let error = block_on(service.runner(vec![good("001")]).plan(&Until::Migration("002".to_owned())));
    assert!(matches!(error, Err(Error::UnknownMigration { .. })), "{error:?}");
}

#[test]
fn an_object_plans_by_its_rows_and_says_what_is_under_way() {
    let object = Object::new().with_users(100);
    let coordinator = object.instance(vec![object::marking("001"), good("002"), good("003")]);
    object.migrate(&coordinator).expect("its first step succeeds");
    let before = object.kv.operations();
    let until = Until::Steps(2);
    let under_way = object.serve_for(std::time::Duration::ZERO, &coordinator, coordinator.plan(&until));
    let under_way = under_way.expect("it takes no time").unwrap();
    assert_eq!((steps(&under_way), &under_way.beyond), (vec!["001", "002"], &ids(&["003"])));
    assert!(under_way.steps[0].progress.is_some(), "{under_way:?}");
    assert_eq!(object.kv.operations(), before, "rows tell it");

    object.serve(&coordinator, coordinator.pause("001", &Caller::default())).unwrap();
    let paused = object.serve(&coordinator, coordinator.plan(&Until::End)).unwrap();
    assert_eq!(paused.steps[0].state, State::Paused);
}
