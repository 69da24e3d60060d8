//! Errors as answers: `application/problem+json` (RFC 9457).

use std::time::Duration;

use http::StatusCode;
use kv_migrations::kv::KvErrorKind;
use kv_migrations::{Error, Failure, Stage};
use serde::Serialize;

use crate::access::Denied;
use crate::route::Route;

/// An error as it is answered. Its `type` is stable: tools may rely on it.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    r#type: String,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    pub(crate) status: StatusCode,
    detail: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    migration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ran: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<Vec<String>>,
    /// Headers that belong to it.
    #[serde(skip)]
    pub(crate) headers: Vec<(http::HeaderName, String)>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    fn new(status: StatusCode, name: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            r#type: format!("urn:kv-migrations:problem:{name}"),
            title,
            status,
            detail: detail.into(),
            help: None,
            migration: None,
            ran: None,
            skipped: None,
            headers: Vec::new(),
        }
    }

    fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn about(mut self, migration: &str) -> Self {
        self.migration = Some(migration.to_owned());
        self
    }

    fn with_header(mut self, name: http::HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn retry_after(self, after: Duration) -> Self {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.with_header(http::header::RETRY_AFTER, seconds.max(1).to_string())
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", "No migration route has this path.").with_help(
            "The routes are GET /migrations/status, POST /migrate and POST /migrations/{id}/rollback, below the \
             path that they are mounted at.",
        )
    }

    pub(crate) fn method_not_allowed(route: &Route) -> Self {
        let allow = route.allow();
        let detail = format!("This route takes {allow} only.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
            .with_header(http::header::ALLOW, allow)
    }

    pub(crate) fn invalid_query(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-query", "Invalid query", detail).with_help(
            "Nothing was done. GET /migrations/status takes ?require=up-to-date, the others nothing.",
        )
    }

    /// What the context, which only the service can make, failed with.
    pub(crate) fn context(reason: &str) -> Self {
        let detail = format!("The context of the migrations could not be made: {reason}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "context-failed", "No context", detail)
            .with_help("Nothing was read or changed. Look at what the service gives the routes as context.")
    }

    fn failed(failure: Failure) -> Self {
        let (name, title) = match failure.stage {
            Stage::Down | Stage::Unrecord => ("rollback-failed", "Rollback failed"),
            _ => ("migration-failed", "Migration failed"),
        };
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let mut problem = Self::new(status, name, title, failure.to_string())
            .with_help(failure.advice())
            .about(&failure.id);
        if name == "migration-failed" {
            problem.ran = Some(failure.report.ran);
            problem.skipped = Some(failure.report.skipped);
        }
        problem
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        const UNAUTHORIZED: &str = "Unauthorized";
        let (detail, challenge) = match denied {
            Denied::NotConfigured { secrets } => {
                let (name, secrets) = ("access-not-configured", secrets.join("` or `"));
                let detail =
                    format!("Nobody has access yet: the secret `{secrets}` is not set, or is empty.");
                let help = "Set it with `npx wrangler secret put NAME` (or, for `wrangler dev`, in .dev.vars), and \
                            send it as `Authorization: Bearer …`.";
                return Self::new(StatusCode::FORBIDDEN, name, "Access not configured", detail)
                    .with_help(help);
            }
            Denied::NoToken => ("A token is needed.", r#"Bearer realm="migrations""#),
            Denied::WrongToken => {
                ("The token is not the right one.", r#"Bearer realm="migrations", error="invalid_token""#)
            }
        };
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", UNAUTHORIZED, detail)
            .with_help("Send the secret of the service as `Authorization: Bearer …`.")
            .with_header(http::header::WWW_AUTHENTICATE, challenge)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::Failed(failure) => Self::failed(*failure),
            Error::UnknownMigration { id, .. } => {
                Self::new(StatusCode::NOT_FOUND, "unknown-migration", "Unknown migration", detail)
                    .about(&id)
                    .with_help("GET /migrations/status lists those that are registered.")
            }
            Error::NotRun { id, .. } => {
                Self::new(StatusCode::CONFLICT, "not-run", "Not run", detail).about(&id).with_help(
                    "Nothing was changed. If it ran a moment ago elsewhere in the world, KV can take a minute or \
                     more to show it.",
                )
            }
            Error::Irreversible { id, .. } => {
                Self::new(StatusCode::CONFLICT, "irreversible", "Irreversible", detail)
                    .about(&id)
                    .with_help("Nothing was changed. Write a new migration that takes back what this one did.")
            }
            Error::RunInProgress { retry_after, .. } => {
                Self::new(StatusCode::CONFLICT, "run-in-progress", "Run in progress", detail)
                    .with_help("Try again when it has ended. A run that hangs is given up after 60 seconds.")
                    .retry_after(retry_after)
            }
            Error::ForeignMarker { id, .. } => {
                Self::new(StatusCode::CONFLICT, "foreign-marker", "Marker of another service", detail).about(&id)
            }
            Error::Registration(_) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "invalid-registration",
                "Invalid registration",
                detail,
            )
            .with_help("Nothing was read or changed. Mend the list of migrations, and deploy."),
            Error::Ledger(error) if matches!(error.kind(), KvErrorKind::Superseded) => {
                Self::new(StatusCode::CONFLICT, "run-in-progress", "Run in progress", detail)
            }
            Error::Ledger(error) if error.is_retryable() => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "kv-unavailable", "KV unavailable", detail)
                    .with_help("Try again.")
                    .retry_after(Duration::from_secs(5))
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "kv-failed", "KV failed", detail),
        }
    }
}
