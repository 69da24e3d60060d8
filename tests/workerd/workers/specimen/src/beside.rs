//! Runs beside the requests for the routes, as a cron trigger or a queue consumer has them.

use axum::body::Body;
use axum::http::Response;
use kv_migrations::Runner;
use serde_json::json;
use worker::{Env, HttpRequest, Result};

use crate::settings::Settings;
use crate::{BINDING, migrations};

/// What a `Runner` on the KV of this Worker does with the same migrations: the ids that ran, or its error.
pub async fn run(request: &HttpRequest, env: &Env) -> Result<Response<Body>> {
    let service = match request.get("prefix") {
        "" => "my-service",
        prefix => prefix,
    };
    let runner = Runner::new(env.kv(BINDING)?, service, migrations(request));
    let runner = runner.map_err(|error| error.to_string())?;
    let answer = match runner.run_pending(env).await {
        Ok(report) => json!({ "ran": report.ran }),
        Err(error) => json!({ "error": error.to_string() }),
    };
    Ok(Response::new(answer.to_string().into()))
}
