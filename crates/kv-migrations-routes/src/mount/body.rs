//! The body of an answer that is ours or another service's.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::response::body::Body;

pin_project! {
    /// The body of an answer of [`WithMigrationRoutes`](crate::WithMigrationRoutes): of the routes, or of the inner service.
    /// The default is empty.
    ///
    /// It fails only if the inner service's body fails.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        content: Content<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = ContentProjection]
    enum Content<B> {
        Routes { #[pin] body: Body },
        Inner { #[pin] body: B },
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn routes(body: Body) -> Self {
        Self { content: Content::Routes { body } }
    }

    pub(super) fn inner(body: B) -> Self {
        Self { content: Content::Inner { body } }
    }
}

impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::routes(Body::default())
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        // Not `Poll::map`: with it the compiler does not see which frames are data, and a Worker is 1.7 KB larger.
        Poll::Ready(match self.project().content.project() {
            ContentProjection::Routes { body } => {
                ready!(body.poll_frame(context)).map(|frame| frame.map_err(|never| match never {}))
            }
            ContentProjection::Inner { body } => ready!(body.poll_frame(context)),
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Routes { body } => body.is_end_stream(),
            Content::Inner { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Routes { body } => body.size_hint(),
            Content::Inner { body } => body.size_hint(),
        }
    }
}
