//! Ids of migrations: which strings are valid, and why a list of migrations is refused. `declared` checks the ids of
//! `migrations!` while compiling.

pub(crate) mod declared;

use std::fmt;

use crate::kv::limits::MAX_KEY_BYTES;
use crate::log::is_unsafe;

/// The bytes of a marker's key without the service's prefix and the id: `migration_` and `_`.
pub(crate) const MARKER_KEY_OVERHEAD: usize = "migration__".len();

/// The length limit of an id, in bytes: it leaves one byte of a marker's key for the service's prefix.
const MAX_ID_BYTES: usize = MAX_KEY_BYTES - MARKER_KEY_OVERHEAD - 1;

/// Why a string is not a valid id, or not a valid prefix of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidId {
    /// It is empty.
    Empty,
    /// It is longer than 500 bytes, the rest of a marker's key.
    TooLong,
    /// It contains a control character, which would break log lines.
    ControlCharacter,
    /// It has a character that cannot be seen, such as a space without a width, or a space at its start or end. A run refuses
    /// it unless the migration has begun under this id.
    Invisible,
    /// It is `.` or `..`, which cannot be a segment of a URL's path, so that it could not be rolled back.
    DotSegment,
}

impl InvalidId {
    const fn reason(self) -> &'static str {
        match self {
            Self::Empty => "it is empty",
            Self::TooLong => "it is longer than 500 bytes",
            Self::ControlCharacter => "it holds a control character",
            Self::Invisible => {
                "it has a character that cannot be seen, or a space at its start or end: take that out. Nothing was changed"
            }
            Self::DotSegment => "`.` and `..` cannot be a segment of a URL's path",
        }
    }
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for InvalidId {}

/// Why a list of migrations cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrationError {
    /// The prefix of the service is not valid.
    #[non_exhaustive]
    InvalidService {
        /// The prefix of the service.
        service: String,
        /// Why it is not valid.
        reason: InvalidId,
    },
    /// An id is not valid.
    #[non_exhaustive]
    InvalidId {
        /// The id.
        id: String,
        /// Its position in the list, from 1.
        position: usize,
        /// Why it is not valid.
        reason: InvalidId,
    },
    /// The key of a migration's marker would be longer than KV takes.
    #[non_exhaustive]
    KeyTooLong {
        /// The id.
        id: String,
        /// The length of the key, in bytes.
        bytes: usize,
    },
    /// Two migrations have the same id.
    #[non_exhaustive]
    DuplicateId {
        /// The id.
        id: String,
        /// The position of the first one in the list, from 1.
        first: usize,
        /// The position of the second one in the list, from 1.
        position: usize,
    },
    /// A migration is not valid: two of its prefixes overlap, or two of its settings contradict each other.
    #[non_exhaustive]
    InvalidMigration {
        /// The id.
        id: String,
        /// Why it is not valid.
        reason: String,
    },
}

impl fmt::Display for RegistrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidService { service, reason } => {
                write!(f, "{service:?} cannot be the prefix of a service: {reason}")
            }
            Self::InvalidId { id, position, reason } => {
                write!(f, "{id:?} (number {position} of the registered migrations) cannot be an id: {reason}")
            }
            Self::KeyTooLong { id, bytes } => write!(
                f,
                "the key of the marker of `{id}` would be {bytes} bytes long, and KV takes {MAX_KEY_BYTES}: \
                 shorten the id or the prefix"
            ),
            Self::InvalidMigration { id, reason } => write!(f, "`{id}` cannot be registered: {reason}"),
            Self::DuplicateId { id, first, position } => write!(
                f,
                "number {first} and number {position} of the registered migrations have the same id, `{id}`: give the \
                 later one an id of its own"
            ),
        }
    }
}

impl std::error::Error for RegistrationError {}

/// Whether `id` is valid on its own. [`Runner::new`](crate::Runner::new) also checks it against the other ids and the
/// service's prefix.
pub(crate) const fn check(id: &str) -> Result<(), InvalidId> {
    let bytes = id.as_bytes();
    match bytes {
        [] => Err(InvalidId::Empty),
        [b'.'] | [b'.', b'.'] => Err(InvalidId::DotSegment),
        _ if bytes.len() > MAX_ID_BYTES => Err(InvalidId::TooLong),
        _ if has_control_character(bytes) => Err(InvalidId::ControlCharacter),
        _ => Ok(()),
    }
}

/// Whether people see all of an id, or of a prefix.
pub(crate) fn is_visible(id: &str) -> bool {
    let mut is_last_space = false;
    for (place, character) in id.char_indices() {
        is_last_space = is_space(character);
        if is_unsafe(character) || is_last_space && place == 0 {
            return false;
        }
    }
    !is_last_space
}

/// Unicode's white space that is no control character.
fn is_space(character: char) -> bool {
    matches!(
        character,
        ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

/// Whether people take two ids for the same: they differ only in letter case, `-`, `_`, `.` and spaces.
pub(crate) fn look_alike(id: &str, other: &str) -> bool {
    id != other && folded(id).eq(folded(other))
}

fn folded(id: &str) -> impl Iterator<Item = u8> {
    id.bytes().filter(|byte| !matches!(byte, b'-' | b'_' | b'.' | b' ')).map(|byte| byte.to_ascii_lowercase())
}

/// A sorted list of ids for look-ups. A tree would cost several times as much code in every user's wasm.
pub(crate) struct IdSet<'a>(Vec<&'a str>);

impl<'a> IdSet<'a> {
    pub(crate) fn new(ids: impl Iterator<Item = &'a str>) -> Self {
        let mut list = Vec::new();
        for id in ids {
            list.push(id);
        }
        Self::from_list(list)
    }

    pub(crate) fn from_list(mut ids: Vec<&'a str>) -> Self {
        sort(&mut ids);
        Self(ids)
    }

    /// The ids in the order of their bytes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.0.iter().copied()
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.0.binary_search(&id).is_ok()
    }
}

