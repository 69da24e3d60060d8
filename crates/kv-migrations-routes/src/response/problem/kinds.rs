//! All kinds of problems. `docs/reference/http.md` lists them too, with what was changed.

use http::StatusCode;

/// What all problems of a kind have in common.
#[derive(Debug)]
pub(super) struct Kind {
    /// The end of the `type`, on which tools may rely.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) status: StatusCode,
    /// What to do next. Empty if the detail says it.
    pub(super) help: &'static str,
}

// The request.

pub(super) const NOT_FOUND: Kind = Kind {
    name: "not-found",
    title: "Not found",
    status: StatusCode::NOT_FOUND,
    help: "The routes are GET /migrations/status and /migrations/plan, POST /migrate, and POST /migrations/{id}/rollback, reset, mark or unmark, \
           below the path that they are mounted at.",
};

pub(super) const METHOD_NOT_ALLOWED: Kind = Kind {
    name: "method-not-allowed",
    title: "Method not allowed",
    status: StatusCode::METHOD_NOT_ALLOWED,
    help: "",
};

pub(super) const INVALID_QUERY: Kind = Kind {
    name: "invalid-query",
    title: "Invalid query",
    status: StatusCode::BAD_REQUEST,
    help: "Nothing was done.",
};

pub(super) const UNEXPECTED_CONTENT: Kind = Kind {
    name: "unexpected-content",
    title: "Unexpected content",
    status: StatusCode::BAD_REQUEST,
    help: "Nothing was done. Send an empty body; what a route takes is in its query.",
};

pub(super) const RELEASE_MISMATCH: Kind = Kind {
    name: "release-mismatch",
    title: "Another release",
    status: StatusCode::SERVICE_UNAVAILABLE,
    help: "Nothing was done. Ask again: during a deploy, the old release still answers for a while.",
};

pub(super) const ACCESS_NOT_CONFIGURED: Kind = Kind {
    name: "access-not-configured",
    title: "Access not configured",
    status: StatusCode::FORBIDDEN,
    help: "Set it by `npx wrangler secret put`, or in .dev.vars for `wrangler dev`.",
};

pub(super) const READ_ONLY_TOKEN: Kind = Kind {
    name: "read-only-token",
    title: "Read-only token",
    status: StatusCode::FORBIDDEN,
    help: "Nothing was done.",
};

pub(super) const UNAUTHORIZED: Kind = Kind {
    name: "unauthorized",
    title: "Unauthorized",
    status: StatusCode::UNAUTHORIZED,
    help: "Send it as `Authorization: Bearer …`.",
};

// Without a token: guards, and open access.

pub(super) const CROSS_SITE_REQUEST: Kind = Kind {
    name: "cross-site-request",
    title: "Cross-site request",
    status: StatusCode::FORBIDDEN,
    help: "Nothing was done. Send it from a page of the service itself, or from outside of a browser without the header \
           `Origin`. Pages of other sites need a token in place of the guard.",
};

pub(super) const FORBIDDEN: Kind =
    Kind { name: "forbidden", title: "Forbidden", status: StatusCode::FORBIDDEN, help: "Nothing was done." };

pub(super) const GUARD_FAILED: Kind = Kind {
    name: "guard-failed",
    title: "Guard failed",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    help: "Nothing was done. The log of the Worker has the error.",
};

// What a runner fails with, here or in a coordinator.

pub(super) const INVALID_REGISTRATION: Kind = Kind {
    name: "invalid-registration",
    title: "Invalid registration",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    help: "Nothing was read or changed. Fix the list of migrations, and deploy.",
};

pub(super) const NO_KV_BINDING: Kind = Kind {
    name: "no-kv-binding",
    title: "No KV binding",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    help: "Nothing was read or changed. Give a KV namespace this `binding` under [[kv_namespaces]] in wrangler.toml.",
};

pub(super) const CONTEXT_FAILED: Kind = Kind {
    name: "context-failed",
    title: "No context",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    help: "Nothing was read or changed.",
};

