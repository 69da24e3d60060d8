//! Entries that cannot have their new keys, and what becomes of them.

use std::collections::BTreeMap;

use crate::error::{BoxError, Result};
use crate::kv::limits::MAX_KEY_BYTES;

/// How many are listed in an error.
const MAX_LISTED: usize = 20;
/// How many a checkpoint keeps.
pub(super) const MAX_KEPT: usize = 1_000;

/// What a [`Rekey`](crate::Rekey) does with an entry that cannot have its new key.
///
/// That is a collision. There are four kinds:
///
/// - two old keys map to the new key;
/// - something else is stored at the new key;
/// - the new key is impossible: KV does not take it, it is the key of a marker, or the inverse does not return the old key
///   for it;
/// - the entry expires after January 2038, so the Workers runtime cannot write it again.
///
/// The same value and metadata at the new key are no collision: the service may have written them, or the re-key. The
/// expiration does not count, because the new key gets that of the entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Collisions {
    /// The migration fails and lists the collisions. It writes and deletes nothing.
    #[default]
    Fail,
    /// The entry that is at the new key, or whose old key comes first, has the new key. The others stay at their old keys
    /// and are reported: at most 1,000, of all kinds of collisions.
    Skip,
    /// What stands at the new key wins: the entry's old key is deleted, whatever it holds. The survey decides it, before
    /// anything is written, and the old key is deleted once there is still something at the new key, later than KV's delay.
    /// Where that is gone by then, the entry stays at its old key and is reported; so does one whose new key is taken after
    /// the survey. With [`copying`](crate::Rekey::copying) both keys stay as they are.
    ///
    /// Other collisions fail the migration. In a rollback, what stands at the old key wins.
    KeepNew,
}

/// An entry that cannot have its new key.
#[derive(Debug)]
pub(super) struct Collision {
    pub(super) old: String,
    pub(super) reason: String,
}

impl Collision {
    pub(super) fn occupied(old: &str, new: &str) -> Self {
        // A key stays the same only where the new ones are in another namespace.
        let place =
            if old == new { "its key in the other namespace".to_owned() } else { format!("the key `{new}`") };
        Self::new(old, format!("would get {place}, at which there is something else"))
    }

    pub(super) fn shared(old: &str, new: &str) -> Self {
        Self::new(old, format!("would get the key `{new}`, which another entry gets as well"))
    }

    pub(super) fn not_inverted(old: &str, new: &str, inverse: Option<&str>) -> Self {
        let inverse = inverse.map_or_else(|| "no key".to_owned(), |inverse| format!("`{inverse}`"));
        Self::new(old, format!("would get the key `{new}`, for which the inverse gives {inverse}"))
    }

    pub(super) fn impossible(old: &str, new: &str) -> Self {
        let bytes = new.len();
        Self::new(
            old,
            format!(
                "would get the key `{new}` of {bytes} bytes, which KV does not take: a key has from 1 to {MAX_KEY_BYTES} \
                 bytes and is not `.` or `..`"
            ),
        )
    }

    pub(super) fn marker(old: &str, new: &str) -> Self {
        Self::new(old, format!("would get the key `{new}`, which is the key of a marker"))
    }

    pub(super) fn expires_late(old: &str) -> Self {
        let reason = "expires after January 2038, so that it cannot be written again: the Workers runtime does not take \
                      such a time. Give it a nearer expiration, or none";
        Self::new(old, reason.to_owned())
    }

    pub(super) fn gone(old: &str, new: &str) -> Self {
        Self::new(old, format!("was to give way to what was at its new key `{new}`, which is gone"))
    }

    pub(super) fn changed(old: &str, new: &str) -> Self {
        Self::new(old, format!("has changed since another entry was chosen for its new key `{new}`"))
    }

    pub(super) fn unmoved(old: &str, new: &str, winner: &str) -> Self {
        Self::new(old, format!("lost its new key `{new}` to `{winner}`, which is not there"))
    }

    pub(super) fn expires_soon(old: &str, new: &str) -> Self {
        Self::new(old, format!("would expire within 90 seconds at its new key `{new}`"))
    }

    pub(super) fn missing(old: &str, new: &str) -> Self {
        Self::new(old, format!("has nothing at its new key `{new}`: the service may have deleted it there"))
    }

    pub(super) fn different(old: &str, new: &str) -> Self {
        Self::new(old, format!("is not the same as what is at its new key `{new}`"))
    }

    pub(super) fn last_copy(new: &str, old: &str, is_elsewhere: bool) -> Self {
        let reason = format!(
            "holds what was copied there from `{old}`, which got another key then and is gone by now, under both. If the \
             service has deleted it, delete this too"
        );
        Self::new(&copy_key(new, is_elsewhere), reason)
    }

    pub(super) fn outdated(new: &str, old: &str, is_elsewhere: bool) -> Self {
        let reason = format!(
            "holds something else than what was copied there from `{old}`, which has another key by now. Compare both, and \
             delete it if nothing needs it"
        );
        Self::new(&copy_key(new, is_elsewhere), reason)
    }

    fn new(old: &str, reason: String) -> Self {
        Self { old: old.to_owned(), reason }
    }

    /// The error when something may have been written already.
    pub(super) fn into_error(self) -> BoxError {
        let Self { old, reason } = self;
        format!(
            "`{old}` {reason}. The service may have written it, or an interrupted run. Nothing was deleted of which there is \
             no copy. Compare both, delete the wrong one, and migrate again"
        )
        .into()
    }
}

/// The key of a copy, as a report has it. Under its own name one in another namespace would be taken for an old key.
fn copy_key(new: &str, is_elsewhere: bool) -> String {
    if is_elsewhere { format!("{new} (in the namespace of the new keys)") } else { new.to_owned() }
}

/// The error for all collisions at once, before anything was written.
pub(super) fn refuse(collisions: &BTreeMap<String, String>) -> Result {
    let number = collisions.len();
    let listed = collisions.iter().take(MAX_LISTED).map(|(old, reason)| format!("`{old}` {reason}"));
    let listed: Vec<String> = listed.collect();
    let more =
        if number > MAX_LISTED { format!("; and {} more", number - MAX_LISTED) } else { String::new() };
    Err(format!(
        "{number} of the entries cannot have their new keys: {}{more}. Nothing was written or deleted. Give them keys of \
         their own, or let them stay with `Collisions::Skip`. If the re-key was cancelled or reset before, what is at a new \
         key may be its older copy: compare both, and delete the wrong one",
        listed.join("; ")
    )
    .into())
}
