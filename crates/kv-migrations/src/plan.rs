//! What is to be done: pure, from what is registered and what the ledger says.

use crate::id::IdSet;
use crate::ledger::Entries;

/// The steps of a run, and what a person should look at. None of that stops a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// One for each registered migration, in the order of registration.
    pub(crate) steps: Vec<Step>,
    /// Migrations that are applied but not registered: deleted, or of a later version of the service.
    pub(crate) missing: Vec<String>,
}

/// What a run does about one migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) id: String,
    pub(crate) action: Action,
    /// Whether it runs although one after it is applied: later than its place says.
    pub(crate) is_out_of_order: bool,
}

/// Whether a migration runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is pending, or failed before: its `up` runs.
    Apply,
    /// It is applied already.
    Skip,
}

impl Plan {
    pub(crate) fn new<'a>(registered: impl Iterator<Item = &'a str> + Clone, ledger: &Entries) -> Self {
        let ids = IdSet::of(registered.clone());
        let missing = ledger.applied_ids().filter(|id| !ids.contains(id)).map(str::to_owned).collect();

        let mut steps: Vec<Step> = registered.map(|id| Step::new(id, ledger)).collect();
        let last_applied = steps.iter().rposition(|step| step.action == Action::Skip).unwrap_or(0);
        for step in steps.iter_mut().take(last_applied) {
            step.is_out_of_order = step.action == Action::Apply;
        }
        Self { steps, missing }
    }
}

impl Step {
    fn new(id: &str, ledger: &Entries) -> Self {
        let action = if ledger.is_applied(id) { Action::Skip } else { Action::Apply };
        Self { id: id.to_owned(), action, is_out_of_order: false }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::*;
    use crate::ledger::Marker;

    fn ledger<'a>(applied: impl IntoIterator<Item = &'a String>, failed: &[String]) -> Entries {
        let failed = failed
            .iter()
            .map(|id| (id.clone(), Marker::Failed { reason: "boom".to_owned(), progress: None }));
        let applied = applied.into_iter().map(|id| (id.clone(), Marker::Applied(Box::default())));
        failed.chain(applied).collect()
    }

    fn plan(registered: &[String], ledger: &Entries) -> Plan {
        Plan::new(registered.iter().map(String::as_str), ledger)
    }

    fn pending(plan: &Plan) -> Vec<String> {
        plan.steps.iter().filter(|step| step.action == Action::Apply).map(|step| step.id.clone()).collect()
    }

    /// Registered ids in an order of their own, and a ledger that knows some of them and some others.
    fn situations() -> impl Strategy<Value = (Vec<String>, Vec<String>, Vec<String>)> {
        proptest::collection::btree_set("[a-d]{1,3}", 0..20).prop_flat_map(|ids: BTreeSet<String>| {
            let ids: Vec<String> = ids.into_iter().collect();
            let any_of = |ids: &[String]| subsequence(ids.to_vec(), 0..=ids.len());
            (any_of(&ids).prop_shuffle(), any_of(&ids), any_of(&ids))
        })
    }

    proptest! {
        #[test]
        fn every_registered_migration_has_one_step_in_its_place(
            (registered, applied, failed) in situations()
        ) {
            let steps = plan(&registered, &ledger(&applied, &failed)).steps;
            let ids: Vec<String> = steps.into_iter().map(|step| step.id).collect();
            prop_assert_eq!(ids, registered);
        }

        #[test]
        fn exactly_what_is_not_applied_runs((registered, applied, failed) in situations()) {
            let plan = plan(&registered, &ledger(&applied, &failed));
            let expected: Vec<String> =
                registered.into_iter().filter(|id| !applied.contains(id)).collect();
            prop_assert_eq!(pending(&plan), expected);
        }

        #[test]
        fn out_of_order_is_what_runs_before_something_applied((registered, applied, failed) in situations()) {
            let plan = plan(&registered, &ledger(&applied, &failed));
            for (index, step) in plan.steps.iter().enumerate() {
                let later = registered.iter().skip(index + 1).any(|id| applied.contains(id));
                let expected = later && !applied.contains(&step.id);
                prop_assert_eq!(step.is_out_of_order, expected, "{}", step.id);
            }
        }

        #[test]
        fn missing_is_what_is_applied_and_not_registered((registered, applied, failed) in situations()) {
            let plan = plan(&registered, &ledger(&applied, &failed));
            let expected: Vec<String> = applied.into_iter().filter(|id| !registered.contains(id)).collect();
            prop_assert_eq!(plan.missing, expected);
        }

        #[test]
        fn after_a_run_nothing_is_left_to_do((registered, applied, failed) in situations()) {
            let before = plan(&registered, &ledger(&applied, &failed));
            let ran = pending(&before);
            let after = plan(&registered, &ledger(applied.iter().chain(&ran), &[]));
            prop_assert_eq!(pending(&after), Vec::<String>::new());
        }
    }
}
