//! What the value of an entry says: its name, its version, and the marks that backfills have put on it.
//!
//! `3x=2+1+4` is version 2 of `3x`, with the marks of the migrations 1 and 4. Marks are sorted, so that their
//! order says nothing.

/// The value of an entry in a version, without marks.
pub fn value(name: &str, version: u64) -> String {
    format!("{name}={version}")
}

/// The version of a value; `None` if it is not the value of an entry.
pub fn version(value: &str) -> Option<u64> {
    let (_, rest) = value.split_once('=')?;
    rest.split('+').next()?.parse().ok()
}

/// The value with this mark; `None` if it has the mark.
pub fn marked(value: &str, mark: usize) -> Option<String> {
    let (start, mut marks) = parts(value);
    let place = marks.binary_search(&mark).err()?;
    marks.insert(place, mark);
    Some(joined(start, &marks))
}

/// The value without this mark; `None` if it does not have the mark.
pub fn unmarked(value: &str, mark: usize) -> Option<String> {
    let (start, mut marks) = parts(value);
    let place = marks.binary_search(&mark).ok()?;
    marks.remove(place);
    Some(joined(start, &marks))
}

fn parts(value: &str) -> (&str, Vec<usize>) {
    let mut parts = value.split('+');
    let start = parts.next().unwrap_or_default();
    (start, parts.filter_map(|mark| mark.parse().ok()).collect())
}

fn joined(start: &str, marks: &[usize]) -> String {
    marks.iter().fold(start.to_owned(), |value, mark| format!("{value}+{mark}"))
}
