//! How long a client keeps asking, and which errors it may get.

use crate::situation::Situation;
use crate::world::World;

/// The number of requests after which a world without faults must be finished.
pub(super) const MAX_REQUESTS: usize = 400;
/// In the error of a re-key that found two different values of an entry.
pub(super) const COLLISION: &str = "there is something else";
/// In the error of a re-key that found changed entries in every sweep.
pub(super) const TOO_MANY_CHANGES: &str = "entries change faster than they can be moved";

/// Whether a re-key may give up once after the last fault: while there were faults, the service wrote between any two of its
/// sweeps. The error says to migrate again.
pub(super) fn is_given_up_because_of_faults(world: &World, error: &str) -> bool {
    error.contains(TOO_MANY_CHANGES) && world.plan.situation != Situation::LiveService
}
