//! What is known to be applied: the markers of a service in KV, their keys, and what stands in them.
//!
//! A marker is `migration_{prefix}_{id}`. Its value is exactly `true` if the migration is applied, for this runner as
//! for the TypeScript runner before it; whatever else it is, the migration is not. The metadata is
//! `{ "runAt": … }`, and fields of our own beside it, so that a list alone tells the state of every marker that
//! either runner wrote.

mod marker;

use std::time::Duration;

use crate::error::{Error, ForeignMarker};
use crate::id::IdSet;
use crate::kv::{Entry, Kv, KvError, Metadata, PutOptions, StoreExt};
use crate::progress::{Direction, Progress};
pub(crate) use marker::{Applied, FailedAt, Marker};
use marker::{Reading, encode_applied, encode_unfinished};

/// What stands in a marker's value if, and only if, its migration is applied.
pub(crate) const APPLIED: &[u8] = b"true";
const FAILED: &[u8] = b"failed";
/// What every marker's key begins with.
pub(crate) const MARKER_PREFIX: &str = "migration_";

/// KV takes one write a second to a key.
const BETWEEN_WRITES: Duration = Duration::from_secs(1);

/// The markers of one service.
pub(crate) struct Ledger {
    kv: Kv,
    prefix: String,
    /// How much time has to pass between two writes to a marker.
    pub(crate) between_writes: Duration,
}

/// What the marker of one migration holds.
pub(crate) enum Found {
    /// Nothing that a run could carry on from.
    Nothing,
    Applied,
    Checkpoint(Vec<u8>, Box<Progress>),
}

/// The ledger as it was read: every marker of a registered migration, and those of ours that no registered
/// migration has.
///
/// By id, in the order of its bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Entries(Vec<(String, Marker)>);

impl Entries {
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
impl FromIterator<(String, Marker)> for Entries {
    fn from_iter<I: IntoIterator<Item = (String, Marker)>>(markers: I) -> Self {
        Self(markers.into_iter().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect())
    }
}

/// Whether a marker with this metadata has a checkpoint for a value.
pub(crate) fn holds_checkpoint(metadata: &Metadata) -> bool {
    Reading::of(Some(metadata)).marker.is_some_and(|marker| marker.progress().is_some())
}

impl Ledger {
    pub(crate) fn new(kv: Kv, prefix: &str) -> Self {
        Self { kv, prefix: prefix.to_owned(), between_writes: BETWEEN_WRITES }
    }

    /// One whose markers are kept by a coordinator, which is in no hurry to copy them to KV.
    pub(crate) fn of_journal(kv: Kv, prefix: &str) -> Self {
        Self { between_writes: Duration::ZERO, ..Self::new(kv, prefix) }
    }

    pub(crate) fn key(&self, id: &str) -> String {
        format!("{MARKER_PREFIX}{}_{id}", self.prefix)
    }

    /// Reads all markers: one operation for every 1,000, and one for every 100 whose metadata does not say that they
    /// are applied.
    ///
    /// The keys of a service whose prefix goes on where ours ends begin like ours (`auth_v2` beside `auth`). So a
    /// marker counts if a registered migration has its id, or if it says itself that it is ours.
    pub(crate) async fn read<'a>(&self, registered: impl Iterator<Item = &'a str>) -> Result<Entries, Error> {
        let registered = IdSet::of(registered);
        let start = self.key("");
        let mut markers = Vec::new();
        let mut keys = self.kv.list(&start);
        while let Some(key) = keys.next().await.map_err(Error::Ledger)? {
            let Some(id) = key.name.strip_prefix(&start) else { continue };
            let reading = Reading::of(key.metadata.as_ref());
            if registered.contains(id) {
                self.check_owner(id, reading.prefix.as_deref())?;
            } else if reading.prefix.as_deref() != Some(&self.prefix) {
                continue;
            }
            markers.push((key.name, reading.marker));
        }
        self.ask_values(&mut markers).await.map_err(Error::Ledger)?;
        let known =
            markers.into_iter().filter_map(|(mut key, marker)| Some((key.split_off(start.len()), marker?)));
        // A list is in the order of the keys, which all begin alike.
        Ok(Entries(known.collect()))
    }

