//! Events of an object that end, however they end.
//!
//! A panic ends the whole of the wasm, and nothing that was promised by it is ever kept. The runtime would wait for an
//! alarm that panicked until its time is up, for a quarter of an hour, and call no other before.

use futures_util::FutureExt;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use worker::js_sys::{Array, Function, Promise, global};
use worker::wasm_bindgen_futures::future_to_promise;

#[wasm_bindgen]
extern "C" {
    type Scope;

    #[wasm_bindgen(method, js_name = addEventListener)]
    fn add_listener(this: &Scope, event: &str, listener: &Function);

    #[wasm_bindgen(method, js_name = removeEventListener)]
    fn remove_listener(this: &Scope, event: &str, listener: &Function);
}

/// The event that the runtime tells of what nobody has caught: a panic among it.
const UNCAUGHT: &str = "error";

/// A promise of what comes of it, which is rejected if it panics, or anything beside it does. If it was something else
/// that nobody caught, the work itself goes on.
pub(crate) fn surviving(work: impl Future<Output = Result<JsValue, JsValue>> + 'static) -> Promise {
    let scope: Scope = global().unchecked_into();
    let mut reject = None;
    // JavaScript's own function: one of the wasm's would be gone with it.
    let panicked = Promise::new(&mut |_, function| reject = Some(function));
    if let Some(reject) = &reject {
        scope.add_listener(UNCAUGHT, reject);
    }
    let done = future_to_promise(work.inspect(move |_| {
        if let Some(reject) = &reject {
            scope.remove_listener(UNCAUGHT, reject);
        }
    }));
    Promise::race(&Array::of2(&done, &panicked))
}
