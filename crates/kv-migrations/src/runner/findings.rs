//! What looks like a mistake before a run: pure.

use super::plan::Plan;
use crate::id::look_alike;
use crate::ledger::{Marker, Markers};
use crate::report::{Finding, FindingKind};

/// What looks like a mistake. `registered` are the ids in order.
pub(super) fn findings<'a>(
    registered: impl Iterator<Item = &'a str>,
    markers: &Markers,
    plan: &Plan,
    other_prefix: Option<String>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |kind, id: &str, other: Option<&str>| {
        findings.push(Finding { kind, id: id.to_owned(), other: other.map(str::to_owned) });
    };
    for id in &plan.missing {
        add(FindingKind::Missing, id, None);
    }
    for id in &plan.unfinished {
        add(FindingKind::Unfinished, id, None);
    }
    for (place, id) in registered.take(plan.end).enumerate() {
        if markers.is_applied(id) {
            continue;
        }
        if place < plan.up_to_last_applied {
            add(FindingKind::OutOfOrder, id, None);
        }
        for (other, marker) in markers.iter() {
            if matches!(marker, Marker::Applied(_)) && look_alike(id, other) {
                add(FindingKind::LookAlike, id, Some(other));
            }
        }
    }
    if let Some(other) = other_prefix {
        add(FindingKind::AnotherPrefix, &other, None);
    }
    findings
}
