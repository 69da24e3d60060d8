//! How the program ends: its exit codes, which are stable, and what it says when it fails.

use std::fmt;

use serde_json::{Value, json};

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotUpToDate = 3,
    NoAccess = 4,
    Unreachable = 5,
    Deadline = 6,
    Interrupted = 130,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// What it is called in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotUpToDate => "not-up-to-date",
            Self::NoAccess => "no-access",
            Self::Unreachable => "unreachable",
            Self::Deadline => "deadline",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// What failed.
    pub(crate) message: String,
    /// What to do next; empty if nobody knows.
    pub(crate) help: String,
    /// The problem that the service answered with, as it was answered.
    pub(crate) problem: Option<Value>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: String::new(), problem: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// The last line of a command with `--json`.
    pub(crate) fn to_json(&self) -> Value {
        let Self { exit, message, help, problem } = self;
        let mut last = json!({ "outcome": exit.name(), "exitCode": exit.code(), "message": message });
        if let Some(fields) = last.as_object_mut() {
            if !help.is_empty() {
                fields.insert("help".to_owned(), help.as_str().into());
            }
            fields.extend(problem.clone().map(|problem| ("problem".to_owned(), problem)));
        }
        last
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "\n{}", self.help) }
    }
}
