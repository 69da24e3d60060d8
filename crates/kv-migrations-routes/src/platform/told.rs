//! What the object of a coordinator tells of its migrations, read by JavaScript: serde would be more code in the wasm.

use kv_migrations::Known;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use worker::js_sys::{Array, JSON};

#[wasm_bindgen]
extern "C" {
    /// The status of a migration.
    type Told;

    #[wasm_bindgen(method, getter)]
    fn id(this: &Told) -> String;

    #[wasm_bindgen(method, getter)]
    fn run(this: &Told) -> bool;

    #[wasm_bindgen(method, getter)]
    fn state(this: &Told) -> String;

    #[wasm_bindgen(method, getter)]
    fn revision(this: &Told) -> Option<String>;

    #[wasm_bindgen(method, getter)]
    fn progress(this: &Told) -> JsValue;

    #[wasm_bindgen(method, getter, js_name = retryAt)]
    fn retry_at(this: &Told) -> JsValue;
}

/// What a status of the object of this release says.
pub(crate) fn told(status: &[u8]) -> impl Iterator<Item = Known> {
    let text = String::from_utf8_lossy(status);
    let told = JSON::parse(&text).map(|told| Array::from(&told)).unwrap_or_default();
    (0..told.length()).map(move |place| {
        let told: Told = told.get(place).unchecked_into();
        let state = told.state();
        Known {
            id: told.id(),
            is_applied: told.run(),
            revision: told.revision(),
            has_checkpoint: !told.progress().is_undefined(),
            is_begun: state == "running" || state == "paused" || !told.retry_at().is_undefined(),
        }
    })
}
