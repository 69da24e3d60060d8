//! What must hold in every world.

mod data;
mod history;
mod order;

use std::fmt;

pub use data::{
    a_reader_of_both_keys_finds_it, all_is_as_without_faults, an_entry_is_deleted_only_if_it_is_elsewhere,
    everything_is_applied, marked_is_done, no_entry_is_lost,
};
pub use history::the_history_is_true;
pub use order::{
    in_the_order_of_registration, marked_by_whom_it_was_finished, one_run_at_a_time_in_an_isolate,
    one_step_at_a_time, the_markers_in_kv_are_those_of_the_object, what_is_applied_does_not_run_again,
    what_is_applied_was_begun,
};

/// What does not hold, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the invariant.
    pub invariant: &'static str,
    /// What went wrong.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.text)
    }
}

/// Whether one holds.
pub type Verdict = Result<(), Violation>;

/// That it does not.
pub fn violated(invariant: &'static str, text: impl Into<String>) -> Verdict {
    Err(Violation { invariant, text: text.into() })
}
