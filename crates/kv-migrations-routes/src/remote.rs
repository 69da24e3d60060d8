//! The Worker's side of a coordinator: it forwards a request to the Durable Object of the service.
//!
//! The protocol between the two is HTTP, with two more headers ([`COORDINATOR`], [`RELEASE`]). `coordinator/` is the object's side.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::Response;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use worker::durable::ObjectId;
use worker::{EnvBinding, Headers, Method, ObjectNamespace, Request, RequestInit};

use crate::platform::environment::Environment;
use crate::platform::js_error::message;
use crate::request::head::Head;
use crate::request::query::Query;
use crate::request::release::Release;
use crate::request::route::Route;
use crate::response::body::Body;
use crate::response::convert::from_worker;
use crate::response::problem::Problem;

/// The header with the name of the object: in a request the one that the Worker asks for, in an answer the object's own.
/// A class that `wrangler.toml` binds to another name by mistake is found out by it.
pub(crate) const COORDINATOR: &str = "kv-migrations-coordinator";
/// The header with the [digest](Release::digest) of a release: in a request that of the Worker, in an answer the object's
/// own. During a deploy, and for all of a gradual one, a Worker can reach an object that runs another release.
pub(crate) const RELEASE: &str = "kv-migrations-release";

/// The most bytes of headers that are forwarded. Cloudflare takes no request with more than twice as many.
const MAX_HEADER_BYTES: usize = 65_536;

/// Forwards requests to a coordinator. Only [`Remote`] implements it. Routes hold it as a trait object, so that a Worker
/// without a coordinator carries none of its code.
pub(crate) trait Forward: Send + Sync {
    /// The route that a path below `base_path` names.
    fn route(&self, path: &str, base_path: &str) -> Option<Route>;

    /// How many writes a day migrations may make, if that is limited.
    fn writes_per_day(&self) -> Option<u64>;

    /// Whether requests are forwarded to the object with this id. `None` if nothing tells.
    fn is_at(&self, id: &ObjectId<'_>, environment: &Environment) -> Option<bool>;

    /// The object's answer to a request whose caller has access.
    fn forward<'a>(
        &'a self,
        route: &'a Route,
        head: &'a Head,
        environment: &'a Environment,
    ) -> LocalBoxFuture<'a, Result<Response<Body>, Box<Problem>>>;
}

/// The object of a service.
pub(crate) struct Remote {
    /// The name of the Durable Object binding.
    pub(crate) binding: String,
    /// The name of the object.
    pub(crate) object: String,
    /// The release of the Worker.
    pub(crate) release: Box<dyn Fn() -> Release + Send + Sync>,
    pub(crate) writes_per_day: Option<u64>,
}

/// What a refusal of an object of another release says.
#[derive(Deserialize)]
struct Refusal {
    registered: Vec<String>,
}

impl Forward for Remote {
    fn route(&self, path: &str, base_path: &str) -> Option<Route> {
        Route::parse_coordinated(path, base_path)
    }

    fn writes_per_day(&self) -> Option<u64> {
        self.writes_per_day
    }

    fn is_at(&self, id: &ObjectId<'_>, environment: &Environment) -> Option<bool> {
        if let Some(name) = id.name() {
            return Some(name == self.object);
        }
        // An object that an alarm has woken (cloudflare/workerd#6850), one that was asked by its id, and any object of a
        // runtime from before March 2026 does not know its name. Then the binding tells which id the name has, if the
        // object's Worker has it too.
        let namespace = self.namespace(environment).ok()?;
        Some(namespace.id_from_name(&self.object).ok()? == *id)
    }

    fn forward<'a>(
        &'a self,
        route: &'a Route,
        head: &'a Head,
        environment: &'a Environment,
    ) -> LocalBoxFuture<'a, Result<Response<Body>, Box<Problem>>> {
        self.answer(route, head, environment).boxed_local()
    }
}

