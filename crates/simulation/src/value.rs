//! What the value of an entry says: its name, its version, and the marks that backfills have put on it.
//!
//! `3x=2+1+4` is version 2 of `3x`, with the marks of the migrations 1 and 4. Marks are sorted, so that their
//! order says nothing. `3x=2+1~77` is also sealed: a re-key has changed it on its way, with the nonce 77.

/// The value of an entry in a version, without marks.
pub fn value(name: &str, version: u64) -> String {
    format!("{name}={version}")
}

/// The version of a value; `None` if it is not the value of an entry.
pub fn version(value: &str) -> Option<u64> {
    let (_, rest) = value.split_once('=')?;
    rest.split(['+', '~']).next()?.parse().ok()
}

/// A value as a trace shows it: the first 60 characters of its first line. The rest of a checkpoint is no text.
pub fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(value).lines().next().unwrap_or_default().chars().take(60).collect()
}

/// The metadata of a sealed entry that had none.
pub const SEALED: &str = "\"sealed\"";

/// The value in a seal with this nonce.
pub fn sealed(value: &[u8], nonce: u64) -> Vec<u8> {
    [value, format!("~{nonce}").as_bytes()].concat()
}

/// The value without its last seal; `None` if it has none.
pub fn unsealed(value: &[u8]) -> Option<&[u8]> {
    let end = value.iter().rposition(|byte| *byte == b'~')?;
    Some(&value[..end])
}

/// The value with nothing but the number of its seals: nonces are random.
pub fn without_nonces(value: &[u8]) -> Vec<u8> {
    let mut parts = value.split(|byte| *byte == b'~');
    let start = parts.next().unwrap_or_default();
    parts.fold(start.to_vec(), |value, _| [&*value, b"~"].concat())
}

/// The value with this mark; `None` if it has the mark.
pub fn marked(value: &str, mark: usize) -> Option<String> {
    let (start, mut marks, seals) = parts(value);
    let place = marks.binary_search(&mark).err()?;
    marks.insert(place, mark);
    Some(joined(start, &marks, seals))
}

/// The value without this mark; `None` if it does not have the mark.
pub fn unmarked(value: &str, mark: usize) -> Option<String> {
    let (start, mut marks, seals) = parts(value);
    let place = marks.binary_search(&mark).ok()?;
    marks.remove(place);
    Some(joined(start, &marks, seals))
}

fn parts(value: &str) -> (&str, Vec<usize>, &str) {
    let (unsealed, seals) = value.split_at(value.find('~').unwrap_or(value.len()));
    let mut parts = unsealed.split('+');
    let start = parts.next().unwrap_or_default();
    (start, parts.filter_map(|mark| mark.parse().ok()).collect(), seals)
}

fn joined(start: &str, marks: &[usize], seals: &str) -> String {
    marks.iter().fold(start.to_owned(), |value, mark| format!("{value}+{mark}")) + seals
}
