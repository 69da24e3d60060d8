//! The quickstart in workerd, with a KV of its own in memory.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use xshell::cmd;

use crate::workers::Worker;
use crate::workspace::Workspace;

pub(super) const TOKEN: &str = "dev-token";

pub(super) struct Server {
    pub(super) url: String,
    process: Child,
}

impl Server {
    /// Serves the Worker with what `namespace`, a file under `tests/workerd`, holds.
    pub(super) fn start(workspace: &Workspace, worker: &Worker, namespace: Option<&str>) -> Result<Self> {
        let shell = workspace.shell_in(workspace.end_to_end_tests())?;
        let directory = &worker.directory;
        let mut command = cmd!(shell, "node harness/serve.mjs {directory}")
            .args(["--binding", &format!("MIGRATIONS_TOKEN={TOKEN}")])
            .args(["--binding", "API_URL=https://api.example.com"]);
        if let Some(file) = namespace {
            command = command.args(["--namespace", file]);
        }
        // It serves until its standard input closes: however this process ends, the server ends with it.
        let mut process = Command::from(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start node")?;
        let stdout = process.stdout.take().context("the server has no standard output")?;
        let mut server = Self { url: String::new(), process };
        server.url = read_url(BufReader::new(stdout))?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // Nothing is left to do about a server that cannot be waited for.
        let _ = self.process.wait();
    }
}

fn read_url(stdout: impl BufRead) -> Result<String> {
    for line in stdout.lines() {
        if let Some(url) = line?.strip_prefix("ready ") {
            return Ok(url.to_owned());
        }
    }
    anyhow::bail!("the server stopped before it was ready: see its message above")
}
