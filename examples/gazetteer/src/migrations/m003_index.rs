//! Every country gets an index of its places, by name.

use std::collections::{BTreeMap, BTreeSet};

use kv_migrations::{Backfill, Fold, FoldOutput, Migration};
use serde::{Deserialize, Serialize};

pub const ID: &str = "003_index";

#[derive(Deserialize)]
struct Place {
    country: String,
    name: String,
}

/// Ordered by name; those of the same name by key.
#[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    name: String,
    key: String,
}

type Index = BTreeMap<String, BTreeSet<Line>>;

pub fn migration<C: 'static>() -> Migration<C> {
    let up = Fold::new(
        "city:",
        Index::new,
        |index: &mut Index, city, _| {
            let Place { country, name } = city.json()?;
            index.entry(country).or_default().insert(Line { name, key: city.name().to_owned() });
            Ok(())
        },
        |index, _| {
            index
                .iter()
                .map(|(country, lines)| FoldOutput::json(format!("idx:country:{country}"), lines))
                .collect()
        },
    );
    let down = Backfill::new("idx:country:", async |_, index, _| {
        index.delete().await?;
        Ok(())
    });
    Migration::fold(ID, "Index the places of each country", up).with_down_backfill(down)
}
