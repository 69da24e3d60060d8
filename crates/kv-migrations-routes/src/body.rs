//! The body of our responses.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// What the routes answer with. Every framework that takes an [`http_body::Body`] takes it.
#[derive(Debug, Default)]
pub struct Body(Content);

#[derive(Debug)]
enum Content {
    /// All of it, until it is taken.
    Whole(Option<Bytes>),
    Lines(Lines),
}

impl Default for Content {
    fn default() -> Self {
        Self::Whole(None)
    }
}

/// Lines, written while the body is read.
struct Lines {
    queue: Queue,
    /// What writes them; empty when it has ended. It wakes whoever reads the body at the time: a future that keeps the
    /// first waker that it gets, as `worker::Delay` does, would else wake one who read a line long ago.
    writer: FuturesUnordered<Writer>,
}

type Writer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Lines that are written, and not read yet. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Queue(Arc<Mutex<VecDeque<Bytes>>>);

impl Queue {
    /// Adds a line, and ends it.
    pub(crate) fn push(&self, mut line: Vec<u8>) {
        line.push(b'\n');
        self.lines().push_back(line.into());
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body {
    pub(crate) fn new(content: Vec<u8>) -> Self {
        Self(Content::Whole(Some(content.into())))
    }

    /// A body that is written by `writer`, into the queue, while it is read.
    pub(crate) fn lines(queue: Queue, writer: impl Future<Output = ()> + Send + 'static) -> Self {
        let writer: Writer = Box::pin(writer);
        Self(Content::Lines(Lines { queue, writer: FuturesUnordered::from_iter([writer]) }))
    }

    /// Whether all of it is there already.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.0, Content::Whole(_))
    }
}

impl Lines {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(line) = self.queue.lines().pop_front() {
                return Poll::Ready(Some(line));
            }
            let has_ended = match self.writer.poll_next_unpin(context) {
                Poll::Ready(Some(())) => continue,
                Poll::Ready(None) => true,
                Poll::Pending => false,
            };
            if self.queue.lines().is_empty() {
                return if has_ended { Poll::Ready(None) } else { Poll::Pending };
            }
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut self.0 {
            Content::Whole(content) => Poll::Ready(content.take()),
            Content::Lines(lines) => lines.poll_next(context),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Whole(content) => {
                SizeHint::with_exact(content.as_ref().map_or(0, |content| content.len() as u64))
            }
            Content::Lines(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}
