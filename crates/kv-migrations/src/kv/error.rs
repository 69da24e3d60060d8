//! The error of a KV operation.

use std::fmt;
use std::time::Duration;

use super::JsonError;
use crate::text::{bounded, without_stacks};

/// The operations of KV. Each counts against a Worker's limit.
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

/// A KV operation that failed: which, on which key, and why. It never holds a value or part of one. The store's own message
/// is bounded, and without a JavaScript stack.
#[derive(Clone, PartialEq, Eq)]
pub struct KvError(Box<Failed>);

/// Boxed, because every result of an operation is as large as its error, and costs bytes in every user's wasm.
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
    /// The store refused it, or could not be reached. A put or a delete may still have taken effect, unless the status
    /// is from 400 to 499.
    #[non_exhaustive]
    Refused {
        /// The HTTP status, where the store gives one: 429 for more than one write to a key in a second.
        status: Option<u16>,
        /// The store's own message.
        message: String,
    },
    /// The value was read as text but is not UTF-8.
    NotUtf8,
    /// The value was read as JSON but is not JSON, or has another shape.
    NotJson(JsonError),
    /// The value cannot be written as JSON.
    NotSerializable,
    /// The account's daily quota for such operations is used up. Nothing was read or changed. Only the free plan has one,
    /// which begins again at 00:00 UTC (<https://developers.cloudflare.com/kv/platform/limits/>).
    #[non_exhaustive]
    QuotaExhausted {
        /// The time until it begins again.
        retry_after: Duration,
    },
    /// The run has used up its [`Budget`](crate::Budget). Nothing was sent.
    OverBudget,
    /// The run has ended, or was inactive for so long that another may have replaced it. Nothing was sent.
    Superseded,
}

impl KvError {
    pub(crate) fn refused(operation: Operation, key: &str, status: Option<u16>, message: &str) -> Self {
        let message = bounded(without_stacks(message.to_owned()));
        Self::new(operation, key, KvErrorKind::Refused { status, message })
    }

    pub(crate) fn new(operation: Operation, key: impl Into<String>, kind: KvErrorKind) -> Self {
        Self(Box::new(Failed { operation, key: bounded(key.into()), kind }))
    }

    /// Returns the operation that failed.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// Returns the key; for a list the prefix, for a bulk get the first key. The middle of one of more than 2,000
    /// bytes, which KV does not take, is cut out.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// Returns why it failed.
    pub fn kind(&self) -> &KvErrorKind {
        &self.0.kind
    }

    /// Returns the HTTP status of a refusal, where the store gives one.
    pub fn status(&self) -> Option<u16> {
        match self.0.kind {
            KvErrorKind::Refused { status, .. } => status,
            _ => None,
        }
    }

    /// Whether the answer, or what was to be written, is too large for one operation.
    pub(crate) fn is_too_large(&self) -> bool {
        self.status() == Some(413)
    }

    /// Returns whether the same operation can succeed a moment later: after a 429, or an error of the store (5xx).
    pub fn is_retryable(&self) -> bool {
        matches!(self.status(), Some(429 | 500..=599))
    }

    /// Whether a put that failed may have taken effect all the same.
    pub(crate) fn may_have_written(&self) -> bool {
        match self.0.kind {
            KvErrorKind::Refused { status: None, .. } => !matches!(self.key(), "" | "." | ".."),
            KvErrorKind::Refused { status: Some(status), .. } => !(400..500).contains(&status),
            _ => false,
        }
    }

    /// Whether KV failed, or the run was superseded: nothing is known to be wrong with the operation itself. A key, a
    /// value or an option that KV does not take is no outage.
    pub(crate) fn is_outage(&self) -> bool {
        match self.0.kind {
            KvErrorKind::Refused { status: None, .. } => !matches!(self.key(), "" | "." | ".."),
            KvErrorKind::Refused { status, .. } => !matches!(status, Some(400 | 413 | 414)),
            KvErrorKind::QuotaExhausted { .. } | KvErrorKind::Superseded => true,
            _ => false,
        }
    }
}

