//! How far a run goes, and what the markers tell of it beside what is applied: pure.

use super::until::Until;
use crate::error::Error;
use crate::id::IdSet;
use crate::ledger::{Marker, Markers};

/// What a run is to do, and what it finds. None of that stops the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Migrations that are applied but not registered: removed, or of a later release.
    pub(crate) missing: Vec<String>,
    /// Migrations that have begun, and are neither applied nor registered.
    pub(crate) unfinished: Vec<String>,
    /// How many registered migrations there are up to the last that is applied.
    pub(crate) up_to_last_applied: usize,
    /// How many registered migrations there are up to the last that is asked for.
    pub(crate) end: usize,
    /// The migrations that are not applied and not asked for.
    pub(crate) beyond: Vec<String>,
}

impl Plan {
    pub(crate) fn new<'a>(
        registered: impl Iterator<Item = &'a str> + Clone,
        markers: &Markers,
        until: &Until,
    ) -> Result<Self, Error> {
        let (missing, unfinished) = unregistered(registered.clone(), markers);
        let (mut steps, last) = match until {
            Until::Steps(steps) => (*steps, None),
            Until::Entries(_) => (1, None),
            Until::Migration(id) => (u64::MAX, Some(id)),
            Until::End => (u64::MAX, None),
        };
        let (mut up_to_last_applied, mut end, mut is_past, mut beyond) = (0, 0, false, Vec::new());
        for (number, id) in (1..).zip(registered) {
            let is_applied = markers.is_applied(id);
            if is_applied {
                up_to_last_applied = number;
            }
            if !is_past && steps > 0 {
                end = number;
                steps -= u64::from(!is_applied);
                is_past = last.is_some_and(|last| last == id);
            } else if !is_applied {
                beyond.push(id.to_owned());
            }
        }
        match last {
            Some(id) if !is_past => Err(Error::UnknownMigration { id: id.clone() }),
            _ => Ok(Self { missing, unfinished, up_to_last_applied, end, beyond }),
        }
    }
}

/// The migrations that are applied, or have begun, and are not registered.
pub(crate) fn unregistered<'a>(
    registered: impl Iterator<Item = &'a str>,
    markers: &Markers,
) -> (Vec<String>, Vec<String>) {
    let ids = IdSet::new(registered);
    let (mut missing, mut unfinished) = (Vec::new(), Vec::new());
    for (id, marker) in markers.iter() {
        if !ids.contains(id) {
            let list = if matches!(marker, Marker::Applied(_)) { &mut missing } else { &mut unfinished };
            list.push(id.to_owned());
        }
    }
    (missing, unfinished)
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
        Plan::new(registered.iter().map(String::as_str), markers, &Until::End)
            .expect("the end is always known")
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
        fn out_of_order_is_what_runs_before_something_applied((registered, applied, failed) in situations()) {
            let plan = plan(&registered, &markers(&applied, &failed));
            for (place, id) in registered.iter().enumerate().filter(|(_, id)| !applied.contains(id)) {
                let expected = registered.iter().skip(place + 1).any(|id| applied.contains(id));
                prop_assert_eq!(place < plan.up_to_last_applied, expected, "{}", id);
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
    }
}
