//! The Worker's side of a coordinator: what is asked of the routes goes on to the one object of the service.

use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt};
use http::Response;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use worker::send::SendFuture;
use worker::{EnvBinding, Headers, Method, ObjectNamespace, Request, RequestInit};

use crate::body::{Body, Queue};
use crate::environment::binding;
use crate::head::{Head, NDJSON};
use crate::problem::Problem;
use crate::query::Query;
use crate::route::Route;
use crate::thrown::message;

/// By this header the Worker says which object it asks, and the object which one it is: a class that is bound to another
/// name in `wrangler.toml`, by mistake, must not pass for the right one.
pub(crate) const COORDINATOR: &str = "kv-migrations-coordinator";

/// Asks the object of a service. It is made by `coordinated_by` and called through this trait alone, so that a Worker
/// without a coordinator carries none of it.
pub(crate) trait Forward: Send + Sync {
    /// The route that a path is below the `base`.
    fn route(&self, path: &str, base: &str) -> Option<Route>;

    /// The answer of the object to a request for a route, which it may make.
    fn forward<'a>(
        &'a self,
        route: &'a Route,
        head: &'a Head,
    ) -> LocalBoxFuture<'a, Result<Response<Body>, Box<Problem>>>;
}

/// An object, by its own name and that of the Durable Object binding.
pub(crate) struct Remote {
    pub(crate) binding: String,
    pub(crate) object: String,
}

impl Forward for Remote {
    fn route(&self, path: &str, base: &str) -> Option<Route> {
        Route::of_coordinated(path, base)
    }

    fn forward<'a>(
        &'a self,
        route: &'a Route,
        head: &'a Head,
    ) -> LocalBoxFuture<'a, Result<Response<Body>, Box<Problem>>> {
        async move {
            // What is refused need not wake it.
            Query::of(route, head.query.as_deref())?;
            let namespace = self.namespace()?;
            let unavailable =
                |error: worker::Error| Problem::coordinator_unavailable(&message(&error.into()));
            let name = encoded(&self.object);
            let request = request(&name, route, head).map_err(unavailable)?;
            let mut answer = ask(&namespace, &self.object, request).await.map_err(unavailable)?;
            if answer.headers().get(COORDINATOR).ok().flatten().as_ref() != Some(&name) {
                let detail = format!(
                    "What is bound to `{}` is not the coordinator of `{}`.",
                    self.binding, self.object
                );
                return Err(Problem::wrong_coordinator(detail));
            }
            response(&mut answer).await.map_err(unavailable)
        }
        .boxed_local()
    }
}

impl Remote {
    fn namespace(&self) -> Result<ObjectNamespace, Box<Problem>> {
        let namespace = binding(&self.binding).and_then(|binding| ObjectNamespace::get(binding).ok());
        namespace.ok_or_else(|| {
            Problem::no_coordinator(format!("The Worker has no Durable Object binding `{}`.", self.binding))
        })
    }
}

/// As a header can carry it.
pub(crate) fn encoded(object: &str) -> String {
    utf8_percent_encode(object, NON_ALPHANUMERIC).to_string()
}

fn request(name: &str, route: &Route, head: &Head) -> worker::Result<Request> {
    let headers = Headers::new();
    headers.set(COORDINATOR, name)?;
    for authorization in &head.authorization {
        // What is no text is no token.
        headers.append("Authorization", str::from_utf8(authorization).unwrap_or_default())?;
    }
    if head.accepts_events {
        headers.set("Accept", NDJSON)?;
    }
    let mut init = RequestInit::new();
    let method = if head.method == http::Method::POST { Method::Post } else { Method::Get };
    init.with_method(method).with_headers(headers);
    let query = head.query.as_deref().unwrap_or_default();
    Request::new_with_init(&format!("https://coordinator{}?{query}", route.path()), &init)
}

async fn ask(
    namespace: &ObjectNamespace,
    object: &str,
    request: Request,
) -> worker::Result<worker::Response> {
    namespace.id_from_name(object)?.get_stub()?.fetch_with_request(request).await
}

/// As it came: events line by line, as they happen.
async fn response(answer: &mut worker::Response) -> worker::Result<Response<Body>> {
    let content_type = answer.headers().get(CONTENT_TYPE.as_str())?;
    let body = if content_type.as_deref() == Some(NDJSON) {
        let (queue, mut chunks) = (Queue::default(), answer.stream()?);
        let lines = queue.clone();
        let reader = async move {
            // If it is cut off, it ends without a verdict, and so does this.
            while let Some(Ok(chunk)) = chunks.next().await {
                lines.push_lines(&chunk);
            }
        };
        Body::lines(queue, SendFuture::new(reader))
    } else {
        Body::new(answer.bytes().await?)
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status_code().try_into().unwrap_or_default();
    for (name, value) in answer.headers().entries() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(&name), HeaderValue::try_from(&value))
            && name != COORDINATOR
        {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}
