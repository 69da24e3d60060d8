//! The ledger: which migrations of a service are applied, as the markers in KV say.
//!
//! A marker has the key `migration_{service}_{id}`. Its value is exactly `true` if the migration is applied, for this
//! runner as for the TypeScript runner; any other value means that it is not. Its metadata is `{ "runAt": … }` and fields
//! of our own, so that one list tells the state of every marker that this runner wrote. The values of all other markers are read.
//! This folder uses `kv`, `report`, `id` and `error`.

mod encode;
mod load;
mod marker;
mod markers;
mod other_prefix;
mod rollback_note;

use std::time::Duration;

use crate::error::{Error, ForeignMarker};
use crate::future::BoxFuture;
use crate::kv::{Entry, Kv, KvError, Metadata, PutOptions, Request, write};
use crate::report::{Direction, Progress};
pub(crate) use encode::FailureRecord;
use encode::{encode_applied, encode_unfinished};
pub(crate) use marker::{AppliedRecord, Marker};
use marker::{MarkerMetadata, checkpoint_direction};
pub(crate) use markers::Markers;

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
    is_journal: bool,
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

/// The marker of one migration as it is stored.
pub(crate) struct Stored {
    value: Vec<u8>,
    /// What its metadata says.
    marker: Option<Marker>,
}

/// Whether the value of a marker with this metadata is a checkpoint.
pub(crate) fn holds_checkpoint(metadata: &Metadata) -> bool {
    MarkerMetadata::parse(Some(metadata)).marker.is_some_and(|marker| marker.progress().is_some())
}

/// Whether only a marker has such metadata.
pub(crate) fn is_marker_metadata(metadata: Option<&Metadata>) -> bool {
    let MarkerMetadata { service, marker } = MarkerMetadata::parse(metadata);
    service.is_some() || marker.is_some()
}

impl Stored {
    pub(crate) fn is_applied(&self) -> bool {
        self.value == APPLIED
    }

    /// What the marker of an applied migration says of it. `None` if it is not applied.
    pub(crate) fn into_applied(self) -> Option<Marker> {
        self.is_applied().then(|| match self.marker {
            Some(marker @ Marker::Applied(_)) => marker,
            _ => Marker::Applied(Box::default()),
        })
    }

    fn into_state(self) -> MarkerState {
        if self.is_applied() {
            return MarkerState::Applied;
        }
        let Self { value, marker } = self;
        let (progress, direction) = (marker.and_then(Marker::into_progress), checkpoint_direction(&value));
        if progress.is_none() && direction.is_none() {
            return MarkerState::Nothing;
        }
        // The value decides: the metadata may be lost.
        let mut progress = progress.unwrap_or_default();
        progress.direction = direction.unwrap_or(progress.direction);
        MarkerState::Unfinished(Checkpoint { value, progress })
    }
}

impl Ledger {
    pub(crate) fn new(kv: Kv, service: &str) -> Self {
        Self { kv, service: service.to_owned(), is_journal: false }
    }

    /// The ledger of a coordinator, whose markers are rows: they are never stale, and can be written at any time.
    pub(crate) fn for_journal(kv: Kv, service: &str) -> Self {
        Self { is_journal: true, ..Self::new(kv, service) }
    }

    /// The time that has to pass between two writes to a marker.
    pub(crate) fn write_interval(&self) -> Duration {
        if self.is_journal { Duration::ZERO } else { WRITE_INTERVAL }
    }

    pub(crate) fn key(&self, id: &str) -> String {
        format!("{MARKER_PREFIX}{}_{id}", self.service)
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
        Ok(self.read(&self.key(id), Some(id), true).await?.is_some_and(|stored| stored.is_applied()))
    }

    /// What the marker of one migration says. One operation.
    pub(crate) async fn state_of(&self, id: &str) -> Result<MarkerState, Error> {
        Ok(self.read(&self.key(id), Some(id), true).await?.map_or(MarkerState::Nothing, Stored::into_state))
    }

