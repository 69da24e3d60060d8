//! Which key an entry gets: the user's mapping, and what no mapping may give.

use std::borrow::Cow;
use std::sync::Arc;

use crate::job::Job;
use crate::kv::Key;
use crate::kv::limits::{MAX_EXPIRATION_SECONDS, MAX_KEY_BYTES};
use crate::migration::Result;

/// New keys for the keys of a prefix.
#[derive(Clone)]
pub(super) struct Mapping {
    prefix: Cow<'static, str>,
    map: Arc<Map>,
}

type Map = dyn Fn(&Key) -> Option<String> + Send + Sync;

/// Where an entry goes.
pub(super) enum Target {
    /// Nowhere.
    Stays,
    Moves(String),
    /// The way back leads from its new key to another than its own.
    NotGivenBack {
        new: String,
        back: Option<String>,
    },
}

impl Mapping {
    pub(super) fn new(
        prefix: Cow<'static, str>,
        map: impl Fn(&Key) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { prefix, map: Arc::new(map) }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where the entry of `key` goes.
    ///
    /// # Errors
    /// If it cannot go there.
    pub(super) fn target(&self, job: &Job<'_>, key: &Key, back: Option<&Self>) -> Result<Target> {
        let old = &key.name;
        let Some(new) = (self.map)(key).filter(|new| new != old) else { return Ok(Target::Stays) };
        if matches!(new.as_str(), "" | "." | "..") || new.len() > MAX_KEY_BYTES {
            let bytes = new.len();
            return Err(format!(
                "`{old}` would get the key `{new}`, of {bytes} bytes, which KV does not take: one has from 1 to \
                 {MAX_KEY_BYTES}, and is not `.` or `..`"
            )
            .into());
        }
        if job.is_marker(&new, &self.prefix) {
            return Err(format!("`{old}` would get the key `{new}`, which is that of a marker").into());
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
                "`{old}` would get the key `{new}`, which would then get the key `{next}`: the mapping must give none \
                 for a new key"
            )
            .into());
        }
        Ok(match back {
            None => Target::Moves(at_new.name),
            Some(back) => match (back.map)(&at_new) {
                Some(name) if name == *old && at_new.name.starts_with(back.prefix()) => {
                    Target::Moves(at_new.name)
                }
                back => Target::NotGivenBack { new: at_new.name, back },
            },
        })
    }
}
