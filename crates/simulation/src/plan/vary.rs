//! Gives some worlds re-keys that change what they move, or that need tables for themselves.

use super::{MigrationKind, Plan, Seal};
use crate::mode::Mode;
use crate::moving::{LONG, Moving};
use crate::random::Random;
use crate::situation::{RequestLimit, Situation};
use crate::table::{InitialEntry, Table, name};

impl Plan {
    /// Draws whether the world has such re-keys, and which. Where it has none, it is what it was.
    pub(super) fn vary(&mut self, random: &Random) {
        if !random.chance(500) {
            return;
        }
        if self.situation == Situation::LiveService && random.chance(300) {
            self.be_live_between_namespaces();
        }
        for number in 0..self.migrations.len() {
            match self.migrations[number].kind {
                MigrationKind::Steps(_) if random.chance(600) => self.give_own_table(random, number),
                MigrationKind::Rekey { .. } | MigrationKind::Copying => self.draw_seal(random, number),
                _ => {}
            }
        }
    }

    /// Lets the live service move into another namespace.
    fn be_live_between_namespaces(&mut self) {
        let table = &mut self.tables[0];
        table.moving = Some(Moving::IntoNamespace);
        for planned in &mut self.migrations {
            planned.to = table.prefix(1);
        }
    }

    /// Draws how a re-key changes what it moves. A copy with a nonce of which nothing is known any more is a collision.
    fn draw_seal(&mut self, random: &Random, number: usize) {
        let seal = random.pick([Seal::None, Seal::Fixed, Seal::Random]);
        // Where a collision does not fail the migration, such an entry is left, and reported.
        let leaves = [Moving::Skipping, Moving::KeepingNew, Moving::Choosing];
        let is_left = leaves.map(MigrationKind::Moving).contains(&self.migrations[number].kind);
        let is_known = self.situation != Situation::DamagedRows && !is_left;
        self.migrations[number].seal = match seal {
            _ if self.has_short_requests() => Seal::None,
            Seal::Random if !is_known => Seal::Fixed,
            seal => seal,
        };
    }

    /// Whether each request is cut off after so few operations that plain re-keys get on, but not those that record copies
    /// before they write.
    fn has_short_requests(&self) -> bool {
        matches!(self.situation, Situation::CutOff(RequestLimit::Operations(12..20)))
    }

    /// Makes a migration a re-key of a table that no other migration works on.
    fn give_own_table(&mut self, random: &Random, number: usize) {
        let moving = match Moving::draw(random) {
            // Two runs at once may each decide otherwise. They leave such an entry, and report it.
            Moving::KeepingNew | Moving::Choosing if self.mode == Mode::ManyCallers => Moving::Prefixes,
            moving => moving,
        };
        let is_mapped = moving.has_labels();
        let letter = char::from(b'm' + u8::try_from(number).unwrap_or(0));
        let entries = random.pick([2, 4, 9]);
        let is_undisturbed = matches!(self.situation, Situation::CutOff(_) | Situation::DamagedRows);
        let may_be_served =
            (is_mapped || moving.is_between_namespaces()) && !is_undisturbed && !self.has_rollbacks;
        let is_served = may_be_served && random.chance(600);
        let may_be_fresh = may_be_served && random.chance(500);
        let entry = |number| InitialEntry {
            name: match moving {
                // Several have one new key.
                Moving::Choosing => format!("{}.{number}", number / random.pick([1, 2, 3])),
                Moving::Skipping if random.chance(200) => format!("{number}{LONG}"),
                _ => name(random, number),
            },
            is_text: random.chance(800),
            metadata: random.pick([None, None, Some("{\"a\":[1,2]}"), Some("null")]),
            ttl: match random.between(0..=9) {
                0 if moving != Moving::Choosing => Some(random.between(61..=400)),
                1 => Some(1_000_000),
                _ => None,
            },
            version: if moving == Moving::Choosing { random.between(0..=3) } else { 0 },
            has_standing: moving.may_have_standing() && random.chance(300),
            is_fresh: may_be_fresh && random.chance(500),
        };
        let mut table = Table::new(letter);
        (table.moves, table.moving, table.is_served) = (1, Some(moving), is_served);
        // To write new keys, it would have to know the table.
        table.has_old_writes = is_served && (moving.has_table() || random.chance(500));
        table.entries = (0..entries).map(entry).collect();
        for entry in &mut table.entries {
            // Nothing can stand at a key that is too long.
            entry.has_standing &= !entry.name.contains(LONG);
        }
        let planned = &mut self.migrations[number];
        planned.kind = MigrationKind::Moving(moving);
        planned.id = format!("{number:03}_{}", planned.kind.name());
        (planned.moves, planned.from, planned.to) = (0, table.prefix(0), table.prefix(1));
        if self.is_chained {
            planned.table = self.tables.len();
            self.tables.push(table);
        } else {
            let place = planned.table;
            self.tables[place] = table;
        }
        self.draw_seal(random, number);
    }
}
