//! The loop that services write today, to compare with.

use axum::body::Body;
use axum::http::Response;
use kv_migrations::kv::Kv;
use serde_json::{Map, Value};
use worker::{Env, HttpRequest, Result};

use crate::stores;

/// Lists to the end, and then reads and writes one customer after the other: what the scenario `seen` does.
pub async fn run(request: &HttpRequest, env: &Env) -> Result<Response<Body>> {
    let kv = Kv::new(stores::namespace(request, env).store());
    let done = change_all(&kv).await.map_err(|error| error.to_string())?;
    Ok(Response::new(done.to_string().into()))
}

async fn change_all(kv: &Kv) -> kv_migrations::Result<usize> {
    let mut keys = Vec::new();
    let mut pages = kv.list("customer_");
    while let Some(key) = pages.next().await? {
        keys.push(key);
    }
    for key in &keys {
        let mut fields: Map<String, Value> = kv.json(&key.name).await?.unwrap_or_default();
        let seen = fields.get("seen").and_then(Value::as_i64).unwrap_or(0);
        fields.insert("seen".to_owned(), (seen + 1).into());
        kv.put_json(&key.name, &fields).with_options_of(key).await?;
    }
    Ok(keys.len())
}
