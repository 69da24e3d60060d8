//! The conformance suite, on the two ways to the KV binding of this Worker.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use kv_migrations::kv::Store;
use kv_migrations::testing::conformance::CASES;
use kv_migrations_routes::Namespace;
use worker::{Env, Result};

use crate::BINDING;

/// A line for each case: the way, the case, and `ok` or what differs.
pub async fn report(env: &Env) -> Result<Response<Body>> {
    let handed_over: Arc<dyn Store> = Arc::new(env.kv(BINDING)?);
    let mut lines = Vec::new();
    for (way, store) in [("by name", Namespace::from(BINDING).store()), ("handed over", handed_over)] {
        for case in CASES {
            let outcome = case.run(&store).await.map_or_else(|difference| difference, |()| "ok".to_owned());
            lines.push(format!("{way}: {}: {outcome}", case.name));
        }
    }
    Ok(Response::new(lines.join("\n").into()))
}
