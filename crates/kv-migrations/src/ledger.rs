//! The ledger: which migrations of a service are applied, as the markers in KV say.
//!
//! A marker has the key `migration_{service}_{id}`. Its value is exactly `true` if the migration is applied, for this
//! runner as for the TypeScript runner; any other value means that it is not. Its metadata is `{ "runAt": … }` and fields
//! of our own, so that one list tells the state of every marker that either runner wrote. This folder uses `kv`, `report`,
//! `id` and `error`.

mod marker;

use std::time::Duration;

use crate::error::{Error, ForeignMarker};
use crate::id::IdSet;
use crate::kv::{Entry, Kv, KvError, Metadata, PutOptions, StoreExt};
use crate::report::{Direction, Progress};
pub(crate) use marker::{AppliedRecord, FailureRecord, Marker};
use marker::{MarkerMetadata, encode_applied, encode_unfinished};

/// The value of a marker if, and only if, its migration is applied.
pub(crate) const APPLIED: &[u8] = b"true";
const FAILED: &[u8] = b"failed";
/// The start of every marker's key.
pub(crate) const MARKER_PREFIX: &str = "migration_";

/// KV takes one write a second to a key.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// The ledger of one service.
pub(crate) struct Ledger {
    kv: Kv,
    service: String,
    write_interval: Duration,
}

/// What the marker of one migration says.
pub(crate) enum MarkerState {
    /// Nothing that a run could resume from.
    Nothing,
    Applied,
    Unfinished(Checkpoint),
}

/// A marker from which a run can resume: its value, and the progress in its metadata.
pub(crate) struct Checkpoint {
    pub(crate) value: Vec<u8>,
    pub(crate) progress: Box<Progress>,
}

/// A marker as it was listed. `None` if only its value can tell.
struct ListedMarker {
    key: String,
    marker: Option<Marker>,
}

/// The markers as they were loaded: those of registered migrations, and those of this service that belong to none. In the
/// order of the bytes of their ids.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Markers(Vec<(String, Marker)>);

impl Markers {
    pub(crate) fn get(&self, id: &str) -> Option<&Marker> {
        let index = self.0.binary_search_by(|(other, _)| other.as_str().cmp(id)).ok()?;
        self.0.get(index).map(|(_, marker)| marker)
    }

