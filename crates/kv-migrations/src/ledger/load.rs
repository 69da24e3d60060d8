//! Loads all markers of a service: by a list, with the values that the list cannot vouch for; or by their keys, if too many
//! keys begin like theirs.

use super::marker::{MarkerMetadata, checkpoint_direction};
use super::{APPLIED, Ledger, Marker, Markers, Stored};
use crate::error::Error;
use crate::id::IdSet;
use crate::kv::limits::MAX_BULK_KEYS;
use crate::kv::{BulkValue, Key, ListOptions, Page, StoreExt};
use crate::report::Progress;

/// After this many pages the list is given up: visitors who can create keys that begin like markers make it as long as
/// they like.
const MAX_PAGES: usize = 10;
/// How many markers are read singly.
const MAX_SINGLE_READS: usize = 100;

/// A marker as it was listed, or as it would be.
pub(super) struct ListedMarker {
    pub(super) key: String,
    pub(super) is_listed: bool,
    /// The prefix of the service that wrote it, if its metadata names one.
    pub(super) service: Option<String>,
    /// What its metadata says, and then what its value says, too. `None` if only its value can tell.
    pub(super) marker: Option<Marker>,
}

impl ListedMarker {
    /// Whether the metadata is believed: this runner wrote it. A checkpoint is not read, because it can be large.
    fn is_believed(&self) -> bool {
        let is_told = |marker: &Marker| matches!(marker, Marker::Applied(_)) || marker.progress().is_some();
        self.service.is_some() && self.marker.as_ref().is_some_and(is_told)
    }
}

/// What is known once the value is: only `true` is applied, and a checkpoint says its direction, whatever the metadata
/// says.
fn confirmed(marker: Option<Marker>, value: &[u8]) -> Option<Marker> {
    let is_applied = value == APPLIED;
    match marker {
        Some(Marker::Applied(applied)) => is_applied.then_some(Marker::Applied(applied)),
        _ if is_applied => Some(Marker::Applied(Box::default())),
        // Its metadata was lost.
        None => checkpoint_direction(value)
            .map(|direction| Marker::Running(Box::new(Progress { direction, ..Progress::default() }))),
        marker => marker,
    }
}

