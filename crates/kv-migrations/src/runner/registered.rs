//! The registered migrations of a service, validated before anything runs.

use std::sync::Arc;

use super::until::Until;
use crate::id::{self, InvalidId, MARKER_KEY_OVERHEAD, RegistrationError, is_visible};
use crate::kv::limits::MAX_KEY_BYTES;
use crate::ledger::Markers;
use crate::migration::Migration;

/// An ordered list of valid migrations.
pub(crate) struct Registered<C> {
    migrations: Arc<[Migration<C>]>,
}

impl<C> Clone for Registered<C> {
    fn clone(&self) -> Self {
        Self { migrations: self.migrations.clone() }
    }
}

impl<C> Registered<C> {
    pub(crate) fn new(service: &str, migrations: Arc<[Migration<C>]>) -> Result<Self, RegistrationError> {
        if let Err(reason) = id::check(service) {
            return Err(RegistrationError::InvalidService { service: service.to_owned(), reason });
        }
        for (index, migration) in migrations.iter().enumerate() {
            let (id, position) = (migration.id(), index + 1);
            if let Err(reason) = id::check(id) {
                return Err(RegistrationError::InvalidId { id: id.to_owned(), position, reason });
            }
            let bytes = MARKER_KEY_OVERHEAD + service.len() + id.len();
            if bytes > MAX_KEY_BYTES {
                return Err(RegistrationError::KeyTooLong { id: id.to_owned(), bytes });
            }
            let refusal = migration.up().refusal().or_else(|| migration.down()?.refusal());
            let refusal = refusal.or_else(|| refused_revision(migration.named_revision()?));
            if let Some(reason) = refusal {
                return Err(RegistrationError::InvalidMigration { id: id.to_owned(), reason });
            }
        }
        if let Some((id, first, position)) = id::duplicate(migrations.iter().map(Migration::id)) {
            return Err(RegistrationError::DuplicateId { id: id.to_owned(), first, position });
        }
        Ok(Self { migrations })
    }

    /// Refuses a prefix and ids that people cannot see, unless they are in use.
    pub(crate) fn check_visible(&self, service: &str, markers: &Markers) -> Result<(), RegistrationError> {
        let reason = InvalidId::Invisible;
        if markers.is_empty() && !is_visible(service) {
            return Err(RegistrationError::InvalidService { service: service.to_owned(), reason });
        }
        for (index, id) in self.ids().enumerate() {
            if !is_visible(id) && markers.get(id).is_none() {
                return Err(RegistrationError::InvalidId { id: id.to_owned(), position: index + 1, reason });
            }
        }
        Ok(())
    }

    pub(crate) fn migrations(&self) -> &[Migration<C>] {
        &self.migrations
    }

    /// The ids and the revisions, in order.
    pub(super) fn revisions(&self) -> Vec<(&str, Option<&str>)> {
        let mut revisions = Vec::new();
        for migration in &*self.migrations {
            revisions.push((migration.id(), migration.named_revision()));
        }
        revisions
    }

    /// Those that are applied in another revision.
    pub(super) fn revised(&self, markers: &Markers) -> Vec<String> {
        let mut revised = Vec::new();
        for migration in &*self.migrations {
            if markers.is_revised(migration.id(), migration.named_revision()) {
                revised.push(migration.id().to_owned());
            }
        }
        revised
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> + Clone {
        self.migrations.iter().map(Migration::id)
    }

    /// The last of the first `number` migrations, if a run is to end there and not after all.
    pub(super) fn last_asked(&self, until: &Until, number: usize) -> Option<String> {
        if matches!(until, Until::Migration(_) | Until::Steps(_)) { self.last_of(number) } else { None }
    }

    /// The last of the first `number` migrations.
    pub(crate) fn last_of(&self, number: usize) -> Option<String> {
        self.migrations.get(number.checked_sub(1)?).map(|migration| migration.id().to_owned())
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Migration<C>> {
        self.migrations.iter().find(|migration| migration.id() == id)
    }
}

/// Why a revision is refused, if it is.
fn refused_revision(revision: &str) -> Option<String> {
    let is_valid = (1..=64).contains(&revision.len()) && !revision.contains(char::is_control);
    (!is_valid).then(|| "its revision is not 1 to 64 bytes without control characters".to_owned())
}

/// A warning of a migration that ran, if another id looks like its own.
pub(crate) fn look_alike_warning<'a, 'b: 'a>(
    id: &str,
    registered: impl Iterator<Item = &'b str>,
    missing: &'a [String],
) -> Option<String> {
    let mut others = registered.map(|id| -> &'a str { id }).chain(missing.iter().map(String::as_str));
    let other = others.find(|other| id::look_alike(id, other))?;
    Some(format!(
        "Migration {id} is applied, and its id looks like {other}. If both are the same change, it has run twice: keep one \
         of them"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(service: &str, ids: &[&str]) -> Result<(), RegistrationError> {
        let migration = |id: &&str| Migration::new((*id).to_owned(), "", async |_, ()| Ok(()));
        Registered::new(service, ids.iter().map(migration).collect()).map(drop)
    }

    fn error(service: &str, ids: &[&str]) -> String {
        register(service, ids).expect_err("this registration must be refused").to_string()
    }

    #[test]
    fn an_ordinary_list_is_taken_in_any_order_of_its_ids() {
        assert_eq!(register("my-service", &["002_b", "001_a"]), Ok(()));
        assert_eq!(register("my-service", &[]), Ok(()));
    }

    #[test]
    fn a_refusal_says_which_migration_and_why() {
        assert_eq!(
            error("p", &["a", ""]),
            "\"\" (number 2 of the registered migrations) cannot be an id: it is empty"
        );
        assert!(error("p", &["a\nb"]).contains(r#""a\nb""#), "a control character must not reach a log");
        assert_eq!(
            error("p", &["b", "a", "c", "a"]),
            "number 2 and number 4 of the registered migrations have the same id, `a`: give the later one an id of its own"
        );
        assert_eq!(error("", &["a"]), "\"\" cannot be the prefix of a service: it is empty");
    }

    #[test]
    fn the_whole_key_of_the_marker_must_fit() {
        let id = "x".repeat(512 - "migration_p_".len());
        assert_eq!(register("p", &[&id]), Ok(()));
        assert!(error("pp", &[&id]).contains("513 bytes long"));
    }
}
