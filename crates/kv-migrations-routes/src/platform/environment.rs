//! The environment of the Worker: its bindings and secrets by name.

use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use worker::Env;
use worker::js_sys::{Object, Promise, Reflect};
use worker::wasm_bindgen_futures::JsFuture;

use super::js_error::message;

/// An environment that was handed over, or the one that the runtime offers for import, so that nothing has to be passed
/// in.
#[derive(Clone, Default)]
pub(crate) struct Environment(Option<Env>);

#[wasm_bindgen]
extern "C" {
    /// A secret in the Secrets Store.
    type StoredSecret;

    #[wasm_bindgen(method, catch)]
    fn get(this: &StoredSecret) -> Result<Promise, JsValue>;
}

/// The environment that the runtime offers for import.
///
/// Source: <https://developers.cloudflare.com/workers/runtime-apis/bindings/#importing-env-as-a-global>.
#[cfg(target_arch = "wasm32")]
fn imported() -> Option<JsValue> {
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

impl Environment {
    pub(crate) fn new(env: Env) -> Self {
        Self(Some(env))
    }

    fn object(&self) -> Option<JsValue> {
        self.0.clone().map(JsValue::from).or_else(imported)
    }

    /// The environment, as the context of migrations.
    pub(crate) fn env(&self) -> Result<Env, &'static str> {
        self.object().map(JsCast::unchecked_into).ok_or(
            "this is not a Worker: use `migration_routes_with_context`, and a store in place of a binding",
        )
    }

    /// Whether it offers nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.object().is_some_and(|object| Object::keys(object.unchecked_ref::<Object>()).length() == 0)
    }

    /// The binding of this name, if there is one.
    pub(crate) fn binding(&self, name: &str) -> Option<JsValue> {
        let binding = Reflect::get(&self.object()?, &JsValue::from_str(name)).ok()?;
        (!binding.is_undefined()).then_some(binding)
    }

    /// The secret or variable of this name, if it is text and not empty. Space around it is removed, since a header cannot
    /// carry it.
    pub(crate) fn secret(&self, name: &str) -> Option<String> {
        secret(&self.binding(name)?)
    }

    /// Whether the binding of this name is something other than text.
    pub(crate) fn has_no_text(&self, name: &str) -> bool {
        self.binding(name).is_some_and(|binding| !binding.is_string())
    }

    /// The secret of the Secrets Store behind the binding of this name. None if the binding is of another kind. The error
    /// says why the Secrets Store does not give it.
    pub(crate) async fn stored_secret(&self, name: &str) -> Result<Option<String>, String> {
        let binding = self.binding(name).filter(|binding| has_method(binding, "get"));
        let Some(binding) = binding else { return Ok(None) };
        // Other bindings have a `get` too: called with nothing, they fail, or give something other than text.
        let text = match binding.unchecked_ref::<StoredSecret>().get() {
            Ok(promise) => JsFuture::from(promise).await,
            Err(error) => Err(error),
        };
        text.map(|text| secret(&text)).map_err(|error| message(&error))
    }
}

fn secret(text: &JsValue) -> Option<String> {
    Some(text.as_string()?.trim_ascii().to_owned()).filter(|secret| !secret.is_empty())
}

/// Whether a binding has a method of this name.
pub(crate) fn has_method(binding: &JsValue, name: &str) -> bool {
    Reflect::get(binding, &JsValue::from_str(name)).is_ok_and(|method| method.is_function())
}
