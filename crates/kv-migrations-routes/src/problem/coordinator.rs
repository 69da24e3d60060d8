//! The errors that only a coordinator answers, or the way to it.

use std::time::Duration;

use kv_migrations::coordinator::{Activity, CoordinatorError};

use super::{Kind, Problem};
use crate::response::to_json;

/// What is busy, or was reset, is asked again after so long.
const A_MOMENT: Duration = Duration::from_secs(5);

impl Problem {
    /// The Worker has no Durable Object namespace of this name.
    pub(crate) fn no_coordinator(detail: String) -> Box<Self> {
        const KIND: Kind = Kind {
            name: "no-coordinator",
            title: "No coordinator",
            status: 500,
            help: "Nothing was done. A coordinator needs, in wrangler.toml, its binding, `name` and `class_name` under \
                   [[durable_objects.bindings]], and its class, under [[migrations]] as one of `new_sqlite_classes`; \
                   and in the Worker, `coordinator!` with the name of the class.",
        };
        Self::new(&KIND, detail)
    }

    /// An object answers that is not the one that was asked for.
    pub(crate) fn wrong_coordinator(detail: String) -> Box<Self> {
        const KIND: Kind = Kind {
            name: "wrong-coordinator",
            title: "Wrong coordinator",
            status: 500,
            help: "Nothing was done. Look in wrangler.toml whether `class_name` under [[durable_objects.bindings]] is \
                   the class that `coordinator!` makes of the same routes.",
        };
        Self::new(&KIND, detail)
    }

    /// It did not answer, or could not keep what it was to keep.
    pub(crate) fn coordinator_unavailable(reason: &str) -> Box<Self> {
        const KIND: Kind = Kind {
            name: "coordinator-unavailable",
            title: "Coordinator unavailable",
            status: 503,
            help: "Ask again. A run that it has begun goes on by itself: GET /migrations/status says how far it is.",
        };
        Self::new(&KIND, format!("The coordinator could not be asked: {reason}")).retry_after(A_MOMENT)
    }

    /// What to do about a run that alarms carry on.
    pub(crate) fn while_alarms_carry_on(mut self: Box<Self>) -> Box<Self> {
        self.help = "Nothing is wrong, and nothing has to be done: the run goes on by itself. GET /migrations/status \
                     says how far it is, and POST /migrate?wait=true waits for its end."
            .into();
        self
    }

    /// With what is done instead: its members are the problem's too.
    fn busy(kind: &'static Kind, detail: String, activity: &Activity) -> Box<Self> {
        let mut problem = Self::new(kind, detail);
        problem.more = Some(to_json(activity));
        problem
    }

    fn at(mut self: Box<Self>, migration: Option<String>) -> Box<Self> {
        self.migration = migration;
        self
    }
}

impl From<CoordinatorError> for Box<Problem> {
    fn from(error: CoordinatorError) -> Self {
        const IN_PROGRESS: Kind = Kind {
            name: "run-in-progress",
            title: "Run in progress",
            status: 409,
            help: "It goes on by itself. Ask again when it has ended, or with `wait=true`.",
        };
        const PAUSED: Kind = Kind {
            name: "run-paused",
            title: "Run paused",
            status: 409,
            help: "POST /migrations/{id}/resume carries on with it, POST /migrations/{id}/cancel ends it.",
        };
        const CANCELLED: Kind = Kind {
            name: "run-cancelled",
            title: "Run cancelled",
            status: 409,
            help: "What had been applied stays so. The next run begins with what is not.",
        };
        const CUT_OFF: Kind = Kind {
            name: "run-cut-off",
            title: "Run cut off",
            status: 500,
            help: "What had been recorded stays. The next run carries on where the last checkpoint is.",
        };
        const NOT_RUNNING: Kind = Kind {
            name: "not-running",
            title: "Not running",
            status: 409,
            help: "Nothing was changed. GET /migrations/status lists what is running.",
        };
        const NOT_PAUSED: Kind =
            Kind { name: "not-paused", title: "Not paused", status: 409, help: "Nothing was changed." };
        const NOT_RESUMABLE: Kind = Kind {
            name: "not-resumable",
            title: "Not resumable",
            status: 409,
            help: "Nothing was changed. Wait for its end.",
        };

        let detail = error.to_string();
        match error {
            CoordinatorError::Runner(error) => error.into(),
            CoordinatorError::InProgress(activity) => {
                Problem::busy(&IN_PROGRESS, detail, &activity).retry_after(A_MOMENT)
            }
            CoordinatorError::Paused(activity) => Problem::busy(&PAUSED, detail, &activity),
            CoordinatorError::Cancelled { id, .. } => Problem::new(&CANCELLED, detail).at(id),
            CoordinatorError::CutOff { id, .. } => Problem::new(&CUT_OFF, detail).at(id),
            CoordinatorError::NotRunning { id, .. } => Problem::new(&NOT_RUNNING, detail).about(id),
            CoordinatorError::NotPaused { id, .. } => Problem::new(&NOT_PAUSED, detail).about(id),
            CoordinatorError::NotResumable { id, .. } => Problem::new(&NOT_RESUMABLE, detail).about(id),
            CoordinatorError::UnknownMigration { id, .. } => {
                Problem::new(&super::UNKNOWN_MIGRATION, detail).about(id)
            }
            CoordinatorError::Context(reason) => Problem::context(&reason),
            CoordinatorError::Storage(error) => Problem::coordinator_unavailable(&error.to_string()),
            _ => Problem::new(&super::OTHER, detail),
        }
    }
}
