//! How bad things are.

use crate::dice::Dice;
use crate::plan::{Mode, Plan};

/// How often KV refuses, forgets to answer, is slow or late. Chances are in a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// An operation is refused with 429 or 503, and has no effect.
    pub refused: u64,
    /// A write has its effect, but its answer is lost.
    pub lost: u64,
    /// An operation fails in a way that is not tried again; a write may have its effect all the same.
    pub broken: u64,
    /// An operation takes seconds.
    pub slow: u64,
    /// A page is shorter than it could be, or empty.
    pub short_pages: u64,
    /// After how many milliseconds a write is seen everywhere at the latest.
    pub delay: u64,
    /// A write is seen late even where it was made.
    pub own_late: u64,
    /// A list tells a write late even where it was made.
    pub own_unlisted: u64,
    /// The storage of an object fails.
    pub broken_rows: u64,
}

impl Weather {
    /// Without any fault, but for KV's delay.
    pub fn calm() -> Self {
        Self { delay: 60_000, ..Self::default() }
    }

    /// Some. A pipeline sees its own writes at once, as KV usually shows them.
    pub fn draw(dice: &Dice, plan: &Plan) -> Self {
        let fault = || dice.pick([0, 0, 5, 20, 80]);
        Self {
            refused: fault(),
            lost: fault(),
            broken: dice.pick([0, 0, 2, 10]),
            slow: dice.pick([0, 5, 30]),
            short_pages: dice.pick([0, 100, 500]),
            delay: dice.pick([1_000, 20_000, 60_000, 60_000]),
            own_late: if plan.mode == Mode::Crowd { dice.pick([0, 0, 50]) } else { 0 },
            own_unlisted: dice.pick([0, 0, 100, 1000]),
            broken_rows: dice.pick([0, 0, 0, 1, 4]),
        }
    }
}
