//! Loads all markers of a service: a list, and the values that the list cannot vouch for.

use super::marker::MarkerMetadata;
use super::{APPLIED, Ledger, Marker, Markers};
use crate::error::Error;
use crate::id::IdSet;
use crate::kv::KvError;

/// How many markers that were set by hand are read singly. The others are known from a bulk get.
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

    /// What is known once the value is: only `true` is applied, whatever the metadata says.
    fn confirm(&mut self, is_applied: bool) {
        self.marker = match self.marker.take() {
            Some(Marker::Applied(applied)) => is_applied.then_some(Marker::Applied(applied)),
            _ if is_applied => Some(Marker::Applied(Box::default())),
            marker => marker,
        };
    }
}

impl Ledger {
    /// Loads all markers. One operation for every 1,000; one for every 100 whose values have to be read; and one for each of
    /// the first 100 that have the value `true` without a `runAt`.
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
        let mut keys = self.kv.list(&start);
        while let Some(key) = keys.next().await.map_err(Error::Ledger)? {
            let Some(id) = key.name.strip_prefix(&start) else { continue };
            let MarkerMetadata { service, marker } = MarkerMetadata::parse(key.metadata.as_ref());
            let is_own = service.as_deref() == Some(&self.service);
            if registered.contains(id) {
                self.check_owner(id, service.as_deref())?;
            } else if !is_own {
                continue;
            }
            if is_wanted(&key.name) {
                markers.push(ListedMarker { key: key.name, is_own, marker });
            }
        }
        self.confirm_by_value(&mut markers).await.map_err(Error::Ledger)?;
        let known = markers
            .into_iter()
            .filter_map(|ListedMarker { mut key, marker, .. }| Some((key.split_off(start.len()), marker?)));
        // A list is in the order of the keys, which all begin alike.
        Ok(Markers::in_order(known))
    }

    /// Reads the values of the markers whose metadata is not believed.
    async fn confirm_by_value(&self, markers: &mut [ListedMarker]) -> Result<(), KvError> {
        let unconfirmed: Vec<_> = markers.iter_mut().filter(|listed| !listed.is_believed()).collect();
        let keys: Vec<&str> = unconfirmed.iter().map(|listed| listed.key.as_str()).collect();
        let mut values = self.kv.get_many(&keys).await?;
        // A bulk get loses a byte order mark, so that the value may not be `true` exactly. The runners write `true` and
        // `runAt` together.
        let is_by_hand = |listed: &ListedMarker| !matches!(listed.marker, Some(Marker::Applied(_)));
        let by_hand = unconfirmed.iter().zip(&mut values).filter(|(listed, _)| is_by_hand(listed));
        let applied = by_hand.filter(|(_, value)| value.as_deref() == Some(APPLIED));
        for (listed, value) in applied.take(MAX_SINGLE_READS) {
            *value = self.kv.bytes(&listed.key).await?;
        }
        for (listed, value) in unconfirmed.into_iter().zip(values) {
            listed.confirm(value.as_deref() == Some(APPLIED));
        }
        Ok(())
    }
}
