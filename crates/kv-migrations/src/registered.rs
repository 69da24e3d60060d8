//! The migrations of a service as they were registered: checked once, before anything runs.

use std::fmt;
use std::sync::Arc;

use crate::id::{self, IdSet, InvalidId, MARKER_KEY_OVERHEAD};
use crate::kv::limits::MAX_KEY_BYTES;
use crate::migration::Migration;

/// Why a list of migrations cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrationError {
    /// The prefix of the service cannot be one.
    #[non_exhaustive]
    InvalidPrefix {
        /// The prefix.
        prefix: String,
        /// Why not.
        reason: InvalidId,
    },
    /// An id cannot be one.
    #[non_exhaustive]
    InvalidId {
        /// The id.
        id: String,
        /// Its place in the list, counted from 1.
        position: usize,
        /// Why not.
        reason: InvalidId,
    },
    /// The key of a migration's marker would be longer than KV takes.
    #[non_exhaustive]
    KeyTooLong {
        /// The id.
        id: String,
        /// How long the key would be, in bytes.
        bytes: usize,
    },
    /// Two migrations have the same id.
    #[non_exhaustive]
    DuplicateId {
        /// The id.
        id: String,
        /// The place of the second in the list, counted from 1.
        position: usize,
    },
}

impl fmt::Display for RegistrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidPrefix { prefix, reason } => {
                write!(f, "{prefix:?} cannot be a service's prefix: {reason}")
            }
            Self::InvalidId { id, position, reason } => {
                write!(f, "{id:?} (number {position} of the registered migrations) cannot be an id: {reason}")
            }
            Self::KeyTooLong { id, bytes } => write!(
                f,
                "the key of the marker of `{id}` would be {bytes} bytes long, and KV takes {MAX_KEY_BYTES}: \
                 shorten the id or the prefix"
            ),
            Self::DuplicateId { id, position } => write!(
                f,
                "`{id}` is registered twice, the second time as number {position}: every migration needs an id \
                 of its own, for ever"
            ),
        }
    }
}

impl std::error::Error for RegistrationError {}

/// An ordered list of migrations that can be run for a service.
pub(crate) struct Registered<C> {
    prefix: String,
    migrations: Arc<[Migration<C>]>,
}

impl<C> Clone for Registered<C> {
    fn clone(&self) -> Self {
        Self { prefix: self.prefix.clone(), migrations: self.migrations.clone() }
    }
}

impl<C> Registered<C> {
    pub(crate) fn new(prefix: String, migrations: Arc<[Migration<C>]>) -> Result<Self, RegistrationError> {
        if let Err(reason) = id::check(&prefix) {
            return Err(RegistrationError::InvalidPrefix { prefix, reason });
        }
        let mut ids = IdSet::default();
        for (index, migration) in migrations.iter().enumerate() {
            let (id, position) = (migration.id(), index + 1);
            if let Err(reason) = id::check(id) {
                return Err(RegistrationError::InvalidId { id: id.to_owned(), position, reason });
            }
            let bytes = MARKER_KEY_OVERHEAD + prefix.len() + id.len();
            if bytes > MAX_KEY_BYTES {
                return Err(RegistrationError::KeyTooLong { id: id.to_owned(), bytes });
            }
            if !ids.insert(id) {
                return Err(RegistrationError::DuplicateId { id: id.to_owned(), position });
            }
        }
        Ok(Self { prefix, migrations })
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn migrations(&self) -> &[Migration<C>] {
        &self.migrations
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> + Clone {
        self.migrations.iter().map(Migration::id)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Migration<C>> {
        self.migrations.iter().find(|migration| migration.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(prefix: &str, ids: &[&str]) -> Result<(), RegistrationError> {
        let migration = |id: &&str| Migration::new((*id).to_owned(), "", async |_, ()| Ok(()));
        Registered::new(prefix.to_owned(), ids.iter().map(migration).collect()).map(drop)
    }

    fn error(prefix: &str, ids: &[&str]) -> String {
        register(prefix, ids).expect_err("this registration must be refused").to_string()
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
        assert!(
            error("p", &["a", "b", "a"]).contains("`a` is registered twice, the second time as number 3")
        );
        assert_eq!(error("", &["a"]), "\"\" cannot be a service's prefix: it is empty");
    }

    #[test]
    fn the_key_is_what_must_fit_not_the_id_alone() {
        let id = "x".repeat(512 - "migration_p_".len());
        assert_eq!(register("p", &[&id]), Ok(()));
        assert!(error("pp", &[&id]).contains("513 bytes long"));
    }
}
