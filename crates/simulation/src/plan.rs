//! What a world holds: its entries, its migrations, and who works with them. All of it is drawn from the seed.

use crate::dice::Dice;
use crate::network::LOCATIONS;
use crate::phase::Phase;
use crate::table::{Seeded, Table, name};

/// The prefix of the markers' service.
pub const SERVICE: &str = "sim";

/// Who runs the migrations.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One pipeline, as the documentation asks for: one run after the other, from one place that sees its own writes.
    /// Migrations build on each other.
    #[default]
    Pipeline,
    /// Several callers at several locations, whenever they like. No migration depends on what another one wrote, for
    /// nothing can be promised then.
    Crowd,
    /// Several callers, whose runs one object coordinates.
    Object,
    /// Now an object, now a pipeline without one: a service begins to use a coordinator, or stops to. Migrations build on
    /// each other.
    Both,
}

/// A world.
#[derive(Debug)]
pub struct Plan {
    /// Who runs the migrations.
    pub mode: Mode,
    /// Whether migrations build on those before them.
    pub is_chained: bool,
    /// How many locations there are.
    pub locations: usize,
    /// From how many of these runs are started.
    pub places: usize,
    /// How many requests of a thousand are cut off.
    pub doomed: u64,
    /// Whether callers roll back, too.
    pub has_rollbacks: bool,
    /// The KV operations that a request may make.
    pub budget: u64,
    /// The entries.
    pub tables: Vec<Table>,
    /// The migrations, in the order of registration.
    pub migrations: Vec<Planned>,
    /// By whom they are run, one after the other.
    pub phases: Vec<Phase>,
}

/// What a migration does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It writes so many keys of its own, one after the other.
    Steps(usize),
    /// It puts its mark on each entry.
    Backfill,
    /// It indexes all entries.
    Fold,
    /// It re-keys all entries.
    Rekey {
        /// Whether there is a way back.
        has_inverse: bool,
    },
}

/// A migration.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Its place in the list.
    pub number: usize,
    /// Its id.
    pub id: String,
    /// What it does.
    pub change: Change,
    /// The table that it works on.
    pub table: usize,
    /// How often the table has been re-keyed before it.
    pub moves: usize,
    /// The prefix of the table then.
    pub from: String,
    /// Where a re-key moves it.
    pub to: String,
}

impl Planned {
    /// The key of its marker.
    pub fn marker(&self) -> String {
        format!("migration_{SERVICE}_{}", self.id)
    }
}

impl Plan {
    /// Which migration has this id.
    pub fn number(&self, id: &str) -> Option<usize> {
        self.migrations.iter().position(|planned| planned.id == id)
    }

    /// Draws one.
    pub fn draw(dice: &Dice) -> Self {
        let mode = dice.pick([Mode::Pipeline, Mode::Crowd, Mode::Object, Mode::Both]);
        let has_rollbacks = dice.chance(250);
        let places = match mode {
            Mode::Pipeline | Mode::Both => 1,
            Mode::Crowd => dice.pick([1, 2, 3]),
            // An object hardly ever moves.
            Mode::Object => dice.pick([1, 1, 1, 2]),
        };
        let is_chained = matches!(mode, Mode::Pipeline | Mode::Both)
            || mode == Mode::Object && places == 1 && dice.chance(700);
        let mut plan = Self {
            mode,
            is_chained,
            locations: LOCATIONS,
            places,
            doomed: dice.pick([0, 150, 500]),
            has_rollbacks,
            budget: dice.pick([70, 150, 900]),
            tables: Vec::new(),
            migrations: Vec::new(),
            phases: Vec::new(),
        };
        let number = dice.pick([1, 2, 3, 4, 5]);
        for number in 0..number {
            plan.add(dice, number);
        }
        plan.complete(dice);
        plan.phases = Phase::draw_all(dice, mode, number, has_rollbacks);
        plan
    }

    /// On a table of its own, unless it may build on those before.
    fn add(&mut self, dice: &Dice, number: usize) {
        let change = match dice.between(0..=9) {
            0..=2 => Change::Steps(dice.pick([1, 2, 4])),
            3..=4 => Change::Backfill,
            5..=6 => Change::Fold,
            7..=8 => Change::Rekey { has_inverse: true },
            _ => Change::Rekey { has_inverse: false },
        };
        if self.tables.is_empty() || !self.is_chained {
            let letter = char::from(b'a' + u8::try_from(number).unwrap_or(0));
            self.tables.push(Table::new(letter));
        }
        let index = self.tables.len() - 1;
        let table = &mut self.tables[index];
        let moves = table.moves;
        if matches!(change, Change::Rekey { .. }) {
            table.moves += 1;
        }
        let (from, to) = (table.prefix(moves), table.prefix(table.moves));
        let id = format!("{number:03}_{}", change.name());
        self.migrations.push(Planned { number, id, change, table: index, moves, from, to });
    }

    fn complete(&mut self, dice: &Dice) {
        let number = dice.pick([2, 5, 12, 25]) / self.tables.len().max(1) + 1;
        for (index, table) in self.tables.iter_mut().enumerate() {
            let mut changes = self.migrations.iter().filter(|planned| planned.table == index);
            let is_only_moved = changes.clone().all(|planned| matches!(planned.change, Change::Rekey { .. }));
            let is_changed = changes.clone().any(|planned| planned.change == Change::Backfill);
            let is_folded = changes.any(|planned| planned.change == Change::Fold);
            // A rollback writes old keys: what was written under them elsewhere, a moment ago, it cannot see.
            let is_shared = !self.is_chained && is_only_moved && !self.has_rollbacks;
            table.is_served = is_shared && dice.chance(500);
            let may_be_fresh = is_shared && dice.chance(500);
            table.entries = (0..number)
                .map(|number| Seeded {
                    name: name(dice, number),
                    is_text: is_changed || dice.chance(800),
                    metadata: dice.pick([None, None, Some("{\"a\":[1,2]}"), Some("null")]),
                    ttl: match dice.between(0..=9) {
                        0 if !is_folded => Some(dice.between(61..=400)),
                        1 => Some(1_000_000),
                        _ => None,
                    },
                    is_fresh: may_be_fresh && dice.chance(500),
                })
                .collect();
        }
    }

    /// Whether somebody writes entries that are re-keyed meanwhile.
    pub fn has_two_forms(&self) -> bool {
        self.tables.iter().any(|table| table.is_served || table.entries.iter().any(|entry| entry.is_fresh))
    }

    /// Whether two runs of a re-key, one after the other or at once, can see different forms of an entry.
    pub fn has_stale_copies(&self) -> bool {
        self.places > 1
    }

    /// Whether data can be counted on to be right in the end: not if several callers roll back, for what one of them
    /// undid another may still see as applied.
    pub fn is_exact(&self) -> bool {
        !self.has_rollbacks || self.mode != Mode::Crowd && self.places == 1
    }
}

impl Change {
    fn name(self) -> &'static str {
        match self {
            Self::Steps(_) => "steps",
            Self::Backfill => "backfill",
            Self::Fold => "fold",
            Self::Rekey { has_inverse: true } => "rekey",
            Self::Rekey { has_inverse: false } => "one_way",
        }
    }
}
