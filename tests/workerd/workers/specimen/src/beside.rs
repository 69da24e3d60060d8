//! Runs beside the requests for the routes, as a cron trigger or a queue consumer has them.

use axum::body::Body;
use axum::http::{HeaderValue, Response};
use kv_migrations::{DryRun, Runner, Until};
use kv_migrations_routes::ClientError;
use serde::Serialize;
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

/// What the client of the routes gets for `/client/migrate`, `/client/plan`, `/client/dry-run`, `/client/status` or
/// `/client/rollback-all`; for `migrate`, `rollback`, `rollback-to`, `mark`, `unmark`, `reset` and `baseline` also with the id of a
/// migration as another segment. The header `Label` says who asks, and the header `Session` gets past a guard.
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
    let path = request.uri().path().trim_start_matches("/client/");
    let (action, id) = path.split_once('/').unwrap_or((path, ""));
    let until = if id.is_empty() { Until::End } else { Until::Migration(id.to_owned()) };
    let answer = match action {
        "migrate" => answer(client.run_pending_until(&until).await),
        "dry-run" => answer(client.dry_run(&DryRun::new()).await),
        "plan" => answer(client.plan(&Until::Steps(1)).await),
        "rollback-all" | "rollback-to" => answer(client.rollback_until(&until).await),
        "status" => answer(client.status().await),
        "rollback" => answer(client.rollback(id).await),
        "mark" => answer(client.mark(id).await),
        "unmark" => answer(client.unmark(id).await),
        "reset" => answer(client.reset(id).await),
        "baseline" => answer(client.baseline(id).await),
        _ => return Err(format!("the client has no {action}").into()),
    };
    Ok(Response::new(answer.to_string().into()))
}

fn answer(result: std::result::Result<impl Serialize, ClientError>) -> Value {
    match result {
        Ok(report) => json!(report),
        Err(error) => {
            json!({ "status": error.status(), "problem": error.problem(), "error": error.to_string() })
        }
    }
}
