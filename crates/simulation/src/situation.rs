//! What is special about a world. Six of ten worlds, or a few more, have nothing special.
//!
//! It is drawn from a stream of its own, after the plan: a world without anything special is what it was before there were
//! others.

use crate::random::Random;

/// What is special about a world.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Situation {
    /// Nothing.
    #[default]
    Ordinary,
    /// Every request, and every step of an object, is cut off by the same limit.
    CutOff(RequestLimit),
    /// Two releases answer requests until the last run.
    TwoReleases {
        /// How many of the migrations the older one has: the first ones.
        older: usize,
    },
    /// Rows of the object's storage are damaged.
    DamagedRows,
    /// A service writes all the time while its entries are re-keyed in two migrations, as docs/long-migrations.md says.
    LiveService,
}

/// What cuts off a request, as a hard limit on time, on operations or on memory does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestLimit {
    /// It is dropped when it makes this operation.
    Operations(u64),
    /// It is dropped after this many milliseconds.
    Time(u64),
}

impl RequestLimit {
    fn draw(random: &Random) -> Self {
        let is_below = random.chance(250);
        if random.chance(500) {
            let enough = random.pick([12, 12, 13, 15, 20, 40, 100]);
            Self::Operations(if is_below { random.between(1..=11) } else { enough })
        } else {
            let enough = random.pick([400, 400, 450, 600, 1_000, 2_500, 6_000]);
            Self::Time(if is_below { random.between(10..=399) } else { enough })
        }
    }

    /// Whether migrations end although each of their requests is cut off like this.
    pub fn is_enough(self) -> bool {
        match self {
            Self::Operations(operations) => operations >= 12,
            Self::Time(milliseconds) => milliseconds >= 400,
        }
    }
}

impl Situation {
    /// Draws what is special about a world with this many migrations.
    pub fn draw(random: &Random, migrations: usize) -> Self {
        match random.between(0..=999) {
            0..=99 => Self::CutOff(RequestLimit::draw(random)),
            100..=199 => Self::TwoReleases { older: random.below(migrations) },
            200..=299 => Self::DamagedRows,
            300..=399 => Self::LiveService,
            _ => Self::Ordinary,
        }
    }

    /// What cuts off every request, if something does.
    pub fn limit(self) -> Option<RequestLimit> {
        match self {
            Self::CutOff(limit) => Some(limit),
            _ => None,
        }
    }

    /// How many migrations the older of two releases has, if there are two.
    pub fn older_release(self) -> Option<usize> {
        match self {
            Self::TwoReleases { older } => Some(older),
            _ => None,
        }
    }
}
