//! The body of our responses.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::mem::take;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
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
    /// What writes them; none when it has ended.
    writer: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// Lines that are written, and not read yet. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared(Mutex<Queued>);

#[derive(Default)]
struct Queued {
    pending: Vec<u8>,
    has_begun: bool,
    /// Whoever reads the body now.
    reader: Option<Waker>,
}

impl Shared {
    fn queued(&self) -> MutexGuard<'_, Queued> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes whoever reads the body now: woken by every line, also by those that others than the writer write. The writer
/// has this one waker for all its life: a future that keeps the first that it gets, as `worker::Delay` does, would else
/// wake one who read a line long ago.
impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        let reader = self.queued().reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Queue {
    /// Adds a line, and ends it.
    pub(crate) fn push(&self, mut line: Vec<u8>) {
        line.push(b'\n');
        self.push_lines(&line);
    }

    /// Adds what somebody else has written: lines, or parts of them.
    pub(crate) fn push_lines(&self, lines: &[u8]) {
        {
            let mut queued = self.0.queued();
            queued.has_begun = true;
            queued.pending.extend_from_slice(lines);
        }
        self.0.clone().wake();
    }

    /// Whether anything was ever written.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.queued().has_begun
    }

    fn is_empty(&self) -> bool {
        self.0.queued().pending.is_empty()
    }
}

impl Body {
    pub(crate) fn new(content: Vec<u8>) -> Self {
        Self(Content::Whole(Some(content.into())))
    }

    /// A body that is written by `writer`, into the queue, while it is read.
    pub(crate) fn lines(queue: Queue, writer: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Content::Lines(Lines { queue, writer: Some(Box::pin(writer)) }))
    }

    /// Waits until there is a first line, or the end.
    pub(crate) async fn begun(&mut self) {
        poll_fn(|context| match &mut self.0 {
            Content::Whole(_) => Poll::Ready(()),
            Content::Lines(lines) => lines.poll_more(context),
        })
        .await;
    }

    /// Whether all of it is there already.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.0, Content::Whole(_))
    }
}

impl Lines {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.poll_more(context).map(|()| {
            let lines = take(&mut self.queue.0.queued().pending);
            (!lines.is_empty()).then(|| lines.into())
        })
    }

    /// Until there is something to be read, or nothing more to come.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.queue.0.queued().reader = Some(context.waker().clone());
        let waker = Waker::from(self.queue.0.clone());
        while self.queue.is_empty() {
            let Some(writer) = &mut self.writer else { break };
            match writer.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(()) => self.writer = None,
                Poll::Pending if self.queue.is_empty() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        Poll::Ready(())
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn poll(body: &mut Body, waker: &Arc<Woken>) -> Poll<Option<Bytes>> {
        let waker = Waker::from(waker.clone());
        let frame = Pin::new(body).poll_frame(&mut Context::from_waker(&waker));
        frame.map(|frame| frame.and_then(|frame| frame.ok()?.into_data().ok()))
    }

    #[test]
    fn a_writer_that_keeps_its_first_waker_wakes_the_last_reader() {
        let queue = Queue::default();
        let kept = Arc::<Mutex<Option<Waker>>>::default();
        let (lines, first) = (queue.clone(), kept.clone());
        lines.push(b"started".to_vec());
        let mut body = Body::lines(
            queue,
            poll_fn(move |context| {
                let mut first = first.lock().unwrap();
                if first.is_none() {
                    *first = Some(context.waker().clone());
                    lines.push(b"waits".to_vec());
                }
                Poll::Pending
            }),
        );
        let readers = [Arc::<Woken>::default(), Arc::default(), Arc::default()];
        assert_eq!(poll(&mut body, &readers[0]), Poll::Ready(Some("started\n".into())));
        assert_eq!(poll(&mut body, &readers[1]), Poll::Ready(Some("waits\n".into())));
        assert_eq!(poll(&mut body, &readers[2]), Poll::Pending);
        kept.lock().unwrap().take().expect("it was polled").wake();
        assert!(readers[2].0.load(Ordering::Relaxed), "the one who waits must be woken");
    }

    #[test]
    fn a_line_that_others_write_wakes_the_reader() {
        let queue = Queue::default();
        let mut body = Body::lines(queue.clone(), std::future::pending());
        let reader = Arc::<Woken>::default();
        assert_eq!(poll(&mut body, &reader), Poll::Pending);
        queue.push(b"applied".to_vec());
        assert!(reader.0.load(Ordering::Relaxed), "there is something to be read");
        assert_eq!(poll(&mut body, &reader), Poll::Ready(Some("applied\n".into())));
    }

    #[test]
    fn a_whole_body_ends_after_what_it_holds() {
        let mut body = Body::new(b"{}".to_vec());
        let reader = Arc::default();
        assert_eq!(body.size_hint().exact(), Some(2));
        assert_eq!(poll(&mut body, &reader), Poll::Ready(Some("{}".into())));
        assert!(body.is_end_stream());
        assert_eq!(poll(&mut body, &reader), Poll::Ready(None));
    }
}
