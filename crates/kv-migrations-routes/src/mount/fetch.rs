//! The routes beside `worker::Router`, which takes no service and no layer.

use futures_util::FutureExt;
use futures_util::StreamExt;
use worker::{Request, Response, Result};

use crate::request::head::{Head, uri};
use crate::response::convert::to_worker;
use crate::routes::MigrationRoutes;

impl<C: 'static> MigrationRoutes<C> {
    /// Answers a request of `worker`'s own type. Returns `None`, without having read or changed anything, if its path is
    /// not one of the routes.
    ///
    /// # Errors
    /// If `worker` cannot read the request or make the response. A migration that fails is a response.
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
        let head = Head::from_worker(request, &uri)?;
        let content = has_content(request).boxed_local();
        to_worker(self.respond(&route, &head, content).await).await.map(Some)
    }
}

/// Whether the body of a request has at least one byte, or cannot be read.
async fn has_content(request: &Request) -> bool {
    if request.inner().body().is_none() {
        return false;
    }
    let Ok(mut chunks) = request.clone().and_then(|mut request| request.stream()) else { return true };
    while let Some(chunk) = chunks.next().await {
        if chunk.map_or(true, |chunk| !chunk.is_empty()) {
            return true;
        }
    }
    false
}
