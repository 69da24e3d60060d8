//! Loads all markers of a service: by a list, with the values that the list cannot vouch for; or by their keys, if too many
//! keys begin like theirs.

use super::marker::{MarkerMetadata, checkpoint_direction};
use super::{APPLIED, Ledger, Marker, Markers, Stored};
use crate::error::Error;
use crate::id::IdSet;
use crate::kv::limits::MAX_BULK_KEYS;
use crate::kv::{Key, ListOptions, Page, StoreExt};
use crate::report::Progress;

/// After this many pages the list is given up: visitors who can create keys that begin like markers make it as long as
/// they like.
const MAX_PAGES: usize = 10;
/// How many markers are read singly.
const MAX_SINGLE_READS: usize = 100;

/// A marker as it was listed. `None` if only its value can tell.
struct ListedMarker {
    key: String,
    /// Whether this runner wrote it, for this service. Only then its metadata is believed.
    is_own: bool,
    marker: Option<Marker>,
}

impl ListedMarker {
    /// A checkpoint is not read: it can be large.
    fn is_believed(&self) -> bool {
        let is_told = |marker: &Marker| matches!(marker, Marker::Applied(_)) || marker.progress().is_some();
        self.is_own && self.marker.as_ref().is_some_and(is_told)
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
    pub(crate) async fn load<'a>(&self, registered: impl Iterator<Item = &'a str>) -> Result<Markers, Error> {
        self.load_where(registered, &|_| true).await
    }

    /// Loads the markers whose keys are wanted.
    ///
    /// The keys of `auth_v2` begin like those of `auth`. So a marker counts if a registered migration has its id, or if its
    /// metadata names this service.
    pub(crate) async fn load_where<'a>(
        &self,
        registered: impl Iterator<Item = &'a str>,
        is_wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Markers, Error> {
        let registered = IdSet::new(registered);
        let start = self.key("");
        let mut markers = Vec::new();
        let mut add = |key: Key| {
            let Some(id) = key.name.strip_prefix(&start) else { return Ok(()) };
            let MarkerMetadata { service, marker } = MarkerMetadata::parse(key.metadata.as_ref());
            let is_own = service.as_deref() == Some(&self.service);
            if registered.contains(id) {
                self.check_owner(id, service.as_deref())?;
            } else if !is_own {
                return Ok(());
            }
            if is_wanted(&key.name) {
                markers.push(ListedMarker { key: key.name, is_own, marker });
            }
            Ok(())
        };
        if !self.list(&start, &mut add).await? {
            return self.load_by_key(&registered, is_wanted).await;
        }
        self.confirm_by_value(&mut markers).await?;
        // A list is in the order of the keys, which all begin alike.
        let mut known = Vec::new();
        for ListedMarker { key, marker, .. } in markers {
            if let (Some(id), Some(marker)) = (key.strip_prefix(&start), marker) {
                known.push((id.to_owned(), marker));
            }
        }
        Ok(Markers::in_order(known))
    }

    /// Calls `add` for each key that begins with `start`. False if there are too many pages.
    pub(super) async fn list(
        &self,
        start: &str,
        add: &mut dyn FnMut(Key) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let options = ListOptions::new(start).with_cursor(cursor.as_deref());
            let Page { keys, cursor: next } = self.kv.store().list(options).await.map_err(Error::Ledger)?;
            keys.into_iter().try_for_each(&mut *add)?;
            cursor = next;
            if cursor.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Loads the markers of the registered migrations by their keys: by value, and those singly whose metadata matters.
    async fn load_by_key(
        &self,
        registered: &IdSet<'_>,
        is_wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Markers, Error> {
        let (mut known, mut single_reads) = (Vec::new(), 0);
        for ids in registered.chunks(MAX_BULK_KEYS) {
            let (mut wanted, mut keys) = (Vec::new(), Vec::new());
            for &id in ids {
                let key = self.key(id);
                if is_wanted(&key) {
                    wanted.push(id);
                    keys.push(key);
                }
            }
            let mut values = self.values(keys).await?.into_iter();
            for id in wanted {
                let Some(value) = values.next().flatten() else { continue };
                let mut marker = Some(Marker::Applied(Box::default()));
                if value != APPLIED {
                    single_reads += 1;
                    if single_reads > MAX_SINGLE_READS {
                        return Err(Error::LedgerTooLarge { prefix: self.key("") });
                    }
                    marker = self.marker(id).await?;
                }
                if let Some(marker) = marker {
                    known.push((id.to_owned(), marker));
                }
            }
        }
        Ok(Markers::of_registered(known))
    }

    /// The marker of one migration. One operation.
    async fn marker(&self, id: &str) -> Result<Option<Marker>, Error> {
        let Some(Stored { value, marker }) = self.read(id, true).await? else { return Ok(None) };
        Ok(confirmed(marker, &value))
    }

    /// Reads the values of the markers whose metadata is not believed.
    async fn confirm_by_value(&self, markers: &mut [ListedMarker]) -> Result<(), Error> {
        let mut keys = Vec::new();
        for listed in &*markers {
            if !listed.is_believed() {
                keys.push(listed.key.clone());
            }
        }
        let (mut values, mut single_reads) = (self.values(keys).await?.into_iter(), 0);
        for listed in markers {
            if listed.is_believed() {
                continue;
            }
            let mut value = values.next().flatten();
            // A bulk get loses a byte order mark, so that the value may not be `true` exactly. The runners write `true` and
            // `runAt` together.
            let is_by_hand = !matches!(listed.marker, Some(Marker::Applied(_)));
            if is_by_hand && value.as_deref() == Some(APPLIED) && single_reads < MAX_SINGLE_READS {
                single_reads += 1;
                value = self.kv.bytes(&listed.key).await.map_err(Error::Ledger)?;
            }
            listed.marker = confirmed(listed.marker.take(), &value.unwrap_or_default());
        }
        Ok(())
    }
}
