//! The commands, each in a file of its own.

pub(crate) mod baseline;
pub(crate) mod control;
pub(crate) mod dry_run;
pub(crate) mod history;
pub(crate) mod migrate;
pub(crate) mod new;
pub(crate) mod plan;
pub(crate) mod rollback;
mod show;
pub(crate) mod status;
pub(crate) mod watch;
