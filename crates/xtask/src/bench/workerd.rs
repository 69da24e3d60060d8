//! What is measured in workerd: run, and read.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use xshell::cmd;

use crate::console::progress;
use crate::workspace::Workspace;

/// All that `tests/workerd/bench/measure.mjs` prints.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Measured {
    pub(super) idle: Vec<Idle>,
    pub(super) pending: Vec<Run>,
    pub(super) backfills: Vec<Backfill>,
    pub(super) requests: Vec<Budgeted>,
    pub(super) cold_starts: Vec<ColdStart>,
    pub(super) request_times: Vec<RequestTime>,
    /// Of the whole TypeScript Worker, minified and gzipped.
    pub(super) typescript_bytes: u64,
}

/// Either runner's way to the same.
#[derive(Deserialize)]
pub(super) struct Runners {
    pub(super) rust: Figures,
    pub(super) typescript: Figures,
}

#[derive(Deserialize)]
pub(super) struct Figures {
    pub(super) operations: u64,
    /// The median, in milliseconds.
    pub(super) took: f64,
}

/// A request that finds nothing to do.
#[derive(Deserialize)]
pub(super) struct Idle {
    /// `status` or `idle`.
    pub(super) what: String,
    pub(super) registered: u64,
    /// The milliseconds that a KV operation takes at least.
    #[serde(rename = "milliseconds")]
    pub(super) latency: u64,
    #[serde(flatten)]
    pub(super) runners: Runners,
}

/// A run of those that are pending, after those that have run.
#[derive(Deserialize)]
pub(super) struct Run {
    pub(super) registered: u64,
    pub(super) pending: u64,
    #[serde(rename = "milliseconds")]
    pub(super) latency: u64,
    #[serde(flatten)]
    pub(super) runners: Runners,
}

/// One way to change all records, in one request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Backfill {
    pub(super) way: String,
    pub(super) records: u64,
    #[serde(rename = "milliseconds")]
    pub(super) latency: u64,
    pub(super) operations: u64,
    pub(super) least: u64,
    pub(super) took: f64,
    /// By so many bytes the process grew; none where the system does not tell.
    pub(super) memory: Option<u64>,
    pub(super) wasm_memory: u64,
}

/// A backfill at the default budget, request after request.
#[derive(Deserialize)]
pub(super) struct Budgeted {
    pub(super) records: u64,
    pub(super) requests: u64,
    pub(super) operations: u64,
    pub(super) least: u64,
    pub(super) took: f64,
}

#[derive(Deserialize)]
pub(super) struct ColdStart {
    pub(super) name: String,
    pub(super) milliseconds: f64,
    pub(super) fastest: f64,
    pub(super) times: u64,
}

#[derive(Deserialize)]
pub(super) struct RequestTime {
    pub(super) name: String,
    pub(super) microseconds: f64,
}

impl Measured {
    /// The Workers have to be built.
    pub(super) fn measure(workspace: &Workspace, quick: bool) -> Result<Self> {
        progress(if quick {
            "measuring in workerd (about a minute)"
        } else {
            "measuring in workerd (about 14 minutes)"
        });
        let shell = workspace.shell_in(workspace.end_to_end_tests())?;
        let arguments = quick.then_some("--quick");
        let results = cmd!(shell, "node bench/measure.mjs {arguments...}").quiet().read()?;
        serde_json::from_str(&results).context("what was measured in workerd cannot be read")
    }

    pub(super) fn request_time(&self, name: &str) -> Option<f64> {
        self.request_times.iter().find(|time| time.name == name).map(|time| time.microseconds)
    }

    /// The ways to change records, by how many and how long an operation takes.
    pub(super) fn backfills(&self) -> BTreeMap<(u64, u64), Vec<&Backfill>> {
        let mut ways = BTreeMap::<_, Vec<_>>::new();
        for backfill in &self.backfills {
            ways.entry((backfill.records, backfill.latency)).or_default().push(backfill);
        }
        ways
    }
}
