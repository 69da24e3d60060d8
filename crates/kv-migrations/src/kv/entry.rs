//! What a store holds: entries, and keys as a list tells them.

use super::Metadata;

/// A value and the metadata that was stored with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value, byte for byte.
    pub value: Vec<u8>,
    /// The metadata, if there is any.
    pub metadata: Option<Metadata>,
}

/// What a bulk get says of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkValue {
    /// The value, as a single get would have read it, but for a byte order mark at its front: that is lost, since
    /// Cloudflare reads values in bulk as text.
    Found(Vec<u8>),
    /// There is no such key.
    Missing,
    /// A bulk get cannot tell, or not exactly: only a single get can. Cloudflare leaves out keys like `1` and
    /// `__proto__`, and reads values as text only.
    Unread,
}

impl BulkValue {
    /// A value that was read as text: exact, unless it holds what bytes that are not UTF-8 are replaced by.
    pub fn from_text(text: String) -> Self {
        let replaced = text.chars().any(|character| character == char::REPLACEMENT_CHARACTER);
        if replaced { Self::Unread } else { Self::Found(text.into_bytes()) }
    }
}

/// A key as a list returns it: without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: String,
    /// When it expires, in seconds since 1970, if it does.
    pub expiration: Option<u64>,
    /// The metadata of its value, if there is any.
    pub metadata: Option<Metadata>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The keys, in the order of their UTF-8 bytes. It can be empty although there are more.
    pub keys: Vec<Key>,
    /// Where the next page begins; none after the last one.
    pub cursor: Option<String>,
}

impl Page {
    /// A page as the runtime returns it.
    ///
    /// # Errors
    /// If it is not the last one, but has no cursor to go on from: to take it for the last would lose keys.
    pub fn of(keys: Vec<Key>, list_complete: bool, cursor: Option<String>) -> Result<Self, &'static str> {
        if !list_complete && cursor.is_none() {
            return Err("the page is not the last one, but came without a cursor");
        }
        Ok(Self { keys, cursor: cursor.filter(|_| !list_complete) })
    }
}

/// Which keys to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListOptions<'a> {
    /// What the keys begin with; empty for all of them.
    pub prefix: &'a str,
    /// The cursor of the page before; none for the first page.
    pub cursor: Option<&'a str>,
    /// The most keys wanted on the page, from 1 to 1,000; none for 1,000.
    pub limit: Option<u32>,
}

/// When a value expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiration {
    /// At this time, in seconds since 1970, at least 60 seconds ahead and before 2038.
    At(u64),
    /// So many seconds after it was written, at least 60.
    After(u64),
}

/// What is stored with a value. What is left out, the key has not: a put replaces all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// At most 1,024 bytes.
    pub metadata: Option<Metadata>,
    /// When the key expires.
    pub expiration: Option<Expiration>,
}
