//! Makes a migration pending again that has begun or failed.

use super::Runner;
use crate::error::Error;
use crate::migration::Migration;
use crate::report::Status;
use crate::session::Session;

impl<C> Runner<C> {
    /// Forgets the checkpoint or the failure of a migration: the next run starts it over. What it changed so far stays.
    /// Returns its status. A migration that is pending already stays so.
    ///
    /// The migration need not be registered if its marker names this service.
    ///
    /// # Errors
    /// [`Error::AlreadyApplied`] if it is applied, [`Error::UnknownMigration`] if it is neither registered nor marked,
    /// [`Error::ForeignMarker`] if its marker is not known to be this service's, [`Error::RunInProgress`],
    /// [`Error::Ledger`].
    pub async fn reset(&self, id: &str) -> Result<Status, Error> {
        let session = Session::open(&self.settings, &|_| {})?;
        let is_registered = self.is_registered(id);
        if session.ledger.can_reset(id, is_registered).await? {
            session.ledger.delete(id).await.map_err(Error::Ledger)?;
            session.log().info(&format!("[Migration] Reset {id}: the next run starts it over"));
        } else if !is_registered {
            return Err(Error::UnknownMigration { id: id.to_owned() });
        }
        Ok(self.pending(id))
    }

    /// The status of a migration without a marker, registered or not.
    pub(crate) fn pending(&self, id: &str) -> Status {
        let registered = self.registered.get(id);
        let description = registered.map_or("", Migration::description);
        Status::pending(id, description, registered.is_some_and(Migration::is_reversible))
    }

    pub(crate) fn is_registered(&self, id: &str) -> bool {
        self.registered.get(id).is_some()
    }
}
