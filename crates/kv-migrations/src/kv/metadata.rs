//! The metadata of a value.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::json::{JsonError, parse};

/// The metadata of a value: JSON, kept as text. In a Worker it has passed through JavaScript, which rounds integers beyond
/// 2⁵³ and puts fields with integer names first. Storing it again changes nothing more.
///
/// # Example
/// ```
/// use kv_migrations::kv::Metadata;
///
/// let metadata = Metadata::new(&[("schema", 1)])?;
/// assert_eq!(metadata.as_json(), r#"[["schema",1]]"#);
/// assert_eq!(metadata.parse::<Vec<(String, u8)>>()?, [("schema".to_owned(), 1)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata(String);

impl Metadata {
    /// Creates metadata from a value, as JSON. KV takes at most 1,024 bytes.
    ///
    /// # Errors
    /// If the value cannot be written as JSON: a map needs keys that are text.
    pub fn new(value: &impl Serialize) -> serde_json::Result<Self> {
        serde_json::to_string(value).map(Self)
    }

    /// Takes JSON as text, from a store. A put of text that is not JSON is refused.
    pub fn from_json(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Parses the JSON. The error tells where it is not as expected, and not what stands there.
    ///
    /// # Errors
    /// If the JSON has another shape.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, MetadataError> {
        parse(self.0.as_bytes()).map_err(MetadataError)
    }
}

/// Metadata that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataError(JsonError);

impl MetadataError {
    /// Returns where it is not as expected.
    pub fn json_error(&self) -> &JsonError {
        &self.0
    }
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the metadata is {}", self.0)
    }
}

impl std::error::Error for MetadataError {}
