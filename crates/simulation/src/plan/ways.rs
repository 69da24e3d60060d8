//! Draws how backfills and folds go about what they do.

use super::{MigrationKind, Plan};
use crate::random::Random;
use crate::situation::{RequestLimit, Situation};
use crate::way::Way;

impl Plan {
    /// Draws how migrations go about what they do. It comes from a stream of its own, so that other migrations do not depend
    /// on it.
    pub fn draw_ways(&mut self, random: &Random) {
        for planned in &mut self.migrations {
            planned.way = draw(random, planned.kind, self.situation);
        }
    }
}

fn draw(random: &Random, kind: MigrationKind, situation: Situation) -> Way {
    match kind {
        // All entries of a batch have to fit into a request.
        MigrationKind::Backfill if matches!(situation, Situation::CutOff(RequestLimit::Operations(_))) => {
            random.pick([Way::Plain, Way::Only])
        }
        MigrationKind::Backfill => {
            random.pick([Way::Plain, Way::Only, Way::Batches(1), Way::Batches(2), Way::Batches(5)])
        }
        MigrationKind::Fold => random.pick([Way::Plain, Way::Only, Way::Merging, Way::KeysOnly]),
        _ => Way::Plain,
    }
}
