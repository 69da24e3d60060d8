//! Ctrl-C, and a pipeline that is cancelled: says what becomes of a run, and ends.

use std::io::{self, Write};
use std::process;
use std::sync::{Mutex, PoisonError};

use crate::exit::{Exit, Failure};

/// What becomes of that which is under way.
static SITUATION: Mutex<&str> = Mutex::new("Nothing was changed.");

/// Sets what is said when the program is interrupted from now on.
pub(crate) fn say(situation: &'static str) {
    *SITUATION.lock().unwrap_or_else(PoisonError::into_inner) = situation;
}

/// Ends the program at a signal.
pub(crate) fn install(for_machines: bool) {
    // Without it, the signal ends the program all the same.
    let _ = ctrlc::set_handler(move || {
        let situation = *SITUATION.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = Failure::new(Exit::Interrupted, "interrupted").with_help(situation);
        if for_machines {
            let _ = writeln!(io::stdout().lock(), "{}", failure.to_json());
        }
        let _ = writeln!(io::stderr().lock(), "\n{failure}");
        process::exit(Exit::Interrupted.code().into());
    });
}
