//! Promises of a Durable Object that settle even if the work panics.
//!
//! A panic ends the WebAssembly instance, and its promises never settle. The runtime waits a quarter of an hour for an
//! alarm that panicked, and fires no other before.

use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;

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

/// The event by which the runtime reports uncaught errors, panics among them.
const UNCAUGHT: &str = "error";

/// A promise of the result of `work`. An uncaught error anywhere in the instance rejects it, as a panic does. After an
/// error that is no panic, the work itself continues.
pub(crate) fn reject_on_panic(work: impl Future<Output = Result<JsValue, JsValue>> + 'static) -> Promise {
    let scope: Scope = global().unchecked_into();
    // Not a variable that the closure borrows mutably: with `panic=unwind` it has to be unwind safe.
    let reject = OnceLock::new();
    // A function of JavaScript's own: one of WebAssembly's would end with the instance.
    let panicked = Promise::new(&mut |_, function| _ = reject.set(function));
    let reject = reject.into_inner();
    if let Some(reject) = &reject {
        scope.add_listener(UNCAUGHT, reject);
    }
    // What a panic leaves in memory is a waiting caller or a held lock, and both end by their time.
    let done = future_to_promise(AssertUnwindSafe(work.inspect(move |_| {
        if let Some(reject) = &reject {
            scope.remove_listener(UNCAUGHT, reject);
        }
    })));
    Promise::race(&Array::of2(&done, &panicked))
}
