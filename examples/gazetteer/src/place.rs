//! A place before and after it is normalised.

use kv_migrations::{BoxError, Result};
use serde::{Deserialize, Serialize};

/// A place as it was imported. It has all fields, and no other: nothing is dropped unseen.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Imported {
    name: String,
    lat: String,
    lng: String,
    pub country: String,
    admin1: String,
    admin2: String,
}

/// A place as it is from now on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    name: String,
    pub country: String,
    location: Location,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    region: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    district: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Location {
    lat: f64,
    lng: f64,
}

impl TryFrom<Imported> for Place {
    type Error = BoxError;

    fn try_from(imported: Imported) -> Result<Self> {
        let Imported { name, lat, lng, country, admin1: region, admin2: district } = imported;
        let location = Location { lat: number(&lat)?, lng: number(&lng)? };
        Ok(Self { name, country, location, region, district })
    }
}

impl From<Place> for Imported {
    fn from(place: Place) -> Self {
        let Place { name, country, location, region: admin1, district: admin2 } = place;
        let Location { lat, lng } = location;
        Self { name, lat: lat.to_string(), lng: lng.to_string(), country, admin1, admin2 }
    }
}

/// Fails for what could not be written again as it was.
fn number(text: &str) -> Result<f64> {
    let number: f64 = text.parse()?;
    if number.to_string() == text {
        Ok(number)
    } else {
        Err(format!("the coordinate `{text}` would be changed").into())
    }
}
