//! The environment of the Worker: its bindings and secrets by name. Nothing has to be passed in.

use wasm_bindgen::{JsCast, JsValue};
use worker::Env;

/// The environment that the runtime offers for import.
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

/// Outside of the Workers runtime there is none.
#[cfg(not(target_arch = "wasm32"))]
fn imported() -> Option<JsValue> {
    None
}

/// The environment, as the context of migrations.
pub(crate) fn environment() -> Result<Env, &'static str> {
    imported().map(JsCast::unchecked_into).ok_or(
        "this is not a Worker, so it has no environment: set the context with `migration_routes_with_context`, and \
         pass the store itself",
    )
}

/// The binding of this name, if there is one.
pub(crate) fn binding(name: &str) -> Option<JsValue> {
    let binding = worker::js_sys::Reflect::get(&imported()?, &JsValue::from_str(name)).ok()?;
    (!binding.is_undefined()).then_some(binding)
}

/// The secret or variable of this name. None if it is missing, empty, or no text. Space around it is removed, since a
/// header cannot carry it.
pub(crate) fn secret(name: &str) -> Option<String> {
    let secret = binding(name)?.as_string()?;
    Some(secret.trim_ascii().to_owned()).filter(|secret| !secret.is_empty())
}
