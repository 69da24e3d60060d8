//! The metadata of a value.

use serde::Serialize;
use serde::de::DeserializeOwned;

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
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata(String);

impl Metadata {
    /// A value as JSON. KV takes at most 1,024 bytes.
    ///
    /// # Errors
    /// If the value cannot be written as JSON: a map needs keys that are text.
    pub fn new(value: &impl Serialize) -> serde_json::Result<Self> {
        serde_json::to_string(value).map(Self)
    }

    /// JSON as text, from a store. A put of text that is not JSON is refused.
    pub fn from_json(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Parses the JSON.
    ///
    /// # Errors
    /// If the JSON has another shape.
    pub fn parse<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(&self.0)
    }
}
