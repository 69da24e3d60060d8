//! What must hold in every world: pure checks of what was observed.
//!
//! - `cut_off` is about worlds whose every request is cut off.
//! - `order` is about runs and migrations, `data` about entries, `mapped` about those that are mapped by values or by a table.
//! - `history` is about what an object says of its runs, `releases` about what each of two releases says.

mod cut_off;
mod data;
mod history;
mod mapped;
mod order;
mod releases;

pub use cut_off::{runs_that_fail_say_why, worlds_whose_requests_are_cut_off_end};
pub use data::{
    all_migrations_are_applied, data_is_as_without_faults, entries_are_found_under_one_of_their_keys,
    marked_migrations_are_done, no_entry_is_lost, only_copied_entries_are_deleted,
};
pub use history::the_history_is_complete;
pub use mapped::{
    entries_are_mapped_by_one_table, forget_outdated_copies, forget_taken, left_entries_are_reported,
};
pub use order::{
    applied_migrations_do_not_run_again, applied_migrations_have_begun, kv_has_the_markers_of_the_object,
    migrations_begin_in_order, one_run_at_a_time_in_an_isolate, one_step_at_a_time,
    runs_mark_only_what_they_finished,
};
pub use releases::{finished_runs_applied_what_was_asked_for, release_label, what_is_told_is_applied};