    pub(crate) fn is_applied(&self, id: &str) -> bool {
        matches!(self.get(id), Some(Marker::Applied(_)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Marker)> {
        self.0.iter().map(|(id, marker)| (id.as_str(), marker))
    }

    pub(crate) fn applied_ids(&self) -> impl Iterator<Item = &str> {
        let applied = self.0.iter().filter(|(_, marker)| matches!(marker, Marker::Applied(_)));
        applied.map(|(id, _)| id.as_str())
    }
}

#[cfg(test)]
impl FromIterator<(String, Marker)> for Markers {
    fn from_iter<I: IntoIterator<Item = (String, Marker)>>(markers: I) -> Self {
        Self(markers.into_iter().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect())
    }
}

/// Whether the value of a marker with this metadata is a checkpoint.
pub(crate) fn holds_checkpoint(metadata: &Metadata) -> bool {
    MarkerMetadata::parse(Some(metadata)).marker.is_some_and(|marker| marker.progress().is_some())
}

impl Ledger {
    pub(crate) fn new(kv: Kv, service: &str) -> Self {
        Self { kv, service: service.to_owned(), write_interval: WRITE_INTERVAL }
    }

    /// The ledger of a coordinator, whose markers are rows: they can be written at any time.
    pub(crate) fn for_journal(kv: Kv, service: &str) -> Self {
        Self { write_interval: Duration::ZERO, ..Self::new(kv, service) }
    }

    /// The time that has to pass between two writes to a marker.
    pub(crate) fn write_interval(&self) -> Duration {
        self.write_interval
    }

    pub(crate) fn key(&self, id: &str) -> String {
        format!("{MARKER_PREFIX}{}_{id}", self.service)
    }

    /// Loads all markers. One operation for every 1,000, and one for every 100 whose metadata does not say that they are
    /// applied.
    ///
    /// The keys of `auth_v2` begin like those of `auth`. So a marker counts if a registered migration has its id, or if its
    /// metadata names this service.
    pub(crate) async fn load<'a>(&self, registered: impl Iterator<Item = &'a str>) -> Result<Markers, Error> {
        let registered = IdSet::new(registered);
        let start = self.key("");
        let mut markers = Vec::new();
        let mut keys = self.kv.list(&start);
        while let Some(key) = keys.next().await.map_err(Error::Ledger)? {
            let Some(id) = key.name.strip_prefix(&start) else { continue };
            let metadata = MarkerMetadata::parse(key.metadata.as_ref());
            if registered.contains(id) {
                self.check_owner(id, metadata.service.as_deref())?;
            } else if metadata.service.as_deref() != Some(&self.service) {
                continue;
            }
            markers.push(ListedMarker { key: key.name, marker: metadata.marker });
        }
        self.confirm_by_value(&mut markers).await.map_err(Error::Ledger)?;
        let known = markers
            .into_iter()
            .filter_map(|ListedMarker { mut key, marker }| Some((key.split_off(start.len()), marker?)));
        // A list is in the order of the keys, which all begin alike.
        Ok(Markers(known.collect()))
    }

    /// Reads the values of markers whose metadata does not say that they are applied. Values that are checkpoints are left
    /// out: they can be large.
    async fn confirm_by_value(&self, markers: &mut [ListedMarker]) -> Result<(), KvError> {
        let is_unknown = |listed: &ListedMarker| match &listed.marker {
            Some(Marker::Applied(_)) => false,
            Some(marker) => marker.progress().is_none(),
            None => true,
        };
        let unknown = markers.iter().filter(|listed| is_unknown(listed));
        let keys: Vec<&str> = unknown.map(|listed| listed.key.as_str()).collect();
        let values = self.kv.get_many(&keys).await?;
        for (listed, value) in markers.iter_mut().filter(|listed| is_unknown(listed)).zip(values) {
            if value.as_deref() == Some(APPLIED) {
                listed.marker = Some(Marker::Applied(Box::default()));
            }
        }
        Ok(())
    }

    /// The marker of one migration as it is stored. One operation.
    pub(crate) async fn entry(&self, id: &str) -> Result<Option<Entry>, KvError> {
        self.kv.get(&self.key(id)).await
    }

    /// The marker of a migration that is applied.
    pub(crate) fn applied_entry(&self, applied: &AppliedRecord) -> Entry {
        let metadata = applied.run_at.is_some().then(|| encode_applied(&self.service, applied));
        Entry::new(APPLIED).with_metadata(metadata)
    }

    /// Whether one migration is applied. One operation.
    pub(crate) async fn is_applied(&self, id: &str) -> Result<bool, Error> {
        Ok(matches!(self.state_of(id).await?, MarkerState::Applied))
    }

    /// What the marker of one migration says. One operation.
    pub(crate) async fn state_of(&self, id: &str) -> Result<MarkerState, Error> {
        let Some(entry) = self.entry(id).await.map_err(Error::Ledger)? else {
            return Ok(MarkerState::Nothing);
        };
        let MarkerMetadata { service, marker } = MarkerMetadata::parse(entry.metadata.as_ref());
        self.check_owner(id, service.as_deref())?;
        if entry.value == APPLIED {
            return Ok(MarkerState::Applied);
        }
        Ok(match marker.and_then(Marker::into_progress) {
            Some(progress) => MarkerState::Unfinished(Checkpoint { value: entry.value, progress }),
            None => MarkerState::Nothing,
        })
    }

    pub(crate) async fn record_applied(&self, id: &str, applied: &AppliedRecord) -> Result<(), KvError> {
        self.write(id, APPLIED, encode_applied(&self.service, applied)).await
    }

    /// Records how far a migration has got, so that another run can resume it.
    pub(crate) async fn record_running(&self, id: &str, checkpoint: &Checkpoint) -> Result<(), KvError> {
        let metadata = encode_unfinished(&self.service, Some(&*checkpoint.progress), None);
        self.write(id, &checkpoint.value, metadata).await
    }

    /// Records a failure, unless another run elsewhere has applied the migration in the meantime or the marker belongs to
    /// another service. With a checkpoint, the next run resumes from it.
    pub(crate) async fn record_failed(
        &self,
        id: &str,
        failure: &FailureRecord<'_>,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<(), Error> {
        let progress = checkpoint.map(|checkpoint| &*checkpoint.progress);
        // A migration that is being rolled back may still be marked as applied.
        let is_rollback = progress.is_some_and(|progress| progress.direction == Direction::Down);
        if !is_rollback && self.is_applied(id).await? {
            return Ok(());
        }
        let metadata = encode_unfinished(&self.service, progress, Some(failure));
        let value = checkpoint.map_or(FAILED, |checkpoint| &checkpoint.value);
        self.write(id, value, metadata).await.map_err(Error::Ledger)
    }

    async fn write(&self, id: &str, value: &[u8], metadata: Metadata) -> Result<(), KvError> {
        let options = PutOptions::new().with_metadata(metadata);
        self.kv.store().put(&self.key(id), value, &options).await
    }

    pub(crate) async fn delete(&self, id: &str) -> Result<(), KvError> {
        self.kv.delete(&self.key(id)).await
    }

    /// The key of service `a` and id `b_c` is also the key of service `a_b` and id `c`. A marker that names another service
    /// is never taken for this one's.
    fn check_owner(&self, id: &str, owner: Option<&str>) -> Result<(), Error> {
        match owner {
            Some(owner) if owner != self.service => Err(Error::ForeignMarker(Box::new(ForeignMarker {
                key: self.key(id),
                id: id.to_owned(),
                service: self.service.clone(),
                owner: owner.to_owned(),
            }))),
            _ => Ok(()),
        }
    }
}
