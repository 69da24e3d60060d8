//! The body of our answers.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::queue::Queue;

/// The body of an answer of the routes: an [`http_body::Body`] that never fails. The default is empty.
#[derive(Debug, Default)]
pub struct Body(Content);

#[derive(Debug)]
enum Content {
    /// All of it, until it is read.
    Full(Option<Bytes>),
    Lines(Lines),
}

impl Default for Content {
    fn default() -> Self {
        Self::Full(None)
    }
}

/// Lines that are written while the body is read.
struct Lines {
    queue: Queue,
    /// The future that writes them. None when it has ended.
    writer: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Body {
    pub(crate) fn full(content: Vec<u8>) -> Self {
        Self(Content::Full(Some(content.into())))
    }

    /// A body that runs `writer`, which writes into the queue, while it is read.
    pub(crate) fn lines(queue: Queue, writer: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Content::Lines(Lines { queue, writer: Some(Box::pin(writer)) }))
    }

    /// Waits for the first line, or the end of the body.
    pub(crate) async fn wait_for_content(&mut self) {
        poll_fn(|context| match &mut self.0 {
            Content::Full(_) => Poll::Ready(()),
            Content::Lines(lines) => lines.poll_content(context),
        })
        .await;
    }

    /// All of it, if it is there already.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self.0 {
            Content::Full(content) => content.unwrap_or_default(),
            Content::Lines(_) => Bytes::new(),
        }
    }

    /// Whether all of the body is there already.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self.0, Content::Full(_))
    }
}

impl Lines {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.poll_content(context).map(|()| {
            let lines = self.queue.take();
            (!lines.is_empty()).then(|| lines.into())
        })
    }

    /// Ready when there is something to read, or nothing more to come.
    fn poll_content(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let waker = self.queue.register(context);
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
            Content::Full(content) => Poll::Ready(content.take()),
            Content::Lines(lines) => lines.poll_next(context),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Content::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Full(content) => {
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
    use std::sync::{Arc, Mutex};
    use std::task::{Wake, Waker};

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
        assert!(readers[2].0.load(Ordering::Relaxed), "the last reader must be woken");
    }

    #[test]
    fn a_line_from_outside_of_the_writer_wakes_the_reader() {
        let queue = Queue::default();
        let mut body = Body::lines(queue.clone(), std::future::pending());
        let reader = Arc::<Woken>::default();
        assert_eq!(poll(&mut body, &reader), Poll::Pending);
        queue.push(b"applied".to_vec());
        assert!(reader.0.load(Ordering::Relaxed), "there is something to be read");
        assert_eq!(poll(&mut body, &reader), Poll::Ready(Some("applied\n".into())));
    }

    #[test]
    fn a_full_body_ends_after_its_content() {
        let mut body = Body::full(b"{}".to_vec());
        let reader = Arc::default();
        assert_eq!(body.size_hint().exact(), Some(2));
        assert_eq!(poll(&mut body, &reader), Poll::Ready(Some("{}".into())));
        assert!(body.is_end_stream());
        assert_eq!(poll(&mut body, &reader), Poll::Ready(None));
    }
}
