//! A queue of lines between a run, which writes them, and the body of its answer, which is read meanwhile.

use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

/// Lines that are written and not read yet. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    pending: Vec<u8>,
    has_begun: bool,
    /// The waker of the task that reads the body at present.
    reader: Option<Waker>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the task that reads the body at present. The writer gets this one waker for its whole life: a future that
/// keeps the first waker that it gets, as `worker::Delay` does, would otherwise wake a reader that left long ago.
impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        let reader = self.state().reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Queue {
    /// Adds a line, and ends it.
    pub(crate) fn push(&self, mut line: Vec<u8>) {
        line.push(b'\n');
        self.push_bytes(&line);
    }

    /// Adds lines, or parts of them, that are ended already.
    pub(crate) fn push_bytes(&self, bytes: &[u8]) {
        {
            let mut state = self.0.state();
            state.has_begun = true;
            state.pending.extend_from_slice(bytes);
        }
        self.0.clone().wake();
    }

    /// Whether something was written.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.state().has_begun
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.state().pending.is_empty()
    }

    /// Takes all that is written and not read yet.
    pub(super) fn take(&self) -> Vec<u8> {
        take(&mut self.0.state().pending)
    }

    /// Makes the task of this context the reader, and returns the waker for the writer.
    pub(super) fn register(&self, reader: &Context<'_>) -> Waker {
        self.0.state().reader = Some(reader.waker().clone());
        Waker::from(self.0.clone())
    }
}
