//! What users of the crate rely on.
//!
//! Fixtures: `service` (without a coordinator), `object` (with one), and `stores`. Time, KV's delays, the alarms of an object
//! and faults are those of `kv_migrations::testing`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod another_prefix;
mod backfill;
mod backfill_failures;
mod batches;
mod budget;
mod collisions;
mod concurrent_writes;
mod conformance;
mod coordinator;
mod costs;
mod crashes;
mod cut_off;
mod damaged_checkpoints;
mod ends;
mod entry_counts;
mod error_texts;
mod faults;
mod fold;
mod ids;
mod kv;
mod latency;
mod ledger;
mod left_out;
mod live_service;
mod logs;
mod marks;
mod mended;
mod merge_model;
mod merging_fold;
mod namespaces;
mod object;
mod pace;
mod passed_over;
mod plans;
mod prefixes;
mod preview;
mod quota;
mod refused_copies;
mod rekey;
mod rekey_by_value;
mod rekey_by_value_collisions;
mod rekey_by_value_crashes;
mod rekey_changed_copies;
mod rekey_changing;
mod rekey_changing_combined;
mod rekey_changing_crashes;
mod rekey_keep_new;
mod rekey_limits;
mod rekey_namespaces;
mod rekey_namespaces_crashes;
mod rekey_namespaces_parts;
mod rekey_parts;
mod rekey_several;
mod rekey_table;
mod reports;
mod reserve;
mod reset;
mod reversal;
mod rollback;
mod run;
mod selection;
mod service;
mod shared_keys;
mod small_budgets;
mod stores;
mod stray_copies;
mod test_tools;
mod typed;
mod typescript_runner;
mod until;
mod waiting_values;