impl Ledger {
    /// Loads all markers. One operation for every 1,000; one for every 100 whose values have to be read; and one for each of
    /// the first 100 that have the value `true` without a `runAt`. If more than 10,000 keys begin like markers: ten, one for
    /// every 100 registered migrations, and one for each that has begun and is not applied.
    pub(crate) fn load<'a>(
        &self,
        registered: impl Iterator<Item = &'a str>,
    ) -> impl Future<Output = Result<Markers, Error>> {
        self.load_where(IdSet::new(registered), false, &|_| true)
    }

    /// Loads all markers as [`load`](Self::load) does, and those of registered migrations by their keys too that are not listed:
    /// KV's list can be late. One operation more for every 100 of these.
    pub(crate) fn load_by_key<'a>(
        &self,
        registered: impl Iterator<Item = &'a str>,
    ) -> impl Future<Output = Result<Markers, Error>> {
        self.load_where(IdSet::new(registered), true, &|_| true)
    }

    /// Loads the markers whose keys are wanted.
    pub(crate) fn load_wanted<'a>(
        &self,
        registered: impl Iterator<Item = &'a str>,
        is_wanted: &dyn Fn(&str) -> bool,
    ) -> impl Future<Output = Result<Markers, Error>> {
        self.load_where(IdSet::new(registered), false, is_wanted)
    }

    /// The keys of `auth_v2` begin like those of `auth`. So a marker counts if a registered migration has its id, or if its
    /// metadata names this service.
    async fn load_where(
        &self,
        registered: IdSet<'_>,
        reads_unlisted: bool,
        is_wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Markers, Error> {
        let start = self.key("");
        let mut markers: Vec<ListedMarker> = Vec::new();
        let listed = self.list(&start).await?;
        let (is_listed, mut note_owner) = (listed.is_some(), None);
        for listed in listed.unwrap_or_default() {
            let Some(id) = listed.key.strip_prefix(&start) else { continue };
            if id.is_empty() {
                note_owner = Some(listed.service.unwrap_or_default());
                continue;
            }
            if registered.contains(id) {
                self.check_owner(id, listed.service.as_deref())?;
            } else if listed.service.as_ref() != Some(&self.service) {
                continue;
            }
            if is_wanted(&listed.key) {
                markers.push(listed);
            }
        }
        if reads_unlisted || !is_listed {
            // Of these, only the values tell.
            for id in registered.iter() {
                let key = self.key(id);
                // A list is in the order of the keys, which all begin alike.
                if let Err(place) = markers.binary_search_by(|marker| marker.key.cmp(&key))
                    && is_wanted(&key)
                {
                    let unlisted = ListedMarker { key, is_listed: false, service: None, marker: None };
                    markers.insert(place, unlisted);
                }
            }
        }
        self.read_values(&mut markers).await?;
        let mut known = Vec::new();
        for ListedMarker { key, marker, .. } in markers {
            if let (Some(id), Some(marker)) = (key.strip_prefix(&start), marker) {
                known.push((id.to_owned(), marker));
            }
        }
        Ok(Markers::in_order(known, !is_listed, note_owner))
    }

    /// The keys that begin with `start`. `None` if there are too many pages.
    pub(super) async fn list(&self, start: &str) -> Result<Option<Vec<ListedMarker>>, Error> {
        let (mut markers, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..MAX_PAGES {
            let options = ListOptions::new(start).with_cursor(cursor.as_deref());
            let Page { keys, cursor: next } = self.kv.store().list(options).await.map_err(Error::Ledger)?;
            for Key { name: key, metadata, .. } in keys {
                let MarkerMetadata { service, marker } = MarkerMetadata::parse(metadata.as_ref());
                markers.push(ListedMarker { key, is_listed: true, service, marker });
            }
            cursor = next;
            if cursor.is_none() {
                return Ok(Some(markers));
            }
        }
        Ok(None)
    }

    /// Reads the values of the markers whose metadata is not believed. Of those that were not listed, also the metadata where the
    /// value is not `true`.
    pub(super) async fn read_values(&self, markers: &mut [ListedMarker]) -> Result<(), Error> {
        let mut unread: Vec<&mut ListedMarker> = Vec::new();
        for marker in markers {
            if !marker.is_believed() {
                unread.push(marker);
            }
        }
        let (start, mut single_reads) = (self.key(""), 0);
        for some in unread.chunks_mut(MAX_BULK_KEYS) {
            let mut keys: Vec<&str> = Vec::new();
            for unread in &*some {
                keys.push(&unread.key);
            }
            let mut values = match self.kv.store().get_bulk(&keys).await {
                // One by one.
                Err(error) if error.is_too_large() => Vec::new(),
                values => values.map_err(Error::Ledger)?,
            }
            .into_iter();
            for unread in some {
                let (mut value, is_unread) = match values.next() {
                    Some(BulkValue::Found(value)) => (Some(value), false),
                    Some(BulkValue::Missing) => (None, false),
                    Some(BulkValue::Unread) | None => (None, true),
                };
                let is_applied = value.as_deref() == Some(APPLIED);
                let is_listed = unread.is_listed;
                let is_doubtful = if is_listed {
                    // A bulk get loses a byte order mark, so that the value may not be `true` exactly. The runners write
                    // `true` and `runAt` together.
                    is_applied && !matches!(unread.marker, Some(Marker::Applied(_)))
                } else {
                    value.is_some() && !is_applied
                };
                if is_unread || is_doubtful && single_reads < MAX_SINGLE_READS {
                    single_reads += 1;
                    let id = unread.key.strip_prefix(&start).filter(|_| !is_listed);
                    (value, unread.marker) = match self.read(&unread.key, id, true).await? {
                        Some(Stored { value, marker }) => (Some(value), marker),
                        None => (None, None),
                    };
                } else if is_doubtful && !is_listed {
                    return Err(Error::LedgerTooLarge { prefix: start });
                }
                unread.marker = confirmed(unread.marker.take(), value.as_deref().unwrap_or_default());
            }
        }
        Ok(())
    }
}
