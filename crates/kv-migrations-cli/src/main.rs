//! The command line of kv-migrations: asks the routes that `kv-migrations-routes` mounts in a Worker.
//!
//! What is asked for is a [`job::Job`]. A [`job_state::JobState`] decides what follows from each answer, without any I/O; a
//! [`driver::Driver`] sends, waits and tells. Each command has a file in `command/`.

mod answer;
mod args;
mod classify;
mod client;
mod clock;
mod command;
mod driver;
mod duration;
mod exit;
mod http;
mod interrupt;
mod job;
mod job_state;
mod output;
mod pace;
mod refusal;
mod release;
mod secret;
mod sources;
mod target;
#[cfg(test)]
mod testing;
mod text;
mod vars;

use std::env;
use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};
use client::Client;
use clock::SystemClock;
use command::control::Control;
use driver::Driver;
use exit::{Exit, Failure};
use output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut output = output::choose(cli.json);
    interrupt::install(cli.json);
    let exit = run(&cli, output.as_mut()).unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit
    });
    exit.code().into()
}

fn run(cli: &Cli, output: &mut dyn Output) -> Result<Exit, Failure> {
    match &cli.command {
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "kv-migrations", &mut io::stdout());
            return Ok(Exit::Done);
        }
        Command::New(args) => return command::new::run(args, output),
        _ => {}
    }
    let target = cli.target.resolve(&|name| env::var(name).ok())?;
    let mut driver = Driver {
        service: &Client::new(target),
        clock: &SystemClock::start(),
        output,
        deadline: cli.command.deadline(),
        retries: cli.retries,
    };
    ask(&cli.command, &mut driver)
}

/// Runs a command that asks the service.
fn ask(command: &Command, driver: &mut Driver<'_>) -> Result<Exit, Failure> {
    use command::{baseline, control, dry_run, history, migrate, plan, rollback, status, watch};
    match command {
        Command::Status(args) => status::run(args, driver),
        Command::Plan(args) => plan::run(args, driver),
        Command::DryRun(args) => dry_run::run(args, driver),
        Command::Migrate(args) => migrate::run(args, driver),
        Command::Watch(args) => watch::run(args, driver),
        Command::Rollback(args) => rollback::run(args, driver),
        Command::Pause(args) => control::run(Control::Pause, args, driver),
        Command::Resume(args) => control::run(Control::Resume, args, driver),
        Command::Cancel(args) => control::run(Control::Cancel, args, driver),
        Command::Reset(args) => control::run(Control::Reset, args, driver),
        Command::Mark(args) => control::run(Control::Mark, args, driver),
        Command::Unmark(args) => control::run(Control::Unmark, args, driver),
        Command::Baseline(args) => baseline::run(args, driver),
        Command::History(args) => history::run(args, driver),
        // Those that ask no service.
        Command::New(_) | Command::Completions { .. } => Ok(Exit::Usage),
    }
}
