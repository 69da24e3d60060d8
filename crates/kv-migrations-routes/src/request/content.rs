//! Whether a request has content. The routes take none.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, ready};

use bytes::Buf;
use http_body::Body;

/// Whether a body has at least one byte. A body that cannot be read counts as content. Reads no further than that byte.
pub(crate) async fn has_content<B: Body>(body: B) -> bool {
    let mut body = pin!(body);
    poll_fn(|context| {
        loop {
            match ready!(body.as_mut().poll_frame(context)) {
                None => return Poll::Ready(false),
                Some(Ok(frame)) if frame.data_ref().is_none_or(|data| !data.has_remaining()) => {}
                Some(_) => return Poll::Ready(true),
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures_util::stream::{iter, pending};
    use http_body::Frame;
    use http_body_util::{Empty, Full, StreamBody};

    use super::*;

    fn chunks(chunks: &[&'static str]) -> impl Body + use<> {
        let chunks: Vec<_> =
            chunks.iter().map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from(*chunk)))).collect();
        StreamBody::new(iter(chunks))
    }

    #[test]
    fn only_a_byte_is_content() {
        futures::executor::block_on(async {
            assert!(!has_content(Empty::<Bytes>::new()).await);
            assert!(!has_content(String::new()).await);
            assert!(!has_content(chunks(&["", ""])).await, "empty chunks are none");
            assert!(has_content(Full::new(Bytes::from("{}"))).await);
            assert!(has_content(chunks(&["", "x"])).await);
        });
    }

    #[test]
    fn no_more_is_read_than_the_first_byte() {
        use futures_util::StreamExt;

        let first = iter([Ok::<_, Infallible>(Frame::data(Bytes::from("x")))]);
        let endless = StreamBody::new(first.chain(pending()));
        assert!(futures::executor::block_on(has_content(endless)));
    }
}
