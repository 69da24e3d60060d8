//! Every place gets coordinates that are numbers, and no divisions that it has not got. Its country goes into the
//! metadata as well: there the next migration finds it without reading the values.

use kv_migrations::{Backfill, Migration};
use serde::Serialize;

use crate::place::{Imported, Place};

pub const ID: &str = "001_normalise";

#[derive(Serialize)]
struct Metadata<'a> {
    country: &'a str,
}

pub fn migration<C: 'static>() -> Migration<C> {
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
