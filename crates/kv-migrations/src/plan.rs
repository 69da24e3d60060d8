//! What is to be done: pure, from what is registered and what the ledger says.

use crate::id;
use crate::ledger::Entries;

/// The steps of a run, and what is odd about them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// One step for each registered migration, in the order of registration.
    pub steps: Vec<Step>,
    /// What a person should look at. None of it stops a run.
    pub findings: Vec<Finding>,
}

/// What a run does about one migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The migration.
    pub id: String,
    /// What is done about it.
    pub action: Action,
}

/// Whether a migration runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// It is pending, or failed before: its `up` runs.
    Apply,
    /// It is applied already.
    Skip,
}

/// Something odd about the ledger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Finding {
    /// A pending migration stands before one that is applied: it runs later than its place says.
    OutOfOrder(String),
    /// A migration is applied, but not registered: deleted, or from a later version of the service.
    Missing(String),
}

impl Plan {
    pub(crate) fn new<'a>(registered: impl Iterator<Item = &'a str>, ledger: &Entries) -> Self {
        let action = |id: &str| if ledger.is_applied(id) { Action::Skip } else { Action::Apply };
        let steps: Vec<Step> = registered.map(|id| Step { id: id.to_owned(), action: action(id) }).collect();
        let mut findings = out_of_order(&steps);
        findings.extend(missing(&steps, ledger));
        Self { steps, findings }
    }

    /// The ids of the migrations that run, in order.
    pub fn pending(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter(|step| step.action == Action::Apply).map(|step| step.id.as_str())
    }
}

fn out_of_order(steps: &[Step]) -> Vec<Finding> {
    let applied = steps.iter().rposition(|step| step.action == Action::Skip).unwrap_or(0);
    let before = steps.iter().take(applied).filter(|step| step.action == Action::Apply);
    before.map(|step| Finding::OutOfOrder(step.id.clone())).collect()
}

fn missing(steps: &[Step], ledger: &Entries) -> Vec<Finding> {
    let registered = id::set(steps.iter().map(|step| step.id.as_str()));
    let gone = ledger.applied_ids().filter(|id| !registered.contains(id));
    gone.map(|id| Finding::Missing(id.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::*;
    use crate::ledger::{Applied, Marker};

    fn ledger<'a>(applied: impl IntoIterator<Item = &'a String>, failed: &[String]) -> Entries {
        let failed = failed.iter().map(|id| (id.clone(), Marker::Failed { reason: "boom".to_owned() }));
        let applied = applied.into_iter().map(|id| (id.clone(), Marker::Applied(Applied::default())));
        failed.chain(applied).collect()
    }

    fn plan(registered: &[String], ledger: &Entries) -> Plan {
        Plan::new(registered.iter().map(String::as_str), ledger)
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
            let pending: Vec<&str> = plan.pending().collect();
            let expected: Vec<&str> =
                registered.iter().filter(|id| !applied.contains(id)).map(String::as_str).collect();
            prop_assert_eq!(pending, expected);
        }

        #[test]
        fn out_of_order_is_what_runs_before_something_applied((registered, applied, failed) in situations()) {
            let plan = plan(&registered, &ledger(&applied, &failed));
            for (index, id) in registered.iter().enumerate() {
                let later = registered.iter().skip(index + 1).any(|id| applied.contains(id));
                let expected = later && !applied.contains(id);
                prop_assert_eq!(plan.findings.contains(&Finding::OutOfOrder(id.clone())), expected, "{}", id);
            }
        }

        #[test]
        fn missing_is_what_is_applied_and_not_registered((registered, applied, failed) in situations()) {
            let plan = plan(&registered, &ledger(&applied, &failed));
            for id in &applied {
                let expected = !registered.contains(id);
                prop_assert_eq!(plan.findings.contains(&Finding::Missing(id.clone())), expected, "{}", id);
            }
        }

        #[test]
        fn after_a_run_nothing_is_left_to_do((registered, applied, failed) in situations()) {
            let before = plan(&registered, &ledger(&applied, &failed));
            let ran: Vec<String> = before.pending().map(str::to_owned).collect();
            let after = plan(&registered, &ledger(applied.iter().chain(&ran), &[]));
            prop_assert_eq!(after.pending().count(), 0);
        }
    }
}
