//! What a run did and how far it got: data only, written as JSON in answers and read back by clients.

mod dry_run;
mod event;
mod kind;
mod plan;
mod progress;
mod run;
mod skip;
mod status;

pub use dry_run::{
    DryRunChange, DryRunEntry, DryRunFinding, DryRunFindingKind, DryRunMigration, DryRunReport, DryRunStop,
};
pub use event::Event;
pub(crate) use event::Observer;
pub use kind::MigrationKind;
pub use plan::{Finding, FindingKind, PlanReport};
pub use progress::{Direction, EntryCounts, Phase, Progress};
pub use run::{AppliedMigration, FailedEntry, RollbackReport, RunReport};
pub use status::{State, Status, StatusReport};
