//! What looks like a mistake before a run: pure.

use super::plan::Plan;
use crate::error::Error;
use crate::id::look_alike;
use crate::ledger::{Marker, Markers};
use crate::report::{Finding, FindingKind};

/// What a run must not find. The check is a pointer, so that only a Worker that refuses something carries it.
#[derive(Clone)]
pub(crate) struct Refused {
    pub(crate) kinds: Vec<FindingKind>,
    pub(crate) check: CheckFindings,
}

type CheckFindings = fn(&[FindingKind], &[(&str, Option<&str>)], &Markers, &Plan) -> Result<(), Error>;

/// Refuses a run if one of these is found.
pub(super) fn check_findings(
    refused: &[FindingKind],
    registered: &[(&str, Option<&str>)],
    markers: &Markers,
    plan: &Plan,
) -> Result<(), Error> {
    let mut findings = findings(registered, markers, plan, None).into_iter();
    match findings.find(|finding| refused.contains(&finding.kind)) {
        Some(finding) => Err(Error::Refused { reason: finding.to_string(), id: finding.id }),
        None => Ok(()),
    }
}

/// What looks like a mistake. `registered` are the ids and the revisions, in order.
pub(super) fn findings(
    registered: &[(&str, Option<&str>)],
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
    for (place, &(id, revision)) in registered.iter().enumerate() {
        if markers.is_revised(id, revision) {
            add(FindingKind::Revised, id, None);
        }
        if place >= plan.end || markers.is_applied(id) {
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
