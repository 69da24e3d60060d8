//! How unreliable KV and the storage of an object are.

use crate::mode::Mode;
use crate::plan::Plan;
use crate::random::Random;

/// How often KV refuses, loses an answer, is slow or late. Chances are out of a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub struct NetworkConditions {
    /// An operation is refused with 429 or 503, and has no effect.
    pub refused: u64,
    /// An operation takes effect, but is answered with 500.
    pub answer_lost: u64,
    /// An operation fails without a status, which is not retried; a write may take effect.
    pub connection_lost: u64,
    /// An operation takes seconds.
    pub slow: u64,
    /// The longest time, in milliseconds, that any other operation takes to KV, and its answer back.
    pub max_latency: u64,
    /// A page is shorter than it could be, or empty.
    pub short_pages: u64,
    /// The longest time, in milliseconds, until all locations see a write.
    pub max_delay: u64,
    /// A read at the location of a write sees it late.
    pub late_at_origin: u64,
    /// A list at the location of a write has it late.
    pub unlisted_at_origin: u64,
    /// An operation of the object's storage fails.
    pub storage_failed: u64,
}

impl NetworkConditions {
    /// No faults; only KV's delay.
    pub fn faultless() -> Self {
        Self { max_latency: 25, max_delay: 60_000, ..Self::default() }
    }

    /// Draws the conditions of a world. A pipeline sees its own writes at once, as KV usually shows them.
    pub fn draw(random: &Random, plan: &Plan) -> Self {
        if plan.situation.limit().is_some() {
            // Where operations take longer, requests of a few hundred milliseconds make none that count.
            return Self { max_latency: 10, ..Self::faultless() };
        }
        let often = || random.pick([0, 0, 5, 20, 80]);
        Self {
            refused: often(),
            answer_lost: often(),
            connection_lost: random.pick([0, 0, 2, 10]),
            slow: random.pick([0, 5, 30]),
            max_latency: 25,
            short_pages: random.pick([0, 100, 500]),
            max_delay: random.pick([1_000, 20_000, 60_000, 60_000]),
            late_at_origin: if plan.mode == Mode::ManyCallers { random.pick([0, 0, 50]) } else { 0 },
            unlisted_at_origin: random.pick([0, 0, 100, 1000]),
            storage_failed: random.pick([0, 0, 0, 1, 4]),
        }
    }
}
