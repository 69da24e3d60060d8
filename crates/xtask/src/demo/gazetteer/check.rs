//! What KV must hold, worked out from the source without the code of the example.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::places::Place;
use super::store::Entry;
use super::{ID_BY_COUNTRY, ID_INDEX, ID_NORMALISE};

pub(super) struct Check {
    /// What is expected and was not seen yet.
    left: BTreeMap<String, Expected>,
}

struct Expected {
    value: Value,
    /// None if it does not matter.
    metadata: Option<Value>,
}

impl Check {
    /// After all migrations were taken back: as it was.
    pub(super) fn of_start(places: &[Place]) -> Self {
        let expected = |place| Expected { value: json!(place), metadata: Some(Value::Null) };
        let entry = |(number, place)| (format!("city_{number}"), expected(place));
        Self { left: places.iter().enumerate().map(entry).collect() }
    }

    /// After all migrations.
    pub(super) fn of_end(places: &[Place]) -> Result<Self> {
        let mut left = BTreeMap::new();
        let mut countries: BTreeMap<&str, Vec<(&str, String)>> = BTreeMap::new();
        for (number, place) in places.iter().enumerate() {
            let (name, country) = (place.name.as_str(), place.country.as_str());
            let key = format!("city:{country}:{number}");
            countries.entry(country).or_default().push((name, key.clone()));
            let metadata = Some(json!({ "country": country }));
            left.insert(key, Expected { value: normalised(place)?, metadata });
        }
        for (country, mut places) in countries {
            places.sort_unstable();
            let value = places.iter().map(|(name, key)| json!({ "name": name, "key": key })).collect();
            let index = Expected { value, metadata: Some(Value::Null) };
            left.insert(format!("idx:country:{country}"), index);
        }
        for id in [ID_NORMALISE, ID_BY_COUNTRY, ID_INDEX] {
            left.insert(format!("migration_gazetteer_{id}"), Expected { value: json!(true), metadata: None });
        }
        Ok(Self { left })
    }

    /// How many entries are still to be seen.
    pub(super) fn left(&self) -> usize {
        self.left.len()
    }

    /// Compares an entry with what is expected of it, and tells how it differs.
    pub(super) fn compare(&mut self, entry: &Entry) -> Option<String> {
        let Entry { key, value, metadata } = entry;
        match self.left.remove(key) {
            None => Some(format!("{key}: should not be there")),
            Some(expected) => expected.difference(value, metadata).map(|text| format!("{key}: {text}")),
        }
    }

    /// What was expected and not seen.
    pub(super) fn missing(self) -> impl Iterator<Item = String> {
        self.left.into_keys().map(|key| format!("{key}: is missing"))
    }
}

impl Expected {
    fn difference(&self, value: &str, metadata: &Value) -> Option<String> {
        if serde_json::from_str::<Value>(value).ok().as_ref() != Some(&self.value) {
            return Some(format!("expected {}, came {value}", self.value));
        }
        let expected = self.metadata.as_ref().filter(|expected| *expected != metadata)?;
        Some(format!("expected the metadata {expected}, came {metadata}"))
    }
}

fn normalised(place: &Place) -> Result<Value> {
    let (lat, lng): (f64, f64) = (place.lat.parse()?, place.lng.parse()?);
    let mut value = json!({
        "name": place.name,
        "country": place.country,
        "location": { "lat": lat, "lng": lng },
    });
    for (field, division) in [("region", &place.admin1), ("district", &place.admin2)] {
        if let Some(fields) = value.as_object_mut().filter(|_| !division.is_empty()) {
            fields.insert(field.to_owned(), json!(division));
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> Check {
        let place = |name: &str| Place {
            name: name.to_owned(),
            lat: "42.5".to_owned(),
            lng: "1".to_owned(),
            country: "AD".to_owned(),
            admin1: "03".to_owned(),
            admin2: String::new(),
        };
        Check::of_end(&[place("Vila"), place("Arans")]).unwrap()
    }

    fn entry(key: &str, value: &Value, metadata: Value) -> Entry {
        Entry { key: key.to_owned(), value: value.to_string(), metadata }
    }

    fn vila() -> Value {
        json!({ "name": "Vila", "country": "AD", "location": { "lat": 42.5, "lng": 1.0 }, "region": "03" })
    }

    #[test]
    fn what_is_as_it_should_be_passes() {
        let mut check = check();
        let index = json!([{ "name": "Arans", "key": "city:AD:1" }, { "name": "Vila", "key": "city:AD:0" }]);
        for entry in [
            entry("city:AD:0", &vila(), json!({ "country": "AD" })),
            entry("idx:country:AD", &index, Value::Null),
            entry("migration_gazetteer_001_normalise", &json!(true), json!({ "runAt": "at some time" })),
        ] {
            assert_eq!(check.compare(&entry), None);
        }
        let missing: Vec<_> = check.missing().collect();
        assert_eq!(
            missing,
            [
                "city:AD:1: is missing",
                "migration_gazetteer_002_by_country: is missing",
                "migration_gazetteer_003_index: is missing",
            ]
        );
    }

    #[test]
    fn whatever_differs_is_found() {
        let mut check = check();
        let mut value = vila();
        value["location"]["lat"] = json!("42.5");
        for entry in [
            entry("city:AD:0", &value, json!({ "country": "AD" })),
            entry("city:AD:1", &vila(), json!({ "country": "AD" })),
            entry("city_1", &vila(), Value::Null),
            entry("idx:country:AD", &json!([]), Value::Null),
            entry("migration_gazetteer_001_normalise", &json!({ "checkpoint": 1 }), Value::Null),
        ] {
            assert!(check.compare(&entry).is_some(), "{}", entry.key);
        }
    }

    #[test]
    fn metadata_counts() {
        let difference = check().compare(&entry("city:AD:0", &vila(), Value::Null));
        assert_eq!(difference.unwrap(), r#"city:AD:0: expected the metadata {"country":"AD"}, came null"#);
    }
}
