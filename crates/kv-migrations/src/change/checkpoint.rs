//! Checkpoints: how far a change has got, kept in its marker so that another request can resume it.

use std::future::ready;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::schedule::{Moment, RequestEnd, Work, is_careful, is_due, next_limit};
use crate::clock::{between, iso8601, parse_iso8601};
use crate::error::{BoxError, Error, Result};
use crate::future::BoxFuture;
use crate::kv::KvError;
use crate::ledger::{Checkpoint, MarkerState};
use crate::report::{Direction, Progress};
use crate::session::Session;

/// The value of a checkpoint after its [first line](first_line) and its [checksum], as postcard writes it. The marker's
/// metadata has the [`Progress`].
#[derive(Serialize, Deserialize)]
struct Saved<S> {
    /// The kind and the prefix of the change.
    change: String,
    /// The operations after which the next request begins no more entries. Only where that is fewer than its budget has:
    /// because the request that wrote this goes on, and was cut off if nothing follows; or one before it was.
    limit: Option<u64>,
    state: S,
}

/// The first line of a checkpoint. A checkpoint that has no state to resume from is this line alone.
///
/// A release that changes what a state keeps raises the version, because postcard writes no names of fields. To read the
/// checkpoints of the version before all the same, it adds the new field at the end of the state, with `None`, `false`, zero
/// or nothing as its default, which is one zero byte: so it reads an older checkpoint with as many zeros appended.
const fn first_line(direction: Direction) -> &'static [u8] {
    match direction {
        Direction::Up => b"{\"version\":1,\"direction\":\"up\"}\n",
        Direction::Down => b"{\"version\":1,\"direction\":\"down\"}\n",
    }
}

/// The checksum of what follows it, 64-bit FNV-1a: a tool that copies a marker as text replaces bytes, and postcard would
/// read many of those as another state.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc9923>.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.to_le_bytes()
}

const CHECKSUM_BYTES: usize = 8;

/// What follows the first line and the checksum; `None` if that is another one.
fn body(value: &[u8], direction: Direction) -> Option<&[u8]> {
    let (expected, body) = value.strip_prefix(first_line(direction))?.split_at_checked(CHECKSUM_BYTES)?;
    (checksum(body) == expected).then_some(body)
}

/// What a checkpoint is written to, or only counted by. One type for both: each would compile the code of a state once more.
#[derive(Default)]
struct Sink {
    written: Option<Vec<u8>>,
    counted: usize,
}

impl Extend<u8> for Sink {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        match &mut self.written {
            Some(written) => written.extend(bytes),
            None => self.counted += bytes.into_iter().count(),
        }
    }
}

/// Where a change begins.
pub(crate) enum Start<S> {
    /// At the beginning.
    Fresh,
    /// Where an earlier request stopped.
    Resumed(S),
    /// Nowhere: another run has made the change.
    AlreadyApplied,
}

/// The checkpoints of one change in one request.
pub(super) struct Checkpoints<'a> {
    session: &'a Session<'a>,
    id: &'a str,
    direction: Direction,
    /// The direction that the marker names, if it holds a checkpoint.
    marker: Option<Direction>,
    /// The kind and the prefix of the change: it resumes only from its own checkpoints.
    change: String,
    /// How large a checkpoint may be.
    max_bytes: usize,
    /// When the marker was written last, and the size of its value.
    written: Option<SystemTime>,
    bytes: usize,
    /// How many this request has saved.
    saved: u32,
    /// The operations after which this request begins no more entries, if that is fewer than its budget has.
    limit: Option<u64>,
    /// Whether a request before this one may have been cut off before it saved anything.
    is_careful: bool,
    /// The last checkpoint that is known: a failure is recorded with it.
    last: Option<Checkpoint>,
}

