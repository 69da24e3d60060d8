//! What is done to one migration: pause, resume, cancel, reset, mark and unmark.

use serde_json::Value;

use crate::answer::Status;
use crate::command::show;
use crate::driver::Driver;
use crate::exit::{Exit, Failure};
use crate::http::{Request, encoded};
use crate::job::{Coordination, Job};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The migration
    id: String,
    /// Who asks: kept in the history and in the log
    #[arg(long, value_name = "LABEL")]
    by: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Pause,
    Resume,
    Cancel,
    Reset,
    Mark,
    Unmark,
}

impl Control {
    /// The last segment of its route.
    fn segment(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Reset => "reset",
            Self::Mark => "mark",
            Self::Unmark => "unmark",
        }
    }

    /// The refusal which says that it is so already.
    fn done_by(self) -> Option<&'static str> {
        match self {
            Self::Resume => Some("not-paused"),
            Self::Cancel => Some("not-running"),
            Self::Unmark => Some("not-run"),
            Self::Pause | Self::Reset | Self::Mark => None,
        }
    }
}

pub(crate) fn run(control: Control, args: &Args, driver: &mut Driver<'_>) -> Result<Exit, Failure> {
    let path = format!("/migrations/{}/{}", encoded(&args.id), control.segment());
    let request = Request::post(path).with_some("by", args.by.as_deref());
    let job = Job { ends_unfinished: true, done_by: control.done_by(), ..Job::new(request) };
    let body = driver.run(job, Coordination::Unknown)?.body;
    let text = match &body {
        Value::Null => format!("{}: done; the first answer was lost", args.id),
        body => text(control, &show::read(body)?),
    };
    driver.output.result(&text, &body);
    Ok(Exit::Done)
}

/// The state after it. What is about to stop still has the state of before.
fn text(control: Control, status: &Status) -> String {
    let stops = matches!(control, Control::Pause | Control::Cancel);
    let soon = if stops && status.state == "running" { "about to stop\n" } else { "" };
    format!("{soon}{}", show::statuses(std::slice::from_ref(status)))
}
