//! How the program ends when the routes refuse, or something else answers.

use serde_json::Value;

use crate::answer::Problem;
use crate::exit::{Exit, Failure};

/// The failure that a problem of the routes is.
pub(crate) fn of_problem(problem: Problem, raw: Value) -> Failure {
    let Problem { r#type, status, detail, mut help, .. } = problem;
    let kind = r#type.strip_prefix(Problem::PREFIX).unwrap_or_default();
    let exit = match (status, kind) {
        (401 | 403, _) => Exit::NoAccess,
        (404, "not-found") => Exit::Unreachable,
        (_, "release-mismatch") => Exit::NotUpToDate,
        _ => Exit::Failed,
    };
    let more = match kind {
        "unauthorized" => "Give the service's token by the variable KV_MIGRATIONS_TOKEN, or by --vars FILE.",
        "run-in-progress" => {
            "`--wait` waits for it, where the command takes that. `kv-migrations watch` shows how far it is."
        }
        _ => "",
    };
    if !more.is_empty() {
        help.push_str(if help.is_empty() { "" } else { "\n" });
        help.push_str(more);
    }
    let message = if detail.is_empty() { r#type } else { detail };
    Failure { exit, message, help, problem: Some(raw) }
}

/// The failure that an answer of something else is.
pub(crate) fn of_foreign(status: u16, reason: &str) -> Failure {
    let help = match status {
        300..=399 => "Redirects are not followed: give the address that the service has in the end.",
        500..=599 => {
            "If a migration panics, or takes more memory or CPU time than there is, the Workers runtime answers so: its logs say \
             which. `kv-migrations status` says what is applied."
        }
        _ => {
            "Give the address at which the routes are mounted: `/migrations/status` is added to it. If the Worker has static \
             assets, its `run_worker_first` must name the paths of the routes."
        }
    };
    Failure::new(Exit::Unreachable, format!("this is no answer of the migration routes: {reason}"))
        .with_help(help)
}
