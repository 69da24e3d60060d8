//! The places of a country get keys that can be listed together: `city_7` becomes `city:AD:7`.

use std::time::Duration;

use kv_migrations::kv::Key;
use kv_migrations::{Migration, Rekey};
use serde::Deserialize;

pub const ID: &str = "002_by_country";

/// What the migration before left beside each place.
#[derive(Deserialize)]
struct Metadata {
    country: String,
}

/// Without a delay, the one that Cloudflare asks for.
pub fn migration<C: 'static>(visibility_delay: Option<Duration>) -> Migration<C> {
    let rekey = Rekey::new("city_", with_country).with_inverse("city:", without_country);
    let rekey = match visibility_delay {
        Some(delay) => rekey.with_visibility_delay(delay),
        None => rekey,
    };
    Migration::rekey(ID, "city_… to city:COUNTRY:…", rekey)
}

fn with_country(key: &Key) -> Option<String> {
    let Metadata { country } = key.metadata.as_ref()?.parse().ok()?;
    let number = key.name.strip_prefix("city_")?;
    Some(format!("city:{country}:{number}"))
}

fn without_country(key: &Key) -> Option<String> {
    let (_, number) = key.name.strip_prefix("city:")?.split_once(':')?;
    Some(format!("city_{number}"))
}
