//! What was written to one key, and from when on each location sees it.

use kv_migrations::kv::{Entry, Key};

use super::LOCATIONS;

/// An entry with its expiration, in seconds since 1970.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) entry: Entry,
    pub(super) expiration: Option<u64>,
}

/// One write: an entry, or its deletion.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) stored: Option<Stored>,
    /// From when on a get sees it, by location.
    pub(super) seen: [i64; LOCATIONS],
    /// From when on a list tells it, by location.
    pub(super) listed: [i64; LOCATIONS],
}

/// The writes to one key, the newest last.
#[derive(Debug, Default)]
pub(super) struct History {
    versions: Vec<Version>,
    /// Until when a location remembers that the key was not there.
    missing: [i64; LOCATIONS],
    /// When it was written last.
    written: i64,
}

impl History {
    /// KV takes one write a second to a key.
    pub(super) fn takes(&self, now: i64) -> bool {
        now - self.written >= 1_000
    }

    pub(super) fn push(&mut self, location: usize, version: Version, now: i64) {
        if version.seen[location] <= now {
            self.missing[location] = 0;
        }
        self.written = now;
        // What nobody sees any more.
        let is_everywhere =
            |version: &Version| version.seen.iter().chain(&version.listed).all(|&from| from <= now);
        if let Some(newest) = self.versions.iter().rposition(is_everywhere) {
            self.versions.drain(..newest);
        }
        self.versions.push(version);
    }

    /// What a get sees there. That a key is not there is remembered for a while, once it was asked for.
    pub(super) fn seen(&mut self, location: usize, now: i64, remembered: u64) -> Option<&Stored> {
        if now < self.missing[location] {
            return None;
        }
        let is_there = |stored: &Stored| stored.is_live(now);
        let is_in_truth =
            self.versions.last().and_then(|version| version.stored.as_ref()).is_some_and(is_there);
        let version = self.versions.iter().rev().find(|version| version.seen[location] <= now);
        let seen = version.and_then(|version| version.stored.as_ref()).filter(|stored| stored.is_live(now));
        if seen.is_none() && !is_in_truth {
            self.missing[location] = now + i64::try_from(remembered).unwrap_or(0);
        }
        seen
    }

    /// What a list tells there.
    pub(super) fn listed(&self, name: &str, location: usize, now: i64) -> Option<Key> {
        let version = self.versions.iter().rev().find(|version| version.listed[location] <= now)?;
        let stored = version.stored.as_ref().filter(|stored| stored.is_live(now))?;
        let metadata = stored.entry.metadata.clone();
        Some(Key::new(name).with_expiration(stored.expiration).with_metadata(metadata))
    }
}

impl Stored {
    fn is_live(&self, now: i64) -> bool {
        self.expiration.is_none_or(|at| i64::try_from(at).is_ok_and(|at| at > now / 1_000))
    }
}
