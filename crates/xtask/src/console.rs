//! What a command tells the one who waits for it.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Instant;

use anyhow::{Result, bail};
use xshell::Cmd;

/// Begins a part of a command's work, with the seconds that have passed.
pub(crate) fn heading(title: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    let seconds = START.get_or_init(Instant::now).elapsed().as_secs();
    println!("\n== {title} ({seconds} s)");
}

/// Says what takes a while now.
pub(crate) fn progress(step: &str) {
    eprintln!("→ {step}");
}

/// Runs a command of which only a failure is worth reading.
pub(crate) fn run_quietly(command: Cmd) -> Result<()> {
    let shown = command.to_string();
    let output = command.quiet().ignore_status().output()?;
    if output.status.success() {
        return Ok(());
    }
    let mut stderr = io::stderr().lock();
    stderr.write_all(&output.stdout)?;
    stderr.write_all(&output.stderr)?;
    bail!("`{shown}` failed: {}", output.status)
}
