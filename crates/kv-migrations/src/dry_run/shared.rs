//! What the overlays of one dry run share, and what the runner asks of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::options::DryRun;
use super::overlay::Overlay;
use super::recorder::Recorder;
use crate::budget::{Budget, Interrupt, Meter};
use crate::clock::{Clock, SkippingClock};
use crate::kv::{Kv, KvError, Namespaces, Policy, Store};
use crate::log::Log;
use crate::report::{DryRunReport, DryRunStop, EntryCounts, Event, MigrationKind};

/// How much may be kept in memory until no new entry begins, and until nothing is kept any more. A Worker has 128 MB.
const MAX_BYTES: usize = 16 * 1024 * 1024;
const MAX_BYTES_OF_ALL: usize = 2 * MAX_BYTES;

/// The stores of one dry run.
pub(crate) struct DryRunStores {
    own: Arc<Overlay>,
    shared: Arc<Shared>,
}

/// What the overlays share.
pub(super) struct Shared {
    pub(super) clock: Arc<SkippingClock>,
    /// What keys of markers of the service begin with.
    pub(super) markers: String,
    pub(super) sample: Option<u64>,
    pub(super) has_values: bool,
    /// What is sent to KV: counted, retried, and within the budget of the request.
    policy: Policy,
    meter: Meter,
    interrupt: Interrupt,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) recorder: Recorder,
    /// The namespaces, each with its overlay.
    overlays: Vec<(Arc<dyn Store>, Arc<Overlay>)>,
    bytes: usize,
    stopped: Option<DryRunStop>,
    /// Whether something was not done, so that what came of it is not what a run does.
    is_cut_off: bool,
    /// The failure of KV that was not retried any more.
    pub(super) failure: Option<KvError>,
}

impl DryRunStores {
    pub(crate) fn new(
        store: &Arc<dyn Store>,
        clock: &Arc<dyn Clock>,
        budget: Budget,
        markers: String,
        options: &DryRun,
    ) -> Self {
        let policy = Policy::new(clock.clone(), None);
        let meter = Meter::new(budget, policy.counter.clone(), clock.clone(), Interrupt::default());
        meter.set_reserve(true);
        let state = State {
            recorder: Recorder::new(options.shown, options.has_values),
            overlays: Vec::new(),
            bytes: 0,
            stopped: None,
            is_cut_off: false,
            failure: None,
        };
        let shared = Arc::new(Shared {
            clock: Arc::new(SkippingClock::new(clock.clone())),
            markers,
            sample: options.sample,
            has_values: options.has_values,
            policy: policy.with_meter(&meter),
            meter,
            interrupt: Interrupt::default(),
            state: Mutex::new(state),
        });
        let own = shared.overlay(store, true);
        Self { own, shared }
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
        report.operations_sent = self.shared.meter.operations();
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
        self.shared.overlay(&store, false)
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The overlay of a namespace. The same store has the same one.
    fn overlay(self: &Arc<Self>, store: &Arc<dyn Store>, is_own: bool) -> Arc<Overlay> {
        let overlays = &mut self.state().overlays;
        if let Some((_, overlay)) = overlays.iter().find(|(known, _)| Arc::ptr_eq(known, store)) {
            return overlay.clone();
        }
        let real = Kv::with_policy(store.clone(), self.policy.clone());
        let overlay = Arc::new(Overlay::new(self.clone(), real, is_own));
        overlays.push((store.clone(), overlay.clone()));
        overlay
    }

    fn stop(&self, state: &mut State, why: DryRunStop) {
        state.stopped.get_or_insert(why);
        self.interrupt.raise();
    }

    /// Ends the dry run once the budget of the request is used up.
    pub(super) fn check_budget(&self) {
        if self.meter.left() == 0 {
            self.stop(&mut self.state(), DryRunStop::Budget);
        }
    }

    /// Counts values that are read: they take processor time, wherever they come from.
    pub(super) fn note_read(&self, values: usize, bytes: usize) {
        self.meter.add_entries(values);
        self.meter.add_bytes(bytes);
    }

    pub(super) fn note_listed(&self, keys: usize) {
        self.meter.add_keys(keys);
    }

    /// Notes that an operation was not done.
    pub(super) fn cut_off(&self, why: DryRunStop) {
        let mut state = self.state();
        state.is_cut_off = true;
        self.stop(&mut state, why);
    }

    /// Whether so much more may be kept. Counts it if so.
    pub(super) fn hold(&self, bytes: usize) -> bool {
        /// What a key takes beside its text.
        const OVERHEAD: usize = 100;
        let mut state = self.state();
        let all = state.bytes + bytes + OVERHEAD;
        if all > MAX_BYTES {
            state.is_cut_off |= all > MAX_BYTES_OF_ALL;
            self.stop(&mut state, DryRunStop::Memory);
        }
        if all > MAX_BYTES_OF_ALL {
            return false;
        }
        state.bytes = all;
        true
    }

    pub(super) fn release(&self, bytes: usize) {
        let mut state = self.state();
        state.bytes = state.bytes.saturating_sub(bytes);
    }
}

/// Writes nothing: the lines of a run would tell of what does not happen.
pub(crate) struct NoLog;

impl Log for NoLog {
    fn info(&self, _: &str) {}

    fn error(&self, _: &str) {}
}
