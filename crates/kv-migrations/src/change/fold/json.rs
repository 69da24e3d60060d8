//! The state of a fold as a checkpoint keeps it: as JSON. The state has a type of the user, and postcard cannot read every
//! type: not an untagged enum, for instance, or one with a field that is left out.

use std::fmt::{self, Write as _};
use std::io;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserializer, Serialize, Serializer};

/// A state can be large: what is formatted is not held beside the checkpoint, into which it is written.
pub(super) fn serialize<T: Serialize, S: Serializer>(state: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Json(state))
}

/// The JSON of a state, and an empty text in place of one of more than `max_bytes`; `None` if it cannot be written as JSON.
pub(super) fn to_text(state: &impl Serialize, max_bytes: usize) -> Option<String> {
    let mut text = Bounded { text: String::new(), max_bytes };
    write!(text, "{}", Json(state)).ok()?;
    Some(text.text)
}

/// A text, or nothing once it has become too long.
struct Bounded {
    text: String,
    max_bytes: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.text.len() + part.len() <= self.max_bytes {
            self.text.push_str(part);
        } else {
            (self.text, self.max_bytes) = (String::new(), 0);
        }
        Ok(())
    }
}

/// Written as JSON.
struct Json<'a, T>(&'a T);

impl<T: Serialize> fmt::Display for Json<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        serde_json::to_writer(Text(f), self.0).map_err(|_| fmt::Error)
    }
}

/// Writes text in parts, of which each is whole.
struct Text<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl io::Write for Text<'_, '_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        let text = str::from_utf8(part).map_err(|_| io::ErrorKind::InvalidData)?;
        self.0.write_str(text).map_err(|_| io::ErrorKind::Other)?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_str(JsonVisitor(PhantomData))
}

struct JsonVisitor<T>(PhantomData<T>);

impl<T: DeserializeOwned> Visitor<'_> for JsonVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: serde::de::Error>(self, json: &str) -> Result<T, E> {
        serde_json::from_str(json).map_err(E::custom)
    }
}
