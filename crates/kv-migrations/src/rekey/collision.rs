//! Entries that cannot have their new keys, and what is said of them.

use std::collections::BTreeMap;

use crate::migration::{BoxError, Result};

/// How many are listed.
const LISTED: usize = 20;
/// How many can be kept in a checkpoint.
pub(super) const MOST_KEPT: usize = 1_000;

/// An entry that cannot have its new key.
#[derive(Debug)]
pub(super) struct Collision {
    pub(super) old: String,
    pub(super) why: String,
}

impl Collision {
    pub(super) fn occupied(old: &str, new: &str) -> Self {
        Self::new(old, format!("would get the key `{new}`, at which there is something else"))
    }

    pub(super) fn shared(old: &str, new: &str) -> Self {
        Self::new(old, format!("would get the key `{new}`, which another entry gets as well"))
    }

    pub(super) fn not_given_back(old: &str, new: &str, back: Option<&str>) -> Self {
        let back = back.map_or_else(|| "no key".to_owned(), |back| format!("`{back}`"));
        Self::new(old, format!("would get the key `{new}`, for which the inverse gives {back}"))
    }

    fn new(old: &str, why: String) -> Self {
        Self { old: old.to_owned(), why }
    }

    /// As an error, when something may have been written already.
    pub(super) fn into_error(self) -> BoxError {
        format!(
            "`{}` {}: what the service wrote, perhaps, or a copy of a run that was cut off. Nothing was deleted of \
             which there is no copy. Look at both, delete the one that is wrong, and migrate again",
            self.old, self.why
        )
        .into()
    }
}

/// As an error, all at once, before anything was written.
pub(super) fn refuse(collisions: &BTreeMap<String, String>) -> Result {
    let number = collisions.len();
    let listed: Vec<String> =
        collisions.iter().take(LISTED).map(|(old, why)| format!("`{old}` {why}")).collect();
    let more = if number > LISTED { format!("; and {} more", number - LISTED) } else { String::new() };
    Err(format!(
        "{number} of the entries cannot have their new keys: {}{more}. Nothing was written or deleted. Give them keys of \
         their own, or let them stay with `Collisions::Leave`",
        listed.join("; ")
    )
    .into())
}