impl fmt::Display for KvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed { operation, key, kind } = &*self.0;
        match kind {
            KvErrorKind::Refused { status: Some(status), message } => {
                write!(f, "KV {operation} of `{key}` failed: {status} {message}")
            }
            KvErrorKind::Refused { status: None, message } => {
                write!(f, "KV {operation} of `{key}` failed: {message}")
            }
            KvErrorKind::QuotaExhausted { .. } => {
                write!(f, "KV {operation} of `{key}` failed: the daily quota is used up")
            }
            KvErrorKind::NotUtf8 => {
                write!(f, "the value of `{key}` is not UTF-8 text: read it with `Kv::bytes`")
            }
            KvErrorKind::NotJson(error) => write!(f, "the value of `{key}` is {error}"),
            KvErrorKind::NotSerializable => write!(
                f,
                "the value for `{key}` cannot be written as JSON: its maps need keys that are text. Nothing was written"
            ),
            KvErrorKind::OverBudget => write!(
                f,
                "the {operation} of `{key}` was not sent: its run has used up the KV operations or the time of a request"
            ),
            KvErrorKind::Superseded => write!(
                f,
                "the {operation} of `{key}` was not sent: its run has ended, or another one has replaced it"
            ),
        }
    }
}

/// The same text as `Display`, which says everything.
impl fmt::Debug for KvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KvError({self})")
    }
}

impl std::error::Error for KvError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: Option<u16>, message: &str) -> KvError {
        KvError::refused(Operation::Put, "k", status, message)
    }

    #[test]
    fn only_429_and_5xx_are_retryable() {
        assert!(refused(Some(429), "Too Many Requests").is_retryable());
        assert!(refused(Some(503), "Service Unavailable").is_retryable());
        assert!(!refused(Some(413), "Value length of 26214401 exceeds limit of 26214400.").is_retryable());
        assert!(!refused(None, "Key name cannot be empty.").is_retryable());
    }

    #[test]
    fn what_kv_does_not_take_is_no_outage_and_all_else_is() {
        let superseded = KvError::new(Operation::Put, "k", KvErrorKind::Superseded);
        let outages = [429, 500, 503, 403].map(|status| refused(Some(status), "no"));
        let exhausted =
            KvError::new(Operation::Put, "k", KvErrorKind::QuotaExhausted { retry_after: Duration::ZERO });
        let others = [refused(None, "Network connection lost."), superseded, exhausted];
        for error in outages.into_iter().chain(others) {
            assert!(error.is_outage(), "{error}");
        }
        let nameless = ["", ".", ".."].map(|key| KvError::refused(Operation::Put, key, None, "not allowed"));
        let unreadable = KvError::new(Operation::Get, "k", KvErrorKind::NotUtf8);
        let refusals = [400, 413, 414].map(|status| refused(Some(status), "no"));
        for error in refusals.into_iter().chain(nameless).chain([unreadable]) {
            assert!(!error.is_outage(), "{error}");
        }
    }

    #[test]
    fn a_message_and_a_key_of_megabytes_are_bounded_and_without_stacks() {
        let message = format!("internal error\n    at put (index.js:1:2)\n{}", "x".repeat(5_000_000));
        let error = KvError::refused(Operation::Put, &"k".repeat(5_000_000), Some(500), &message).to_string();
        assert!(error.len() < 5_000 && !error.contains("index.js"), "{} bytes: {error:.300}", error.len());
    }

    #[test]
    fn display_names_operation_key_and_status() {
        assert_eq!(
            refused(Some(429), "Too Many Requests").to_string(),
            "KV put of `k` failed: 429 Too Many Requests"
        );
        assert_eq!(refused(None, "no answer").to_string(), "KV put of `k` failed: no answer");
    }
}
