//! The migrations of this service. Never delete one that was deployed, and never change its id.

mod m001_by_country_name;
mod m001_normalise;
mod m002_by_country;
mod m003_index;

use std::time::Duration;

use kv_migrations::Migration;
use worker::Env;

/// Those of the variant: one migration that normalises the places and gives them new keys.
pub fn by_value(visibility_delay: Option<Duration>) -> Vec<Migration<Env>> {
    vec![m001_by_country_name::migration(visibility_delay)]
}

/// In the order in which they run. Add new ones at the end. They need no context, so that tests run them as well.
pub fn migrations<C: 'static>(visibility_delay: Option<Duration>) -> Vec<Migration<C>> {
    kv_migrations::migrations![m001_normalise, m002_by_country(visibility_delay), m003_index]
}
