//! What was written to one key, and from when on each location sees it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::{between, later, seconds};
use crate::kv::{Entry, Expiration, Key, PutOptions};

/// How many locations a [`DelayedKv`](super::DelayedKv) has.
pub const LOCATIONS: usize = 3;
/// KV takes one write to a key in this time.
const BETWEEN_WRITES: Duration = Duration::from_secs(1);

/// The writes to one key, the newest last.
#[derive(Default)]
pub(super) struct History {
    versions: Vec<Version>,
    /// Until when each location remembers that the key was missing.
    missing_until: [Option<SystemTime>; LOCATIONS],
    last_write: Option<SystemTime>,
}

/// One write.
pub(super) struct Version {
    /// `None` for a deletion.
    pub(super) stored: Option<Stored>,
    pub(super) seen: [Seen; LOCATIONS],
}

/// From when on a location sees a write.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) read: SystemTime,
    pub(super) listed: SystemTime,
}

/// An entry and its expiration, in seconds since 1970.
pub(super) struct Stored {
    pub(super) entry: Entry,
    pub(super) expiration: Option<u64>,
}

#[allow(clippy::indexing_slicing, reason = "callers name a location that there is")]
impl History {
    /// An entry that all locations see.
    pub(super) fn starting_with(stored: Stored) -> Self {
        let seen = [Seen { read: UNIX_EPOCH, listed: UNIX_EPOCH }; LOCATIONS];
        Self { versions: vec![Version { stored: Some(stored), seen }], ..Self::default() }
    }

    pub(super) fn takes_write(&self, time: SystemTime) -> bool {
        self.last_write.is_none_or(|last| between(last, time) >= BETWEEN_WRITES)
    }

    pub(super) fn add(&mut self, location: usize, version: Version, time: SystemTime) {
        if version.seen[location].read <= time {
            self.missing_until[location] = None;
        }
        self.last_write = Some(time);
        // What is older than a version that all locations see is seen by none.
        let is_everywhere =
            |version: &Version| version.seen.iter().all(|seen| seen.read <= time && seen.listed <= time);
        if let Some(newest) = self.versions.iter().rposition(is_everywhere) {
            self.versions.drain(..newest);
        }
        self.versions.push(version);
    }

    /// What a get returns. If the key is missing, the location remembers that for a while.
    pub(super) fn read(&mut self, location: usize, now: SystemTime, remembered: Duration) -> Option<&Stored> {
        if self.missing_until[location].is_some_and(|until| now < until) {
            return None;
        }
        let live = |version: &'_ Version| version.stored.as_ref().is_some_and(|stored| stored.is_live(now));
        let is_there = self.versions.last().is_some_and(live);
        let version = self.versions.iter().rev().find(|version| version.seen[location].read <= now);
        let found = version.and_then(|version| version.stored.as_ref()).filter(|stored| stored.is_live(now));
        if found.is_none() && !is_there {
            self.missing_until[location] = Some(later(now, remembered));
        }
        found
    }

    /// The key as a list returns it.
    pub(super) fn listed(&self, name: &str, location: usize, now: SystemTime) -> Option<Key> {
        let version = self.versions.iter().rev().find(|version| version.seen[location].listed <= now)?;
        let stored = version.stored.as_ref().filter(|stored| stored.is_live(now))?;
        let metadata = stored.entry.metadata.clone();
        Some(Key::new(name).with_expiration(stored.expiration).with_metadata(metadata))
    }
}

impl Stored {
    /// What a put stores that KV takes at this time.
    pub(super) fn new(value: &[u8], options: &PutOptions, time: SystemTime) -> Self {
        let entry = Entry::new(value).with_metadata(options.metadata.clone());
        let expiration = options.expiration.map(|expiration| match expiration {
            Expiration::At(at) => at,
            Expiration::After(after) => seconds(time).saturating_add(after),
        });
        Self { entry, expiration }
    }

    fn is_live(&self, now: SystemTime) -> bool {
        self.expiration.is_none_or(|at| at > seconds(now))
    }
}
