//! Ids of migrations: which strings are valid, and why a list of migrations is refused. The ids of `migrations!` are
//! checked while compiling.

use std::fmt;

use crate::kv::limits::MAX_KEY_BYTES;

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
    /// It is `.` or `..`, which cannot be a segment of a URL's path, so that it could not be rolled back.
    DotSegment,
}

impl InvalidId {
    const fn reason(self) -> &'static str {
        match self {
            Self::Empty => "it is empty",
            Self::TooLong => "it is longer than the 500 bytes that the key of its marker leaves for it",
            Self::ControlCharacter => "it holds a control character",
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
        /// The position of the second one in the list, from 1.
        position: usize,
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
            Self::DuplicateId { id, position } => write!(
                f,
                "`{id}` is registered twice, the second time as number {position}: an id is unique and \
                 permanent"
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

/// A sorted list of ids for look-ups. A tree would cost several times as much code in every user's wasm.
#[derive(Default)]
pub(crate) struct IdSet<'a>(Vec<&'a str>);

impl<'a> IdSet<'a> {
    pub(crate) fn new(ids: impl Iterator<Item = &'a str>) -> Self {
        let mut set = Self::default();
        for id in ids {
            set.insert(id);
        }
        set
    }

    /// False if the id is in the set already.
    pub(crate) fn insert(&mut self, id: &'a str) -> bool {
        let place = self.0.binary_search(&id);
        if let Err(place) = place {
            self.0.insert(place, id);
        }
        place.is_err()
    }

    /// The ids in the order of their bytes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.0.iter().copied()
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.0.binary_search(&id).is_ok()
    }
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

const fn equal(mut left: &[u8], mut right: &[u8]) -> bool {
    while let ([l, ls @ ..], [r, rs @ ..]) = (left, right) {
        if *l != *r {
            return false;
        }
        (left, right) = (ls, rs);
    }
    left.is_empty() && right.is_empty()
}

/// Stops the build at an invalid id and at a duplicate. Called by [`migrations!`](crate::migrations!).
#[doc(hidden)]
#[allow(clippy::panic, reason = "evaluated while compiling, where a panic is the compiler's error")]
pub const fn assert_ids(mut ids: &[&str]) {
    while let [id, rest @ ..] = ids {
        if let Err(invalid) = check(id) {
            panic!("{}", invalid.reason());
        }
        let mut others = rest;
        while let [other, more @ ..] = others {
            assert!(!equal(id.as_bytes(), other.as_bytes()), "two migrations have the same id");
            others = more;
        }
        ids = rest;
    }
}

/// The ordered list of migrations from the modules that define them. Their ids are checked while compiling.
///
/// Each module has a `pub const ID: &str` and a `pub fn migration()` that returns the
/// [`Migration`](crate::Migration). A function with arguments gets them as `m002(delay)`. Empty, oversized and duplicate
/// ids, and ids that cannot be in a URL, are compile errors:
///
/// ```compile_fail,E0080
/// # mod m001_add_feature { pub const ID: &str = "001"; pub fn migration() -> kv_migrations::Migration { kv_migrations::Migration::new(ID, "", async |_, ()| Ok(())) } }
/// # mod m002_with_args { pub const ID: &str = "001"; pub fn migration() -> kv_migrations::Migration { kv_migrations::Migration::new(ID, "", async |_, ()| Ok(())) } }
/// kv_migrations::migrations![m001_add_feature, m002_with_args]; // both have the id "001"
/// ```
///
/// # Example
/// ```
/// mod m001_add_feature {
///     use kv_migrations::Migration;
///
///     pub const ID: &str = "001_add_feature";
///
///     pub fn migration() -> Migration {
///         Migration::new(ID, "Add new feature to system", async |kv, _| {
///             kv.put("feature_enabled", "true").await?;
///             Ok(())
///         })
///     }
/// }
///
/// let migrations = kv_migrations::migrations![m001_add_feature];
/// assert_eq!(migrations[0].id(), "001_add_feature");
/// ```
#[macro_export]
macro_rules! migrations {
    ($($module:ident $(($($argument:expr),* $(,)?))?),* $(,)?) => {{
        const _: () = $crate::assert_ids(&[$($module::ID),*]);
        ::std::vec![$($module::migration($($($argument),*)?)),*]
    }};
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

    #[test]
    fn equal_compares_whole_strings() {
        assert!(equal(b"", b""));
        assert!(equal(b"ab", b"ab"));
        assert!(!equal(b"ab", b"abc"));
        assert!(!equal(b"abc", b"ab"));
    }
}
