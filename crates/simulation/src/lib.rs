//! The deterministic simulation of kv-migrations: worlds drawn from seeds, in which everything fails that can, and in
//! which what the documentation promises must hold.
//!
//! A [`plan`] says what a [`world`] holds and which [`deployment`]s there are. In each, [`actors`] run the migrations over
//! a [`network`], as tasks in virtual time; a [`fault`] may cut off each request. A [`monitor`] observes everything and
//! checks the [`invariants`]. The same seed gives the same world, byte for byte.
//!
//! Virtual time, the executor, KV's delays and the runtime of the object are those of `kv_migrations::testing`.
//!
//! Imports run one way: campaign → `world_run` → actors → world → network, faultless → migrations, rekeys → monitor →
//! invariants → observations, versions → plan → deployment, situation, table → moving, `other_namespace`, value →
//! random.

#![deny(missing_docs)]
#![allow(clippy::indexing_slicing, reason = "like a test, it may panic where it is wrong itself")]

pub mod actors;
pub mod campaign;
pub mod context;
pub mod deployment;
pub mod end;
pub mod fault;
pub mod faultless;
pub mod invariants;
pub mod keys;
pub mod migrations;
pub mod mode;
pub mod monitor;
pub mod moving;
pub mod network;
pub mod observations;
pub mod other_namespace;
pub mod plan;
pub mod random;
pub mod rekeys;
pub mod situation;
pub mod table;
pub mod tally;
pub mod time;
pub mod trace;
pub mod value;
pub mod versions;
pub mod violation;
pub mod way;
mod world;
pub mod world_run;
