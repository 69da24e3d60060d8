//! The deterministic simulation of kv-migrations: whole worlds, each drawn from a seed, in which everything goes wrong
//! that can, and in which what the documentation promises must hold all the same.
//!
//! A [`plan`] says what a world holds, and who runs its migrations in each [`phase`]. Its [`actors`] run them on a
//! [`network`], an eventually consistent KV, in a [`time`] that is not real, as tasks of one [`executor`]; a [`fate`] may
//! come over each request. A [`witness`] sees all that happens, by what an object [`noted`] too, and holds it against
//! the [`invariants`]. The same seed gives the same world, byte for byte.

#![deny(missing_docs)]
#![allow(clippy::indexing_slicing, reason = "like any test, it may fail where it is wrong itself")]

pub mod actors;
pub mod campaign;
pub mod dice;
pub mod executor;
pub mod fate;
pub mod faultless;
pub mod invariants;
pub mod migrations;
pub mod network;
pub mod noted;
pub mod phase;
pub mod plan;
pub mod seen;
pub mod table;
pub mod tally;
pub mod time;
pub mod trace;
pub mod value;
pub mod versions;
pub mod witness;
pub mod world;
