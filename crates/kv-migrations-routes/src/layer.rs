//! The routes in front of a service, which gets every request that is not for them.

use std::task::{Context, Poll};

use futures_util::TryFutureExt;
use futures_util::future::{Either, MapOk};
use http::{Request, Response};
use http_body_util::Either as EitherBody;
use tower_layer::Layer;
use tower_service::Service;
use worker::Env;

use crate::body::Body;
use crate::head::Head;
use crate::routes::MigrationRoutes;
use crate::service::ResponseFuture;

/// A service with the routes in front of it: see [`MigrationRoutes::in_front_of`].
///
/// A request for another path reaches the inner service as it came, at the cost of a look at its path.
#[derive(Debug)]
pub struct WithMigrationRoutes<S, C = Env> {
    routes: MigrationRoutes<C>,
    inner: S,
}

impl<S: Clone, C> Clone for WithMigrationRoutes<S, C> {
    fn clone(&self) -> Self {
        Self { routes: self.routes.clone(), inner: self.inner.clone() }
    }
}

impl<C> MigrationRoutes<C> {
    /// The routes in front of a whole service, such as an axum router, which gets every request that is not for them.
    ///
    /// The same as [`Layer::layer`]. axum's own `Router::layer` puts a layer before each of its routes instead, and
    /// makes it anew for each request: that is slower, and some kilobytes of WebAssembly more.
    ///
    /// # Example
    /// ```
    /// use axum::{Router, routing::get};
    /// use kv_migrations_routes::{WithMigrationRoutes, migration_routes};
    /// # fn migrations() -> Vec<kv_migrations::Migration<worker::Env>> { Vec::new() }
    ///
    /// fn service() -> WithMigrationRoutes<Router> {
    ///     let router = Router::new().route("/", get(async || "hello"));
    ///     migration_routes("MY_SERVICE_KV", "my-service", migrations()).in_front_of(router)
    /// }
    /// # service();
    /// ```
    pub fn in_front_of<S>(self, service: S) -> WithMigrationRoutes<S, C> {
        WithMigrationRoutes { routes: self, inner: service }
    }
}

impl<S, C> Layer<S> for MigrationRoutes<C> {
    type Service = WithMigrationRoutes<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        self.clone().in_front_of(inner)
    }
}

/// The body of an answer, ours or the inner service's.
type AnyBody<B> = EitherBody<Body, B>;

impl<S, C, B, R> Service<Request<B>> for WithMigrationRoutes<S, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    C: 'static,
    R: 'static,
{
    type Response = Response<AnyBody<R>>;
    type Error = S::Error;
    type Future = Either<
        ResponseFuture<S::Error, AnyBody<R>>,
        MapOk<S::Future, fn(Response<R>) -> Response<AnyBody<R>>>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.routes.route(request.uri().path()) {
            Some(route) => {
                Either::Left(self.routes.respond_later(route, Head::of(&request), EitherBody::Left))
            }
            None => {
                Either::Right(self.inner.call(request).map_ok(|response| response.map(EitherBody::Right)))
            }
        }
    }
}
