//! Errors that JavaScript throws.

use wasm_bindgen::{JsCast, JsValue};
use worker::js_sys::Error;

/// The message of an error, without its stack.
pub(crate) fn message(error: &JsValue) -> String {
    match error.dyn_ref::<Error>() {
        Some(error) => error.message().into(),
        None => error.as_string().unwrap_or_else(|| "an error without a message".to_owned()),
    }
}
