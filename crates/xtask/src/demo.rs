//! `cargo xtask demo`: the main job, as a user of the quickstart does it.

mod difference;
mod exchange;
pub(crate) mod gazetteer;
mod server;

use std::process::Stdio;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::console::heading;
use crate::tools::{WorkerToolchain, require_curl};
use crate::workers::{Profile, Worker};
use crate::workspace::Workspace;
use exchange::{Exchange, get, post};
use server::Server;

/// What a user says to one deployment of the quickstart.
struct Scene {
    title: &'static str,
    /// What KV holds at the start: a file under `tests/workerd`.
    namespace: Option<&'static str>,
    exchanges: Vec<Exchange>,
}

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    require_curl(workspace)?;
    let quickstart = Worker::example(workspace, "quickstart")?;
    let toolchain = WorkerToolchain::ensure(workspace)?;
    quickstart.build(workspace, &toolchain, Profile::Dev)?;

    let (mut total, mut as_expected) = (0, 0);
    for scene in [new_service(), inherited_service()] {
        heading(scene.title);
        let mut options = vec!["--binding", "API_URL=https://api.example.com"];
        options.extend(scene.namespace.iter().flat_map(|file| ["--namespace", file]));
        let server = Server::start(workspace, &quickstart, &options, Stdio::inherit())?;
        for exchange in &scene.exchanges {
            total += 1;
            as_expected += u32::from(exchange.hold(&server, workspace)?);
        }
    }
    ensure!(as_expected == total, "the demo failed: {as_expected} of {total} answers were as expected");
    println!("\nThe demo succeeded: all {total} answers were as expected.");
    Ok(())
}

fn new_service() -> Scene {
    Scene {
        title: "A new service",
        namespace: None,
        exchanges: vec![
            get("/migrations/status").expect(200, status([false, false])),
            post("/migrate")
                .expect(200, json!({ "ran": ["001_add_feature", "002_with_args"], "skipped": [] })),
            post("/migrate")
                .expect(200, json!({ "ran": [], "skipped": ["001_add_feature", "002_with_args"] })),
            get("/migrations/status").expect(200, status([true, true])),
            post("/migrations/001_add_feature/rollback")
                .expect(200, json!({ "rolledBack": "001_add_feature" })),
            get("/migrations/status").expect(200, status([false, true])),
            post("/migrate").with_token("a-wrong-token").expect(401, json!({})),
        ],
    }
}

fn status([add_feature, with_args]: [bool; 2]) -> Value {
    json!([{ "id": "001_add_feature", "run": add_feature }, { "id": "002_with_args", "run": with_args }])
}

fn inherited_service() -> Scene {
    Scene {
        title: "The KV namespace of the TypeScript runner",
        namespace: Some("fixtures/typescript-namespace.json"),
        exchanges: vec![
            get("/migrations/status").expect(
                200,
                json!([
                    { "id": "001_add_feature", "run": true, "runAt": "2026-11-22T10:48:28.706Z" },
                    { "id": "002_with_args", "run": true, "runAt": "2026-11-22T10:48:28.712Z" },
                ]),
            ),
            post("/migrate")
                .expect(200, json!({ "ran": [], "skipped": ["001_add_feature", "002_with_args"] })),
            post("/migrations/001_add_feature/rollback")
                .expect(200, json!({ "rolledBack": "001_add_feature" })),
            post("/migrate").expect(200, json!({ "ran": ["001_add_feature"], "skipped": ["002_with_args"] })),
        ],
    }
}
