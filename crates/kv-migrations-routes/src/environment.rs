//! The environment of the Worker: its bindings and its secrets, by name, with nothing passed in.

use wasm_bindgen::{JsCast, JsValue};
use worker::Env;

/// The environment that the runtime offers to import.
///
/// Source: <https://developers.cloudflare.com/workers/runtime-apis/bindings/#importing-env-as-a-global>.
#[cfg(target_arch = "wasm32")]
fn imported() -> Option<JsValue> {
    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen(module = "cloudflare:workers")]
    extern "C" {
        #[wasm_bindgen(thread_local_v2, js_name = env)]
        static ENVIRONMENT: JsValue;
    }
    Some(ENVIRONMENT.with(JsValue::clone)).filter(|environment| !environment.is_undefined())
}

/// There is none outside of the Workers runtime.
#[cfg(not(target_arch = "wasm32"))]
fn imported() -> Option<JsValue> {
    None
}

/// The environment as migrations get it.
pub(crate) fn environment() -> Result<Env, &'static str> {
    imported().map(JsCast::unchecked_into).ok_or(
        "there is no Worker's environment here: set the context with `migration_routes_with_context`, and hand \
         over the store",
    )
}

/// What is bound to a name, if anything is.
pub(crate) fn binding(name: &str) -> Option<JsValue> {
    let binding = worker::js_sys::Reflect::get(&imported()?, &JsValue::from_str(name)).ok()?;
    (!binding.is_undefined()).then_some(binding)
}

/// A secret or variable; none if it is missing, empty, or no text. Space around it is not part of it: a header
/// could not carry it.
pub(crate) fn secret(name: &str) -> Option<String> {
    let secret = binding(name)?.as_string()?;
    Some(secret.trim_ascii().to_owned()).filter(|secret| !secret.is_empty())
}
