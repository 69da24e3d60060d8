//! What the routes answer, as far as this program reads it. A service may be of an older or a later release: what it does not
//! say is empty, and what is new is passed over.

use serde::{Deserialize, Serialize};

/// The state of a migration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub(crate) id: String,
    pub(crate) run: bool,
    pub(crate) description: String,
    pub(crate) state: String,
    pub(crate) run_at: Option<String>,
    pub(crate) entries: Option<Entries>,
    /// How many entries it passed over.
    pub(crate) failed: u64,
    pub(crate) error: Option<String>,
    pub(crate) progress: Option<Progress>,
    pub(crate) retry_at: Option<String>,
}

impl Status {
    /// Whether a rollback has something to do: it is applied, or has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.run || self.progress.is_some() || matches!(self.state.as_str(), "running" | "paused")
    }

    /// Whether a run or a rollback is at it.
    pub(crate) fn is_active(&self) -> bool {
        self.state == "running" || self.retry_at.is_some()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Entries {
    pub(crate) seen: u64,
    pub(crate) changed: u64,
    pub(crate) moved: u64,
    pub(crate) left: u64,
}

/// How far a migration has got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Progress {
    pub(crate) direction: String,
    pub(crate) phase: String,
    pub(crate) done: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total: Option<u64>,
    pub(crate) failed: u64,
}

/// What a run, a baseline or a rollback of several did.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Report {
    pub(crate) ran: Vec<String>,
    pub(crate) marked: Vec<String>,
    pub(crate) rolled_back: RolledBack,
    pub(crate) remaining: Option<Vec<String>>,
    pub(crate) beyond: Vec<String>,
    pub(crate) missing: Vec<String>,
    pub(crate) unfinished: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) entries: Option<Entries>,
    pub(crate) progress: Option<Progress>,
    pub(crate) quota_exhausted: bool,
}

/// One migration, or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum RolledBack {
    One(String),
    Several(Vec<String>),
}

impl Default for RolledBack {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl RolledBack {
    pub(crate) fn ids(&self) -> &[String] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Several(ids) => ids,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Status>,
    pub(crate) beyond: Vec<String>,
    pub(crate) findings: Vec<Finding>,
    /// `read` or `full`.
    pub(crate) access: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Finding {
    #[serde(rename = "finding")]
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) other: Option<String>,
}

/// Something that happened in a run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Event {
    /// `started`, `progress`, `applied`, `paused` or `failed`.
    #[serde(rename = "event")]
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) description: String,
    pub(crate) progress: Option<Progress>,
    pub(crate) entries: Option<Entries>,
    pub(crate) error: Option<String>,
}

/// An error as it is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    pub(crate) r#type: String,
    pub(crate) status: u16,
    pub(crate) detail: String,
    pub(crate) help: String,
    pub(crate) ran: Vec<String>,
}

impl Problem {
    pub(crate) const PREFIX: &str = "urn:kv-migrations:problem:";

    /// What its type ends with, if it is a problem of the routes.
    pub(crate) fn kind(&self) -> Option<&str> {
        self.r#type.strip_prefix(Self::PREFIX)
    }
}
