//! The stores of one dry run, and what the runner asks of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::options::DryRun;
use super::overlay::Overlay;
use super::shared::Shared;
use crate::budget::{Budget, Interrupt};
use crate::clock::Clock;
use crate::kv::{Namespaces, Store};
use crate::log::Log;
use crate::report::{DryRunReport, DryRunStop, EntryCounts, Event, MigrationKind};

/// The stores of one dry run.
pub(crate) struct DryRunStores {
    own: Arc<Overlay>,
    shared: Arc<Shared>,
    /// The namespaces, each with its overlay: the same store has the same one.
    overlays: Mutex<Vec<Known>>,
}

/// A namespace and its overlay.
type Known = (Arc<dyn Store>, Arc<Overlay>);

impl DryRunStores {
    pub(crate) fn new(
        store: &Arc<dyn Store>,
        clock: &Arc<dyn Clock>,
        budget: Budget,
        markers: String,
        options: &DryRun,
    ) -> Self {
        let shared = Arc::new(Shared::new(clock, budget, markers, options));
        let own = Arc::new(Overlay::new(shared.clone(), store.clone(), true));
        let overlays = Mutex::new(vec![(store.clone(), own.clone())]);
        Self { own, shared, overlays }
    }

    /// The service's own namespace.
    pub(crate) fn own(&self) -> Arc<dyn Store> {
        self.own.clone()
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.shared.clock.clone()
    }

    /// Raised once the dry run is to end.
    pub(crate) fn interrupt(&self) -> Interrupt {
        self.shared.interrupt.clone()
    }

    pub(crate) fn begin_request(&self) {
        self.shared.state().recorder.begin_request();
    }

    pub(crate) fn note(&self, event: &Event, kind: impl Fn(&str) -> MigrationKind) {
        let recorder = &mut self.shared.state().recorder;
        match event {
            Event::Started { id, .. } => recorder.start(id, kind(id)),
            Event::Applied(applied) => recorder.end(applied),
            _ => {}
        }
    }

    /// Notes how far the last migration got.
    pub(crate) fn note_entries(&self, id: &str, entries: EntryCounts) {
        self.shared.state().recorder.set_entries(id, entries);
    }

    /// Notes that a migration failed, which ends the dry run.
    pub(crate) fn fail(&self, id: &str, reason: &str) {
        let mut state = self.shared.state();
        state.recorder.fail(id, reason);
        // It failed whether or not the budget was used up.
        state.stopped = Some(DryRunStop::Failed);
    }

    /// Skips a wait.
    pub(crate) fn skip(&self, duration: Duration) {
        self.shared.clock.skip(duration);
    }

    /// Ends the dry run, if it has not ended before.
    pub(crate) fn stop(&self, why: DryRunStop) {
        self.shared.stop(&mut self.shared.state(), why);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.shared.state().stopped.is_some()
    }

    /// Whether something was not done, so that a failure after it is none of the migration's.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.shared.state().is_cut_off
    }

    /// The report. The caller adds what it alone knows.
    pub(crate) fn report(&self) -> DryRunReport {
        let mut state = self.shared.state();
        let mut report = state.recorder.take();
        report.stopped = state.stopped;
        report.operations_sent = self.shared.operations();
        report.skipped_waits_ms = self.shared.clock.skipped();
        if state.is_cut_off
            && let Some(last) = report.migrations.last_mut()
        {
            last.complete = false;
        }
        report
    }
}

impl Namespaces for DryRunStores {
    fn in_front_of(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        let mut overlays = self.overlays.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, overlay)) = overlays.iter().find(|(known, _)| Arc::ptr_eq(known, &store)) {
            return overlay.clone();
        }
        let overlay = Arc::new(Overlay::new(self.shared.clone(), store.clone(), false));
        overlays.push((store, overlay.clone()));
        overlay
    }

    fn is_dry_run(&self) -> bool {
        true
    }
}

/// Writes nothing: the lines of a run would tell of what does not happen.
pub(crate) struct NoLog;

impl Log for NoLog {
    fn info(&self, _: &str) {}

    fn error(&self, _: &str) {}
}
