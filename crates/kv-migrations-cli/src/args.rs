//! The command line as it is written.

use std::time::Duration;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::command::{baseline, control, dry_run, history, migrate, new, plan, rollback, status, watch};
use crate::target::TargetArgs;

const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  failed: a migration failed, or the service refuses
    2  usage: the command line is wrong
    3  not up to date
    4  no access: no token, a wrong one, or one that may only read
    5  unreachable, or something else answers than the migration routes
    6  deadline: it takes too long
  130  interrupted

Example, in a pipeline after the deploy:
  export KV_MIGRATIONS_URL=https://my-service.workers.dev KV_MIGRATIONS_TOKEN=…
  kv-migrations migrate";

/// Runs, watches and controls the data migrations of a Cloudflare Worker
///
/// It asks the routes that `kv-migrations-routes` mounts in the Worker. Results go to the standard output, everything else to the
/// standard error. It never prints a token.
#[derive(Parser)]
#[command(name = "kv-migrations", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Print JSON, one value a line. The last one of a command that failed has `exitCode` and `message`
    #[arg(long, global = true, help_heading = "Service")]
    pub(crate) json: bool,
    /// How often to ask again when answers are lost, until it gets further
    #[arg(long, global = true, value_name = "N", default_value_t = 8, help_heading = "Service")]
    pub(crate) retries: u32,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Status(status::Args),
    Plan(plan::Args),
    DryRun(dry_run::Args),
    Migrate(migrate::Args),
    Watch(watch::Args),
    Rollback(rollback::Args),
    /// Pause a run at a backfill, a fold or a re-key (with a coordinator)
    Pause(control::Args),
    /// Resume a run that was paused (with a coordinator)
    Resume(control::Args),
    /// End a run, and forget its checkpoint: the next run starts the migration over (with a coordinator)
    Cancel(control::Args),
    /// Forget the checkpoint or the failure of a migration: the next run starts it over
    Reset(control::Args),
    /// Record a migration as applied without running it
    Mark(control::Args),
    /// Forget that a migration is applied, without its `down`: the next run applies it again
    Unmark(control::Args),
    Baseline(baseline::Args),
    History(history::Args),
    New(new::Args),
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

impl Command {
    /// How long it may take.
    pub(crate) fn deadline(&self) -> Duration {
        match self {
            Self::Status(args) => args.release.deadline(),
            Self::Plan(args) => args.release.deadline(),
            Self::DryRun(args) => args.release.deadline(),
            Self::Migrate(args) => args.deadline,
            Self::Rollback(args) => args.deadline,
            Self::Watch(args) => args.deadline,
            Self::Baseline(args) => args.deadline,
            _ => Duration::from_mins(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }
}
