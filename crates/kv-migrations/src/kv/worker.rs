//! The store of a Worker: its KV binding.

use futures_util::future::LocalBoxFuture;
use serde_json::Value;
use worker::js_sys;
use worker::kv::{KvError as WorkerError, KvStore};
use worker::wasm_bindgen::{JsCast, JsValue};

use super::{BulkValue, Entry, Expiration, Key, KvError, ListOptions, Operation, Page, PutOptions, Store};

/// What stands for bytes that are not UTF-8 where a value was read as text.
const REPLACEMENT: char = '\u{FFFD}';

impl Store for KvStore {
    fn get<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<Option<Entry>, KvError>> {
        Box::pin(async move {
            let entry = KvStore::get(self, key).bytes_with_metadata::<Value>().await;
            let (value, metadata) = entry.map_err(|error| refused(Operation::Get, key, error))?;
            Ok(value.map(|value| Entry { value, metadata }))
        })
    }

    fn get_bulk<'a>(&'a self, keys: &'a [&'a str]) -> LocalBoxFuture<'a, Result<Vec<BulkValue>, KvError>> {
        Box::pin(async move {
            let first = keys.first().copied().unwrap_or_default();
            let values = KvStore::get_bulk(self, keys).text().await;
            let mut values = values.map_err(|error| refused(Operation::GetBulk, first, error))?;
            let value = |key: &&str| match values.remove(*key) {
                None => BulkValue::Unread,
                Some(None) => BulkValue::Missing,
                Some(Some(text)) if text.contains(REPLACEMENT) => BulkValue::Unread,
                Some(Some(text)) => BulkValue::Found(text.into_bytes()),
            };
            Ok(keys.iter().map(value).collect())
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        options: &'a PutOptions,
    ) -> LocalBoxFuture<'a, Result<(), KvError>> {
        Box::pin(async move {
            let put = async {
                let mut put = self.put_bytes(key, value)?;
                if let Some(metadata) = &options.metadata {
                    put = put.metadata(metadata)?;
                }
                match options.expiration {
                    None => put,
                    Some(Expiration::At(at)) => put.expiration(at),
                    Some(Expiration::After(seconds)) => put.expiration_ttl(seconds),
                }
                .execute()
                .await
            };
            put.await.map_err(|error| refused(Operation::Put, key, error))
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<(), KvError>> {
        Box::pin(async move {
            let deleted = KvStore::delete(self, key).await;
            deleted.map_err(|error| refused(Operation::Delete, key, error))
        })
    }

    fn list<'a>(&'a self, options: ListOptions<'a>) -> LocalBoxFuture<'a, Result<Page, KvError>> {
        Box::pin(async move {
            let mut list = KvStore::list(self).prefix(options.prefix.to_owned());
            if let Some(cursor) = options.cursor {
                list = list.cursor(cursor.to_owned());
            }
            if let Some(limit) = options.limit {
                list = list.limit(limit.into());
            }
            let page = list.execute().await;
            let page = page.map_err(|error| refused(Operation::List, options.prefix, error))?;
            let cursor = match (page.list_complete, page.cursor) {
                (true, _) => None,
                (false, Some(cursor)) => Some(cursor),
                (false, None) => {
                    let message = "the page is not the last one, but came without a cursor";
                    return Err(KvError::refused(Operation::List, options.prefix, message));
                }
            };
            let keys = page.keys.into_iter();
            let keys =
                keys.map(|key| Key { name: key.name, expiration: key.expiration, metadata: key.metadata });
            Ok(Page { keys: keys.collect(), cursor })
        })
    }
}

/// The runtime's words, without the stack of JavaScript calls that `WorkerError` prints, and without what they say
/// again of the operation (`KV PUT failed: 429 Too Many Requests`).
fn refused(operation: Operation, key: &str, error: WorkerError) -> KvError {
    let message = match error {
        WorkerError::JavaScript(value) => javascript_message(&value),
        error => error.to_string(),
    };
    let message = match message.split_once(" failed: ") {
        Some((call, reason)) if call.starts_with("KV ") => reason,
        _ => &message,
    };
    KvError::refused(operation, key, message)
}

fn javascript_message(value: &JsValue) -> String {
    match value.dyn_ref::<js_sys::Error>() {
        Some(error) => error.message().into(),
        None => value.as_string().unwrap_or_else(|| "an error without a message".to_owned()),
    }
}
