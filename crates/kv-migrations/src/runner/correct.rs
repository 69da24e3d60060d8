//! Changes what is recorded of a migration, without running it.

use super::correction::Correction;
use super::{Runner, Until, status};
use crate::clock::iso8601;
use crate::error::Error;
use crate::future::BoxFuture;
use crate::ledger::{AppliedRecord, Marker, Stored};
use crate::migration::Migration;
use crate::report::{RunReport, Status};
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
        self.correct(id, Correction::Reset).await
    }

    /// Records a migration as applied without running it: somebody has done by hand what it does. A checkpoint or a failure
    /// of it is forgotten. Returns its status. A migration that is applied already stays as it is.
    ///
    /// # Errors
    /// [`Error::UnknownMigration`] if it is not registered, [`Error::ForeignMarker`] if its marker is another service's,
    /// [`Error::RunInProgress`], [`Error::Ledger`].
    pub async fn mark(&self, id: &str) -> Result<Status, Error> {
        self.correct(id, Correction::Mark).await
    }

    /// Records all registered migrations up to and including this one as applied, without running them: of a service whose data
    /// is as they leave it. Those that are applied stay as they are ([`skipped`](RunReport::skipped)). If the report is not
    /// [finished](RunReport::is_finished), the [`Budget`](crate::Budget) is used up: ask again.
    ///
    /// # Errors
    /// [`Error::UnknownMigration`] if it is not registered, [`Error::ForeignMarker`], [`Error::AnotherPrefix`],
    /// [`Error::RunInProgress`], [`Error::Ledger`].
    pub async fn baseline(&self, id: &str) -> Result<RunReport, Error> {
        let until = Until::Migration(id.to_owned());
        self.run_or_mark(&until, None, &|_| {}).await
    }

    /// Forgets that a migration is applied, without its `down`: the next run applies it again. Returns its status.
    ///
    /// The migration need not be registered if its marker names this service.
    ///
    /// # Errors
    /// [`Error::NotRun`] if it is not applied, [`Error::UnknownMigration`] if it is neither registered nor marked,
    /// [`Error::ForeignMarker`] if its marker is not known to be this service's, [`Error::RunInProgress`],
    /// [`Error::Ledger`].
    pub async fn unmark(&self, id: &str) -> Result<Status, Error> {
        self.correct(id, Correction::Unmark).await
    }

    /// Makes one correction: [`reset`](Self::reset), [`mark`](Self::mark) or [`unmark`](Self::unmark).
    ///
    /// # Errors
    /// Those of the method.
    pub fn correct<'a>(
        &'a self,
        id: &'a str,
        correction: Correction,
    ) -> BoxFuture<'a, Result<Status, Error>> {
        Box::pin(async move {
            let is_registered = self.check_correctable(id, correction)?;
            let session = Session::open(&self.settings, &|_| {})?;
            let stored = session.ledger.stored(id, is_registered).await?;
            let has_marker = stored.is_some();
            let mut marker = stored.and_then(Stored::into_applied);
            if correction.is_needed(id, is_registered || has_marker, has_marker, marker.is_some())? {
                let mut applied = Box::<AppliedRecord>::default();
                let written = if correction == Correction::Mark {
                    applied = self.marked_now(id);
                    session.ledger.record_applied(id, &applied)
                } else {
                    session.ledger.delete(id)
                };
                written.await.map_err(Error::Ledger)?;
                marker = (correction == Correction::Mark).then_some(Marker::Applied(applied));
                self.log_correction(correction, id);
            }
            Ok(match self.registered.get(id) {
                Some(migration) => status::status(migration, marker, false),
                None => self.pending(id),
            })
        })
    }

    /// The record of a migration that is marked at this moment.
    pub(super) fn marked_now(&self, id: &str) -> Box<AppliedRecord> {
        Box::new(AppliedRecord {
            run_at: Some(iso8601(self.settings.clock.now())),
            revision: self.revision_of(id),
            by: self.settings.label.clone(),
            ..AppliedRecord::default()
        })
    }

    pub(super) fn log_correction(&self, correction: Correction, id: &str) {
        self.settings.log.info(&correction.line(id, self.settings.label.as_deref()));
    }

    /// The revision of a migration that is registered.
    pub(crate) fn revision_of(&self, id: &str) -> Option<String> {
        self.registered.get(id)?.named_revision().map(str::to_owned)
    }

    /// Whether a migration is registered; only then it can be marked.
    pub(crate) fn check_correctable(&self, id: &str, correction: Correction) -> Result<bool, Error> {
        let is_registered = self.is_registered(id);
        if correction == Correction::Mark && !is_registered {
            return Err(Error::UnknownMigration { id: id.to_owned() });
        }
        Ok(is_registered)
    }

    /// The status of a migration without a marker, registered or not.
    pub(crate) fn pending(&self, id: &str) -> Status {
        let registered = self.registered.get(id);
        let description = registered.map_or("", Migration::description);
        let kind = registered.map(Migration::kind).unwrap_or_default();
        Status::pending(id, description, registered.is_some_and(Migration::is_reversible), kind)
    }

    pub(crate) fn is_registered(&self, id: &str) -> bool {
        self.registered.get(id).is_some()
    }
}
