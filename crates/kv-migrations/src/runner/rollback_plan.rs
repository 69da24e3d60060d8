//! What a rollback of several migrations is to do: pure.

use super::registered::Registered;
use super::until::Until;
use crate::error::Error;
use crate::ledger::{MARKER_PREFIX, Markers};
use crate::report::Direction;

/// What a rollback is to do.
pub(crate) struct RollbackPlan<'a> {
    /// The last migration that stays as it is. `None` if all are rolled back.
    pub(crate) to: Option<String>,
    /// The migrations to roll back, the last one first, each with the direction of its checkpoint if it has one.
    pub(crate) steps: Vec<(&'a str, Option<Direction>)>,
}

impl<'a> RollbackPlan<'a> {
    /// What there is to roll back so far, of what is applied or has begun. An error if it cannot be rolled back, or if a number
    /// of steps is asked for while the rollback in `note` is not finished, which leaves this migration; empty for none.
    pub(crate) fn new<C>(
        registered: &'a Registered<C>,
        service: &str,
        markers: &Markers,
        note: Option<&str>,
        until: &Until,
    ) -> Result<Self, Error> {
        if let (Until::Steps(_), Some(note)) = (until, note) {
            let to = Some(note).filter(|to| !to.is_empty()).map(str::to_owned);
            let noted = to.clone().map_or(Until::End, Until::Migration);
            // What cannot be finished any more does not count.
            if Self::new(registered, service, markers, None, &noted).is_ok() {
                return Err(Error::RollbackUnfinished { to });
            }
        }
        let (mut steps_left, last) = match until {
            Until::Steps(steps) => (*steps, None),
            Until::Migration(id) if registered.get(id).is_none() => {
                return Err(Error::UnknownMigration { id: id.clone() });
            }
            Until::Migration(id) => (u64::MAX, Some(id.as_str())),
            Until::End | Until::Entries(_) => (u64::MAX, None),
        };
        if markers.is_missing_unknown() {
            return Err(Error::LedgerTooLarge { prefix: format!("{MARKER_PREFIX}{service}_") });
        }
        let mut unregistered = Vec::new();
        for (id, marker) in markers.iter() {
            if marker.can_be_undone() && registered.get(id).is_none() {
                unregistered.push(id.to_owned());
            }
        }
        if !unregistered.is_empty() {
            return Err(Error::NotRegistered { ids: unregistered });
        }
        let mut plan = Self { to: None, steps: Vec::new() };
        for migration in registered.migrations().iter().rev() {
            let id = migration.id();
            let Some(marker) = markers.get(id).filter(|marker| marker.can_be_undone()) else {
                if last == Some(id) {
                    return Err(Error::NotRun { id: id.to_owned(), action: "rollback to it" });
                }
                continue;
            };
            if last == Some(id) || steps_left == 0 {
                plan.to = Some(id.to_owned());
                break;
            }
            if matches!(until, Until::Entries(_)) {
                return Err(Error::NotABackfill { id: id.to_owned() });
            }
            if !migration.is_reversible() {
                return Err(Error::Irreversible { id: id.to_owned() });
            }
            steps_left -= 1;
            plan.steps.push((id, marker.progress().map(|progress| progress.direction)));
        }
        Ok(plan)
    }
}