/// An id that occurs twice, and its places, from 1. Written as loops, which are smaller in a wasm than chains of iterators.
pub(crate) fn duplicate<'a>(ids: impl Iterator<Item = &'a str> + Clone) -> Option<(&'a str, usize, usize)> {
    let IdSet(sorted) = IdSet::new(ids.clone());
    let mut last = None;
    for id in sorted {
        if last == Some(id) {
            return places(id, ids);
        }
        last = Some(id);
    }
    None
}

/// An id and the first two of its places.
fn places<'a>(id: &'a str, ids: impl Iterator<Item = &'a str>) -> Option<(&'a str, usize, usize)> {
    let mut first = None;
    for (place, other) in (1..).zip(ids) {
        if other == id {
            match first {
                None => first = Some(place),
                Some(first) => return Some((id, first, place)),
            }
        }
    }
    None
}

const fn has_control_character(mut bytes: &[u8]) -> bool {
    while let [byte, rest @ ..] = bytes {
        if byte.is_ascii_control() {
            return true;
        }
        bytes = rest;
    }
    false
}

/// Sorts ids by their bytes: a heap sort, since it also runs while compiling, and is small in a wasm. Returns how many
/// comparisons it took.
#[allow(clippy::indexing_slicing, reason = "`get` would need an answer for what no heap is")]
const fn sort(ids: &mut [&str]) -> usize {
    let (mut end, mut root, mut comparisons) = (ids.len(), ids.len() / 2, 0);
    while end > 1 {
        if root > 0 {
            // The heap grows downwards.
            root -= 1;
        } else {
            end -= 1;
            ids.swap(0, end);
        }
        let mut parent = root;
        while 2 * parent + 1 < end {
            let mut child = 2 * parent + 1;
            if child + 1 < end && is_less(ids[child], ids[child + 1]) {
                child += 1;
            }
            comparisons += 2;
            if !is_less(ids[parent], ids[child]) {
                break;
            }
            ids.swap(parent, child);
            parent = child;
        }
    }
    comparisons
}

const fn is_less(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while let ([l, ls @ ..], [r, rs @ ..]) = (left, right) {
        if *l != *r {
            return *l < *r;
        }
        (left, right) = (ls, rs);
    }
    left.is_empty() && !right.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_ids_pass() {
        for id in ["001_add_feature", "1", "__proto__", "grüße", "a b", "50%", "a/b", "..."] {
            assert_eq!(check(id), Ok(()), "{id:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_key_or_a_path_segment_is_refused() {
        assert_eq!(check(""), Err(InvalidId::Empty));
        assert_eq!(check("."), Err(InvalidId::DotSegment));
        assert_eq!(check(".."), Err(InvalidId::DotSegment));
        assert_eq!(check("a\nb"), Err(InvalidId::ControlCharacter));
        assert_eq!(check(&"x".repeat(500)), Ok(()));
        assert_eq!(check(&"x".repeat(501)), Err(InvalidId::TooLong));
        assert_eq!(check(&"ü".repeat(251)), Err(InvalidId::TooLong), "bytes count, not characters");
    }

    /// A quadratic sort of 100,000 ids takes billions of comparisons.
    #[test]
    fn a_hundred_thousand_ids_in_any_order_take_few_comparisons_each() {
        let ascending: Vec<String> = (0..100_000).map(|number| format!("{number:06}")).collect();
        let ascending: Vec<&str> = ascending.iter().map(String::as_str).collect();
        let descending: Vec<&str> = ascending.iter().rev().copied().collect();
        let (evens, odds) = (ascending.iter().step_by(2), ascending.iter().skip(1).step_by(2));
        let interleaved: Vec<&str> = odds.chain(evens).copied().collect();
        for mut ids in [ascending.clone(), descending, interleaved] {
            let comparisons = sort(&mut ids);
            assert!(comparisons <= 40 * ids.len(), "{comparisons} comparisons");
            assert!(ids == ascending, "they are sorted");
        }
    }

    #[test]
    fn ids_that_people_take_for_the_same_are_found() {
        for other in ["001_Add_feature", "001addfeature", "001 add.feature-"] {
            assert!(look_alike("001_add-feature", other), "{other}");
        }
        for other in ["001_add-feature", "001_add-features", "01_add-feature", ""] {
            assert!(!look_alike("001_add-feature", other), "{other}");
        }
    }

    #[test]
    fn an_id_is_visible_if_all_of_it_is() {
        for id in ["001_add_feature", "a b", "grüße", "名前"] {
            assert!(is_visible(id), "{id:?}");
        }
        for id in ["a\u{200b}", "\u{202e}a", "a\u{85}b", "a ", " a", "a\u{a0}", "a\u{feff}b"] {
            assert!(!is_visible(id), "{id:?}");
        }
    }

    #[test]
    fn ids_are_sorted_by_their_bytes() {
        let mut ids = ["b", "", "abc", "ü", "ab", "a", "b", "Z", "00", "0"];
        let mut expected = ids;
        expected.sort_unstable();
        sort(&mut ids);
        assert_eq!(ids, expected);
    }
}
