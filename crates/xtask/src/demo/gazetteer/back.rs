//! All migrations taken back, the last one first.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::attempt::Attempt;
use super::progress::{Bars, Progress};
use super::run::serve;
use super::store::Store;
use super::{ID_BY_COUNTRY, ID_INDEX, ID_NORMALISE};
use crate::workers::Worker;
use crate::workspace::Workspace;

#[derive(Deserialize)]
struct Report {
    progress: Option<Progress>,
}

pub(super) fn all(workspace: &Workspace, worker: &Worker, store: &Store) -> Result<()> {
    let server = serve(workspace, worker, store)?;
    let mut bars = Bars::new();
    for id in [ID_INDEX, ID_BY_COUNTRY, ID_NORMALISE] {
        let path = format!("/migrations/{id}/rollback");
        loop {
            let attempt = Attempt::begin(workspace, &server, "POST", &path)?;
            let answer = attempt.end()?.context("the connection broke")?;
            match answer.status {
                200 => break,
                202 => {}
                status => bail!("POST {path} was answered with {status}: {}", answer.body),
            }
            let report: Report = answer.json()?;
            if let Some(progress) = &report.progress {
                bars.show(id, progress);
            }
            sleep(Duration::from_secs(answer.retry_after));
        }
        bars.tell(&format!("{id}: rolled back"));
    }
    bars.finish();
    Ok(())
}
