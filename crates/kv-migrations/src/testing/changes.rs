//! What a run has changed, by keys.

use std::cmp::Ordering;
use std::fmt;

use crate::kv::Key;

/// How many keys of each kind the text names.
const SHOWN: usize = 20;

/// How entries differ from what they were: by their keys, without any value, so that it can stand in a log.
///
/// As text, it is a line of numbers, and a line for each of the first 20 keys of each kind: `+` added, `~` changed, `-` deleted.
/// Keys are quoted and escaped, so that none breaks a line.
///
/// # Example
/// ```
/// use kv_migrations::kv::MemoryStore;
/// use kv_migrations::testing::Harness;
/// use kv_migrations::{Migration, Rekey};
///
/// let store = MemoryStore::from_bulk(r#"{ "user_1": "Ada", "note": "x" }"#)?;
/// let users = Migration::rekey("001_users", "", Rekey::prefix("user_", "user:"));
/// let harness = Harness::new(&store, "my-service", vec![users]);
/// harness.migrate()?;
/// assert_eq!(
///     harness.changes().to_string(),
///     "1 added, 0 changed, 1 deleted\n+ \"user:1\"\n- \"user_1\"\n"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// The keys that were not there.
    pub added: Vec<String>,
    /// The keys with another value, other metadata or another expiration.
    pub changed: Vec<String>,
    /// The keys that are not there any more.
    pub deleted: Vec<String>,
}

impl Changes {
    /// Compares entries that are ordered by their keys.
    pub(super) fn between(before: &[(Key, Vec<u8>)], after: &[(Key, Vec<u8>)]) -> Self {
        let mut changes = Self::default();
        let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return changes,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.name.cmp(&new.name),
            };
            let old = before.next_if(|_| order != Ordering::Greater);
            let new = after.next_if(|_| order != Ordering::Less);
            match (old, new) {
                (Some((old, _)), None) => changes.deleted.push(old.name.clone()),
                (None, Some((new, _))) => changes.added.push(new.name.clone()),
                (old, new) if old != new => changes.changed.extend(new.map(|(key, _)| key.name.clone())),
                _ => {}
            }
        }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.deleted.is_empty()
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { added, changed, deleted } = self;
        writeln!(f, "{} added, {} changed, {} deleted", added.len(), changed.len(), deleted.len())?;
        for (sign, keys) in [('+', added), ('~', changed), ('-', deleted)] {
            for key in keys.iter().take(SHOWN) {
                writeln!(f, "{sign} {key:?}")?;
            }
            if let Some(more) = keys.len().checked_sub(SHOWN).filter(|more| *more > 0) {
                writeln!(f, "{sign} and {more} more")?;
            }
        }
        Ok(())
    }
}
