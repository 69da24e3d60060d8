//! The environment of the Worker: its KV binding and its secrets, by name, with nothing passed in.

use futures_util::future::LocalBoxFuture;
use kv_migrations::kv::{BulkValue, Entry, KvError, ListOptions, Operation, Page, PutOptions, Store};
use worker::Env;
use worker::kv::KvStore;

/// The environment that the runtime offers to import.
///
/// Source: <https://developers.cloudflare.com/workers/runtime-apis/bindings/#importing-env-as-a-global>.
#[cfg(target_arch = "wasm32")]
#[allow(clippy::unnecessary_wraps, reason = "elsewhere than in the runtime there is none")]
pub(crate) fn environment() -> Result<Env, String> {
    use wasm_bindgen::JsValue;
    use wasm_bindgen::prelude::wasm_bindgen;
    use worker::wasm_bindgen::JsCast;

    #[wasm_bindgen(module = "cloudflare:workers")]
    extern "C" {
        #[wasm_bindgen(thread_local_v2, js_name = env)]
        static ENVIRONMENT: JsValue;
    }
    Ok(ENVIRONMENT.with(JsValue::clone).unchecked_into())
}

/// There is none outside of the Workers runtime.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn environment() -> Result<Env, String> {
    Err("there is no Worker's environment here: hand over the store, and set the context".to_owned())
}

/// A secret or variable; none if it is missing, empty, or no text. Space around it is not part of it: a header
/// could not carry it.
pub(crate) fn secret(name: &str) -> Option<String> {
    let secret = environment().ok()?.secret(name).ok()?.to_string();
    Some(secret.trim().to_owned()).filter(|secret| !secret.is_empty())
}

/// The KV namespace bound to a name, looked up when it is needed: mounting routes needs no environment.
pub(crate) struct Binding(pub(crate) String);

impl Binding {
    fn store(&self, operation: Operation, key: &str) -> Result<KvStore, KvError> {
        environment()
            .and_then(|environment| {
                environment.kv(&self.0).map_err(|_| {
                    format!(
                        "the Worker has no KV binding `{}`: name it under [[kv_namespaces]] in wrangler.toml",
                        self.0
                    )
                })
            })
            .map_err(|message| KvError::refused(operation, key, message))
    }
}

impl Store for Binding {
    fn get<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<Option<Entry>, KvError>> {
        Box::pin(async move { Store::get(&self.store(Operation::Get, key)?, key).await })
    }

    fn get_bulk<'a>(&'a self, keys: &'a [&'a str]) -> LocalBoxFuture<'a, Result<Vec<BulkValue>, KvError>> {
        let first = keys.first().copied().unwrap_or_default();
        Box::pin(async move { Store::get_bulk(&self.store(Operation::GetBulk, first)?, keys).await })
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        options: &'a PutOptions,
    ) -> LocalBoxFuture<'a, Result<(), KvError>> {
        Box::pin(async move { Store::put(&self.store(Operation::Put, key)?, key, value, options).await })
    }

    fn delete<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<(), KvError>> {
        Box::pin(async move { Store::delete(&self.store(Operation::Delete, key)?, key).await })
    }

    fn list<'a>(&'a self, options: ListOptions<'a>) -> LocalBoxFuture<'a, Result<Page, KvError>> {
        Box::pin(async move { Store::list(&self.store(Operation::List, options.prefix)?, options).await })
    }
}
