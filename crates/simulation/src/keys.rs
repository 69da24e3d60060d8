//! The keys that migrations write.

/// The key that a step writes.
pub fn step_key(number: usize, step: usize) -> String {
    format!("steps{number}/{step}")
}

/// The prefix of the keys of an index.
pub fn index_prefix(number: usize) -> String {
    format!("index{number}/")
}

/// The part of an index that an entry belongs to.
pub fn index_group(name: &str) -> usize {
    name.len() % 3
}
