//! How long a client keeps asking, and which errors it may get.

/// The number of requests after which a world without faults must be finished.
pub(super) const MAX_REQUESTS: usize = 400;
/// In the error of a re-key that found two different values of an entry.
pub(super) const COLLISION: &str = "there is something else";
/// In the error of a re-key that found changed entries in every sweep.
pub(super) const TOO_MANY_CHANGES: &str = "entries change faster than they can be moved";
