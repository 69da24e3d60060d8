//! A backfill without this project: written by hand, in Rust, on what `worker` has for KV. It shows what the way from
//! WebAssembly to KV costs by itself. The headers are those of `measured`; with `Calls`, it calls JavaScript so often, as for a
//! put that writes nothing, and does nothing else.

use axum::Router;
use axum::body::Body;
use axum::http::Response;
use axum::routing::get;
use futures_util::future::try_join_all;
use serde_json::{Map, Value};
use tower_service::Service;
use wasm_bindgen::prelude::wasm_bindgen;
use worker::kv::KvStore;
use worker::{Context, Env, Error, HttpRequest, Result, event};

#[wasm_bindgen(inline_js = "export const put_nothing = (key, value) => key.length + value.length;")]
extern "C" {
    fn put_nothing(key: &str, value: &[u8]) -> u32;
}

/// Of values in one bulk read.
const BULK: usize = 100;

#[event(fetch)]
async fn fetch(request: HttpRequest, env: Env, _context: Context) -> Result<Response<Body>> {
    let calls = request.headers().get("calls").and_then(|calls| calls.to_str().ok()?.parse::<u32>().ok());
    if let Some(calls) = calls {
        let passed: u32 = (0..calls).map(|_| put_nothing("customer_000001", &[b'x'; 80])).sum();
        return Ok(Response::new(Body::from(passed.to_string())));
    }
    if request.uri().path() == "/migrate" {
        let prefix =
            request.headers().get("records").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let changed = backfill(&env.kv("MY_SERVICE_KV")?, prefix).await?;
        return Ok(Response::new(Body::from(changed.to_string())));
    }
    let mut router = Router::new().route("/", get(async || "hello\n"));
    Ok(router.call(request).await?)
}

/// Adds one to the field `seen` of every customer, page by page.
async fn backfill(kv: &KvStore, prefix: &str) -> Result<usize> {
    let (mut cursor, mut changed) = (None::<String>, 0);
    loop {
        let mut list = kv.list().prefix(prefix.to_owned());
        if let Some(cursor) = cursor {
            list = list.cursor(cursor);
        }
        let page = list.execute().await?;
        let names: Vec<String> = page.keys.into_iter().map(|key| key.name).collect();
        for names in names.chunks(BULK) {
            let values = kv.get_bulk(names).text().await?;
            let entries = values.into_iter().filter_map(|(name, value)| Some((name, value?)));
            changed += try_join_all(entries.map(|(name, value)| see(kv, name, value))).await?.len();
        }
        cursor = page.cursor.filter(|_| !page.list_complete);
        if cursor.is_none() {
            return Ok(changed);
        }
    }
}

async fn see(kv: &KvStore, name: String, value: String) -> Result<()> {
    let mut fields: Map<String, Value> =
        serde_json::from_str(&value).map_err(|error| Error::RustError(error.to_string()))?;
    let seen = fields.get("seen").and_then(Value::as_i64).unwrap_or(0);
    fields.insert("seen".to_owned(), (seen + 1).into());
    let json = serde_json::to_vec(&fields).map_err(|error| Error::RustError(error.to_string()))?;
    Ok(kv.put_bytes(&name, &json)?.execute().await?)
}
