//! Answers between our own type and that of `worker`.

use futures_util::{StreamExt, TryStreamExt};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http_body_util::{BodyDataStream, BodyExt};
use worker::send::SendFuture;
use worker::{Headers, Result};

use super::body::Body;
use super::queue::Queue;
use crate::request::head::NDJSON;

pub(crate) async fn to_worker(response: http::Response<Body>) -> Result<worker::Response> {
    let (head, body) = response.into_parts();
    let headers = Headers::new();
    for (name, value) in &head.headers {
        headers.append(name.as_str(), value.to_str().unwrap_or_default())?;
    }
    let response = worker::Response::builder().with_status(head.status.as_u16()).with_headers(headers);
    if !body.is_full() {
        let bytes = BodyDataStream::new(body).map_ok(|bytes| bytes.to_vec());
        return response.from_stream(bytes.map_err(|never| -> worker::Error { match never {} }));
    }
    // Our bodies cannot fail.
    let content = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    Ok(response.fixed(content))
}

/// Events pass through line by line, as they arrive.
pub(crate) async fn from_worker(mut answer: worker::Response) -> Result<http::Response<Body>> {
    let content_type = answer.headers().get(CONTENT_TYPE.as_str())?;
    let body = if content_type.as_deref() == Some(NDJSON) {
        let (queue, mut chunks) = (Queue::default(), answer.stream()?);
        let lines = queue.clone();
        let reader = async move {
            // A stream that is cut off ends without a verdict, and so does this one.
            while let Some(Ok(chunk)) = chunks.next().await {
                lines.push_bytes(&chunk);
            }
        };
        Body::lines(queue, SendFuture::new(reader))
    } else {
        Body::full(answer.bytes().await?)
    };
    let mut response = http::Response::new(body);
    *response.status_mut() = answer.status_code().try_into().unwrap_or_default();
    for (name, value) in answer.headers().entries() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(&name), HeaderValue::try_from(&value)) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}
