//! What a fold writes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::change::hash::HashKey;
use crate::error::Result;
use crate::kv::{Entry, Expiration, Key, Kv, KvError, Metadata, PutOptions, StoreExt, limits, writable};

/// What a [`Fold`](crate::Fold) does with one key at its end: it writes an entry, or deletes it.
///
/// An entry is written as a new one, without metadata and expiration, unless they are set or kept here.
///
/// # Example
/// ```
/// use kv_migrations::FoldOutput;
///
/// # fn outputs() -> Result<Vec<FoldOutput>, Box<dyn std::error::Error + Send + Sync>> {
/// Ok(vec![
///     FoldOutput::new("count", "17"),
///     FoldOutput::json("index", &["a", "b"])?.keep_metadata().keep_expiration(), // only its value changes
///     FoldOutput::new("report", "…").with_expiration_ttl(7 * 24 * 60 * 60), // for a week
///     FoldOutput::delete("count_of_old"),
/// ])
/// # }
/// # assert_eq!(outputs().unwrap().len(), 4);
/// ```
#[derive(Clone)]
pub struct FoldOutput(pub(super) Output);

/// What an output is. By itself, so that a checkpoint can keep it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Output {
    pub(super) key: String,
    /// `None` if the key is deleted.
    value: Option<Vec<u8>>,
    /// JSON.
    metadata: Source<String>,
    expiration: Source<Expires>,
}

/// Where an output gets its metadata or its expiration from.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Source<T> {
    #[default]
    Nothing,
    /// The entry that is at the key when it is written.
    Kept,
    Given(T),
}

/// When an output expires, in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Expires {
    At(u64),
    After(u64),
}

impl FoldOutput {
    /// Writes text or bytes to a key, without metadata and expiration.
    pub fn new(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self::with_value(key.into(), Some(value.into()))
    }

    /// Writes a value as JSON to a key, without metadata and expiration.
    ///
    /// # Errors
    /// If it cannot be written as JSON: a map needs keys that are text.
    pub fn json(key: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        Ok(Self::new(key, serde_json::to_vec(value)?))
    }

    /// Deletes a key: one of an older index, for instance. A missing key is not an error.
    pub fn delete(key: impl Into<String>) -> Self {
        Self::with_value(key.into(), None)
    }

    fn with_value(key: String, value: Option<Vec<u8>>) -> Self {
        Self(Output { key, value, metadata: Source::Nothing, expiration: Source::Nothing })
    }

    /// Sets the metadata: at most 1,024 bytes of JSON.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn with_metadata(mut self, metadata: &impl Serialize) -> Result<Self> {
        self.0.metadata = Source::Given(serde_json::to_string(metadata)?);
        Ok(self)
    }

    /// Keeps the metadata that the entry has when it is written. That costs one more operation, a list.
    #[must_use]
    pub fn keep_metadata(mut self) -> Self {
        self.0.metadata = Source::Kept;
        self
    }

    /// Lets the entry expire this many seconds after it is written: at least 60.
    #[must_use]
    pub fn with_expiration_ttl(mut self, seconds: u64) -> Self {
        self.0.expiration = Source::Given(Expires::After(seconds));
        self
    }

    /// Lets the entry expire at this time, in seconds since 1970. If it is written less than 70 seconds before that, it gets
    /// 70 seconds, because KV takes no nearer expiration.
    #[must_use]
    pub fn with_expiration(mut self, seconds: u64) -> Self {
        self.0.expiration = Source::Given(Expires::At(seconds));
        self
    }

    /// Keeps the expiration that the entry has when it is written, or 70 seconds. That costs one more operation, a list; with
    /// [`keep_metadata`](Self::keep_metadata) too, it is the same one. An entry that has expired by then gets none.
    #[must_use]
    pub fn keep_expiration(mut self) -> Self {
        self.0.expiration = Source::Kept;
        self
    }

    /// Sets metadata and expiration to those of a listed key.
    #[must_use]
    pub fn with_options_of(mut self, key: &Key) -> Self {
        let metadata = key.metadata.as_ref().map(|metadata| metadata.as_json().to_owned());
        self.0.metadata = metadata.map_or(Source::Nothing, Source::Given);
        self.0.expiration = key.expiration.map_or(Source::Nothing, |at| Source::Given(Expires::At(at)));
        self
    }
}

impl Output {
    /// The operations that it takes.
    pub(super) fn operations(&self) -> u64 {
        1 + u64::from(self.keeps_options())
    }

    fn keeps_options(&self) -> bool {
        self.metadata == Source::Kept || self.expiration == Source::Kept
    }

