//! What stands in an entry: its name, which of its versions it is, and the marks that backfills have put on it.
//!
//! `3x=2+1+4` is the third version of `3x`, with the marks of the migrations 1 and 4. Marks are in order, so that it
//! makes no difference which came first.

/// An entry as it was first, or was written by the service last.
pub fn value(name: &str, version: u64) -> String {
    format!("{name}={version}")
}

/// Which version it is; none if it is no such value.
pub fn version(value: &str) -> Option<u64> {
    let (_, rest) = value.split_once('=')?;
    rest.split('+').next()?.parse().ok()
}

/// With this mark; none if it has it.
pub fn marked(value: &str, mark: usize) -> Option<String> {
    let (start, mut marks) = parts(value);
    let place = marks.binary_search(&mark).err()?;
    marks.insert(place, mark);
    Some(joined(start, &marks))
}

/// Without this mark; none if it has it not.
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
