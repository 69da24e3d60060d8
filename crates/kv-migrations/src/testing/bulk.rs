//! Entries from the files of `wrangler kv bulk`, for tests over a copy of real data.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::clock::seconds;
use crate::kv::{Key, MemoryStore, Metadata};

/// What `wrangler kv bulk get` prints after the JSON.
const SUCCESS: &str = "Success!";

/// What a file has of an entry. The names are those of `wrangler kv bulk put`.
#[derive(Deserialize)]
struct Fields {
    value: Option<String>,
    #[serde(default)]
    base64: bool,
    expiration: Option<u64>,
    expiration_ttl: Option<u64>,
    metadata: Option<Value>,
}

/// An entry of a list.
#[derive(Deserialize)]
struct Named {
    key: String,
    #[serde(flatten)]
    fields: Fields,
}

/// What `wrangler kv bulk get` prints of a value: the text alone, or with more.
#[derive(Deserialize)]
#[serde(untagged)]
enum Printed {
    Text(String),
    Fields(Fields),
}

/// Either form of a file.
#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    List(Vec<Named>),
    Map(BTreeMap<String, Option<Printed>>),
}

/// Why a text is no file of `wrangler kv bulk`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkError {
    /// The entry at fault, if one is.
    key: Option<String>,
    reason: String,
}

impl MemoryStore {
    /// Creates a namespace with the entries of a file, as `wrangler kv bulk put` takes it and as `wrangler kv bulk
    /// get` prints it: an array of objects with `key`, `value` and perhaps `base64`, `expiration`, `expiration_ttl`
    /// and `metadata`; or an object of keys, each with its value or such an object. `bulk get` prints neither
    /// metadata nor expirations: `wrangler kv key list` does.
    ///
    /// An entry that expires does so by the clock of the machine. For a test that is the same each day, take
    /// [`with_bulk`](Self::with_bulk).
    ///
    /// # Errors
    /// [`BulkError`] if the text is neither, or a value is no base64.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::kv::MemoryStore;
    ///
    /// let file = r#"[{ "key": "user_1", "value": "QWRh", "base64": true, "metadata": { "plan": "free" } }]"#;
    /// let store = MemoryStore::from_bulk(file)?;
    /// assert_eq!(store.value("user_1").unwrap(), b"Ada");
    ///
    /// let store = MemoryStore::from_bulk(r#"{ "user_1": "Ada", "user_2": null }"#)?;
    /// assert_eq!(store.entries().len(), 1);
    /// # Ok::<(), kv_migrations::testing::BulkError>(())
    /// ```
    pub fn from_bulk(json: &str) -> Result<Self, BulkError> {
        Self::new().with_bulk(json)
    }

    /// Adds the entries of a file, as [`from_bulk`](Self::from_bulk) reads it, to a namespace with a clock of its own.
    ///
    /// # Errors
    /// Those of [`from_bulk`](Self::from_bulk). Nothing is added then.
    pub fn with_bulk(self, json: &str) -> Result<Self, BulkError> {
        let now = seconds(self.clock().now());
        let mut entries = Vec::new();
        for (name, fields) in parse(json)? {
            let Some(text) = fields.value else { continue };
            let value = if fields.base64 {
                let decoded = STANDARD.decode(&text);
                decoded.map_err(|_| BulkError::of(&name, "its value is no base64"))?
            } else {
                text.into_bytes()
            };
            let expiration = fields.expiration.or(fields.expiration_ttl.map(|ttl| now.saturating_add(ttl)));
            let metadata = fields.metadata.map(|metadata| Metadata::from_json(metadata.to_string()));
            entries.push((Key { name, expiration, metadata }, value));
        }
        for (key, value) in entries {
            self.restore(key, value);
        }
        Ok(self)
    }
}

fn parse(json: &str) -> Result<Vec<(String, Fields)>, BulkError> {
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<File>();
    let file = values.next().ok_or_else(|| BulkError::of_file("it is empty"))?;
    let file = file.map_err(|error| {
        // The error of serde_json can quote what it has read.
        let place = format!("at line {} column {}", error.line(), error.column());
        BulkError::of_file(&format!(
            "it is no array of objects with `key` and `value`, and no object of keys and values {place}"
        ))
    })?;
    let rest = json.get(values.byte_offset()..).unwrap_or_default().trim();
    if !rest.is_empty() && rest != SUCCESS {
        return Err(BulkError::of_file("something stands after the JSON"));
    }
    Ok(match file {
        File::List(entries) => entries.into_iter().map(|Named { key, fields }| (key, fields)).collect(),
        File::Map(entries) => {
            let named = entries.into_iter().filter_map(|(key, printed)| Some((key, printed?.into())));
            named.collect()
        }
    })
}

impl From<Printed> for Fields {
    fn from(printed: Printed) -> Self {
        match printed {
            Printed::Fields(fields) => fields,
            Printed::Text(text) => Self {
                value: Some(text),
                base64: false,
                expiration: None,
                expiration_ttl: None,
                metadata: None,
            },
        }
    }
}

impl BulkError {
    fn of(key: &str, reason: &str) -> Self {
        Self { key: Some(key.to_owned()), reason: reason.to_owned() }
    }

    fn of_file(reason: &str) -> Self {
        Self { key: None, reason: reason.to_owned() }
    }
}

impl fmt::Display for BulkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The file cannot be read: ")?;
        if let Some(key) = &self.key {
            write!(f, "the entry {key:?}: ")?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for BulkError {}
