//! `migrations!`: the list of migrations from the modules that define them, with a check of their ids while compiling.

use super::{check, is_less, sort};

/// Stops the build at an invalid id and at a duplicate, and names the modules. Called by
/// [`migrations!`](crate::migrations!).
#[doc(hidden)]
#[allow(clippy::panic, reason = "evaluated while compiling, where a panic is the compiler's error")]
#[allow(clippy::indexing_slicing, reason = "the same")]
pub const fn assert_ids<const N: usize>(modules: &[&str; N], ids: &[&str; N]) {
    let mut index = 0;
    while index < N {
        if let Err(invalid) = check(ids[index]) {
            panic!("{}", Text::new().with(modules[index]).with("::ID: ").with(invalid.reason()).as_str());
        }
        index += 1;
    }
    let mut sorted = *ids;
    if !is_ascending(&sorted) {
        sort(&mut sorted);
    }
    let mut index = 1;
    while index < N {
        let id = sorted[index];
        if is_equal(sorted[index - 1], id) {
            let first = position(ids, id, 0);
            let second = position(ids, id, first + 1);
            let text = Text::new().with(modules[first]).with(" and ").with(modules[second]);
            panic!("{}", text.with(" have the same ID: ").with(id).as_str());
        }
        index += 1;
    }
}

/// Whether each id is greater than the one before it: the usual case, which is faster than to sort.
#[allow(clippy::indexing_slicing, reason = "evaluated while compiling")]
const fn is_ascending(ids: &[&str]) -> bool {
    let mut index = 1;
    while index < ids.len() {
        if !is_less(ids[index - 1], ids[index]) {
            return false;
        }
        index += 1;
    }
    true
}

/// The place of an id that is there, at `start` or after it.
#[allow(clippy::indexing_slicing, reason = "evaluated while compiling")]
const fn position(ids: &[&str], id: &str, start: usize) -> usize {
    let mut index = start;
    while !is_equal(ids[index], id) {
        index += 1;
    }
    index
}

const fn is_equal(left: &str, right: &str) -> bool {
    !is_less(left, right) && !is_less(right, left)
}

/// A text that is put together while compiling.
struct Text {
    bytes: [u8; 2_000],
    length: usize,
}

impl Text {
    const fn new() -> Self {
        Self { bytes: [0; 2_000], length: 0 }
    }

    /// Adds a text if there is room for it.
    #[allow(clippy::indexing_slicing, reason = "evaluated while compiling")]
    const fn with(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        if text.len() <= self.bytes.len() - self.length {
            let mut index = 0;
            while index < text.len() {
                self.bytes[self.length + index] = text[index];
                index += 1;
            }
            self.length += index;
        }
        self
    }

    const fn as_str(&self) -> &str {
        match str::from_utf8(self.bytes.split_at(self.length).0) {
            Ok(text) => text,
            Err(_) => "an id is invalid",
        }
    }
}

/// The ordered list of migrations from the modules that define them. Their ids are checked while compiling.
///
/// Each module has a `pub const ID: &str` and a `pub fn migration()` that returns the
/// [`Migration`](crate::Migration). A function with arguments gets them as `m002(delay)`. The `ID` of the module is the id of
/// the migration, whatever the function gives to [`Migration::new`](crate::Migration::new). Empty, oversized and duplicate
/// ids, and ids that cannot be in a URL, are compile errors that name the modules:
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
        // A long list takes the compiler more steps than it expects of a constant.
        #[allow(long_running_const_eval)]
        const _: () = $crate::assert_ids(&[$(::core::stringify!($module)),*], &[$($module::ID),*]);
        ::std::vec![$($module::migration($($($argument),*)?).with_id($module::ID)),*]
    }};
}

#[cfg(test)]
#[allow(clippy::large_stack_arrays, reason = "evaluated while compiling")]
mod tests {
    use super::*;

    const MANY: usize = 2_000;

    /// `20261122104828_0000` and so on.
    const fn timestamped() -> [[u8; 19]; MANY] {
        let mut ids = [*b"20261122104828_0000"; MANY];
        let mut number = 0;
        while number < MANY {
            let (mut rest, mut place) = (number, 18);
            while rest > 0 {
                ids[number][place] = b"0123456789"[rest % 10];
                (rest, place) = (rest / 10, place - 1);
            }
            number += 1;
        }
        ids
    }

    /// All ids as texts; in descending order if `is_reversed`.
    const fn texts(bytes: &'static [[u8; 19]; MANY], is_reversed: bool) -> [&'static str; MANY] {
        let mut texts = [""; MANY];
        let mut number = 0;
        while number < MANY {
            let place = if is_reversed { MANY - 1 - number } else { number };
            texts[place] = match str::from_utf8(&bytes[number]) {
                Ok(text) => text,
                Err(_) => panic!("it is ASCII"),
            };
            number += 1;
        }
        texts
    }

    static BYTES: [[u8; 19]; MANY] = timestamped();

    // As `migrations!` does it.
    #[allow(long_running_const_eval)]
    const _: () = assert_ids(&[""; MANY], &texts(&BYTES, false));
    #[allow(long_running_const_eval)]
    const _: () = assert_ids(&[""; MANY], &texts(&BYTES, true));

    mod copied {
        use crate::Migration;

        pub(super) const ID: &str = "002";

        pub(super) fn migration() -> Migration {
            Migration::new("001", "copied from the module before", async |_, ()| Ok(()))
        }
    }

    #[test]
    fn the_id_of_a_migration_is_that_of_its_module_also_where_the_function_has_another() {
        let [migration] = &crate::migrations![copied][..] else { panic!("it is one") };
        assert_eq!(migration.id(), copied::ID);
    }

    fn refusal(modules: &[(&str, &str)]) -> String {
        let (names, ids): (Vec<_>, Vec<_>) = modules.iter().copied().unzip();
        let names: &[&str; 3] = names.as_slice().try_into().expect("three");
        let ids: &[&str; 3] = ids.as_slice().try_into().expect("three");
        let panic = std::panic::catch_unwind(|| assert_ids(names, ids)).expect_err("they must be refused");
        panic.downcast_ref::<String>().cloned().expect("it has a text")
    }

    #[test]
    fn a_refusal_names_the_modules() {
        assert_eq!(
            refusal(&[("m001", "001"), ("m002", "002"), ("m003", "001")]),
            "m001 and m003 have the same ID: 001"
        );
        assert_eq!(refusal(&[("m001", "b"), ("m002", ""), ("m003", "a")]), "m002::ID: it is empty");
    }

    #[test]
    fn ids_in_any_order_pass_if_each_is_there_once() {
        assert_ids(&["", "", ""], &["b", "a", "ab"]);
        assert_ids(&["", "", ""], &["a", "ab", "abc"]);
        assert_ids(&[], &[]);
    }
}
