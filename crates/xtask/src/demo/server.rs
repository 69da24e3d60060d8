//! An example in workerd.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xshell::cmd;

use crate::workers::Worker;
use crate::workspace::Workspace;

pub(super) const TOKEN: &str = "dev-token";

pub(super) struct Server {
    pub(super) url: String,
    process: Child,
}

impl Server {
    /// Serves the Worker, with these options of `harness/serve.mjs`. What it has to say goes to `log`.
    pub(super) fn start(
        workspace: &Workspace,
        worker: &Worker,
        options: &[&str],
        log: Stdio,
    ) -> Result<Self> {
        let shell = workspace.shell_in(workspace.end_to_end_tests())?;
        let directory = &worker.directory;
        let command = cmd!(shell, "node harness/serve.mjs {directory}")
            .args(["--binding", &format!("MIGRATIONS_TOKEN={TOKEN}")])
            .args(options);
        // It serves until its standard input closes: however this process ends, the server ends with it.
        let mut process = in_a_group_of_its_own(command.into())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start node")?;
        let stdout = process.stdout.take().context("the server has no standard output")?;
        let mut server = Self { url: String::new(), process };
        server.url = read_url(BufReader::new(stdout))?;
        Ok(server)
    }

    /// Kills it as a power cut would, workerd included, and makes sure that it is dead.
    pub(super) fn kill(&mut self, workspace: &Workspace) -> Result<()> {
        let shell = workspace.shell()?;
        let group = self.process.id().to_string();
        cmd!(shell, "kill -KILL -- -{group}").quiet().run()?;
        self.process.wait()?;
        let address = self.url.trim_start_matches("http://");
        for _ in 0..100 {
            // It is workerd that listens.
            if TcpStream::connect(address).is_err() {
                return Ok(());
            }
            sleep(Duration::from_millis(50));
        }
        bail!("workerd still listens on {address}, although it was killed")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // Nothing is left to do about a server that cannot be waited for.
        let _ = self.process.wait();
    }
}

/// With all that it starts, so that all of it can be killed together.
#[cfg(unix)]
fn in_a_group_of_its_own(mut command: Command) -> Command {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
    command
}

#[cfg(not(unix))]
fn in_a_group_of_its_own(command: Command) -> Command {
    command
}

fn read_url(stdout: impl BufRead) -> Result<String> {
    for line in stdout.lines() {
        if let Some(url) = line?.strip_prefix("ready ") {
            return Ok(url.to_owned());
        }
    }
    bail!("the server stopped before it was ready: see its message")
}
