//! A value in a checkpoint: as text where it is text, which takes a third of the space.

use std::str::from_utf8;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize)]
enum Written<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
}

#[derive(Deserialize)]
enum Read {
    Text(String),
    Bytes(Vec<u8>),
}

#[allow(clippy::ref_option, reason = "as serde calls it")]
pub(super) fn serialize<S: Serializer>(value: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    let written = value.as_ref().map(|value| from_utf8(value).map_or(Written::Bytes(value), Written::Text));
    written.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let read = Option::deserialize(deserializer)?;
    Ok(read.map(|read| match read {
        Read::Text(text) => text.into_bytes(),
        Read::Bytes(bytes) => bytes,
    }))
}