    pub(super) async fn write(&self, kv: &Kv) -> Result<(), KvError> {
        let Some(value) = &self.value else { return kv.delete(&self.key).await };
        let found = if self.keeps_options() { kv.find(&self.key).await? } else { None };
        let metadata = match &self.metadata {
            Source::Nothing => None,
            Source::Kept => found.as_ref().and_then(|found| found.metadata.clone()),
            Source::Given(json) => Some(Metadata::from_json(json.as_str())),
        };
        let at = |at| writable(at, kv.now_seconds());
        let expiration = match self.expiration {
            Source::Nothing => None,
            Source::Kept => found.and_then(|found| found.expiration).map(at),
            Source::Given(Expires::At(seconds)) => Some(at(seconds)),
            Source::Given(Expires::After(seconds)) => Some(Expiration::After(seconds)),
        };
        let options = PutOptions::new().with_metadata(metadata).with_expiration(expiration);
        kv.store().put(&self.key, value, &options).await
    }

    /// The hash of all that it is.
    pub(super) fn hash(&self, key: HashKey) -> u64 {
        let (metadata, json) = match &self.metadata {
            Source::Nothing => (0, ""),
            Source::Kept => (1, ""),
            Source::Given(json) => (2, json.as_str()),
        };
        let (expiration, seconds) = match self.expiration {
            Source::Nothing => (0, 0),
            Source::Kept => (1, 0),
            Source::Given(Expires::At(seconds)) => (2, seconds),
            Source::Given(Expires::After(seconds)) => (3, seconds),
        };
        let kinds = [u8::from(self.value.is_some()), metadata, expiration];
        let hash = key.hash().with(self.key.as_bytes()).with(self.value.as_deref().unwrap_or_default());
        hash.with(json.as_bytes()).with(&kinds).with(&seconds.to_le_bytes()).finish()
    }

    /// The hash of the entry that it writes; `None` if it deletes one.
    pub(super) fn entry_hash(&self, key: HashKey) -> Option<u64> {
        let metadata = match &self.metadata {
            Source::Nothing => "",
            Source::Kept => ANY_METADATA,
            Source::Given(json) => json,
        };
        Some(entry_hash(key, &self.key, self.value.as_deref()?, metadata))
    }

    /// Why KV never takes it; `None` if it does.
    pub(super) fn refusal(&self) -> Option<String> {
        let (key, name) = (self.key.len(), &self.key);
        let value = self.value.as_ref().map_or(0, Vec::len);
        let metadata = if let Source::Given(json) = &self.metadata { json.len() } else { 0 };
        let most = |what: &str, bytes: usize, most: usize| {
            (bytes > most).then(|| format!("{what} has {bytes} bytes, and KV takes {most} at most"))
        };
        let expiration = match self.expiration {
            Source::Given(Expires::After(..limits::MIN_TTL_SECONDS)) => {
                Some(format!("KV takes no expiration in less than {} seconds", limits::MIN_TTL_SECONDS))
            }
            Source::Given(Expires::At(seconds)) if seconds > limits::MAX_EXPIRATION_SECONDS => {
                Some("KV takes no expiration after January 2038".to_owned())
            }
            _ => None,
        };
        let is_name = !matches!(name.as_str(), "" | "." | "..");
        (!is_name)
            .then(|| "KV takes no such key".to_owned())
            .or_else(|| most("the key", key, limits::MAX_KEY_BYTES))
            .or_else(|| most("the value", value, limits::MAX_VALUE_BYTES))
            .or_else(|| most("the metadata", metadata, limits::MAX_METADATA_BYTES))
            .or(expiration)
    }
}

/// Outputs in the order of their keys, which does not depend on how a request iterated over a map.
///
/// # Errors
/// If two have the same key.
pub(super) fn in_order(outputs: Vec<FoldOutput>) -> Result<Vec<Output>> {
    let mut outputs: Vec<Output> = outputs.into_iter().map(|output| output.0).collect();
    outputs.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    match outputs.iter().zip(outputs.iter().skip(1)).find(|(one, next)| one.key == next.key) {
        Some((twice, _)) => Err(format!("the key `{}` would be written twice", twice.key).into()),
        None => Ok(outputs),
    }
}

/// Stands for metadata that is not known. No metadata is like it, because it is no JSON.
const ANY_METADATA: &str = "any";

/// The hashes by which a fold recognizes an entry as what it wrote.
pub(super) fn entry_hashes(key: HashKey, name: &str, entry: &Entry) -> [u64; 2] {
    let metadata = entry.metadata.as_ref().map_or("", Metadata::as_json);
    [metadata, ANY_METADATA].map(|metadata| entry_hash(key, name, &entry.value, metadata))
}

fn entry_hash(key: HashKey, name: &str, value: &[u8], metadata: &str) -> u64 {
    key.hash().with(name.as_bytes()).with(value).with(metadata.as_bytes()).finish()
}

/// Without the value: it is the user's.
impl fmt::Debug for FoldOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoldOutput").field("key", &self.0.key).finish_non_exhaustive()
    }
}
