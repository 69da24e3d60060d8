//! What KV refuses, and what its bulk get cannot read: pure. For stores that answer in its place.

use super::{BulkValue, Expiration, KvError, Metadata, PutOptions, Request, limits};

/// Why an operation is refused.
pub(crate) struct Refusal {
    status: Option<u16>,
    message: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status: Some(status), message: message.into() }
    }

    fn without_status(message: impl Into<String>) -> Self {
        Self { status: None, message: message.into() }
    }

    /// The error of the operation.
    pub(crate) fn of(self, request: Request<'_>) -> KvError {
        request.refused(self.status, self.message)
    }
}

pub(crate) fn check_key(key: &str) -> Result<(), Refusal> {
    match key {
        "" => Err(Refusal::without_status("Key name cannot be empty.")),
        "." | ".." => Err(Refusal::without_status(format!("\"{key}\" is not allowed as a key name."))),
        _ if key.len() > limits::MAX_KEY_BYTES => {
            let (length, limit) = (key.len(), limits::MAX_KEY_BYTES);
            let message = format!("UTF-8 encoded length of {length} exceeds key length limit of {limit}.");
            Err(Refusal::new(414, message))
        }
        _ => Ok(()),
    }
}

/// When the entry expires, in seconds since 1970.
pub(crate) fn check_put(
    key: &str,
    value: &[u8],
    options: &PutOptions,
    now: u64,
) -> Result<Option<u64>, Refusal> {
    check_key(key)?;
    check_value(value)?;
    check_metadata(options.metadata.as_ref())?;
    expiration_time(options.expiration, now)
}

fn check_value(value: &[u8]) -> Result<(), Refusal> {
    let length = value.len();
    if length > limits::MAX_VALUE_BYTES {
        let limit = limits::MAX_VALUE_BYTES;
        return Err(Refusal::new(413, format!("Value length of {length} exceeds limit of {limit}.")));
    }
    Ok(())
}

fn check_metadata(metadata: Option<&Metadata>) -> Result<(), Refusal> {
    let Some(metadata) = metadata else { return Ok(()) };
    if !is_json(metadata.as_json()) {
        return Err(Refusal::new(400, "Metadata must be JSON."));
    }
    let length = metadata.as_json().len();
    if length > limits::MAX_METADATA_BYTES {
        let limit = limits::MAX_METADATA_BYTES;
        return Err(Refusal::new(413, format!("Metadata length of {length} exceeds limit of {limit}.")));
    }
    Ok(())
}

/// In a Worker JavaScript knows: a parser would be more code in the wasm.
#[cfg(target_arch = "wasm32")]
fn is_json(text: &str) -> bool {
    worker::js_sys::JSON::parse(text).is_ok()
}

#[cfg(not(target_arch = "wasm32"))]
fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn expiration_time(expiration: Option<Expiration>, now: u64) -> Result<Option<u64>, Refusal> {
    let (at, given) = match expiration {
        None => return Ok(None),
        Some(Expiration::At(at)) => (at, at),
        Some(Expiration::After(seconds)) => (now.saturating_add(seconds), seconds),
    };
    let soonest = now.saturating_add(limits::MIN_TTL_SECONDS);
    if !(soonest..=limits::MAX_EXPIRATION_SECONDS).contains(&at) {
        let message =
            format!("Invalid expiration of {given}: it must be at least 60 seconds ahead and before 2038.");
        return Err(Refusal::new(400, message));
    }
    Ok(Some(at))
}

pub(crate) fn check_bulk(keys: &[&str]) -> Result<(), Refusal> {
    if keys.len() > limits::MAX_BULK_KEYS {
        let message = format!("You can request a maximum of {} keys", limits::MAX_BULK_KEYS);
        return Err(Refusal::new(400, message));
    }
    Ok(())
}

pub(crate) fn check_bulk_values(values: &[BulkValue]) -> Result<(), Refusal> {
    let bytes = |value: &BulkValue| if let BulkValue::Found(value) = value { value.len() } else { 0 };
    if values.iter().map(bytes).sum::<usize>() > limits::MAX_BULK_BYTES {
        return Err(Refusal::new(413, "Total size of request exceeds the limit of 25MB"));
    }
    Ok(())
}

/// What a bulk get returns for this value.
pub(crate) fn bulk_value(key: &str, value: Option<Vec<u8>>) -> BulkValue {
    if is_left_out_by_bulk_get(key) {
        return BulkValue::Unread;
    }
    match value.map(String::from_utf8) {
        None => BulkValue::Missing,
        Some(Ok(text)) => {
            BulkValue::from_text(text.strip_prefix('\u{FEFF}').map(str::to_owned).unwrap_or(text))
        }
        Some(Err(_)) => BulkValue::Unread,
    }
}

/// Whether Cloudflare's bulk get leaves the key out. Its answer is a JavaScript object, on which integers and
/// `__proto__` are special.
fn is_left_out_by_bulk_get(key: &str) -> bool {
    let integer = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
    key == "__proto__" || integer && (key == "0" || !key.starts_with('0'))
}