pub(super) const UNKNOWN_MIGRATION: Kind = Kind {
    name: "unknown-migration",
    title: "Unknown migration",
    status: StatusCode::NOT_FOUND,
    help: "GET /migrations/status lists the registered migrations.",
};

pub(super) const RUN_REFUSED: Kind = Kind {
    name: "run-refused",
    title: "Run refused",
    status: StatusCode::CONFLICT,
    help: "Nothing was changed. GET /migrations/plan lists all that is found.",
};

pub(super) const NOT_RUN: Kind = Kind {
    name: "not-run",
    title: "Not run",
    status: StatusCode::CONFLICT,
    help: "Nothing was changed. KV can show a minute late what ran elsewhere.",
};

pub(super) const NOT_REGISTERED: Kind =
    Kind { name: "not-registered", title: "Not registered", status: StatusCode::CONFLICT, help: "" };

pub(super) const ROLLBACK_UNFINISHED: Kind = Kind {
    name: "rollback-unfinished",
    title: "Rollback unfinished",
    status: StatusCode::CONFLICT,
    help: "POST what `continue` names.",
};

pub(super) const IRREVERSIBLE: Kind = Kind {
    name: "irreversible",
    title: "Irreversible",
    status: StatusCode::CONFLICT,
    help: "Nothing was changed. Write a migration that undoes it.",
};

pub(super) const ALREADY_APPLIED: Kind = Kind {
    name: "already-applied",
    title: "Already applied",
    status: StatusCode::CONFLICT,
    help: "Nothing was changed.",
};

pub(super) const FOREIGN_MARKER: Kind = Kind {
    name: "foreign-marker",
    title: "Marker of another service",
    status: StatusCode::CONFLICT,
    help: "",
};

pub(super) const ANOTHER_PREFIX: Kind = Kind {
    name: "another-prefix",
    title: "Another prefix",
    status: StatusCode::CONFLICT,
    help: "The routes set up their runner by `with_runner`.",
};

/// Without a coordinator.
pub(super) const RUN_IN_PROGRESS: Kind = Kind {
    name: "run-in-progress",
    title: "Run in progress",
    status: StatusCode::CONFLICT,
    help: "Try again when it has ended. A run that hangs is given up after 60 seconds.",
};

pub(super) const UNFINISHED: Kind = Kind {
    name: "unfinished",
    title: "Unfinished",
    status: StatusCode::SERVICE_UNAVAILABLE,
    help: "Nothing is wrong. Migrate again after `Retry-After`: the next run continues.",
};

pub(super) const QUOTA_EXHAUSTED: Kind = Kind {
    name: "quota-exhausted",
    title: "Quota exhausted",
    status: StatusCode::SERVICE_UNAVAILABLE,
    help: "Ask again after `Retry-After`.",
};

pub(super) const MIGRATION_FAILED: Kind = Kind {
    name: "migration-failed",
    title: "Migration failed",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    help: "",
};

pub(super) const ROLLBACK_FAILED: Kind = Kind {
    name: "rollback-failed",
    title: "Rollback failed",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    help: "",
};

pub(super) const LEDGER_TOO_LARGE: Kind = Kind {
    name: "ledger-too-large",
    title: "Ledger too large",
    status: StatusCode::SERVICE_UNAVAILABLE,
    help: "",
};

pub(super) const KV_FAILED: Kind =
    Kind { name: "kv-failed", title: "KV failed", status: StatusCode::INTERNAL_SERVER_ERROR, help: "" };

pub(super) const KV_UNAVAILABLE: Kind = Kind {
    name: "kv-unavailable",
    title: "KV unavailable",
    status: StatusCode::SERVICE_UNAVAILABLE,
    help: "Try again.",
};

/// An error that has no kind of its own.
pub(super) const OTHER: Kind =
    Kind { name: "failed", title: "Failed", status: StatusCode::INTERNAL_SERVER_ERROR, help: "" };

// What only a coordinator answers, or the way to it.

