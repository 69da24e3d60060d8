//! What must hold in every world: pure checks of what was observed.
//!
//! `order` is about runs and migrations, `data` about entries, `history` about what an object says of its runs.

mod data;
mod history;
mod order;

pub use data::{
    all_migrations_are_applied, data_is_as_without_faults, entries_are_found_under_one_of_their_keys,
    marked_migrations_are_done, no_entry_is_lost, only_copied_entries_are_deleted,
};
pub use history::the_history_is_complete;
pub use order::{
    applied_migrations_do_not_run_again, applied_migrations_have_begun, kv_has_the_markers_of_the_object,
    migrations_begin_in_order, one_run_at_a_time_in_an_isolate, one_step_at_a_time,
    runs_mark_only_what_they_finished,
};
