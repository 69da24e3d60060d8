//! What a KV operation fails with.

use std::fmt;

/// The operations of KV, each of which counts against a Worker's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// One value with its metadata.
    Get,
    /// Up to 100 values at once.
    GetBulk,
    /// One value written.
    Put,
    /// One key deleted.
    Delete,
    /// One page of keys.
    List,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::GetBulk => "bulk get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::List => "list",
        })
    }
}

/// A KV operation that failed: which, on which key, and why. It holds no value, and none of its parts.
#[derive(Clone, PartialEq, Eq)]
pub struct KvError(Box<Failed>);

/// Boxed: every result of an operation is as large as its error, and moved about in every user's wasm.
#[derive(Clone, PartialEq, Eq)]
struct Failed {
    operation: Operation,
    key: String,
    kind: KvErrorKind,
}

/// Why a KV operation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KvErrorKind {
    /// The store refused it, or could not be reached. For a put or a delete, whether it took effect is unknown
    /// unless the status is one of 400 to 499.
    #[non_exhaustive]
    Refused {
        /// The HTTP status behind it, where the store says one: 429 for too many writes to a key in a second.
        status: Option<u16>,
        /// The store's own words.
        message: String,
    },
    /// The value was read as text, but is not UTF-8.
    NotUtf8,
    /// The value was read as JSON, but is none, or of another shape than asked for.
    #[non_exhaustive]
    NotJson {
        /// Where in the value: the line, counted from 1.
        line: usize,
        /// Where in the line: the byte, counted from 1.
        column: usize,
    },
    /// The value to be written cannot be written as JSON.
    NotSerializable,
    /// The run has used up its [`Budget`](crate::Budget): nothing was sent.
    OverBudget,
    /// The run has ended, or was silent for too long, and another may have taken its place: nothing was sent.
    Superseded,
}

impl KvError {
    pub(crate) fn refused(operation: Operation, key: &str, message: &str) -> Self {
        // What the runtime says of the operation, ours say better: it calls a list a GET too.
        let says_it = ["KV GET failed: ", "KV GET_BULK failed: ", "KV PUT failed: ", "KV DELETE failed: "];
        let message = says_it.iter().find_map(|start| message.strip_prefix(start)).unwrap_or(message);
        let status = message.split(' ').next().and_then(|word| word.parse().ok());
        let status = status.filter(|status| (400..=599).contains(status));
        Self::new(operation, key, KvErrorKind::Refused { status, message: message.to_owned() })
    }

    pub(crate) fn new(operation: Operation, key: impl Into<String>, kind: KvErrorKind) -> Self {
        Self(Box::new(Failed { operation, key: key.into(), kind }))
    }

    /// The operation that failed.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The key it was for; the prefix for a list, the first key for a bulk get.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// Why it failed.
    pub fn kind(&self) -> &KvErrorKind {
        &self.0.kind
    }

    /// The HTTP status behind a refusal, where the store says one.
    pub fn status(&self) -> Option<u16> {
        match self.0.kind {
            KvErrorKind::Refused { status, .. } => status,
            _ => None,
        }
    }

    /// Whether what was asked for is too large to be read, or written, at once.
    pub(crate) fn is_too_large(&self) -> bool {
        self.status() == Some(413)
    }

    /// Whether the same operation can succeed a moment later: after a 429, or an error on the store's side.
    pub fn is_retryable(&self) -> bool {
        matches!(self.status(), Some(429 | 500..=599))
    }
}

impl fmt::Display for KvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed { operation, key, kind } = &*self.0;
        match kind {
            KvErrorKind::Refused { message, .. } => write!(f, "KV {operation} of `{key}` failed: {message}"),
            KvErrorKind::NotUtf8 => {
                write!(f, "the value of `{key}` is not UTF-8 text: read it with `Kv::bytes`")
            }
            KvErrorKind::NotJson { line, column } => write!(
                f,
                "the value of `{key}` is not the JSON that was asked for: look at line {line}, column {column}"
            ),
            KvErrorKind::NotSerializable => write!(
                f,
                "the value for `{key}` cannot be written as JSON, so nothing was: its maps need keys that are text"
            ),
            KvErrorKind::OverBudget => write!(
                f,
                "the {operation} of `{key}` was not sent: its run has used up the KV operations, or the time, that \
                 one request may take"
            ),
            KvErrorKind::Superseded => write!(
                f,
                "the {operation} of `{key}` was not sent: its run has ended, or had done nothing for so long that \
                 another has taken its place"
            ),
        }
    }
}

/// As it is displayed, which says all of it.
impl fmt::Debug for KvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KvError({self})")
    }
}

impl std::error::Error for KvError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> KvError {
        KvError::refused(Operation::Put, "k", message)
    }

    #[test]
    fn only_429_and_5xx_are_retryable() {
        assert!(refused("429 Too Many Requests").is_retryable());
        assert!(refused("503 Service Unavailable").is_retryable());
        assert!(!refused("413 Value length of 26214401 exceeds limit of 26214400.").is_retryable());
        assert!(!refused("500000 keys").is_retryable(), "a number that is no status");
        assert!(!refused("Key name cannot be empty.").is_retryable());
    }

    #[test]
    fn the_runtimes_own_words_are_not_said_twice() {
        let error = refused("KV PUT failed: 429 Too Many Requests");
        assert_eq!(error, refused("429 Too Many Requests"));
    }

    #[test]
    fn display_names_operation_and_key() {
        assert_eq!(
            refused("429 Too Many Requests").to_string(),
            "KV put of `k` failed: 429 Too Many Requests"
        );
    }
}
