//! What users of the crate rely on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod backfill;
mod budget;
mod busy;
mod collisions;
mod conformance;
mod coordinator;
mod costs;
mod crashes;
mod faults;
mod fold;
mod kv;
mod latency;
mod ledger;
mod object;
mod rekey;
mod reports;
mod rollback;
mod run;
mod service;
mod stores;
mod takeover;
mod turning;
mod virtual_time;
mod world;