    /// Where the metadata does not say that a migration is applied, the value can. Not where it says that the value
    /// is a checkpoint, which can be large.
    async fn ask_values(&self, markers: &mut [(String, Option<Marker>)]) -> Result<(), KvError> {
        let is_told = |marker: &Option<Marker>| match marker {
            Some(Marker::Applied(_)) => true,
            Some(marker) => marker.progress().is_some(),
            None => false,
        };
        let untold = markers.iter().filter(|(_, marker)| !is_told(marker));
        let keys: Vec<&str> = untold.map(|(key, _)| key.as_str()).collect();
        let values = self.kv.get_many(&keys).await?;
        for ((_, marker), value) in markers.iter_mut().filter(|(_, marker)| !is_told(marker)).zip(values) {
            if value.as_deref() == Some(APPLIED) {
                *marker = Some(Marker::Applied(Box::default()));
            }
        }
        Ok(())
    }

    /// The marker of one migration, as it stands there. One operation.
    pub(crate) async fn get(&self, id: &str) -> Result<Option<Entry>, KvError> {
        self.kv.get(&self.key(id)).await
    }

    /// The marker that says that a migration is applied.
    pub(crate) fn applied(&self, applied: &Applied) -> Entry {
        let metadata = applied.run_at.is_some().then(|| encode_applied(&self.prefix, applied));
        Entry { value: APPLIED.to_vec(), metadata }
    }

    /// Whether one migration is applied. One operation.
    pub(crate) async fn is_applied(&self, id: &str) -> Result<bool, Error> {
        Ok(matches!(self.look(id).await?, Found::Applied))
    }

    /// What the marker of one migration holds. One operation.
    pub(crate) async fn look(&self, id: &str) -> Result<Found, Error> {
        let Some(entry) = self.get(id).await.map_err(Error::Ledger)? else {
            return Ok(Found::Nothing);
        };
        let Reading { prefix, marker } = Reading::of(entry.metadata.as_ref());
        self.check_owner(id, prefix.as_deref())?;
        if entry.value == APPLIED {
            return Ok(Found::Applied);
        }
        Ok(match marker.and_then(Marker::into_progress) {
            Some(progress) => Found::Checkpoint(entry.value, progress),
            None => Found::Nothing,
        })
    }

    pub(crate) async fn record_applied(&self, id: &str, applied: &Applied) -> Result<(), KvError> {
        self.write(id, APPLIED, encode_applied(&self.prefix, applied)).await
    }

    /// How far a migration has got, so that another run can carry on from there.
    pub(crate) async fn record_running(
        &self,
        id: &str,
        checkpoint: &[u8],
        progress: &Progress,
    ) -> Result<(), KvError> {
        self.write(id, checkpoint, encode_unfinished(&self.prefix, Some(progress), None)).await
    }

    /// Unless another run, elsewhere, has applied it meanwhile, or the marker is another service's. With a checkpoint,
    /// the next run carries on from there.
    pub(crate) async fn record_failed(
        &self,
        id: &str,
        failed: &FailedAt<'_>,
        checkpoint: Option<(&[u8], &Progress)>,
    ) -> Result<(), Error> {
        let (value, progress) = checkpoint.unzip();
        // While it is rolled back it is applied still.
        let is_rollback = progress.is_some_and(|progress| progress.direction == Direction::Down);
        if !is_rollback && self.is_applied(id).await? {
            return Ok(());
        }
        let metadata = encode_unfinished(&self.prefix, progress, Some(failed));
        self.write(id, value.unwrap_or(FAILED), metadata).await.map_err(Error::Ledger)
    }

    async fn write(&self, id: &str, value: &[u8], metadata: Metadata) -> Result<(), KvError> {
        let options = PutOptions { metadata: Some(metadata), expiration: None };
        self.kv.store().put(&self.key(id), value, &options).await
    }

    pub(crate) async fn delete(&self, id: &str) -> Result<(), KvError> {
        self.kv.delete(&self.key(id)).await
    }

    /// The key of service `a` and id `b_c` is also that of service `a_b` and id `c`. A marker that says whose it is
    /// is never taken for another's.
    fn check_owner(&self, id: &str, owner: Option<&str>) -> Result<(), Error> {
        match owner {
            Some(owner) if owner != self.prefix => Err(Error::ForeignMarker(Box::new(ForeignMarker {
                key: self.key(id),
                id: id.to_owned(),
                prefix: self.prefix.clone(),
                owner: owner.to_owned(),
            }))),
            _ => Ok(()),
        }
    }
}
