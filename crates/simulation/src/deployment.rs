//! A time in which one release runs its migrations, with an object or without.

use crate::dice::Dice;
use crate::network::LOCATIONS;
use crate::plan::Mode;

/// One of them. Between two, more than KV's delay passes.
#[derive(Debug, Clone, Copy)]
pub struct Phase {
    /// Whether an object coordinates the runs.
    pub is_coordinated: bool,
    /// How many migrations the release has: the first ones.
    pub release: usize,
    /// How many callers, each of whom runs and runs again.
    pub callers: usize,
    /// How many requests each of them makes while things are bad.
    pub requests: usize,
    /// Where runs are started, if they are started from one place.
    pub place: usize,
    /// Whether it may end before all is applied.
    pub is_cut_short: bool,
    /// Whether migrations can be rolled back.
    pub has_rollbacks: bool,
}

impl Phase {
    /// All phases of a world with so many migrations. The last has all of them.
    pub fn draw_all(dice: &Dice, mode: Mode, migrations: usize, has_rollbacks: bool) -> Vec<Self> {
        let coordinated: &[bool] = match mode {
            Mode::Pipeline | Mode::Crowd => &[false],
            Mode::Object => &[true],
            Mode::Both => dice.pick([
                &[false, true][..],
                &[true, false],
                &[true, false, true],
                &[false, true, false, true],
            ]),
        };
        let (mut release, mut was_coordinated) = (0, false);
        let mut phases: Vec<Self> = Vec::new();
        for &is_coordinated in coordinated {
            let is_last = phases.len() + 1 == coordinated.len();
            release = if is_last { migrations } else { release + dice.below(migrations - release + 1) };
            let is_cut_short = !is_last && (!is_coordinated || dice.chance(500));
            let is_alone = mode == Mode::Pipeline || mode == Mode::Both && !is_coordinated;
            let callers = if is_alone { 1 } else { dice.pick([1, 2, 3]) };
            let requests = if mode == Mode::Both { dice.pick([1, 3, 8]) } else { dice.pick([3, 8, 20]) };
            let place = if mode == Mode::Both { dice.below(LOCATIONS) } else { 0 };
            // What is rolled back without an object, that the object knows as applied, stays applied for it.
            let has_rollbacks = has_rollbacks && (is_coordinated || !was_coordinated);
            was_coordinated |= is_coordinated;
            phases.push(Self {
                is_coordinated,
                release,
                callers,
                requests,
                place,
                is_cut_short,
                has_rollbacks,
            });
        }
        phases
    }
}
