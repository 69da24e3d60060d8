//! What a world holds: its entries, its migrations, and who works with them.

mod adapt;
mod vary;
mod ways;

use kv_migrations::testing::LOCATIONS;

use crate::deployment::Deployment;
use crate::mode::Mode;
use crate::moving::Moving;
use crate::random::Random;
use crate::situation::Situation;
use crate::table::{InitialEntry, Table, name};
use crate::way::Way;

/// The name of the service in the markers.
pub const SERVICE: &str = "sim";

/// What a world holds.
#[derive(Debug)]
pub struct Plan {
    /// What is special about it.
    pub situation: Situation,
    /// Who runs the migrations.
    pub mode: Mode,
    /// Whether migrations build on those before them.
    pub is_chained: bool,
    /// At how many locations runs are started.
    pub run_locations: usize,
    /// How many requests of a thousand are cut off.
    pub faults_per_thousand: u64,
    /// Whether clients roll back, too.
    pub has_rollbacks: bool,
    /// The KV operations that a request may make.
    pub budget: u64,
    /// The entries.
    pub tables: Vec<Table>,
    /// The migrations, in the order of registration.
    pub migrations: Vec<PlannedMigration>,
    /// The releases that are deployed, one after the other.
    pub deployments: Vec<Deployment>,
}

/// What a migration does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationKind {
    /// It writes this many keys of its own, one after the other.
    Steps(usize),
    /// It puts its mark on each entry.
    Backfill,
    /// It indexes all entries.
    Fold,
    /// It re-keys all entries.
    Rekey {
        /// Whether it can be rolled back.
        has_inverse: bool,
    },
    /// It copies all entries to new keys, and deletes nothing.
    Copying,
    /// It deletes the old keys of all entries that have new ones.
    Deleting,
    /// It re-keys all entries of a table that it has for itself.
    Moving(Moving),
}

/// How a re-key changes the values of entries on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// It does not.
    None,
    /// By a seal that is always the same.
    Fixed,
    /// By a seal with a nonce that is another one each time.
    Random,
}

impl Seal {
    /// The nonce of the next seal.
    pub fn nonce(self, random: &Random) -> u64 {
        if self == Self::Random { random.between(1..=u64::MAX) } else { 0 }
    }
}

/// A migration.
#[derive(Debug, Clone)]
pub struct PlannedMigration {
    /// Its place in the list.
    pub number: usize,
    /// Its id.
    pub id: String,
    /// What it does.
    pub kind: MigrationKind,
    /// How it goes about that.
    pub way: Way,
    /// How it changes values on their way, if it is a re-key.
    pub seal: Seal,
    /// The table that it works on.
    pub table: usize,
    /// How often the table has been re-keyed before it.
    pub moves: usize,
    /// The prefix of the table before it.
    pub from: String,
    /// The prefix of the table after it.
    pub to: String,
}

impl PlannedMigration {
    /// The key of its marker.
    pub fn marker(&self) -> String {
        format!("migration_{SERVICE}_{}", self.id)
    }
}

impl Plan {
    /// The number of the migration with this id.
    pub fn number(&self, id: &str) -> Option<usize> {
        self.migrations.iter().position(|planned| planned.id == id)
    }

    /// Draws a plan. What is special about it comes from a stream of its own, so that a world without anything special
    /// does not depend on that.
    pub fn draw(random: &Random, special: &Random) -> Self {
        let mode = random.pick([Mode::Pipeline, Mode::ManyCallers, Mode::Coordinator, Mode::Alternating]);
        let has_rollbacks = random.chance(250);
        let run_locations = match mode {
            Mode::Pipeline | Mode::Alternating => 1,
            Mode::ManyCallers => random.pick([1, 2, 3]),
            // An object hardly ever moves.
            Mode::Coordinator => random.pick([1, 1, 1, 2]),
        };
        let is_chained = matches!(mode, Mode::Pipeline | Mode::Alternating)
            || mode == Mode::Coordinator && run_locations == 1 && random.chance(700);
        let mut plan = Self {
            situation: Situation::default(),
            mode,
            is_chained,
            run_locations,
            faults_per_thousand: random.pick([0, 150, 500]),
            has_rollbacks,
            budget: random.pick([70, 150, 900]),
            tables: Vec::new(),
            migrations: Vec::new(),
            deployments: Vec::new(),
        };
        let migrations = random.pick([1, 2, 3, 4, 5]);
        for number in 0..migrations {
            plan.add_migration(random, number);
        }
        plan.add_entries(random);
        plan.deployments = Deployment::draw_all(random, mode, migrations);
        plan.adapt(special);
        plan.vary(special);
        plan
    }

    /// On a table of its own, unless migrations build on those before.
    fn add_migration(&mut self, random: &Random, number: usize) {
        let kind = match random.between(0..=9) {
            0..=2 => MigrationKind::Steps(random.pick([1, 2, 4])),
            3..=4 => MigrationKind::Backfill,
            5..=6 => MigrationKind::Fold,
            7..=8 => MigrationKind::Rekey { has_inverse: true },
            _ => MigrationKind::Rekey { has_inverse: false },
        };
        if self.tables.is_empty() || !self.is_chained {
            let letter = char::from(b'a' + u8::try_from(number).unwrap_or(0));
            self.tables.push(Table::new(letter));
        }
        let index = self.tables.len() - 1;
        let table = &mut self.tables[index];
        let moves = table.moves;
        if matches!(kind, MigrationKind::Rekey { .. }) {
            table.moves += 1;
        }
        let (from, to) = (table.prefix(moves), table.prefix(table.moves));
        let id = format!("{number:03}_{}", kind.name());
        let (way, seal) = (Way::Plain, Seal::None);
        let planned = PlannedMigration { number, id, kind, way, seal, table: index, moves, from, to };
        self.migrations.push(planned);
    }

