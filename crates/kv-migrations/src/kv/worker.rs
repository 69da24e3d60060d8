//! The KV binding of a Worker, as `worker` hands it out.

use serde_json::Value;
use worker::js_sys;
use worker::kv::{KvError as WorkerError, KvStore};
use worker::wasm_bindgen::{JsCast, JsValue};

use super::{
    Answer, BulkValue, Entry, Expiration, Key, KvError, ListOptions, Metadata, Page, PutOptions, Request,
    Store,
};
use crate::clock::{Clock, SystemClock, until_quota_begins};
use crate::future::BoxFuture;
use crate::lock::RunLock;
use crate::text::split_at;

/// What the runtime says on the free plan after the last operation of a day: `KV put() limit exceeded for the day.`
const QUOTA_EXHAUSTED: &str = " limit exceeded for the day";

impl Store for KvStore {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let answer = match request {
                Request::Get { key } => get(self, key).await,
                Request::GetBulk { keys } => get_bulk(self, keys).await,
                Request::Put { key, value, options } => put(self, key, value, options).await,
                Request::Delete { key } => self.delete(key).await.map(|()| Answer::Done),
                Request::List(options) => list(self, options).await,
            };
            answer.map_err(|error| match error {
                WorkerError::JavaScript(thrown) => request.js_error(&thrown),
                error => request.refused(None, error.to_string()),
            })
        })
    }

    fn shared_lock(&self, service: &str) -> Option<RunLock> {
        Some(RunLock::of_process(service))
    }
}

async fn get(store: &KvStore, key: &str) -> Result<Answer, WorkerError> {
    let (value, metadata) = store.get(key).bytes_with_metadata::<Value>().await?;
    let metadata = metadata.as_ref().map(text);
    Ok(Answer::Entry(value.map(|value| Entry { value, metadata })))
}

async fn get_bulk(store: &KvStore, keys: &[&str]) -> Result<Answer, WorkerError> {
    let mut values = store.get_bulk(keys).text().await?;
    let value = |key: &&str| match values.remove(*key) {
        None => BulkValue::Unread,
        Some(None) => BulkValue::Missing,
        Some(Some(text)) => BulkValue::from_text(text),
    };
    Ok(Answer::Values(keys.iter().map(value).collect()))
}

async fn put(store: &KvStore, key: &str, value: &[u8], options: &PutOptions) -> Result<Answer, WorkerError> {
    let mut put = store.put_bytes(key, value)?;
    if let Some(metadata) = &options.metadata {
        put = put.metadata(serde_json::from_str::<Value>(metadata.as_json())?)?;
    }
    match options.expiration {
        None => put,
        Some(Expiration::At(at)) => put.expiration(at),
        Some(Expiration::After(seconds)) => put.expiration_ttl(seconds),
    }
    .execute()
    .await?;
    Ok(Answer::Done)
}

async fn list(store: &KvStore, options: ListOptions<'_>) -> Result<Answer, WorkerError> {
    let mut list = store.list().prefix(options.prefix.to_owned());
    if let Some(cursor) = options.cursor {
        list = list.cursor(cursor.to_owned());
    }
    if let Some(limit) = options.limit {
        list = list.limit(limit.into());
    }
    let page = list.execute().await?;
    let keys = page.keys.into_iter().map(|key| {
        let metadata = key.metadata.as_ref().map(text);
        Key::new(key.name).with_expiration(key.expiration).with_metadata(metadata)
    });
    let page = Page::from_result(keys.collect(), page.list_complete, page.cursor);
    page.map(Answer::Page).map_err(|message| WorkerError::JavaScript(message.into()))
}

fn text(metadata: &Value) -> Metadata {
    Metadata::from_json(metadata.to_string())
}

impl Request<'_> {
    /// Returns the error of a call to the Workers runtime that threw `error`: its message without its stack, with
    /// the HTTP status that the message names.
    pub fn js_error(&self, error: &JsValue) -> KvError {
        let message = match error.dyn_ref::<js_sys::Error>() {
            Some(error) => Some(String::from(error.message())),
            None => error.as_string(),
        };
        let message = message.unwrap_or_else(|| "an error without a message".to_owned());
        if split_at(&message, QUOTA_EXHAUSTED).is_some() {
            return self.quota_exhausted(until_quota_begins(SystemClock.now()));
        }
        let (status, message) = parse_message(&message);
        self.refused(status, message)
    }
}

/// The HTTP status and the rest of a message like `KV PUT failed: 429 Too Many Requests`. The runtime calls a list a GET
/// too, so that the name of the operation is left out.
fn parse_message(message: &str) -> (Option<u16>, &str) {
    let message = match split_at(message, " failed: ") {
        Some((start, rest)) if start.starts_with("KV ") => rest,
        _ => message,
    };
    let (word, rest) = split_at(message, " ").unwrap_or((message, ""));
    match *word.as_bytes() {
        // By hand: the standard library's parser is larger in every user's wasm.
        [class @ b'4'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            let status = [class, tens, ones]
                .into_iter()
                .fold(0, |status, digit| 10 * status + u16::from(digit - b'0'));
            (Some(status), rest)
        }
        _ => (None, message),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_message;

    #[test]
    fn the_status_is_read_from_the_start_of_the_message() {
        assert_eq!(parse_message("KV PUT failed: 429 Too Many Requests"), (Some(429), "Too Many Requests"));
        assert_eq!(parse_message("413 Value length exceeds"), (Some(413), "Value length exceeds"));
        assert_eq!(parse_message("KV GET failed: 503"), (Some(503), ""));
    }

    #[test]
    fn a_number_that_is_no_status_stays_in_the_message() {
        for message in ["500000 keys", "Key name cannot be empty.", "200 OK", ""] {
            assert_eq!(parse_message(message), (None, message), "{message}");
        }
    }
}
