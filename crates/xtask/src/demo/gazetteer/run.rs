//! All migrations, over as many requests as they take.

use std::collections::BTreeMap;
use std::fs::File;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::ID_NORMALISE;
use super::attempt::{Answer, Attempt, Report};
use super::kills::Kills;
use super::progress::{Bars, Progress};
use super::store::Store;
use crate::demo::server::Server;
use crate::workers::Worker;
use crate::workspace::Workspace;

/// What it took.
pub(super) struct Run {
    /// By migration: those that were cut off count too.
    pub(super) requests: BTreeMap<String, u64>,
    /// In which migrations, and in which of their phases, the server was killed.
    pub(super) kills: Vec<(String, String)>,
    /// All KV operations of all requests that were answered.
    pub(super) operations: u64,
    /// The state of the migrations in the end.
    pub(super) applied: Vec<Applied>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Applied {
    pub(super) id: String,
    pub(super) duration_ms: u64,
    pub(super) operations: u64,
}

struct Driver<'a> {
    workspace: &'a Workspace,
    worker: &'a Worker,
    store: &'a Store,
    bars: Bars,
    kills: Kills,
    /// The migration that is under way, and how far it has got.
    current: (String, Option<Progress>),
}

impl Run {
    pub(super) fn to_the_end(workspace: &Workspace, worker: &Worker, store: &Store) -> Result<Self> {
        let current = (ID_NORMALISE.to_owned(), None);
        let (bars, kills) = (Bars::new(), Kills::new());
        Driver { workspace, worker, store, bars, kills, current }.drive()
    }
}

impl Driver<'_> {
    fn drive(mut self) -> Result<Run> {
        let mut run =
            Run { requests: BTreeMap::new(), kills: Vec::new(), operations: 0, applied: Vec::new() };
        let mut server = serve(self.workspace, self.worker, self.store)?;
        loop {
            *run.requests.entry(self.current.0.clone()).or_default() += 1;
            let attempt = Attempt::begin(self.workspace, &server, "POST", "/migrate")?;
            let Some(answer) = self.answer(attempt, &mut server, &mut run)? else { continue };
            let report: Report = match answer.status {
                200 | 202 => answer.json()?,
                status => bail!("POST /migrate was answered with {status}: {}", answer.body),
            };
            run.operations += report.operations;
            for id in &report.ran {
                self.bars.tell(&format!("{id}: applied"));
            }
            let Some(next) = report.remaining.first() else { break };
            if let Some(progress) = &report.progress {
                self.bars.show(next, progress);
            }
            self.current = (next.clone(), report.progress);
            sleep(Duration::from_secs(answer.retry_after));
        }
        self.bars.finish();
        run.applied = self.applied(&server)?;
        Ok(run)
    }

    /// The answer; none if the server was killed before it came.
    fn answer(&mut self, mut attempt: Attempt, server: &mut Server, run: &mut Run) -> Result<Option<Answer>> {
        let (id, progress) = &self.current;
        if let Some(Progress { phase, .. }) = progress.as_ref().filter(|at| self.kills.is_due(id, at)) {
            sleep(self.kills.wait);
            if attempt.is_answered()? {
                self.kills.be_faster();
            } else {
                server.kill(self.workspace)?;
                *server = serve(self.workspace, self.worker, self.store)?;
                if let Some(answer) = attempt.end()? {
                    // It came at the last moment: that is not in the middle.
                    self.kills.be_faster();
                    return Ok(Some(answer));
                }
                self.bars.tell(&format!("{id}: killed the server in the middle of `{phase}`"));
                run.kills.push((id.clone(), phase.clone()));
                self.kills.done(id, phase);
                return Ok(None);
            }
        }
        let broken = || {
            format!("the connection broke, and nobody killed the server: see {}", self.store.log.display())
        };
        attempt.end()?.with_context(broken).map(Some)
    }

    fn applied(&self, server: &Server) -> Result<Vec<Applied>> {
        let path = "/migrations/status?require=up-to-date";
        let attempt = Attempt::begin(self.workspace, server, "GET", path)?;
        let answer = attempt.end()?.context("the status could not be asked for")?;
        ensure!(answer.status == 200, "not every migration is applied: {}", answer.body);
        answer.json()
    }
}

pub(super) fn serve(workspace: &Workspace, worker: &Worker, store: &Store) -> Result<Server> {
    let kv = store.kv.to_string_lossy();
    let options = ["--persist", &*kv, "--binding", "KV_DELAY_SECONDS=1"];
    let log = File::options().create(true).append(true).open(&store.log)?;
    Server::start(workspace, worker, &options, log.into())
}
