//! A KV binding of the Worker's environment, as a store of the core crate. A binding that is not there fails its operations,
//! so that mounting the routes cannot fail.
//!
//! It calls the runtime by `kv.js`. `worker::kv` would add serde's conversion of JavaScript objects to every Worker.

use std::sync::Arc;

use kv_migrations::kv::{Answer, BulkValue, Entry, Expiration, Key, KvError, Metadata, Page, Request, Store};
use kv_migrations::{BoxFuture, RunLock};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use worker::js_sys::Promise;
use worker::send::SendWrapper;
use worker::wasm_bindgen_futures::JsFuture;

use super::environment::{Environment, has_method};

#[wasm_bindgen(module = "/src/platform/kv.js")]
extern "C" {
    #[wasm_bindgen(catch)]
    fn send(
        kv: &JsValue,
        operation: u8,
        key: &str,
        value: &[u8],
        text: Option<&str>,
        number: f64,
    ) -> Result<Promise, JsValue>;
}

#[wasm_bindgen]
extern "C" {
    /// An answer of `kv.js`.
    type Received;

    #[wasm_bindgen(method, getter)]
    fn bytes(this: &Received) -> Vec<u8>;

    #[wasm_bindgen(method, getter)]
    fn numbers(this: &Received) -> Vec<u32>;

    #[wasm_bindgen(method, getter)]
    fn text(this: &Received) -> Option<String>;

    /// The next long value.
    #[wasm_bindgen(method)]
    fn next(this: &Received) -> Vec<u8>;
}

/// Operations, as `kv.js` numbers them.
const GET: u8 = 0;
const GET_BULK: u8 = 1;
const LIST: u8 = 2;
const DELETE: u8 = 3;
const PUT: u8 = 4;
const PUT_WITH_TTL: u8 = 5;

/// No limit, and no expiration.
const NONE: f64 = -1.0;

/// What stands for the length of a text that is not there.
const MISSING: u32 = u32::MAX;
const NO_TEXT: u32 = u32::MAX - 1;
const LONG: u32 = u32::MAX - 2;

/// A KV namespace by the name of its binding.
pub(crate) struct Binding {
    name: Arc<str>,
    /// Looked up once: a lookup for each operation costs more than the operation.
    namespace: Option<SendWrapper<JsValue>>,
}

impl Binding {
    pub(crate) fn new(name: Arc<str>, environment: &Environment) -> Self {
        let namespace = environment.binding(&name).map(SendWrapper::new);
        Self { name, namespace }
    }
}

/// Why a name is not that of a KV namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoNamespace {
    /// There is no binding of this name.
    Missing,
    /// The whole environment is empty: `disallow_importable_env` hides it.
    NoEnvironment,
    /// The binding is of another kind.
    OtherKind,
}

/// Checks that the name is that of a KV namespace. Asks the environment, not KV.
pub(crate) fn check(name: &str, environment: &Environment) -> Result<(), NoNamespace> {
    match environment.binding(name) {
        // Bindings of other kinds have a `get` or a `list` too.
        Some(binding) if has_method(&binding, "getWithMetadata") => Ok(()),
        Some(_) => Err(NoNamespace::OtherKind),
        None if environment.is_empty() => Err(NoNamespace::NoEnvironment),
        None => Err(NoNamespace::Missing),
    }
}

impl Store for Binding {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let Some(namespace) = &self.namespace else {
                let name = &self.name;
                let message = format!(
                    "the Worker has no KV binding `{name}`: name it under [[kv_namespaces]] in wrangler.toml"
                );
                return Err(request.refused(None, message));
            };
            // The call throws, or its promise is rejected.
            let answer = match send_request(namespace, request) {
                Ok(promise) => JsFuture::from(promise).await,
                Err(error) => Err(error),
            };
            let answer = answer.map_err(|error| request.js_error(&error))?;
            read(request, answer.unchecked_ref())
        })
    }

    fn shared_lock(&self, service: &str) -> Option<RunLock> {
        Some(RunLock::of_process(service))
    }
}

/// One call for all operations: each function that is imported, and each branch that calls one, would add its own code.
fn send_request(namespace: &JsValue, request: Request<'_>) -> Result<Promise, JsValue> {
    let (mut joined, mut lengths) = (String::new(), Vec::new());
    let (operation, key, value, text, number) = match request {
        Request::Get { key } => (GET, key, &[][..], None, NONE),
        Request::GetBulk { keys } => {
            for key in keys {
                joined.push_str(key);
                // At most 512: KV refuses a longer key.
                lengths.extend_from_slice(&u32::try_from(key.len()).unwrap_or(0).to_le_bytes());
            }
            (GET_BULK, &*joined, &*lengths, None, NONE)
        }
        Request::List(options) => {
            (LIST, options.prefix, &[][..], options.cursor, options.limit.map_or(NONE, f64::from))
        }
        Request::Delete { key } => (DELETE, key, &[][..], None, NONE),
        Request::Put { key, value, options } => {
            let (operation, number) = match options.expiration {
                None => (PUT, NONE),
                Some(Expiration::At(at)) => (PUT, seconds(at)),
                Some(Expiration::After(after)) => (PUT_WITH_TTL, seconds(after)),
            };
            (operation, key, value, options.metadata.as_ref().map(Metadata::as_json), number)
        }
        _ => return Err(JsValue::from_str("unknown operation")),
    };
    send(namespace, operation, key, value, text, number)
}

#[allow(clippy::cast_precision_loss, reason = "times are far below 2⁵³, up to which it is exact")]
fn seconds(seconds: u64) -> f64 {
    seconds as f64
}

fn read(request: Request<'_>, answer: &Received) -> Result<Answer, KvError> {
    if matches!(request, Request::Put { .. } | Request::Delete { .. }) {
        return Ok(Answer::Done);
    }
    let (bytes, numbers, text) = (answer.bytes(), answer.numbers(), answer.text());
    if let Request::Get { .. } = request {
        let entry = || Entry::new(bytes).with_metadata(text.map(Metadata::from_json));
        return Ok(Answer::Entry((numbers != [MISSING]).then(entry)));
    }
    let mut bytes = bytes.as_slice();
    if let Request::GetBulk { .. } = request {
        let value = |number| match number {
            MISSING => BulkValue::Missing,
            NO_TEXT => BulkValue::Unread,
            LONG => String::from_utf8(answer.next()).map_or(BulkValue::Unread, BulkValue::from_text),
            length => BulkValue::from_text(take(&mut bytes, length)),
        };
        return Ok(Answer::Values(numbers.into_iter().map(value).collect()));
    }
    let (keys, is_complete) = numbers.as_chunks::<3>();
    let mut listed = Vec::new();
    for &[name, metadata, expiration] in keys {
        let (name, metadata) = (take(&mut bytes, name), take(&mut bytes, metadata));
        let metadata = (!metadata.is_empty()).then(|| Metadata::from_json(metadata));
        let expiration = (expiration > 0).then_some(expiration.into());
        listed.push(Key::new(name).with_expiration(expiration).with_metadata(metadata));
    }
    let page = Page::from_result(listed, is_complete == [1], text);
    page.map(Answer::Page).map_err(|message| request.refused(None, message))
}

/// The next of the texts that came as one, by the number of its bytes.
fn take(bytes: &mut &[u8], length: u32) -> String {
    let (text, rest) = bytes.split_at_checked(length as usize).unwrap_or_default();
    *bytes = rest;
    String::from_utf8(text.to_vec()).unwrap_or_default()
}
