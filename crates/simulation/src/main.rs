//! `simulate`: runs worlds from seeds, and says how to replay one with a violation.

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use kv_migrations::sabotage::Defect;
use simulation::campaign::{Campaign, Finding, replay};
use simulation::trace::Tracing;

#[derive(Parser)]
#[command(about = "Runs migrations in simulated worlds, each drawn from a seed")]
struct Arguments {
    /// How many worlds
    #[arg(long, default_value_t = 1_000, conflicts_with = "seed")]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Run only the world of this seed, and print what happens in it
    #[arg(long)]
    seed: Option<u64>,
    /// Run all worlds, even after one with a violation
    #[arg(long = "go-on")]
    continues: bool,
    /// Switch on a defect of the runner, which the simulation must find
    #[arg(long)]
    sabotage: Option<Sabotage>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sabotage {
    MarkBeforeFinish,
    DeleteBeforeVerify,
    NoFencing,
    StaleLedger,
    LateCheckpoint,
    OlderReleaseFinishes,
    RetryUnreadable,
    UnverifiedCopies,
    PositionAhead,
    TableReloaded,
    MappedOnce,
    OutdatedCopiesStay,
    UnrecordedCopies,
    LeftUnreported,
    FirstChosen,
    NewForgotten,
    FirstPrefixOnly,
}

impl From<Sabotage> for Defect {
    fn from(sabotage: Sabotage) -> Self {
        match sabotage {
            Sabotage::MarkBeforeFinish => Self::MarkBeforeFinish,
            Sabotage::DeleteBeforeVerify => Self::DeleteBeforeVerify,
            Sabotage::NoFencing => Self::NoFencing,
            Sabotage::StaleLedger => Self::StaleLedger,
            Sabotage::LateCheckpoint => Self::LateCheckpoint,
            Sabotage::OlderReleaseFinishes => Self::OlderReleaseFinishes,
            Sabotage::RetryUnreadable => Self::RetryUnreadable,
            Sabotage::UnverifiedCopies => Self::UnverifiedCopies,
            Sabotage::PositionAhead => Self::PositionAhead,
            Sabotage::TableReloaded => Self::TableReloaded,
            Sabotage::MappedOnce => Self::MappedOnce,
            Sabotage::OutdatedCopiesStay => Self::OutdatedCopiesStay,
            Sabotage::UnrecordedCopies => Self::UnrecordedCopies,
            Sabotage::LeftUnreported => Self::LeftUnreported,
            Sabotage::FirstChosen => Self::FirstChosen,
            Sabotage::NewForgotten => Self::NewForgotten,
            Sabotage::FirstPrefixOnly => Self::FirstPrefixOnly,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => run_one(seed, arguments.sabotage),
        None => run_many(&arguments),
    }
}

fn run_one(seed: u64, sabotage: Option<Sabotage>) -> ExitCode {
    let end = replay(seed, sabotage.map(Defect::from), Tracing::On);
    for line in &end.trace {
        println!("{line}");
    }
    match end.violation {
        None => {
            println!("seed {seed}: no violation");
            ExitCode::SUCCESS
        }
        Some(violation) => {
            println!("seed {seed}: {violation}");
            ExitCode::FAILURE
        }
    }
}

fn run_many(arguments: &Arguments) -> ExitCode {
    let Arguments { from, seeds, threads, sabotage, continues, .. } = *arguments;
    let campaign = Campaign { from, seeds, threads, defect: sabotage.map(Defect::from), continues };
    let start = Instant::now();
    let report = campaign.run(|done| {
        eprintln!("{done} of {seeds} worlds, {:.0} s", start.elapsed().as_secs_f64());
    });
    print!("{}", report.figures);
    let worlds = report.figures.worlds();
    let (seconds, number) = (start.elapsed().as_secs_f64(), u32::try_from(worlds.max(1)).unwrap_or(u32::MAX));
    println!(
        "{worlds} worlds in {seconds:.1} s on {threads} threads: {:.2} ms a world",
        seconds * 1e3 / f64::from(number)
    );
    let again = sabotage.and_then(|sabotage| sabotage.to_possible_value());
    let again = again.map_or_else(String::new, |value| format!(" --sabotage {}", value.get_name()));
    for Finding { worlds, seed, violation } in report.findings.values() {
        println!("\n{worlds} worlds, the first of them with seed {seed}: {violation}");
        println!("to replay it: cargo xtask simulate --seed {seed}{again}");
    }
    if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
