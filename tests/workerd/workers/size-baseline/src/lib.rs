//! The smallest Worker on axum: what the size of the routes is measured against. With a feature, what `serde_json` adds by itself
//! to read a map and to write it.

use axum::Router;
use axum::body::Body;
use axum::http::Response;
use axum::routing::get;
use serde_json::{Map, Value};
use tower_service::Service;
use worker::{Context, Env, HttpRequest, Result, event};

#[event(fetch)]
async fn fetch(request: HttpRequest, _env: Env, _context: Context) -> Result<Response<Body>> {
    if cfg!(feature = "serde-json")
        && let Some(json) = request.headers().get("json")
    {
        return Ok(Response::new(Body::from(filled(json.as_bytes()))));
    }
    let mut router = Router::new().route("/", get(async || "hello\n"));
    Ok(router.call(request).await?)
}

fn filled(json: &[u8]) -> Vec<u8> {
    let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(json) else { return Vec::new() };
    fields.entry("verified").or_insert(false.into());
    serde_json::to_vec(&fields).unwrap_or_default()
}
