//! How re-keys that have a table for themselves move its entries.

use crate::random::Random;

/// How many groups of entries there are, of which the new keys tell.
const GROUPS: u64 = 3;
/// In the names of entries whose new keys are too long.
pub const LONG: &str = "long";
/// The bytes that a key has at most.
const MAX_KEY_BYTES: usize = 512;
/// How many tables a re-key may load that maps by a table.
pub const TABLES: usize = 3;

/// How a re-key that has a table for itself moves its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moving {
    /// By the group of the entry, which its value tells.
    ByValue,
    /// By the group of the entry, which its name tells, and what a table calls it.
    ByTable,
    /// By the group of the entry, which its value tells, and what a table calls it.
    ByValueAndTable,
    /// Each of two prefixes by another one.
    Prefixes,
    /// Entries whose new keys are taken, or too long, stay.
    Skipping,
    /// What stands at a new key wins.
    KeepingNew,
    /// Of several entries with one new key, the one with the highest version gets it.
    Choosing,
    /// Into another namespace, under the same keys.
    IntoNamespace,
    /// From another namespace, under the same keys.
    FromNamespace,
}

impl Moving {
    /// Draws one of them.
    pub fn draw(random: &Random) -> Self {
        random.pick([
            Self::ByValue,
            Self::ByValue,
            Self::ByTable,
            Self::ByValueAndTable,
            Self::Prefixes,
            Self::Skipping,
            Self::KeepingNew,
            Self::Choosing,
            Self::IntoNamespace,
            Self::IntoNamespace,
            Self::FromNamespace,
        ])
    }

    /// Its name in the id of a migration.
    pub fn name(self) -> &'static str {
        match self {
            Self::ByValue => "by_value",
            Self::ByTable => "by_table",
            Self::ByValueAndTable => "by_value_and_table",
            Self::Prefixes => "prefixes",
            Self::Skipping => "skipping",
            Self::KeepingNew => "keeping_new",
            Self::Choosing => "choosing",
            Self::IntoNamespace => "into_namespace",
            Self::FromNamespace => "from_namespace",
        }
    }

    /// Whether the new key of an entry changes with its value.
    pub fn sees_values(self) -> bool {
        matches!(self, Self::ByValue | Self::ByValueAndTable)
    }

    /// Whether the old and the new keys are in two namespaces.
    pub fn is_between_namespaces(self) -> bool {
        matches!(self, Self::IntoNamespace | Self::FromNamespace)
    }

    /// Whether the new keys have labels.
    pub fn has_labels(self) -> bool {
        matches!(self, Self::ByValue | Self::ByTable | Self::ByValueAndTable)
    }

    /// Whether something may stand at the new key of an entry from the start.
    pub fn may_have_standing(self) -> bool {
        matches!(self, Self::Skipping | Self::KeepingNew)
    }

    /// The name of an entry in its new key, without the label.
    pub fn new_name(self, name: &str) -> String {
        match self {
            Self::Choosing => name.split('.').next().unwrap_or_default().to_owned(),
            Self::Skipping if name.contains(LONG) => format!("{name}{}", LONG.repeat(MAX_KEY_BYTES)),
            _ => name.to_owned(),
        }
    }

    /// Whether the new keys depend on the table that was loaded.
    pub fn has_table(self) -> bool {
        matches!(self, Self::ByTable | Self::ByValueAndTable)
    }

    /// What may be between the prefix and the name in a new key.
    pub fn labels(self, name: &str) -> Vec<String> {
        if !self.has_labels() {
            return vec![String::new()];
        }
        let tables = if self.has_table() { 0..TABLES } else { 0..1 };
        let groups = if self.sees_values() { 0..GROUPS } else { group_of(name)..group_of(name) + 1 };
        tables.flat_map(|table| groups.clone().map(move |group| label(table, group))).collect()
    }
}

/// The group of an entry with this name.
pub fn group_of(name: &str) -> u64 {
    name.len() as u64 % GROUPS
}

/// The group of an entry in this version.
pub fn group_of_version(version: u64) -> u64 {
    version % GROUPS
}

/// What is between the prefix and the name in a new key: what this table calls a group.
pub fn label(table: usize, group: u64) -> String {
    format!("{table}{group}/")
}

/// The part of a new key after its prefix, without the label.
pub fn without_label(rest: &str) -> Option<&str> {
    let (label, name) = rest.split_at_checked(3)?;
    let is_label = label.as_bytes()[..2].iter().all(u8::is_ascii_digit) && label.ends_with('/');
    is_label.then_some(name)
}
