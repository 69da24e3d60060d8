//! The state of a fold as a checkpoint keeps it: as JSON. The state has a type of the user, and postcard cannot read every
//! type: not an untagged enum, for instance, or one with a field that is left out.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Visitor};
use serde::ser::Error as _;
use serde::{Deserializer, Serialize, Serializer};

pub(super) fn serialize<T: Serialize, S: Serializer>(state: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(&serde_json::to_vec(state).map_err(S::Error::custom)?)
}

pub(super) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_bytes(JsonVisitor(PhantomData))
}

struct JsonVisitor<T>(PhantomData<T>);

impl<T: DeserializeOwned> Visitor<'_> for JsonVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bytes<E: serde::de::Error>(self, json: &[u8]) -> Result<T, E> {
        serde_json::from_slice(json).map_err(E::custom)
    }
}
