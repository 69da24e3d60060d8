//! The plan of a run: pure, from the registered ids and the markers.

use crate::id::IdSet;
use crate::ledger::{Marker, Markers};

/// What a run does, and its findings. No finding stops a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// One for each registered migration, in order.
    pub(crate) decisions: Vec<Decision>,
    /// Migrations that are applied but not registered: removed, or of a later release.
    pub(crate) missing: Vec<String>,
    /// Migrations that have begun, and are neither applied nor registered.
    pub(crate) unfinished: Vec<String>,
}

/// What a run does with one migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is applied already.
    Skip,
    /// It is pending or failed: its `up` runs.
    Apply,
    /// Its `up` runs although a later one is applied.
    ApplyOutOfOrder,
}

impl Plan {
    pub(crate) fn new<'a>(registered: impl Iterator<Item = &'a str> + Clone, markers: &Markers) -> Self {
        let ids = IdSet::new(registered.clone());
        let (mut missing, mut unfinished) = (Vec::new(), Vec::new());
        for (id, marker) in markers.iter() {
            if !ids.contains(id) {
                let unregistered =
                    if matches!(marker, Marker::Applied(_)) { &mut missing } else { &mut unfinished };
                unregistered.push(id.to_owned());
            }
        }

        let mut decisions = Vec::new();
        for id in registered {
            decisions.push(if markers.is_applied(id) { Decision::Skip } else { Decision::Apply });
        }
        let mut is_later_applied = false;
        for decision in decisions.iter_mut().rev() {
            match decision {
                Decision::Skip => is_later_applied = true,
                _ if is_later_applied => *decision = Decision::ApplyOutOfOrder,
                _ => {}
            }
        }
        Self { decisions, missing, unfinished }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::*;

    fn markers<'a>(applied: impl IntoIterator<Item = &'a String>, failed: &[String]) -> Markers {
        let failed = failed
            .iter()
            .map(|id| (id.clone(), Marker::Failed { reason: "boom".to_owned(), progress: None }));
        let applied = applied.into_iter().map(|id| (id.clone(), Marker::Applied(Box::default())));
        failed.chain(applied).collect()
    }

    fn plan(registered: &[String], markers: &Markers) -> Plan {
        Plan::new(registered.iter().map(String::as_str), markers)
    }

    fn pending(registered: &[String], plan: &Plan) -> Vec<String> {
        let steps = registered.iter().zip(&plan.decisions);
        steps.filter(|(_, decision)| **decision != Decision::Skip).map(|(id, _)| id.clone()).collect()
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
        fn exactly_what_is_not_applied_runs((registered, applied, failed) in situations()) {
            let plan = plan(&registered, &markers(&applied, &failed));
            let expected: Vec<String> =
                registered.iter().filter(|id| !applied.contains(id)).cloned().collect();
            prop_assert_eq!(plan.decisions.len(), registered.len());
            prop_assert_eq!(pending(&registered, &plan), expected);
        }

        #[test]
        fn out_of_order_is_what_runs_before_something_applied((registered, applied, failed) in situations()) {
            let plan = plan(&registered, &markers(&applied, &failed));
            for (index, (id, decision)) in registered.iter().zip(&plan.decisions).enumerate() {
                let later = registered.iter().skip(index + 1).any(|id| applied.contains(id));
                let expected = later && !applied.contains(id);
                prop_assert_eq!(*decision == Decision::ApplyOutOfOrder, expected, "{}", id);
            }
        }

        #[test]
        fn missing_is_what_is_applied_and_not_registered((registered, applied, failed) in situations()) {
            let plan = plan(&registered, &markers(&applied, &failed));
            let expected: Vec<String> = applied.into_iter().filter(|id| !registered.contains(id)).collect();
            prop_assert_eq!(plan.missing, expected);
        }

        #[test]
        fn unfinished_is_what_has_begun_and_is_neither_applied_nor_registered(
            (registered, applied, failed) in situations()
        ) {
            let plan = plan(&registered, &markers(&applied, &failed));
            let is_left = |id: &String| !registered.contains(id) && !applied.contains(id);
            let expected: Vec<String> = failed.into_iter().filter(is_left).collect();
            prop_assert_eq!(plan.unfinished, expected);
        }

        #[test]
        fn after_a_run_nothing_is_left_to_do((registered, applied, failed) in situations()) {
            let before = plan(&registered, &markers(&applied, &failed));
            let ran = pending(&registered, &before);
            let after = plan(&registered, &markers(applied.iter().chain(&ran), &[]));
            prop_assert_eq!(pending(&registered, &after), Vec::<String>::new());
        }
    }
}
