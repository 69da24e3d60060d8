//! Which key an entry gets: the user's mapping, and what no mapping may give.

use std::borrow::Cow;
use std::sync::Arc;

use crate::change::walk::{Scope, is_marker};
use crate::error::Result;
use crate::kv::Key;
use crate::kv::limits::{MAX_EXPIRATION_SECONDS, MAX_KEY_BYTES};
use crate::session::Session;

/// New keys for the keys of a prefix.
#[derive(Clone)]
pub(super) struct Mapping {
    scope: Scope,
    map: Arc<Map>,
}

type Map = dyn Fn(&Key) -> Option<String> + Send + Sync;

/// Where an entry goes.
pub(super) enum Target {
    /// Nowhere.
    Stays,
    Moves(String),
    /// The inverse gives another key for the new key than the old one.
    NotInverted {
        new: String,
        inverse: Option<String>,
    },
}

impl Mapping {
    pub(super) fn new(
        prefix: Cow<'static, str>,
        map: impl Fn(&Key) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { scope: Scope::new(prefix), map: Arc::new(map) }
    }

    pub(super) fn prefix(&self) -> &str {
        self.scope.prefix()
    }

    /// The keys that it maps.
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Where the entry of `key` goes.
    ///
    /// # Errors
    /// If KV cannot store the entry there, or the new key would be moved again.
    pub(super) fn target(&self, session: &Session<'_>, key: &Key, inverse: Option<&Self>) -> Result<Target> {
        let old = &key.name;
        let Some(new) = (self.map)(key).filter(|new| new != old) else { return Ok(Target::Stays) };
        if matches!(new.as_str(), "" | "." | "..") || new.len() > MAX_KEY_BYTES {
            let bytes = new.len();
            return Err(format!(
                "`{old}` would get the key `{new}` of {bytes} bytes, which KV does not take: a key has from 1 to \
                 {MAX_KEY_BYTES} bytes and is not `.` or `..`"
            )
            .into());
        }
        if is_marker(session, &new, self.prefix()) {
            return Err(format!("`{old}` would get the key `{new}`, which is the key of a marker").into());
        }
        if key.expiration.is_some_and(|at| at > MAX_EXPIRATION_SECONDS) {
            return Err(format!(
                "`{old}` cannot be written again: it expires after January 2038, which the Workers runtime does not \
                 take. Give it a nearer expiration, or none"
            )
            .into());
        }
        let at_new = Key { name: new, ..key.clone() };
        if at_new.name.starts_with(self.prefix())
            && let Some(next) = (self.map)(&at_new).filter(|next| *next != at_new.name)
        {
            let new = at_new.name;
            return Err(format!(
                "`{old}` would get the key `{new}`, which would then get the key `{next}`: the mapping must return \
                 `None` for a new key"
            )
            .into());
        }
        let Some(inverse) = inverse else { return Ok(Target::Moves(at_new.name)) };
        let back = (inverse.map)(&at_new);
        let is_inverted = back.as_ref() == Some(old) && at_new.name.starts_with(inverse.prefix());
        Ok(if is_inverted {
            Target::Moves(at_new.name)
        } else {
            Target::NotInverted { new: at_new.name, inverse: back }
        })
    }
}
