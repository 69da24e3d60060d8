//! What JavaScript throws.

use wasm_bindgen::{JsCast, JsValue};
use worker::js_sys::Error;

/// In its own words, without its stack.
pub(crate) fn message(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<Error>() {
        Some(error) => error.message().into(),
        None => thrown.as_string().unwrap_or_else(|| "an error without a message".to_owned()),
    }
}
