//! A time in which one release is deployed.

use kv_migrations::testing::LOCATIONS;

use crate::mode::Mode;
use crate::random::Random;

/// A release, and how its migrations are run. Between two deployments, longer than KV's delay passes.
#[derive(Debug, Clone, Copy)]
pub struct Deployment {
    /// Whether an object coordinates the runs.
    pub is_coordinated: bool,
    /// How many migrations the release has: the first ones.
    pub migrations: usize,
    /// How many clients ask for runs.
    pub clients: usize,
    /// How many requests each of them makes while there are faults.
    pub requests: usize,
    /// Where runs are started, if they are started at one location.
    pub location: usize,
    /// Whether it may end before all migrations are applied.
    pub is_cut_short: bool,
    /// Whether migrations may be rolled back, if they are in this world.
    pub allows_rollbacks: bool,
    /// Which keys of an entry the service reads and writes.
    pub known_keys: KnownKeys,
}

/// Which keys of an entry a release of the service reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownKeys {
    /// The old one and the new one.
    Both,
    /// The new one only.
    New,
}

impl Deployment {
    /// All deployments of a world with this many migrations. The last one has all of them.
    pub fn draw_all(random: &Random, mode: Mode, migrations: usize) -> Vec<Self> {
        let coordinated: &[bool] = match mode {
            Mode::Pipeline | Mode::ManyCallers => &[false],
            Mode::Coordinator => &[true],
            Mode::Alternating => random.pick([
                &[false, true][..],
                &[true, false],
                &[true, false, true],
                &[false, true, false, true],
            ]),
        };
        let (mut released, mut was_coordinated) = (0, false);
        let mut deployments: Vec<Self> = Vec::new();
        for &is_coordinated in coordinated {
            let is_last = deployments.len() + 1 == coordinated.len();
            released = if is_last { migrations } else { released + random.below(migrations - released + 1) };
            let is_cut_short = !is_last && (!is_coordinated || random.chance(500));
            let is_pipeline = mode == Mode::Pipeline || mode == Mode::Alternating && !is_coordinated;
            let clients = if is_pipeline { 1 } else { random.pick([1, 2, 3]) };
            let is_alternating = mode == Mode::Alternating;
            let requests = if is_alternating { random.pick([1, 3, 8]) } else { random.pick([3, 8, 20]) };
            let location = if is_alternating { random.below(LOCATIONS) } else { 0 };
            // A migration that the object has as applied stays applied there when it is rolled back without the object.
            let allows_rollbacks = is_coordinated || !was_coordinated;
            was_coordinated |= is_coordinated;
            deployments.push(Self {
                is_coordinated,
                migrations: released,
                clients,
                requests,
                location,
                is_cut_short,
                allows_rollbacks,
                known_keys: KnownKeys::Both,
            });
        }
        deployments
    }
}
