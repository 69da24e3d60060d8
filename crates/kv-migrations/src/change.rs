//! What an `up` or a `down` does to the data: a closure that runs in one request, or a backfill, a fold or a re-key that
//! may take many.
//!
//! A [`Change`] works on a [`Job`]: it reads and writes through the session's KV, counts its progress, and saves
//! checkpoints. `walk/` goes over the entries of a prefix; backfill, fold and re-key are loops over it. This folder uses
//! `session` and what is below it, and knows neither migrations nor runners.

mod backfill;
mod checkpoint;
mod closure;
mod contract;
mod count;
mod fold;
mod hash;
mod job;
mod left_out;
mod prefixes;
mod progress;
mod record;
mod rekey;
mod resumable;
mod schedule;
mod selection;
mod values;
mod walk;

pub use backfill::Backfill;
pub(crate) use closure::run_change;
pub(crate) use contract::{BoxChange, Change, NEXT_REQUEST, Outcome};
pub use fold::{Fold, FoldOutput};
pub(crate) use job::Job;
pub use prefixes::Prefixes;
pub use record::Record;
pub(crate) use rekey::Changes;
pub use rekey::{AnyContext, Collisions, MovingEntry, Rekey, RekeyFor};
pub(crate) use resumable::ResumableChange;
