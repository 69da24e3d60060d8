//! Where a walk is, and over which keys it goes.

use serde::{Deserialize, Serialize};

/// How far a walk has got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The last key that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<String>,
    /// KV's cursor of the page that was gone through last. It only spares listing all before it: what is done is decided
    /// by the key. Not of the page behind it: that one may be empty, and then nobody could tell whether it was the last,
    /// or the cursor is not known any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<String>,
}

impl Position {
    /// The last key that is done.
    pub(crate) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    pub(super) fn is_behind(&self, key: &str) -> bool {
        self.after().is_none_or(|after| after < key)
    }
}

/// Which keys are walked over: those that begin with the prefix, to the last one, or to this one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) until: Option<&'a str>,
}

impl<'a> Range<'a> {
    pub(crate) fn all(prefix: &'a str) -> Self {
        Self { prefix, until: None }
    }
}
