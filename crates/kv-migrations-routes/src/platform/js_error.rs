//! Errors that JavaScript throws.

use kv_migrations::{BoxError, reason};
use wasm_bindgen::{JsCast, JsValue};
use worker::js_sys::Error;

/// The message of an error, bounded, and without its stack.
pub(crate) fn message(error: &JsValue) -> String {
    let message = match error.dyn_ref::<Error>() {
        Some(error) => Some(error.message().into()),
        None => error.as_string(),
    };
    let message: String = message.unwrap_or_else(|| "an error without a message".to_owned());
    reason(&*BoxError::from(message))
}
