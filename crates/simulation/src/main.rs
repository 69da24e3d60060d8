//! `simulate`: runs worlds from seeds, and says how to see one again in which something went wrong.

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use kv_migrations::sabotage::Defect;
use simulation::campaign::{Campaign, Found, replay};

#[derive(Parser)]
#[command(about = "Runs migrations in simulated worlds, each drawn from a seed")]
struct Arguments {
    /// How many worlds
    #[arg(long, default_value_t = 1_000, conflicts_with = "seed")]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// On how many threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Run the world of this seed only, and print what happens in it
    #[arg(long)]
    seed: Option<u64>,
    /// Run all of them, also when something went wrong in one
    #[arg(long)]
    go_on: bool,
    /// Let the runner get something wrong, to see that it is found
    #[arg(long)]
    sabotage: Option<Sabotage>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sabotage {
    MarkBeforeFinish,
    DeleteBeforeVerify,
    NoFencing,
    StaleLedger,
}

impl From<Sabotage> for Defect {
    fn from(sabotage: Sabotage) -> Self {
        match sabotage {
            Sabotage::MarkBeforeFinish => Self::MarkBeforeFinish,
            Sabotage::DeleteBeforeVerify => Self::DeleteBeforeVerify,
            Sabotage::NoFencing => Self::NoFencing,
            Sabotage::StaleLedger => Self::StaleLedger,
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
    let ended = replay(seed, sabotage.map(Defect::from), true);
    for line in &ended.trace {
        println!("{line}");
    }
    match ended.violation {
        None => {
            println!("seed {seed}: all is as it must be");
            ExitCode::SUCCESS
        }
        Some(violation) => {
            println!("seed {seed}: {violation}");
            ExitCode::FAILURE
        }
    }
}

fn run_many(arguments: &Arguments) -> ExitCode {
    let Arguments { from, seeds, threads, sabotage, go_on, .. } = *arguments;
    let campaign = Campaign { from, seeds, threads, defect: sabotage.map(Defect::from), goes_on: go_on };
    let start = Instant::now();
    let outcome = campaign.run(|done| {
        eprintln!("{done} of {seeds} worlds, {:.0} s", start.elapsed().as_secs_f64());
    });
    print!("{}", outcome.figures);
    let worlds = outcome.figures.worlds();
    let (seconds, number) = (start.elapsed().as_secs_f64(), u32::try_from(worlds.max(1)).unwrap_or(u32::MAX));
    println!(
        "{worlds} worlds in {seconds:.1} s on {threads} threads: {:.2} ms a world",
        seconds * 1e3 / f64::from(number)
    );
    let again = sabotage.and_then(|sabotage| sabotage.to_possible_value());
    let again = again.map_or_else(String::new, |value| format!(" --sabotage {}", value.get_name()));
    for Found { worlds, seed, violation } in outcome.found.values() {
        println!("\n{worlds} worlds, the first of them with seed {seed}: {violation}");
        println!("to see it again: cargo xtask simulate --seed {seed}{again}");
    }
    if outcome.found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
