//! The note of a rollback of several migrations, from before the first of them until after the last. Between two of them no
//! marker tells that more are to follow.
//!
//! Its key is that of a marker with an empty id, which no migration has. Its value is `to=` and the last migration that stays,
//! or nothing if all are rolled back.

use super::encode::encode_unfinished;
use super::{Ledger, Markers};
use crate::error::Error;
use crate::future::BoxFuture;
use crate::kv::{Entry, KvError};

const ID: &str = "";
const VALUE: &str = "to=";

impl Markers {
    /// Whether there is a note of this service.
    pub(crate) fn has_rollback_note(&self, service: &str) -> bool {
        self.note_owner.as_deref() == Some(service)
    }
}

impl Ledger {
    /// The last migration that a rollback leaves as it is that is not finished: empty if it leaves none. `None` if there is no
    /// such rollback. One operation if there is. An error if a marker of another service has the key.
    pub(crate) async fn rollback_note(&self, markers: &Markers) -> Result<Option<String>, Error> {
        if markers.note_owner.is_none() {
            return Ok(None);
        }
        let stored = self.read(&self.key(ID), Some(ID), false).await?;
        let note = stored.and_then(|stored| String::from_utf8(stored.value).ok());
        Ok(note.and_then(|note| note.strip_prefix(VALUE).map(str::to_owned)))
    }

    /// The note of this service as it is stored. One operation if there is one.
    pub(crate) async fn rollback_note_entry(&self, markers: &Markers) -> Result<Option<Entry>, KvError> {
        if markers.has_rollback_note(&self.service) { self.entry(ID).await } else { Ok(None) }
    }

    /// Notes a rollback after which this migration is the last; empty for none.
    pub(crate) async fn note_rollback(&self, to: &str) -> Result<(), Error> {
        let (value, metadata) = (format!("{VALUE}{to}"), encode_unfinished(&self.service, None, None));
        self.write(ID, Some((value.as_bytes(), metadata))).await.map_err(Error::Ledger)
    }

    /// Forgets a rollback, which is finished or given up.
    pub(crate) fn forget_rollback(&self) -> BoxFuture<'_, Result<(), KvError>> {
        self.delete(ID)
    }

    /// The key of the note.
    pub(crate) fn rollback_note_key(&self) -> String {
        self.key(ID)
    }
}
