//! Changes a plan to what the situation of its world needs.

use super::{MigrationKind, Plan, PlannedMigration, Seal};
use crate::deployment::{Deployment, KnownKeys};
use crate::mode::Mode;
use crate::random::Random;
use crate::situation::Situation;
use crate::way::Way;

impl Plan {
    /// Draws what is special about the world, and changes the plan to that.
    pub(super) fn adapt(&mut self, random: &Random) {
        self.situation = Situation::draw(random, self.migrations.len());
        match self.situation {
            Situation::Ordinary => {}
            Situation::CutOff(_) => {
                self.be_undisturbed(random, &[Mode::Pipeline, Mode::Coordinator]);
                self.faults_per_thousand = 0;
            }
            // What is taken for pending runs again. The table must not have its first prefix again by then.
            Situation::DamagedRows if self.tables.iter().any(|table| table.moves >= table.max_prefixes()) => {
                self.situation = Situation::Ordinary;
            }
            Situation::LiveService => self.be_live(random),
            Situation::DamagedRows => self.be_undisturbed(random, &[Mode::Coordinator]),
            Situation::TwoReleases { .. } => {
                // A deployment that lasts until all is applied.
                self.deployments.drain(..self.deployments.len() - 1);
                if self.mode == Mode::Alternating {
                    let is_coordinated = self.deployments[0].is_coordinated;
                    self.mode = if is_coordinated { Mode::Coordinator } else { Mode::Pipeline };
                    self.deployments = Deployment::draw_all(random, self.mode, self.migrations.len());
                }
            }
        }
    }

    /// The steps of docs/long-migrations.md: one release writes both keys and copies, the next writes new keys only and deletes.
    fn be_live(&mut self, random: &Random) {
        self.be_undisturbed(random, &[Mode::Pipeline, Mode::Coordinator]);
        self.is_chained = true;
        self.tables.truncate(1);
        let table = &mut self.tables[0];
        (table.moves, table.is_served) = (1, true);
        for entry in &mut table.entries {
            entry.is_fresh = entry.ttl.is_none() && random.chance(300);
        }
        let (from, to) = (table.prefix(0), table.prefix(1));
        let kinds = [MigrationKind::Copying, MigrationKind::Deleting].into_iter().enumerate();
        let planned = |(number, kind): (usize, MigrationKind)| {
            let (id, from, to) = (format!("{number:03}_{}", kind.name()), from.clone(), to.clone());
            PlannedMigration {
                number,
                id,
                kind,
                way: Way::Plain,
                seal: Seal::None,
                table: 0,
                moves: 0,
                from,
                to,
            }
        };
        self.migrations = kinds.map(planned).collect();
        let both = self.deployments[0];
        let only_new = Deployment { known_keys: KnownKeys::New, ..both };
        self.deployments =
            vec![Deployment { migrations: 1, ..both }, Deployment { migrations: 2, ..only_new }];
    }

    /// Leaves one pipeline or one object: no rollback, no service.
    fn be_undisturbed(&mut self, random: &Random, modes: &[Mode]) {
        self.mode = modes[random.below(modes.len())];
        (self.run_locations, self.has_rollbacks) = (1, false);
        for table in &mut self.tables {
            table.is_served = false;
            table.entries.iter_mut().for_each(|entry| entry.is_fresh = false);
        }
        self.deployments = Deployment::draw_all(random, self.mode, self.migrations.len());
    }
}
