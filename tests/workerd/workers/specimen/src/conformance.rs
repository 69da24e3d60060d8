//! The conformance suite, on the KV binding of this Worker.

use axum::body::Body;
use axum::http::Response;
use kv_migrations::kv::conformance::CASES;
use worker::{Env, Result};

/// A line for each case: its name, and `ok` or what differs.
pub async fn report(env: &Env) -> Result<Response<Body>> {
    let store = env.kv("MY_SERVICE_KV")?;
    let mut lines = String::new();
    for case in CASES {
        match case.run(&store).await {
            Ok(()) => lines += &format!("{} ok\n", case.name),
            Err(difference) => lines += &format!("{} failed: {difference}\n", case.name),
        }
    }
    Ok(Response::new(lines.into()))
}