impl<'a> Checkpoints<'a> {
    pub(super) fn new(
        session: &'a Session<'a>,
        id: &'a str,
        direction: Direction,
        marker: Option<Direction>,
    ) -> Self {
        Self {
            session,
            id,
            direction,
            marker,
            change: String::new(),
            max_bytes: 0,
            written: None,
            bytes: 0,
            saved: 0,
            limit: None,
            is_careful: true,
            last: None,
        }
    }

    /// Loads the checkpoint of this change, if there is one. One operation.
    pub(super) async fn load<S: DeserializeOwned>(
        &mut self,
        change: String,
        max_bytes: usize,
    ) -> Result<Start<S>> {
        (self.change, self.max_bytes) = (change, max_bytes);
        let state = self.session.ledger.state_of(self.id).await.map_err(|error| match error {
            Error::Ledger(error) => BoxError::from(error),
            error => error.into(),
        })?;
        let checkpoint = match state {
            MarkerState::Unfinished(checkpoint) => checkpoint,
            MarkerState::Applied if self.direction == Direction::Up => return Ok(Start::AlreadyApplied),
            MarkerState::Applied | MarkerState::Nothing => return Ok(Start::Fresh),
        };
        let direction = checkpoint.progress.direction;
        let now = self.session.now();
        // A time that another clock wrote may be in the future.
        self.written = parse_iso8601(&checkpoint.progress.checkpoint_at).map(|written| written.min(now));
        self.marker = Some(direction);
        if direction != self.direction || checkpoint.value == first_line(direction) {
            return Ok(Start::Fresh);
        }
        let saved = self.decode(&checkpoint.value);
        self.is_careful = is_careful(self.written.map(|written| between(written, now)));
        self.bytes = checkpoint.value.len();
        // Also one that cannot be read: the failure is recorded beside it.
        self.last = Some(checkpoint);
        let Saved { limit, state, .. } = saved?;
        self.limit = limit;
        if let Some(limit) = limit {
            self.session.meter.set_limit(limit);
        }
        Ok(Start::Resumed(state))
    }

    /// The progress of the checkpoint that was loaded or saved last.
    pub(super) fn progress(&self) -> Option<&Progress> {
        self.last.as_ref().map(|last| &*last.progress)
    }

    /// Whether it is time for the next checkpoint. `start` is when the request began the change; `rest` estimates what the
    /// request still does.
    pub(super) fn is_due(
        &self,
        start: SystemTime,
        now: SystemTime,
        rest: impl FnOnce() -> Option<Work>,
    ) -> bool {
        let moment = Moment {
            elapsed: between(start, now),
            since_write: self.written.map(|written| between(written, now)),
            write_interval: self.session.ledger.write_interval(),
            bytes: self.bytes,
            saved: self.saved,
            is_careful: self.is_careful,
            was_cut_off: self.limit.is_some(),
            operations: self.session.operations(),
        };
        is_due(&moment, rest)
    }

    /// Saves a checkpoint durably. The caller has [waited](Self::wait_for_marker).
    pub(super) async fn save(
        &mut self,
        state: &impl Serialize,
        progress: Box<Progress>,
        end: RequestEnd,
    ) -> Result {
        let value = self.encode(state, end)?;
        self.bytes = value.len();
        self.last = Some(Checkpoint { value, progress: self.dated(progress) });
        if let Some(recorded) = self.record_last() {
            recorded.await?;
        }
        self.note_written();
        self.saved += 1;
        Ok(())
    }

    /// Keeps a checkpoint for the failure that is about to be returned.
    pub(super) fn keep(&mut self, state: &impl Serialize, progress: Box<Progress>) {
        if let Ok(value) = self.encode(state, RequestEnd::InOrder) {
            self.last = Some(Checkpoint { value, progress: self.dated(progress) });
        }
    }

    /// Keeps a checkpoint without state for the failure that is about to be returned: the next run starts over.
    pub(super) fn keep_nothing(&mut self, progress: Box<Progress>) {
        let value = first_line(self.direction).to_vec();
        self.last = Some(Checkpoint { value, progress: self.dated(progress) });
    }

