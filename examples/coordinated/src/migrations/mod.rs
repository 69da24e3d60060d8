//! The migrations of this service. Never delete one that was deployed, and never change its id.

mod m001_add_feature;
mod m002_with_args;

use kv_migrations::Migration;
use worker::Env;

/// In the order in which they run. Add new ones at the end.
pub fn migrations() -> Vec<Migration<Env>> {
    kv_migrations::migrations![m001_add_feature, m002_with_args]
}
