//! A release, as far as answers depend on it: the migrations that it registers. Pure.

use std::fmt::Write;

use kv_migrations::{Migration, listed};

/// The migrations that a Worker or an object registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    /// In order.
    pub(crate) ids: Vec<String>,
    /// The same for two releases if a run, a status and a rollback mean the same to both: they register the same ids, in
    /// the same order, and the same of them are reversible. What a migration does is code, of which nothing is known.
    pub(crate) digest: String,
}

/// How the releases of a Worker and of the object that it asks differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) only_worker: Vec<String>,
    pub(crate) only_object: Vec<String>,
}

impl Release {
    pub(crate) fn new<C>(migrations: &[Migration<C>]) -> Self {
        let mut digest = Digest::default();
        for migration in migrations {
            digest.add(migration.id().as_bytes());
            // No byte of UTF-8.
            digest.add(if migration.is_reversible() { &[0xff] } else { &[0xfe] });
        }
        Self {
            ids: migrations.iter().map(|migration| migration.id().to_owned()).collect(),
            digest: format!("{:016x}", digest.0),
        }
    }

    /// What this release, of a Worker, and that of an object do not have in common.
    pub(crate) fn difference(&self, object: &[String]) -> Difference {
        let without = |ids: &[String], others: &[String]| {
            ids.iter().filter(|id| !others.contains(id)).cloned().collect()
        };
        Difference { only_worker: without(&self.ids, object), only_object: without(object, &self.ids) }
    }
}

impl Difference {
    /// The difference in words.
    pub(crate) fn text(&self) -> String {
        if self.only_worker.is_empty() && self.only_object.is_empty() {
            return "Both register the same migrations, but in another order, or not with the same `down`s."
                .to_owned();
        }
        let mut text = String::new();
        for (whose, ids) in [("Worker", &self.only_worker), ("object", &self.only_object)] {
            if !ids.is_empty() {
                let separator = if text.is_empty() { "" } else { " " };
                write!(text, "{separator}Only the {whose} registers {}.", listed(ids)).unwrap_or_default();
            }
        }
        text
    }
}

/// FNV-1a, 64 bits. Both lists are the service's own, so that nobody gains by making two digests equal.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(ids: &[&str]) -> Release {
        Release::new(&ids.iter().map(|id| migration(id)).collect::<Vec<_>>())
    }

    fn migration(id: &str) -> Migration {
        Migration::new(id.to_owned(), "", async |_, ()| Ok(()))
    }

    fn text(worker: &[&str], object: &[&str]) -> String {
        release(worker).difference(&release(object).ids).text()
    }

    #[test]
    fn releases_have_the_same_digest_only_if_they_register_the_same() {
        let reversible = migration("b").with_down(async |_, ()| Ok(()));
        let releases = [
            release(&[]),
            release(&["a"]),
            release(&["b"]),
            release(&["a", "b"]),
            release(&["b", "a"]),
            release(&["ab"]),
            Release::new(&[migration("a"), reversible]),
        ];
        for (index, one) in releases.iter().enumerate() {
            for (other_index, other) in releases.iter().enumerate() {
                assert_eq!(one.digest == other.digest, index == other_index, "{one:?} and {other:?}");
            }
        }
    }

    /// It is sent from one build to another.
    #[test]
    fn a_digest_does_not_depend_on_the_compiler() {
        assert_eq!(release(&["001_add_feature", "002_with_args"]).digest, "2c91b2ba6495cfa8");
    }

    #[test]
    fn a_difference_names_what_only_one_of_the_two_registers() {
        assert_eq!(text(&["001", "002"], &["001"]), "Only the Worker registers `002`.");
        assert_eq!(text(&["001"], &["001", "002"]), "Only the object registers `002`.");
        assert_eq!(
            text(&["1", "2"], &["3"]),
            "Only the Worker registers `1`, `2`. Only the object registers `3`."
        );
        assert!(text(&["1", "2"], &["2", "1"]).contains("in another order"));
        let many: Vec<String> = (0..12).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(text(&many, &[]).ends_with("`9` and 2 more."), "{}", text(&many, &[]));
    }
}
