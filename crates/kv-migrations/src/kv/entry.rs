//! What a store holds: entries, and keys as a list returns them.

use super::Metadata;

/// A value and its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The value, byte for byte.
    pub value: Vec<u8>,
    /// The metadata, if there is any.
    pub metadata: Option<Metadata>,
}

impl Entry {
    /// Creates a value without metadata.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self { value: value.into(), metadata: None }
    }

    /// Sets the metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<Option<Metadata>>) -> Self {
        self.metadata = metadata.into();
        self
    }
}

/// What a bulk get returns for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkValue {
    /// The value as a single get returns it, except for a byte order mark at its start, which is lost: Cloudflare reads
    /// values in bulk as text.
    Found(Vec<u8>),
    /// There is no such key.
    Missing,
    /// A bulk get cannot read this key exactly, so that it has to be read by a single get. Cloudflare leaves out keys like
    /// `1` and `__proto__`, and values that are not text.
    Unread,
}

impl BulkValue {
    /// Creates a value that was read as text. It is exact unless it contains the character that replaces invalid
    /// UTF-8.
    pub fn from_text(text: String) -> Self {
        let replaced = text.chars().any(|character| character == char::REPLACEMENT_CHARACTER);
        if replaced { Self::Unread } else { Self::Found(text.into_bytes()) }
    }
}

/// A key as a list returns it: without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Key {
    /// The key.
    pub name: String,
    /// When it expires, in seconds since 1970. `None` if it does not.
    pub expiration: Option<u64>,
    /// The metadata of its value, if there is any.
    pub metadata: Option<Metadata>,
}

impl Key {
    /// Creates a key that does not expire and has no metadata.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), expiration: None, metadata: None }
    }

    /// Sets when it expires, in seconds since 1970.
    #[must_use]
    pub fn with_expiration(mut self, seconds: impl Into<Option<u64>>) -> Self {
        self.expiration = seconds.into();
        self
    }

    /// Sets the metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<Option<Metadata>>) -> Self {
        self.metadata = metadata.into();
        self
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The keys, in the order of their UTF-8 bytes. A page can be empty although more pages follow.
    pub keys: Vec<Key>,
    /// Where the next page begins. `None` after the last page.
    pub cursor: Option<String>,
}

impl Page {
    /// Creates the last page of a list.
    pub fn new(keys: Vec<Key>) -> Self {
        Self { keys, cursor: None }
    }

    /// Sets the cursor of the next page.
    #[must_use]
    pub fn with_cursor(mut self, cursor: impl Into<Option<String>>) -> Self {
        self.cursor = cursor.into();
        self
    }

    /// Creates a page from the fields of KV's answer.
    ///
    /// # Errors
    /// If the list is not complete but has no cursor: to take the page for the last one would lose keys.
    pub fn from_result(
        keys: Vec<Key>,
        list_complete: bool,
        cursor: Option<String>,
    ) -> Result<Self, &'static str> {
        if !list_complete && cursor.is_none() {
            return Err("the page is not the last one, but came without a cursor");
        }
        Ok(Self { keys, cursor: cursor.filter(|_| !list_complete) })
    }
}

/// Which keys to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListOptions<'a> {
    /// The start of the keys. Empty for all keys.
    pub prefix: &'a str,
    /// The cursor of the previous page. `None` for the first page.
    pub cursor: Option<&'a str>,
    /// The maximum number of keys on the page, from 1 to 1,000. `None` for 1,000.
    pub limit: Option<u32>,
}

impl<'a> ListOptions<'a> {
    /// Creates the first page of the keys that begin with `prefix`.
    pub fn new(prefix: &'a str) -> Self {
        Self { prefix, cursor: None, limit: None }
    }

    /// Sets the cursor of the previous page.
    #[must_use]
    pub fn with_cursor(mut self, cursor: impl Into<Option<&'a str>>) -> Self {
        self.cursor = cursor.into();
        self
    }

    /// Sets the maximum number of keys on the page, from 1 to 1,000.
    #[must_use]
    pub fn with_limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// When a value expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiration {
    /// At this time, in seconds since 1970: at least 60 seconds from now and before 2038.
    At(u64),
    /// This many seconds after it was written: at least 60.
    After(u64),
}

/// What is stored with a value. A put replaces all of it: what is not set here, the key loses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutOptions {
    /// At most 1,024 bytes.
    pub metadata: Option<Metadata>,
    /// When the key expires.
    pub expiration: Option<Expiration>,
}

impl PutOptions {
    /// Creates options with neither metadata nor an expiration.
    pub const fn new() -> Self {
        Self { metadata: None, expiration: None }
    }

    /// Sets the metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<Option<Metadata>>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// Sets the expiration.
    #[must_use]
    pub fn with_expiration(mut self, expiration: impl Into<Option<Expiration>>) -> Self {
        self.expiration = expiration.into();
        self
    }
}