    /// How far the change had got when it failed; `None` if that is not known.
    pub(super) fn take_last(&mut self) -> Option<Checkpoint> {
        self.last.take()
    }

    /// Whether the marker says that the migration is going the other way.
    pub(super) fn turns_around(&self) -> bool {
        self.marker.is_some_and(|marker| marker != self.direction)
    }

    /// Waits until the marker may be written again.
    pub(super) fn wait_for_marker(&self) -> BoxFuture<'a, ()> {
        let (session, written) = (self.session, self.written);
        let left = written
            .and_then(|written| session.ledger.write_interval().checked_sub(between(written, session.now())));
        match left {
            Some(left) if !left.is_zero() => session.sleep(left),
            _ => Box::pin(ready(())),
        }
    }

    /// The write of the checkpoint that is known last.
    pub(super) fn record_last(&self) -> Option<BoxFuture<'_, Result<(), KvError>>> {
        self.last.as_ref().map(|last| self.session.ledger.record_running(self.id, last))
    }

    /// Notes that the marker was written just now.
    pub(super) fn note_written(&mut self) {
        self.written = Some(self.session.now());
    }

    #[allow(clippy::unnecessary_box_returns, reason = "the caller's box is returned")]
    fn dated(&self, mut progress: Box<Progress>) -> Box<Progress> {
        progress.checkpoint_at = iso8601(self.session.now());
        progress
    }

    /// Writes it over the checkpoint before, unless it cannot be written.
    fn encode(&mut self, state: &impl Serialize, end: RequestEnd) -> Result<Vec<u8>> {
        let all = self.session.meter.budget().operations();
        let limit = next_limit(self.limit, end).filter(|limit| *limit < all);
        let saved = Saved { change: self.change.clone(), limit, state };
        let no_json = |_| "its state cannot be written as JSON: its maps need keys that are text";
        // Counted first: then the checkpoint before need not be held beside it, which stays if this one fails.
        let head = first_line(self.direction).len() + CHECKSUM_BYTES;
        let bytes = head + postcard::to_extend(&saved, Sink::default()).map_err(no_json)?.counted;
        let max = self.max_bytes;
        if bytes > max {
            return Err(format!(
                "its state has grown to {bytes} bytes, and a checkpoint holds {max}. Keep less in the state, or split it \
                 into several migrations, for instance by prefix"
            )
            .into());
        }
        let before = self.last.take().map(|last| last.value).filter(|value| value.capacity() >= bytes);
        let mut value = before.unwrap_or_else(|| Vec::with_capacity(bytes + bytes / 8));
        value.clear();
        value.extend_from_slice(first_line(self.direction));
        value.extend_from_slice(&[0; CHECKSUM_BYTES]);
        let sink = Sink { written: Some(value), counted: 0 };
        let mut value = postcard::to_extend(&saved, sink).map_err(no_json)?.written.unwrap_or_default();
        if let Some((head, body)) = value.split_at_mut_checked(head)
            && let Some(place) = head.last_chunk_mut()
        {
            *place = checksum(body);
        }
        Ok(value)
    }

    fn decode<S: DeserializeOwned>(&self, value: &[u8]) -> Result<Saved<S>> {
        let saved = body(value, self.direction).and_then(|body| postcard::take_from_bytes(body).ok());
        let own =
            saved.filter(|(saved, rest): &(Saved<S>, &[u8])| rest.is_empty() && saved.change == self.change);
        own.map(|(saved, _)| saved).ok_or_else(|| {
            let id = self.id;
            format!(
                "cannot read its checkpoint. The migration's prefix, kind or state type has changed since the checkpoint \
                 was written, or another release wrote it. Restore the old version, or reset it to start over: POST \
                 /migrations/{id}/reset"
            )
            .into()
        })
    }
}
