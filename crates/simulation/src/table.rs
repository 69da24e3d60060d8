//! The entries of a world, in tables: those of one table have the same prefix.

use crate::moving::{LONG, Moving, without_label};
use crate::other_namespace::elsewhere;
use crate::random::Random;
use crate::value::value;

/// How a table's prefix ends: before any re-key, and after each.
const SEPARATORS: [&str; 4] = ["_", ":", "/", "~"];

/// The version of what stands at a new key from the start: the newest.
pub const STANDING: u64 = 1_000;

/// Entries with the same prefix.
#[derive(Debug)]
pub struct Table {
    letter: char,
    /// How often it is re-keyed.
    pub moves: usize,
    /// How the one re-key of it moves its entries, if that has it for itself.
    pub moving: Option<Moving>,
    /// Whether a service reads and writes it meanwhile.
    pub is_served: bool,
    /// Whether that service knows the old keys alone, so that some of its writes may be lost.
    pub has_old_writes: bool,
    /// Its entries.
    pub entries: Vec<InitialEntry>,
}

/// An entry that exists from the start.
#[derive(Debug, Clone)]
pub struct InitialEntry {
    /// Its key without the table's prefix.
    pub name: String,
    /// Whether its value is UTF-8.
    pub is_text: bool,
    /// Its metadata.
    pub metadata: Option<&'static str>,
    /// In how many seconds it expires.
    pub ttl: Option<u64>,
    /// The version that it has from the start.
    pub version: u64,
    /// Whether something stands at its new key from the start, in the version [`STANDING`].
    pub has_standing: bool,
    /// Whether the previous release wrote it at another location, within KV's delay of the start.
    pub is_fresh: bool,
}

impl Table {
    /// A table without entries.
    pub fn new(letter: char) -> Self {
        Self { letter, moves: 0, moving: None, is_served: false, has_old_writes: false, entries: Vec::new() }
    }

    /// After how many re-keys it has its first prefix again.
    pub fn max_prefixes(&self) -> usize {
        SEPARATORS.len()
    }

    /// The prefix after this many re-keys.
    pub fn prefix(&self, moves: usize) -> String {
        let prefix = |moves: usize| format!("{}{}", self.letter, SEPARATORS[moves % SEPARATORS.len()]);
        match (self.moving, moves) {
            (Some(Moving::IntoNamespace), 1) | (Some(Moving::FromNamespace), 0) => elsewhere(&prefix(0)),
            (Some(Moving::FromNamespace), 1) => prefix(0),
            _ => prefix(moves),
        }
    }

    /// The other prefix after this many re-keys, if there are two.
    pub fn other_prefix(&self, moves: usize) -> Option<String> {
        (self.moving == Some(Moving::Prefixes)).then(|| self.prefix(moves).to_uppercase())
    }

    /// The prefix of this entry after this many re-keys.
    fn prefix_of(&self, moves: usize, name: &str) -> String {
        let is_of_other = name.len().is_multiple_of(2);
        self.other_prefix(moves).filter(|_| is_of_other).unwrap_or_else(|| self.prefix(moves))
    }

    /// The key of an entry before any re-key.
    pub fn old_key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix_of(0, name))
    }

    /// All keys that an entry may ever have, the newest first.
    pub fn keys(&self, name: &str) -> impl Iterator<Item = String> {
        (0..=self.moves).rev().flat_map(|moves| self.keys_after(moves, name))
    }

    /// The keys that an entry may have after this many re-keys.
    pub fn keys_after(&self, moves: usize, name: &str) -> Vec<String> {
        let prefix = self.prefix_of(moves, name);
        match self.moving.filter(|_| moves > 0) {
            None => vec![format!("{prefix}{name}")],
            Some(moving) => {
                let new_name = moving.new_name(name);
                moving.labels(name).into_iter().map(|label| format!("{prefix}{label}{new_name}")).collect()
            }
        }
    }

    /// The new key of an entry, if something stands there from the start.
    pub fn standing_keys(&self, entry: &InitialEntry) -> Vec<String> {
        if entry.has_standing { self.keys_after(1, &entry.name) } else { Vec::new() }
    }

    /// The entry that has this key, or had it, or will have it.
    pub fn entry_of(&self, key: &str) -> Option<usize> {
        let name = (0..=self.moves).rev().find_map(|moves| {
            let other = || key.strip_prefix(&self.other_prefix(moves)?);
            let rest = key.strip_prefix(&self.prefix(moves)).or_else(other)?;
            let has_label = moves > 0 && self.moving.is_some_and(Moving::has_labels);
            if has_label { without_label(rest) } else { Some(rest) }
        })?;
        self.entries.iter().position(|entry| entry.name == name)
    }
}

impl InitialEntry {
    /// Whether a re-key that moves entries like this leaves it at its old key.
    pub fn is_left(&self, moving: Option<Moving>) -> bool {
        moving == Some(Moving::Skipping) && (self.has_standing || self.name.contains(LONG))
    }

    /// The value, in the version that the service wrote.
    pub fn value(&self, version: u64) -> Vec<u8> {
        let value = value(&self.name, version).into_bytes();
        if self.is_text { value } else { [&[0xff][..], &value].concat() }
    }
}

/// A name that no other entry has. Some are ones that are easily forgotten.
pub fn name(random: &Random, number: usize) -> String {
    match (number, random.between(0..=29)) {
        (1, 0..=9) => "__proto__".to_owned(),
        (_, 0) => format!("{number}{}", "long".repeat(100)),
        _ => format!("{number}{}", random.pick(["", "x", "ü", " y", "/z", "日本", "🦀"])),
    }
}
