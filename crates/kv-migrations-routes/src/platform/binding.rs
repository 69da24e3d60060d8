//! A KV binding of the Worker's environment, as a store of the core crate. The binding is looked up by its name at every
//! call, so that mounting the routes cannot fail.
//!
//! It calls the runtime directly. `worker::kv` would add serde's conversion of JavaScript objects to every Worker.

use std::sync::Arc;

use kv_migrations::kv::{
    Answer, BulkValue, Entry, Expiration, Key, KvError, ListOptions, Metadata, Page, PutOptions, Request,
    Store,
};
use kv_migrations::{BoxFuture, RunLock};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use worker::js_sys::{Array, JSON, Map, Object, Promise, Reflect, Uint8Array};
use worker::wasm_bindgen_futures::JsFuture;

use super::environment::{Environment, has_method};

/// A KV namespace by the name of its binding.
pub(crate) struct Binding {
    pub(crate) name: Arc<str>,
    pub(crate) environment: Environment,
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

#[wasm_bindgen]
extern "C" {
    type Namespace;

    #[wasm_bindgen(method, catch, js_name = getWithMetadata)]
    fn get(this: &Namespace, key: &str, kind: &str) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch, js_name = get)]
    fn get_bulk(this: &Namespace, keys: &Array, kind: &str) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn put(this: &Namespace, key: &str, value: Uint8Array, options: &Object) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn delete(this: &Namespace, key: &str) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn list(this: &Namespace, options: &Object) -> Result<Promise, JsValue>;
}

impl Store for Binding {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let Some(namespace) = self.environment.binding(&self.name) else {
                let name = &self.name;
                let message = format!(
                    "the Worker has no KV binding `{name}`: name it under [[kv_namespaces]] in wrangler.toml"
                );
                return Err(request.refused(None, message));
            };
            // The call throws, or its promise is rejected.
            let answer = match send(namespace.unchecked_ref(), request) {
                Ok(promise) => JsFuture::from(promise).await,
                Err(error) => Err(error),
            };
            read(request, &answer.map_err(|error| request.js_error(&error))?)
        })
    }

    fn shared_lock(&self, service: &str) -> Option<RunLock> {
        Some(RunLock::of_process(service))
    }
}

fn send(namespace: &Namespace, request: Request<'_>) -> Result<Promise, JsValue> {
    match request {
        Request::Get { key } => namespace.get(key, "arrayBuffer"),
        Request::GetBulk { keys } => namespace.get_bulk(&names(keys), "text"),
        Request::Put { key, value, options } => {
            namespace.put(key, Uint8Array::from(value), &put_options(options)?)
        }
        Request::Delete { key } => namespace.delete(key),
        Request::List(options) => namespace.list(&list_options(options)?),
        _ => Err(JsValue::from_str("unknown operation")),
    }
}

fn read(request: Request<'_>, answer: &JsValue) -> Result<Answer, KvError> {
    Ok(match request {
        Request::Get { .. } => {
            let value = field(answer, "value");
            let bytes = (!is_nothing(&value)).then(|| Uint8Array::new(&value).to_vec());
            Answer::Entry(bytes.map(|value| Entry::new(value).with_metadata(metadata(answer))))
        }
        Request::GetBulk { keys } => {
            let values: &Map = answer.unchecked_ref();
            Answer::Values(keys.iter().map(|key| bulk_value(values, &JsValue::from_str(key))).collect())
        }
        Request::List(_) => {
            let keys: Array = field(answer, "keys").unchecked_into();
            let mut listed = Vec::new();
            for key in keys.iter() {
                listed.push(listed_key(&key));
            }
            let cursor = field(answer, "cursor").as_string();
            let is_complete = field(answer, "list_complete").as_bool() == Some(true);
            let page = Page::from_result(listed, is_complete, cursor);
            Answer::Page(page.map_err(|message| request.refused(None, message))?)
        }
        _ => Answer::Done,
    })
}

fn names(keys: &[&str]) -> Array {
    keys.iter().map(|key| JsValue::from_str(key)).collect()
}

fn put_options(options: &PutOptions) -> Result<Object, JsValue> {
    let object = Object::new();
    if let Some(metadata) = &options.metadata {
        set(&object, "metadata", &JSON::parse(metadata.as_json())?)?;
    }
    match options.expiration {
        None => {}
        Some(Expiration::At(at)) => set(&object, "expiration", &number(at))?,
        Some(Expiration::After(seconds)) => set(&object, "expirationTtl", &number(seconds))?,
    }
    Ok(object)
}

fn list_options(options: ListOptions<'_>) -> Result<Object, JsValue> {
    let object = Object::new();
    set(&object, "prefix", &options.prefix.into())?;
    if let Some(cursor) = options.cursor {
        set(&object, "cursor", &cursor.into())?;
    }
    if let Some(limit) = options.limit {
        set(&object, "limit", &limit.into())?;
    }
    Ok(object)
}

fn bulk_value(values: &Map, key: &JsValue) -> BulkValue {
    let value = values.get(key);
    match value.as_string() {
        Some(text) => BulkValue::from_text(text),
        None if value.is_null() => BulkValue::Missing,
        None => BulkValue::Unread,
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds since 1970")]
fn listed_key(listed: &JsValue) -> Key {
    Key::new(field(listed, "name").as_string().unwrap_or_default())
        .with_expiration(field(listed, "expiration").as_f64().map(|seconds| seconds as u64))
        .with_metadata(metadata(listed))
}

/// The metadata in an answer. Where there is none, it is null or undefined.
fn metadata(answer: &JsValue) -> Option<Metadata> {
    let metadata = field(answer, "metadata");
    if is_nothing(&metadata) {
        return None;
    }
    JSON::stringify(&metadata).ok().map(|json| Metadata::from_json(String::from(json)))
}

fn is_nothing(value: &JsValue) -> bool {
    value.is_null() || value.is_undefined()
}

/// A field of an object, or undefined.
fn field(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or_default()
}

fn set(object: &Object, name: &str, value: &JsValue) -> Result<(), JsValue> {
    Reflect::set(object, &name.into(), value).map(drop)
}

#[allow(clippy::cast_precision_loss, reason = "times are far below 2⁵³, up to which it is exact")]
fn number(number: u64) -> JsValue {
    JsValue::from_f64(number as f64)
}
