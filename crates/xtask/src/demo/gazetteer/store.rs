//! The local KV, kept on disk, so that killing the server loses nothing of it; and the server's log beside it.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::places::Place;
use super::progress::bar;
use crate::workspace::Workspace;

pub(super) struct Store {
    pub(super) kv: PathBuf,
    /// Where the server writes what it has to say.
    pub(super) log: PathBuf,
    directory: PathBuf,
    shell: Shell,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) metadata: Value,
}

impl Store {
    pub(super) fn empty(workspace: &Workspace, parent: Option<&Path>) -> Result<Self> {
        let directory = workspace.root.join(parent.unwrap_or("target".as_ref())).join("gazetteer-demo");
        let shell = workspace.shell_in(workspace.end_to_end_tests())?;
        let store = Self { kv: directory.join("kv"), log: directory.join("server.log"), directory, shell };
        store.clear()?;
        store.shell.create_dir(&store.kv)?;
        Ok(store)
    }

    /// It holds nothing that anybody needs.
    pub(super) fn remove(self) -> Result<()> {
        self.clear()
    }

    fn clear(&self) -> Result<()> {
        Ok(self.shell.remove_path(&self.directory)?)
    }

    /// The places as `city_{n}`.
    pub(super) fn fill(&self, places: &[Place]) -> Result<()> {
        let mut process = self.spawn("put", Stdio::piped())?;
        let input = process.stdin.take().context("the program has no standard input")?;
        let bar = bar("loading", places.len() as u64);
        thread::scope(|scope| {
            let writing = scope.spawn(|| write_places(input, places));
            for line in lines(&mut process)? {
                bar.set_position(line?.parse()?);
            }
            match writing.join() {
                Ok(result) => result,
                Err(_) => bail!("the places could not be written"),
            }
        })?;
        bar.finish();
        println!("loaded in {} s", bar.elapsed().as_secs());
        finish(process)
    }

    /// Every entry, in the order of the keys.
    pub(super) fn dump(&self, mut each: impl FnMut(Entry)) -> Result<()> {
        let mut process = self.spawn("dump", Stdio::null())?;
        for line in lines(&mut process)? {
            each(serde_json::from_str(&line?)?);
        }
        finish(process)
    }

    fn spawn(&self, command: &str, input: Stdio) -> Result<Child> {
        let kv = &self.kv;
        let command = cmd!(self.shell, "node harness/store.mjs {command} {kv}");
        Command::from(command).stdin(input).stdout(Stdio::piped()).spawn().context("cannot start node")
    }
}

fn write_places(input: impl Write, places: &[Place]) -> Result<()> {
    let mut input = BufWriter::new(input);
    for (number, place) in places.iter().enumerate() {
        let (key, value) = (format!("city_{number}"), serde_json::to_string(place)?);
        serde_json::to_writer(&mut input, &Entry { key, value, metadata: Value::Null })?;
        writeln!(input)?;
    }
    Ok(input.flush()?)
}

fn lines(process: &mut Child) -> Result<impl Iterator<Item = std::io::Result<String>>> {
    let output = process.stdout.take().context("the program has no standard output")?;
    Ok(BufReader::new(output).lines())
}

fn finish(mut process: Child) -> Result<()> {
    let status = process.wait()?;
    ensure!(status.success(), "the local KV could not be read or written: see the message above");
    Ok(())
}
