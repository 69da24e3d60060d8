//! Runs beside the requests for the routes, as a cron trigger or a queue consumer has them.

use axum::body::Body;
use axum::http::{HeaderValue, Response};
use kv_migrations::{DryRun, Runner, Until};
use kv_migrations_routes::ClientError;
use serde_json::{Value, json};
use worker::{Env, HttpRequest, Result};

use crate::settings::Settings;
use crate::{BINDING, coordinated, migrations, routes};

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

/// What the client of the routes gets for `/client/migrate`, `/client/migrate/ID`, `/client/plan`, `/client/dry-run`, `/client/status`,
/// `/client/rollback/ID`, `/client/rollback-to/ID` or `/client/rollback-all`. The header `Label`
/// says who asks, and the header `Session` gets past a guard.
pub async fn ask(request: &HttpRequest, env: &Env) -> Result<Response<Body>> {
    let routes = match request.get("coordinator") {
        "" => routes(request, env),
        _ => coordinated::mounted(env),
    };
    let mut client = routes.client(env);
    if let label @ [_, ..] = request.get("label").as_bytes() {
        client = client.with_label(String::from_utf8_lossy(label)).queued();
    }
    if let Ok(session) = HeaderValue::from_str(request.get("session")) {
        client = client.with_header(axum::http::header::COOKIE, session);
    }
    let answer = match request.uri().path().trim_start_matches("/client/") {
        "migrate" => answer(client.run_pending().await.map(|report| json!(report))),
        "dry-run" => answer(client.dry_run(&DryRun::new()).await.map(|report| json!(report))),
        "plan" => answer(client.plan(&Until::Steps(1)).await.map(|plan| json!(plan))),
        path if path.starts_with("migrate/") => {
            let until = Until::Migration(path.trim_start_matches("migrate/").to_owned());
            answer(client.run_pending_until(&until).await.map(|report| json!(report)))
        }
        "rollback-all" => answer(client.rollback_until(&Until::End).await.map(|report| json!(report))),
        path if path.starts_with("rollback-to/") => {
            let until = Until::Migration(path.trim_start_matches("rollback-to/").to_owned());
            answer(client.rollback_until(&until).await.map(|report| json!(report)))
        }
        "status" => answer(client.status().await.map(|status| json!(status))),
        path => {
            answer(client.rollback(path.trim_start_matches("rollback/")).await.map(|report| json!(report)))
        }
    };
    Ok(Response::new(answer.to_string().into()))
}

fn answer(result: std::result::Result<Value, ClientError>) -> Value {
    result.unwrap_or_else(
        |error| json!({ "status": error.status(), "problem": error.problem(), "error": error.to_string() }),
    )
}
