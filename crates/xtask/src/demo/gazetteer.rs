//! `cargo xtask demo gazetteer`: real data, migrated over many requests by a server that is killed now and then.

mod attempt;
mod back;
mod check;
mod kills;
mod numbers;
mod places;
mod progress;
mod run;
mod store;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::console::heading;
use crate::tools::{WorkerToolchain, require_curl};
use crate::workers::{Profile, Worker};
use crate::workspace::Workspace;
use check::Check;
use run::Run;
use store::Store;

const ID_NORMALISE: &str = "001_normalise";
const ID_BY_COUNTRY: &str = "002_by_country";
const ID_INDEX: &str = "003_index";

/// Below this, migrations can be done before there is a chance to kill the server in the middle of them.
const ENOUGH_TO_KILL: usize = 1_500;

/// How many differences are printed.
const SHOWN: usize = 20;

/// How much of it to do, and where.
#[derive(Default, clap::Args)]
pub(crate) struct Scope {
    /// Take only so many places, the first ones
    #[arg(long)]
    pub(crate) limit: Option<usize>,
    /// Roll all migrations back in the end, and check that everything is as it was
    #[arg(long)]
    pub(crate) and_back: bool,
    /// Keep the KV in this directory rather than in `target`: on a RAM disk it is faster
    #[arg(long)]
    pub(crate) directory: Option<PathBuf>,
}

pub(crate) fn run(workspace: &Workspace, scope: &Scope) -> Result<()> {
    require_curl(workspace)?;
    let gazetteer = Worker::example(workspace, "gazetteer")?;
    let toolchain = WorkerToolchain::ensure(workspace)?;
    gazetteer.build(workspace, &toolchain, Profile::Dev)?;

    let places = places::read(workspace, scope.limit)?;
    heading(&format!("{} places into the local KV", places.len()));
    let store = Store::empty(workspace, scope.directory.as_deref())?;
    store.fill(&places)?;

    heading("Migrations");
    let start = Instant::now();
    let run = Run::to_the_end(workspace, &gazetteer, &store)?;
    let time = start.elapsed();

    heading("Every key, value and metadata against the source");
    check(&store, Check::of_end(&places)?)?;

    heading("Numbers");
    numbers::print(&run, &places, time);
    ensure!(
        run.kills.len() >= 3 || places.len() < ENOUGH_TO_KILL,
        "the server could be killed only {} times in the middle of a request",
        run.kills.len()
    );
    if scope.and_back {
        heading("And back");
        back::all(workspace, &gazetteer, &store)?;
        check(&store, Check::of_start(&places))?;
    }
    store.remove()
}

fn check(store: &Store, mut check: Check) -> Result<()> {
    let expected = check.left();
    let mut wrong = 0;
    let mut show = |difference: String| {
        wrong += 1;
        if wrong <= SHOWN {
            println!("  NOT AS EXPECTED  {difference}");
        }
    };
    store.dump(|entry| check.compare(&entry).into_iter().for_each(&mut show))?;
    check.missing().for_each(show);
    ensure!(wrong == 0, "the demo failed: {wrong} entries are not as expected");
    println!("all {expected} entries are as expected, and there are no others");
    Ok(())
}
