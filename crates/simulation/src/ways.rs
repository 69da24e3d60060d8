//! How a backfill or a fold goes about what it does.

use crate::moving::group_of;
use crate::plan::{MigrationKind, Plan};
use crate::random::Random;
use crate::situation::{RequestLimit, Situation};

/// How a migration goes about what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Entry by entry, with its value.
    Plain,
    /// A backfill that gets this many entries at once.
    Batches(usize),
    /// A fold that adds to the index that is there.
    Merging,
    /// A fold that reads no values.
    KeysOnly,
    /// Only some of the entries.
    Only,
}

impl Way {
    /// Whether it takes the entry with this name.
    pub fn takes(self, name: &str) -> bool {
        self != Self::Only || group_of(name) > 0
    }

    fn draw(random: &Random, kind: MigrationKind, situation: Situation) -> Self {
        match kind {
            // All entries of a batch have to fit into a request.
            MigrationKind::Backfill
                if matches!(situation, Situation::CutOff(RequestLimit::Operations(_))) =>
            {
                random.pick([Self::Plain, Self::Only])
            }
            MigrationKind::Backfill => {
                random.pick([Self::Plain, Self::Only, Self::Batches(1), Self::Batches(2), Self::Batches(5)])
            }
            MigrationKind::Fold => random.pick([Self::Plain, Self::Only, Self::Merging, Self::KeysOnly]),
            _ => Self::Plain,
        }
    }
}

impl Plan {
    /// Draws how migrations go about what they do. It comes from a stream of its own, so that other migrations do not depend
    /// on it.
    pub fn draw_ways(&mut self, random: &Random) {
        for planned in &mut self.migrations {
            planned.way = Way::draw(random, planned.kind, self.situation);
        }
    }
}
