//! The entries of a world, by the beginnings of their keys.

use crate::dice::Dice;
use crate::value::value;

/// What ends a table's prefix, before any re-key and after each.
const SEPARATORS: [&str; 4] = ["_", ":", "/", "~"];

/// The entries whose keys begin alike.
#[derive(Debug)]
pub struct Table {
    letter: char,
    /// How often it is re-keyed.
    pub moves: usize,
    /// Whether a service reads and writes it meanwhile.
    pub is_served: bool,
    /// What is in it.
    pub entries: Vec<Seeded>,
}

/// An entry that is there from the start.
#[derive(Debug, Clone)]
pub struct Seeded {
    /// Its key, without the table's prefix.
    pub name: String,
    /// Whether its value is UTF-8.
    pub is_text: bool,
    /// Its metadata.
    pub metadata: Option<&'static str>,
    /// In how many seconds it expires.
    pub ttl: Option<u64>,
    /// Whether the release before wrote it at another location, within KV's delay of the beginning.
    pub is_fresh: bool,
}

impl Table {
    /// Without entries.
    pub fn new(letter: char) -> Self {
        Self { letter, moves: 0, is_served: false, entries: Vec::new() }
    }

    /// Its prefix after so many re-keys.
    pub fn prefix(&self, moves: usize) -> String {
        format!("{}{}", self.letter, SEPARATORS[moves % SEPARATORS.len()])
    }

    /// All prefixes that it ever has, the last first.
    pub fn prefixes(&self) -> impl Iterator<Item = String> {
        (0..=self.moves).rev().map(|moves| self.prefix(moves))
    }
}

impl Seeded {
    /// What it holds as it was first, or as the service wrote it last.
    pub fn value(&self, version: u64) -> Vec<u8> {
        let value = value(&self.name, version).into_bytes();
        if self.is_text { value } else { [&[0xff][..], &value].concat() }
    }
}

/// A name that no other entry has; some are such as one forgets to think of.
pub fn name(dice: &Dice, number: usize) -> String {
    match (number, dice.between(0..=29)) {
        (1, 0..=9) => "__proto__".to_owned(),
        (_, 0) => format!("{number}{}", "long".repeat(100)),
        _ => format!("{number}{}", dice.pick(["", "x", "ü", " y", "/z", "日本", "🦀"])),
    }
}