impl Remote {
    async fn answer(
        &self,
        route: &Route,
        head: &Head,
        environment: &Environment,
    ) -> Result<Response<Body>, Box<Problem>> {
        check_size(head)?;
        // A query that is refused here does not wake the object.
        let query = Query::parse(route, head.query.as_deref(), true)?;
        let release = (self.release)();
        query.check_expected(release.ids.iter().map(String::as_str))?;
        let namespace = self.namespace(environment)?;
        let unavailable = |error: worker::Error| Problem::coordinator_unavailable(&message(&error.into()));
        let name = header_value(&self.object);
        let request = request(&name, &release, route, head).map_err(unavailable)?;
        let answer = self.ask(&namespace, request).await.map_err(unavailable)?;
        if answer.headers().get(COORDINATOR).ok().flatten().as_ref() != Some(&name) {
            let Self { binding, object, .. } = self;
            let detail =
                format!("The Durable Object binding `{binding}` is not the coordinator of `{object}`.");
            return Err(Problem::wrong_coordinator(detail));
        }
        if matches!(answer.status_code(), 401 | 403) {
            return Err(Problem::coordinator_denied(&self.binding));
        }
        let answered = answer.headers().get(RELEASE).ok().flatten();
        if route.depends_on_release() && answered.as_ref() != Some(&release.digest) {
            return Err(Problem::object_of_other_release(&release, registered(answer).await));
        }
        let mut response = from_worker(answer).await.map_err(unavailable)?;
        response.headers_mut().remove(COORDINATOR);
        response.headers_mut().remove(RELEASE);
        Ok(response)
    }

    fn namespace(&self, environment: &Environment) -> Result<ObjectNamespace, Box<Problem>> {
        let binding = environment.binding(&self.binding);
        let namespace = binding.and_then(|binding| ObjectNamespace::get(binding).ok());
        namespace.ok_or_else(|| {
            Problem::no_coordinator(format!("The Worker has no Durable Object binding `{}`.", self.binding))
        })
    }

    async fn ask(&self, namespace: &ObjectNamespace, request: Request) -> worker::Result<worker::Response> {
        namespace.id_from_name(&self.object)?.get_stub()?.fetch_with_request(request).await
    }
}

/// The name of an object as [`COORDINATOR`] has it.
pub(crate) fn header_value(object: &str) -> String {
    utf8_percent_encode(object, NON_ALPHANUMERIC).to_string()
}

/// What an object registers, if this is its refusal.
async fn registered(mut answer: worker::Response) -> Option<Vec<String>> {
    let body = answer.bytes().await.ok()?;
    let refusal: Refusal = serde_json::from_slice(&body).ok()?;
    Some(refusal.registered)
}

fn request(name: &str, release: &Release, route: &Route, head: &Head) -> worker::Result<Request> {
    let headers = forwarded_headers(head)?;
    headers.set(COORDINATOR, name)?;
    headers.set(RELEASE, &release.digest)?;
    let mut init = RequestInit::new();
    let method = if head.method == http::Method::POST { Method::Post } else { Method::Get };
    init.with_method(method).with_headers(headers);
    let query = head.query.as_deref().unwrap_or_default();
    Request::new_with_init(&format!("https://coordinator{}?{query}", route.path()), &init)
}

/// A guard in the object must see all headers or none of them: what decides may be that one is missing.
fn check_size(head: &Head) -> Result<(), Box<Problem>> {
    let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > MAX_HEADER_BYTES { Err(Problem::head_too_large(MAX_HEADER_BYTES)) } else { Ok(()) }
}

/// The headers of the caller, which a guard in the object may ask for.
fn forwarded_headers(head: &Head) -> worker::Result<Headers> {
    let headers = Headers::new();
    for (name, value) in &head.headers {
        if !is_of_the_connection(name.as_str()) {
            // A header came from JavaScript as text. Any other bytes are refused there, and so is the request.
            headers.append(name.as_str(), &String::from_utf8_lossy(value.as_bytes()))?;
        }
    }
    Ok(headers)
}

/// Whether a header says how this request is sent. The forwarded one has no body, and another connection.
fn is_of_the_connection(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "content-length"
            | "expect"
            | "host"
            | "keep-alive"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}
