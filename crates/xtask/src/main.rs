//! `cargo xtask`: everything that a developer of kv-migrations runs. Each command first installs what it lacks.

mod audit;
mod bench;
mod book;
mod console;
mod demo;
mod dev;
mod documents;
mod imports;
mod lint;
mod new_migrations;
mod package;
mod paste;
mod simulate;
mod size;
mod test;
mod tools;
mod workers;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::tools::WorkerToolchain;
use crate::workers::{Profile, Worker};
use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, runs and checks kv-migrations")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run migrations with curl against a local Worker, and check every answer
    Demo {
        #[command(subcommand)]
        demo: Option<Demo>,
    },
    /// Serve an example with `wrangler dev`; its KV is kept between runs
    Dev {
        #[arg(default_value = "quickstart")]
        example: String,
        #[arg(long, default_value_t = 8787)]
        port: u16,
    },
    /// Build an example into its directory `build`
    Build {
        example: String,
        /// Compile fast rather than small
        #[arg(long)]
        dev: bool,
    },
    /// Run every test: of the crates, of their packages, and end to end in workerd
    Test,
    /// Build the packages as they are published, each by itself, and with them each example outside of this repository
    Package,
    /// Build the Worker that docs/start.md and the other pages make when they are pasted
    Paste,
    /// Run migrations in simulated worlds, each drawn from a seed: `--seeds 100000`, or one again with `--seed 42`
    Simulate(simulate::Scope),
    /// Check formatting, imports, lints and documentation of every crate, natively and for WebAssembly
    Lint,
    /// Check the public API, licenses and dependencies: before a release
    Audit(audit::Scope),
    /// Measure what mounting the routes adds to a Worker, and fail above the limit
    Size(size::Scope),
    /// Build the documents as a book of HTML pages, and check its links
    Book,
    /// Measure this project beside what a user would use instead, and write docs/benchmarks.md
    Bench(bench::Scope),
}

#[derive(Subcommand)]
enum Demo {
    /// Migrate 170,000 places, kill the server in the middle of it, and check every record
    Gazetteer(demo::Scope),
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    let workspace = Workspace::open()?;
    match command {
        Command::Demo { demo: None } => demo::quickstart(&workspace),
        Command::Demo { demo: Some(Demo::Gazetteer(scope)) } => demo::gazetteer(&workspace, scope),
        Command::Dev { example, port } => dev::run(&workspace, example, *port),
        Command::Build { example, dev } => build(&workspace, example, *dev),
        Command::Test => test::run(&workspace),
        Command::Package => package::check(&workspace),
        Command::Paste => paste::build(&workspace, &WorkerToolchain::ensure(&workspace)?),
        Command::Simulate(scope) => simulate::run(&workspace, scope),
        Command::Lint => lint::run(&workspace),
        Command::Audit(scope) => audit::run(&workspace, scope),
        Command::Size(scope) => size::run(&workspace, scope),
        Command::Book => book::build(&workspace),
        Command::Bench(scope) => bench::run(&workspace, scope),
    }
}

fn build(workspace: &Workspace, example: &str, dev: bool) -> Result<()> {
    let worker = Worker::find(workspace, example)?;
    let profile = if dev { Profile::Dev } else { Profile::Release };
    let toolchain = WorkerToolchain::ensure(workspace)?;
    worker.build(workspace, &toolchain, profile)
}
