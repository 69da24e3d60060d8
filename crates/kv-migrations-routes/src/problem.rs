//! Errors as answers: problem details (RFC 9457). The kinds are listed in `docs/http-api.md`.

#![allow(clippy::unnecessary_box_returns, reason = "a result is as large as its error")]

mod coordinator;

use std::borrow::Cow;
use std::time::Duration;

use http::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use kv_migrations::kv::{KvError, KvErrorKind};
use kv_migrations::{Error, Failure, RunReport, Stage};

use crate::access::Denied;
use crate::response::whole_seconds;
use crate::route::Route;

/// What is the same for every problem of a kind.
#[derive(Debug)]
pub(crate) struct Kind {
    /// The end of its `type`, on which tools may rely.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) status: u16,
    /// What to do next.
    help: &'static str,
}

/// An error as it is answered.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) kind: &'static Kind,
    pub(crate) detail: String,
    pub(crate) help: Cow<'static, str>,
    pub(crate) migration: Option<String>,
    /// How far a run got: what ran, and what was skipped.
    pub(crate) progress: Option<(Vec<String>, Vec<String>)>,
    /// Further members, as an object of JSON.
    pub(crate) more: Option<Vec<u8>>,
    pub(crate) header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    fn new(kind: &'static Kind, detail: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            kind,
            detail: detail.into(),
            help: kind.help.into(),
            migration: None,
            progress: None,
            more: None,
            header: None,
        })
    }

    fn about(mut self: Box<Self>, migration: String) -> Box<Self> {
        self.migration = Some(migration);
        self
    }

    fn with_header(mut self: Box<Self>, name: HeaderName, value: HeaderValue) -> Box<Self> {
        self.header = Some((name, value));
        self
    }

    fn retry_after(self: Box<Self>, after: Duration) -> Box<Self> {
        self.with_header(RETRY_AFTER, whole_seconds(after).into())
    }

    pub(crate) fn not_found() -> Box<Self> {
        const KIND: Kind = Kind {
            name: "not-found",
            title: "Not found",
            status: 404,
            help: "The routes are GET /migrations/status, POST /migrate and POST /migrations/{id}/rollback, below \
                   the path that they are mounted at.",
        };
        Self::new(&KIND, "No migration route has this path.")
    }

    pub(crate) fn method_not_allowed(route: &Route) -> Box<Self> {
        const KIND: Kind =
            Kind { name: "method-not-allowed", title: "Method not allowed", status: 405, help: "" };
        let allow = route.allow();
        Self::new(&KIND, format!("This route takes {allow} only."))
            .with_header(ALLOW, HeaderValue::from_static(allow))
    }

    pub(crate) fn invalid_query(detail: &str) -> Box<Self> {
        const KIND: Kind =
            Kind { name: "invalid-query", title: "Invalid query", status: 400, help: "Nothing was done." };
        Self::new(&KIND, detail)
    }

    /// A run that is not finished, for a caller who requires that.
    pub(crate) fn unfinished(report: RunReport) -> Box<Self> {
        const KIND: Kind = Kind {
            name: "unfinished",
            title: "Unfinished",
            status: 503,
            help: "Nothing is wrong. Migrate again, after the time that `Retry-After` says: the next run carries on.",
        };
        let number = report.remaining.len();
        let mut problem = Self::new(&KIND, format!("Migrations that are still to be applied: {number}."))
            .retry_after(report.retry_after.unwrap_or_default());
        problem.migration = report.remaining.into_iter().next();
        problem.progress = Some((report.ran, report.skipped));
        problem
    }

    /// What the context, which only the service can make, failed with.
    pub(crate) fn context(reason: &str) -> Box<Self> {
        const KIND: Kind = Kind {
            name: "context-failed",
            title: "No context",
            status: 500,
            help: "Nothing was read or changed. Look at what the service gives the routes as context.",
        };
        Self::new(&KIND, format!("The context of the migrations could not be made: {reason}"))
    }

    fn failed(failure: Failure) -> Box<Self> {
        const MIGRATION: Kind =
            Kind { name: "migration-failed", title: "Migration failed", status: 500, help: "" };
        const ROLLBACK: Kind =
            Kind { name: "rollback-failed", title: "Rollback failed", status: 500, help: "" };
        let of_rollback = matches!(failure.stage, Stage::Down | Stage::Unrecord);
        let mut problem = Self::new(if of_rollback { &ROLLBACK } else { &MIGRATION }, failure.to_string());
        problem.help = failure.advice().into();
        if !of_rollback {
            problem.progress = Some((failure.report.ran, failure.report.skipped));
        }
        problem.about(failure.id)
    }

    fn ledger(error: &KvError, detail: String) -> Box<Self> {
        const FAILED: Kind = Kind { name: "kv-failed", title: "KV failed", status: 500, help: "" };
        const UNAVAILABLE: Kind =
            Kind { name: "kv-unavailable", title: "KV unavailable", status: 503, help: "Try again." };
        match error.kind() {
            KvErrorKind::Superseded => Self::new(&RUN_IN_PROGRESS, detail).retry_after(A_MINUTE),
            _ if error.is_retryable() => Self::new(&UNAVAILABLE, detail).retry_after(Duration::from_secs(5)),
            _ => Self::new(&FAILED, detail),
        }
    }
}

