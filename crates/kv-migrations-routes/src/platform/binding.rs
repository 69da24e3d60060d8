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
use wasm_bindgen::{JsCast, JsValue};
use worker::js_sys::{Array, Function, JSON, Map, Object, Promise, Reflect, Uint8Array};
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
            let answer = match send(&namespace, request) {
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

/// One call for all operations: each function that is imported, and each branch that calls one, would add its own code.
fn send(namespace: &JsValue, request: Request<'_>) -> Result<Promise, JsValue> {
    let arguments = Array::new();
    let add = |argument: JsValue| _ = arguments.push(&argument);
    let method = match request {
        Request::Get { key } => {
            add(key.into());
            add("arrayBuffer".into());
            "getWithMetadata"
        }
        Request::GetBulk { keys } => {
            add(names(keys).into());
            add("text".into());
            "get"
        }
        Request::Put { key, value, options } => {
            add(key.into());
            add(Uint8Array::from(value).into());
            add(put_options(options)?.into());
            "put"
        }
        Request::Delete { key } => {
            add(key.into());
            "delete"
        }
        Request::List(options) => {
            add(list_options(options).into());
            "list"
        }
        _ => return Err(JsValue::from_str("unknown operation")),
    };
    let method = field(namespace, method);
    method.unchecked_ref::<Function>().apply(namespace, &arguments).map(JsCast::unchecked_into)
}

fn read(request: Request<'_>, answer: &JsValue) -> Result<Answer, KvError> {
    Ok(match request {
        Request::Get { .. } => {
            let value = field(answer, "value");
            let bytes = (!value.is_null()).then(|| Uint8Array::new(&value).to_vec());
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
        set(&object, "metadata", &JSON::parse(metadata.as_json())?);
    }
    match options.expiration {
        None => {}
        Some(Expiration::At(at)) => set(&object, "expiration", &number(at)),
        Some(Expiration::After(seconds)) => set(&object, "expirationTtl", &number(seconds)),
    }
    Ok(object)
}

fn list_options(options: ListOptions<'_>) -> Object {
    let object = Object::new();
    set(&object, "prefix", &options.prefix.into());
    if let Some(cursor) = options.cursor {
        set(&object, "cursor", &cursor.into());
    }
    if let Some(limit) = options.limit {
        set(&object, "limit", &limit.into());
    }
    object
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
    let json = JSON::stringify(&field(answer, "metadata")).ok()?.as_string()?;
    (json != "null").then(|| Metadata::from_json(json))
}

/// A field of an object, or undefined.
fn field(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or_default()
}

/// Sets a field of an object of ours, which cannot fail.
fn set(object: &Object, name: &str, value: &JsValue) {
    _ = Reflect::set(object, &name.into(), value);
}

#[allow(clippy::cast_precision_loss, reason = "times are far below 2⁵³, up to which it is exact")]
fn number(number: u64) -> JsValue {
    JsValue::from_f64(number as f64)
}
