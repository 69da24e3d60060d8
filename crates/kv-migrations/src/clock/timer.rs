//! A timer of JavaScript, as a future.
//!
//! `worker::Delay` takes the handle of a timer for a number. With the compatibility flag `nodejs_compat`, which newer
//! compatibility dates imply, it is an object: a build with debug information then never wakes.
//!
//! Source: <https://developers.cloudflare.com/workers/configuration/compatibility-flags/#enable-nodejs-global-timers>.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use worker::js_sys::{Function, Promise};
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::wasm_bindgen_futures::JsFuture;

/// JavaScript fires a timer for a longer time at once.
const MAX_MILLISECONDS: i32 = i32::MAX;

#[wasm_bindgen(wasm_bindgen = worker::wasm_bindgen)]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, milliseconds: i32) -> JsValue;

    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(handle: &JsValue);
}

/// Is ready when the time is over. Dropped before that, it is cleared, so that it keeps no object awake.
pub(super) struct Timer {
    handle: JsValue,
    fired: JsFuture,
}

impl Timer {
    pub(super) fn start(duration: Duration) -> Self {
        let milliseconds = i32::try_from(duration.as_millis()).unwrap_or(MAX_MILLISECONDS);
        // Not a variable that the closure borrows mutably: with `panic=unwind` it has to be unwind safe.
        let handle = OnceLock::new();
        let fired = Promise::new(&mut |resolve, _| _ = handle.set(set_timeout(&resolve, milliseconds)));
        Self { handle: handle.into_inner().unwrap_or_default(), fired: fired.into() }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // A promise that only a timer resolves is not rejected.
        let _ = ready!(Pin::new(&mut self.fired).poll(context));
        Poll::Ready(())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.handle);
    }
}
