//! Every place is normalised and gets a key with the name of its country in one migration: `city_7` becomes
//! `city:Andorra:7`. The code of the country is in the value, and `country:AD` holds its name.

use std::collections::BTreeMap;
use std::time::Duration;

use kv_migrations::kv::Kv;
use kv_migrations::{Migration, Rekey, Result};
use serde::Serialize;
use worker::{Date, Env};

use crate::place::{Imported, Place};

pub const ID: &str = "001_by_country_name";

/// The name of each country, by its code.
type Names = BTreeMap<String, String>;

/// It differs each time: no copy can be made a second time.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    moved_at: u64,
}

/// Without a delay, the one that Cloudflare asks for.
pub fn migration(visibility_delay: Option<Duration>) -> Migration<Env> {
    let rekey = Rekey::by_value_and_table("city_", load_names, |city, names, _| {
        let Imported { country, .. } = city.json()?;
        let name = names.get(&country).ok_or_else(|| format!("`country:{country}` is missing"))?;
        Ok(city.name().strip_prefix("city_").map(|number| format!("city:{name}:{number}")))
    })
    .with_inverse("city:", |key, _, _| {
        Ok(key.name.rsplit_once(':').map(|(_, number)| format!("city_{number}")))
    })
    .changing(async |city, _, _| {
        let place = Place::try_from(city.json::<Imported>()?)?;
        city.with_json(&place)?.with_metadata(&Metadata { moved_at: Date::now().as_millis() })
    })
    .changing_back(async |city, _, _| {
        let imported = Imported::from(city.json::<Place>()?);
        Ok(city.with_json(&imported)?.clear_metadata())
    });
    let rekey = match visibility_delay {
        Some(delay) => rekey.with_visibility_delay(delay),
        None => rekey,
    };
    Migration::rekey(ID, "city_… to city:COUNTRY:…, normalised", rekey)
}

async fn load_names(kv: &Kv, _: &Env) -> Result<Names> {
    let (mut countries, mut keys) = (kv.list("country:"), Vec::new());
    while let Some(country) = countries.next().await? {
        keys.push(country.name.clone());
    }
    let values = kv.get_many(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let mut names = Names::new();
    for (key, value) in keys.iter().zip(values) {
        let (Some((_, code)), Some(name)) = (key.split_once(':'), value) else { continue };
        names.insert(code.to_owned(), String::from_utf8(name)?);
    }
    Ok(names)
}
