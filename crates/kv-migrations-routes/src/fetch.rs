//! The routes beside `worker::Router`, which takes no service and no layer.

use futures_util::TryStreamExt;
use http_body_util::{BodyDataStream, BodyExt};
use worker::{Request, Response, Result};

use crate::body::Body;
use crate::head::{Head, uri};
use crate::routes::MigrationRoutes;

impl<C: 'static> MigrationRoutes<C> {
    /// The answer to a request of `worker`'s own type; none if it is not for the routes, which then have not touched
    /// it.
    ///
    /// # Errors
    /// What `worker` fails with when it reads a request or makes a response.
    ///
    /// # Example
    /// ```no_run
    /// # use kv_migrations::Migration;
    /// use kv_migrations_routes::migration_routes;
    /// use worker::{Env, Request, Response, Result, Router};
    /// # fn migrations() -> Vec<Migration<Env>> { Vec::new() }
    ///
    /// async fn fetch(request: Request, env: Env) -> Result<Response> {
    ///     let routes = migration_routes("MY_SERVICE_KV", "my-service", migrations());
    ///     if let Some(response) = routes.fetch(&request).await? {
    ///         return Ok(response);
    ///     }
    ///     Router::new().get("/", |_, _| Response::ok("hello")).run(request, env).await
    /// }
    /// # let _ = fetch;
    /// ```
    pub async fn fetch(&self, request: &Request) -> Result<Option<Response>> {
        let Some(uri) = uri(request) else { return Ok(None) };
        let Some(route) = self.route(uri.path()) else { return Ok(None) };
        to_worker(self.respond(route, &Head::of_worker(request, &uri)?).await).await.map(Some)
    }
}

/// An answer of ours as `worker` has it.
pub(crate) async fn to_worker(response: http::Response<Body>) -> Result<Response> {
    let (head, body) = response.into_parts();
    let headers = worker::Headers::new();
    for (name, value) in &head.headers {
        headers.append(name.as_str(), value.to_str().unwrap_or_default())?;
    }
    let response = Response::builder().with_status(head.status.as_u16()).with_headers(headers);
    if !body.is_whole() {
        let bytes = BodyDataStream::new(body).map_ok(|bytes| bytes.to_vec());
        return response.from_stream(bytes.map_err(|never| -> worker::Error { match never {} }));
    }
    // Our bodies cannot fail.
    let content = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    Ok(response.fixed(content))
}