pub(super) const NO_COORDINATOR: Kind = Kind {
    name: "no-coordinator",
    title: "No coordinator",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    help: "Nothing was done. A coordinator needs, in wrangler.toml, its binding, `name` and `class_name` under \
           [[durable_objects.bindings]], and its class, under [[migrations]] as one of `new_sqlite_classes`; and in \
           the Worker, `coordinator!` with the name of the class.",
};

pub(super) const HEAD_TOO_LARGE: Kind = Kind {
    name: "head-too-large",
    title: "Head too large",
    status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    help: "Nothing was done. Send fewer or smaller headers, cookies for instance.",
};

pub(super) const WRONG_COORDINATOR: Kind = Kind {
    name: "wrong-coordinator",
    title: "Wrong coordinator",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    help: "Nothing was done. In wrangler.toml, `class_name` under [[durable_objects.bindings]] must name the class \
           that `coordinator!` makes of the same routes.",
};

pub(super) const COORDINATOR_WITHOUT_SQLITE: Kind = Kind {
    name: "coordinator-without-sqlite",
    title: "Coordinator without SQLite",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    help: "Nothing was done. In wrangler.toml, name the class under `new_sqlite_classes`, not under `new_classes`. A class \
           that was deployed without SQLite never gets it: give it another name, in `coordinator!` and in wrangler.toml.",
};

pub(super) const COORDINATOR_DENIED: Kind = Kind {
    name: "coordinator-denied",
    title: "Coordinator denied access",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    help: "Nothing was done. The Worker that has the class needs the same secrets as this one: set them there too, by \
           `npx wrangler secret put NAME --name WORKER`. A guard must decide alike in both.",
};

pub(super) const COORDINATOR_UNAVAILABLE: Kind = Kind {
    name: "coordinator-unavailable",
    title: "Coordinator unavailable",
    status: StatusCode::SERVICE_UNAVAILABLE,
    help: "Ask again. A run that has begun continues by alarms: GET /migrations/status shows its progress.",
};

pub(super) const UNREADABLE_ROW: Kind = Kind {
    name: "unreadable-row",
    title: "Unreadable row",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    help: "No run goes on until then. GET /migrations/status tells afterwards what is applied.",
};

pub(super) const COORDINATED_RUN_IN_PROGRESS: Kind = Kind {
    name: "run-in-progress",
    title: "Run in progress",
    status: StatusCode::CONFLICT,
    help: "It continues by itself. Ask again when it has ended, or with `wait=true`.",
};

pub(super) const RUN_PAUSED: Kind = Kind {
    name: "run-paused",
    title: "Run paused",
    status: StatusCode::CONFLICT,
    help: "POST /migrations/{id}/resume continues it, POST /migrations/{id}/cancel ends it.",
};

pub(super) const RUN_CANCELLED: Kind = Kind {
    name: "run-cancelled",
    title: "Run cancelled",
    status: StatusCode::CONFLICT,
    help: "Migrations that were applied stay applied. The next run begins with the first that is not.",
};

pub(super) const RUN_CUT_OFF: Kind = Kind {
    name: "run-cut-off",
    title: "Run cut off",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    help: "Everything up to the last checkpoint stays. The next run continues from there.",
};

pub(super) const NOT_RUNNING: Kind = Kind {
    name: "not-running",
    title: "Not running",
    status: StatusCode::CONFLICT,
    help: "Nothing was changed. GET /migrations/status lists what is running. POST /migrations/{id}/reset forgets a \
           checkpoint or a failure, so that the next run starts the migration over.",
};

pub(super) const NOT_PAUSED: Kind = Kind {
    name: "not-paused",
    title: "Not paused",
    status: StatusCode::CONFLICT,
    help: "Nothing was changed.",
};

pub(super) const NOT_RESUMABLE: Kind = Kind {
    name: "not-resumable",
    title: "Not resumable",
    status: StatusCode::CONFLICT,
    help: "Nothing was changed. Wait for its end.",
};