impl From<Denied> for Box<Problem> {
    fn from(denied: Denied) -> Self {
        const NOT_CONFIGURED: Kind = Kind {
            name: "access-not-configured",
            title: "Access not configured",
            status: 403,
            help: "Set it with `npx wrangler secret put NAME` (or, for `wrangler dev`, in .dev.vars), and send it as \
                   `Authorization: Bearer …`.",
        };
        const UNAUTHORIZED: Kind = Kind {
            name: "unauthorized",
            title: "Unauthorized",
            status: 401,
            help: "Send the token of the service as `Authorization: Bearer …`.",
        };
        let (detail, challenge) = match denied {
            Denied::NotConfigured { secrets } => {
                let mut detail = "Nobody has access yet: the secret `".to_owned();
                // `join` is some hundred bytes of wasm.
                for (index, secret) in secrets.iter().enumerate() {
                    detail.push_str(if index == 0 { "" } else { "` or `" });
                    detail.push_str(secret);
                }
                detail.push_str("` is not set, or is empty.");
                return Problem::new(&NOT_CONFIGURED, detail);
            }
            Denied::NoToken => ("A token is needed.", r#"Bearer realm="migrations""#),
            Denied::WrongToken => {
                ("The token is not the right one.", r#"Bearer realm="migrations", error="invalid_token""#)
            }
        };
        Problem::new(&UNAUTHORIZED, detail).with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }
}

/// As long as the lease of a run.
const A_MINUTE: Duration = Duration::from_mins(1);

const RUN_IN_PROGRESS: Kind = Kind {
    name: "run-in-progress",
    title: "Run in progress",
    status: 409,
    help: "Try again when it has ended. A run that hangs is given up after 60 seconds.",
};

const UNKNOWN_MIGRATION: Kind = Kind {
    name: "unknown-migration",
    title: "Unknown migration",
    status: 404,
    help: "GET /migrations/status lists those that are registered.",
};

/// What has no kind of its own.
const OTHER: Kind = Kind { name: "failed", title: "Failed", status: 500, help: "" };

impl From<Error> for Box<Problem> {
    fn from(error: Error) -> Self {
        const NOT_RUN: Kind = Kind {
            name: "not-run",
            title: "Not run",
            status: 409,
            help: "Nothing was changed. If it ran a moment ago elsewhere in the world, KV can take a minute or more to \
                   show it.",
        };
        const IRREVERSIBLE: Kind = Kind {
            name: "irreversible",
            title: "Irreversible",
            status: 409,
            help: "Nothing was changed. Write a new migration that undoes what this one did.",
        };
        const FOREIGN: Kind =
            Kind { name: "foreign-marker", title: "Marker of another service", status: 409, help: "" };
        const REGISTRATION: Kind = Kind {
            name: "invalid-registration",
            title: "Invalid registration",
            status: 500,
            help: "Nothing was read or changed. Fix the list of migrations, and deploy.",
        };

        let detail = error.to_string();
        match error {
            Error::Failed(failure) => Problem::failed(*failure),
            Error::UnknownMigration { id, .. } => Problem::new(&UNKNOWN_MIGRATION, detail).about(id),
            Error::NotRun { id, .. } => Problem::new(&NOT_RUN, detail).about(id),
            Error::Irreversible { id, .. } => Problem::new(&IRREVERSIBLE, detail).about(id),
            Error::ForeignMarker(marker) => Problem::new(&FOREIGN, detail).about(marker.id),
            Error::RunInProgress { retry_after, .. } => {
                Problem::new(&RUN_IN_PROGRESS, detail).retry_after(retry_after)
            }
            Error::Superseded { id, .. } => {
                Problem::new(&RUN_IN_PROGRESS, detail).retry_after(A_MINUTE).about(id)
            }
            Error::Ledger(error) => Problem::ledger(&error, detail),
            Error::Registration(_) => Problem::new(&REGISTRATION, detail),
            _ => Problem::new(&OTHER, detail),
        }
    }
}
