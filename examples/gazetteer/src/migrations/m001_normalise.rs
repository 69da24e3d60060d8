//! Every place gets coordinates that are numbers, and no divisions that it has not got. Its country goes into the
//! metadata as well: there the next migration finds it, since a re-key sees no values.

use kv_migrations::{Backfill, Migration, Result};
use serde::{Deserialize, Serialize};
use worker::Env;

pub const ID: &str = "001_normalise";

/// A place as it was imported. It has all fields, and no other: nothing is dropped unseen.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Imported {
    name: String,
    lat: String,
    lng: String,
    country: String,
    admin1: String,
    admin2: String,
}

/// A place as it is from now on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    name: String,
    country: String,
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

#[derive(Serialize)]
struct Metadata<'a> {
    country: &'a str,
}

pub fn migration() -> Migration<Env> {
    let up = Backfill::new("city_", async |_, city, _| {
        let Ok(imported) = city.json::<Imported>() else {
            // A run that was cut off has done it already, value and metadata in one write.
            city.json::<Place>()?;
            return Ok(());
        };
        let place = Place::try_from(imported)?;
        city.put_json(&place).with_metadata(&Metadata { country: &place.country }).await?;
        Ok(())
    });
    let down = Backfill::new("city_", async |_, city, _| {
        let Ok(place) = city.json::<Place>() else {
            city.json::<Imported>()?;
            return Ok(());
        };
        city.put_json(&Imported::from(place)).clear_metadata().await?;
        Ok(())
    });
    Migration::backfill(ID, "Make numbers of coordinates", up).with_down_backfill(down)
}

impl TryFrom<Imported> for Place {
    type Error = kv_migrations::BoxError;

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