    /// The marker with this key, or an error if it belongs to another service than the migration with this id. One
    /// operation. Boxed, so that it is compiled once for all callers.
    fn read<'a>(
        &'a self,
        key: &'a str,
        id: Option<&'a str>,
        is_registered: bool,
    ) -> BoxFuture<'a, Result<Option<Stored>, Error>> {
        Box::pin(async move {
            let Some(entry) = self.kv.get(key).await.map_err(Error::Ledger)? else {
                return Ok(None);
            };
            let MarkerMetadata { service, marker } = MarkerMetadata::parse(entry.metadata.as_ref());
            if let Some(id) = id {
                // The key of a migration that is not registered can be another service's: `auth` and `v2_001`, `auth_v2`
                // and `001`.
                self.check_owner(id, service.as_deref().or(if is_registered { None } else { Some("") }))?;
            }
            Ok(Some(Stored { value: entry.value, marker }))
        })
    }

    /// The marker of one migration, registered or not. One operation.
    pub(crate) async fn stored(&self, id: &str, is_registered: bool) -> Result<Option<Stored>, Error> {
        self.read(&self.key(id), Some(id), is_registered).await
    }

    pub(crate) fn record_applied<'a>(
        &'a self,
        id: &str,
        applied: &AppliedRecord,
    ) -> BoxFuture<'a, Result<(), KvError>> {
        self.write(id, Some((APPLIED, encode_applied(&self.service, applied))))
    }

    /// Records how far a migration has got, so that another run can resume it.
    pub(crate) fn record_running<'a>(
        &'a self,
        id: &str,
        checkpoint: &'a Checkpoint,
    ) -> BoxFuture<'a, Result<(), KvError>> {
        let metadata = encode_unfinished(&self.service, Some(&*checkpoint.progress), None);
        self.write(id, Some((&checkpoint.value, metadata)))
    }

    /// Records a failure in this direction. With a checkpoint, the next run resumes from it. Without, a migration that is
    /// applied stays so: a run elsewhere has applied it in the meantime, or its rollback failed. The marker of a coordinator
    /// then says so, if a runner wrote it; in KV it may be deleted already, and still be shown. A marker that belongs to
    /// another service is an error.
    pub(crate) fn record_failed<'a>(
        &'a self,
        id: &'a str,
        direction: Direction,
        failure: FailureRecord<'a>,
        checkpoint: Option<Checkpoint>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let is_rollback = direction == Direction::Down;
            let progress = checkpoint.as_ref().map(|checkpoint| &*checkpoint.progress);
            if is_rollback && progress.is_none() && !self.is_journal {
                return Ok(());
            }
            let mut written = None;
            // While it is rolled back step by step, it may still be marked as applied.
            if progress.is_none() || !is_rollback {
                let stored = self.read(&self.key(id), Some(id), true).await?;
                match stored {
                    Some(Stored { value, marker }) if value == APPLIED => {
                        let Some(Marker::Applied(mut applied)) = marker.filter(|_| is_rollback) else {
                            return Ok(());
                        };
                        applied.rollback_error = Some(failure.reason.to_owned());
                        written = Some((APPLIED, encode_applied(&self.service, &applied)));
                    }
                    _ if is_rollback => return Ok(()),
                    _ => {}
                }
            }
            let written = written.unwrap_or_else(|| {
                let value = checkpoint.as_ref().map_or(FAILED, |checkpoint| &checkpoint.value);
                (value, encode_unfinished(&self.service, progress, Some(&failure)))
            });
            self.write(id, Some(written)).await.map_err(Error::Ledger)
        })
    }

    pub(crate) fn delete(&self, id: &str) -> BoxFuture<'_, Result<(), KvError>> {
        self.write(id, None)
    }

    /// Writes or deletes a marker. Boxed, so that it is compiled once for all callers.
    fn write<'a>(
        &'a self,
        id: &str,
        marker: Option<(&'a [u8], Metadata)>,
    ) -> BoxFuture<'a, Result<(), KvError>> {
        let key = self.key(id);
        Box::pin(async move {
            let (value, metadata) = marker.unzip();
            let options = PutOptions::new().with_metadata(metadata);
            let request = match value {
                Some(value) => Request::Put { key: &key, value, options: &options },
                None => Request::Delete { key: &key },
            };
            write(self.kv.store(), request).await
        })
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
