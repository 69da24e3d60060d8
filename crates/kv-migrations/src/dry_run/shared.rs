//! What the overlays of one dry run share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::options::DryRun;
use super::recorder::Recorder;
use crate::budget::{Budget, Interrupt, Meter};
use crate::clock::{Clock, SkippingClock};
use crate::kv::{KvError, Policy};
use crate::report::DryRunStop;

/// How much may be kept in memory until no new entry begins, and until nothing is kept any more. A Worker has 128 MB.
const MAX_BYTES: usize = 16 * 1024 * 1024;
const MAX_BYTES_OF_ALL: usize = 2 * MAX_BYTES;

/// What the overlays share.
pub(super) struct Shared {
    pub(super) clock: Arc<SkippingClock>,
    /// What keys of markers of the service begin with.
    pub(super) markers: String,
    pub(super) sample: Option<u64>,
    pub(super) has_values: bool,
    /// What is sent to KV: counted, retried, and within the budget of the request.
    pub(super) policy: Policy,
    meter: Meter,
    pub(super) interrupt: Interrupt,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) recorder: Recorder,
    bytes: usize,
    pub(super) stopped: Option<DryRunStop>,
    /// Whether something was not done, so that what came of it is not what a run does.
    pub(super) is_cut_off: bool,
    /// The failure of KV that was not retried any more.
    pub(super) failure: Option<KvError>,
}

impl Shared {
    pub(super) fn new(clock: &Arc<dyn Clock>, budget: Budget, markers: String, options: &DryRun) -> Self {
        let policy = Policy::new(clock.clone(), None);
        let meter = Meter::new(budget, policy.counter.clone(), clock.clone(), Interrupt::default());
        meter.set_reserve(true);
        let state = State {
            recorder: Recorder::new(options.shown, options.has_values),
            bytes: 0,
            stopped: None,
            is_cut_off: false,
            failure: None,
        };
        Self {
            clock: Arc::new(SkippingClock::new(clock.clone())),
            markers,
            sample: options.sample,
            has_values: options.has_values,
            policy: policy.with_meter(&meter),
            meter,
            interrupt: Interrupt::default(),
            state: Mutex::new(state),
        }
    }

    /// How many operations were sent.
    pub(super) fn operations(&self) -> u64 {
        self.meter.operations()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the dry run, if it has not ended before.
    pub(super) fn stop(&self, state: &mut State, why: DryRunStop) {
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