    fn add_entries(&mut self, random: &Random) {
        let number = random.pick([2, 5, 12, 25]) / self.tables.len().max(1) + 1;
        for (index, table) in self.tables.iter_mut().enumerate() {
            let mut kinds =
                self.migrations.iter().filter(|planned| planned.table == index).map(|planned| planned.kind);
            let is_only_moved = kinds.clone().all(|kind| matches!(kind, MigrationKind::Rekey { .. }));
            let is_marked = kinds.clone().any(|kind| kind == MigrationKind::Backfill);
            let is_indexed = kinds.any(|kind| kind == MigrationKind::Fold);
            // A rollback writes old keys, and cannot see what was written under them elsewhere a moment ago.
            let is_shared = !self.is_chained && is_only_moved && !self.has_rollbacks;
            table.is_served = is_shared && random.chance(500);
            let may_be_fresh = is_shared && random.chance(500);
            table.entries = (0..number)
                .map(|number| InitialEntry {
                    name: name(random, number),
                    is_text: is_marked || random.chance(800),
                    metadata: random.pick([None, None, Some("{\"a\":[1,2]}"), Some("null")]),
                    ttl: match random.between(0..=9) {
                        0 if !is_indexed => Some(random.between(61..=400)),
                        1 => Some(1_000_000),
                        _ => None,
                    },
                    version: 0,
                    has_standing: false,
                    is_fresh: may_be_fresh && random.chance(500),
                })
                .collect();
        }
    }

    /// Whether entries are written while they are re-keyed.
    pub fn has_concurrent_writes(&self) -> bool {
        self.tables.iter().any(|table| table.is_served || table.entries.iter().any(|entry| entry.is_fresh))
    }

    /// Whether this is an old key of an entry whose new key depends on its value, and of which a service knows no other.
    pub fn is_old_key_alone(&self, key: &str) -> bool {
        let is_known_alone =
            |table: &&Table| table.has_old_writes && table.moving.is_some_and(Moving::sees_values);
        self.tables.iter().filter(is_known_alone).any(|table| key.starts_with(&table.prefix(0)))
    }

    /// Whether a migration moves entries to new keys.
    pub fn is_rekey(&self, number: usize) -> bool {
        let kind = self.migrations.get(number).map(|planned| planned.kind);
        matches!(kind, Some(MigrationKind::Rekey { .. } | MigrationKind::Moving(_)))
    }

    /// How the entries of a table are changed that has only one re-key, or one in two migrations.
    pub fn seal_of(&self, table: usize) -> Seal {
        let mut own = self.migrations.iter().filter(|planned| planned.table == table);
        own.find(|planned| planned.seal != Seal::None).map_or(Seal::None, |planned| planned.seal)
    }

    /// Whether a re-key leaves what it does not know at new keys, and cannot know a copy of its own by its value.
    pub fn has_changed_copying(&self) -> bool {
        let is_changed = |planned: &PlannedMigration| planned.seal != Seal::None;
        self.migrations.iter().any(|planned| planned.kind == MigrationKind::Copying && is_changed(planned))
    }

    /// Whether a re-key writes something else each time.
    pub fn has_nonces(&self) -> bool {
        self.migrations.iter().any(|planned| planned.seal == Seal::Random)
    }

    /// Whether an object comes back after runs without it. It resumes from its own checkpoint, and does not know theirs.
    pub fn has_runs_between_objects(&self) -> bool {
        let mut after_object = self.deployments.iter().skip_while(|deployment| !deployment.is_coordinated);
        after_object.any(|deployment| !deployment.is_coordinated)
            && self.deployments.last().is_some_and(|deployment| deployment.is_coordinated)
    }

    /// Whether a re-key may leave entries, and report them, since their new keys were taken after its survey: by the runs between
    /// those of an object that carries on from that survey.
    pub fn may_leave_taken(&self, planned: &PlannedMigration) -> bool {
        let gives_way =
            [Moving::KeepingNew, Moving::Choosing].map(MigrationKind::Moving).contains(&planned.kind);
        gives_way && self.has_runs_between_objects()
    }

    /// Whether two runs of a re-key can see an entry in different versions.
    pub fn has_stale_copies(&self) -> bool {
        self.run_locations > 1
    }

    /// Whether all data must be right in the end. It need not if several callers roll back: one may still see as applied
    /// what another has rolled back.
    pub fn is_exact(&self) -> bool {
        !self.has_rollbacks || self.mode != Mode::ManyCallers && self.run_locations == 1
    }

    /// The location that writes an entry, where a service writes it.
    pub fn location_of_entry(index: usize) -> usize {
        index % LOCATIONS
    }
}

impl MigrationKind {
    fn name(self) -> &'static str {
        match self {
            Self::Steps(_) => "steps",
            Self::Backfill => "backfill",
            Self::Fold => "fold",
            Self::Rekey { has_inverse: true } => "rekey",
            Self::Rekey { has_inverse: false } => "one_way",
            Self::Copying => "copying",
            Self::Deleting => "deleting",
            Self::Moving(moving) => moving.name(),
        }
    }
}
