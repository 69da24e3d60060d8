//! The routes in front of a service, which gets every request for another path.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use worker::Env;

use super::body::ResponseBody;
use super::service::RoutesFuture;
use crate::routes::MigrationRoutes;

/// A service with the routes in front of it, made by [`MigrationRoutes::in_front_of`].
///
/// A request for a path of the routes is answered by them. Any other request reaches the inner service unchanged; its
/// path is all that the routes look at.
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
    /// Puts the routes in front of a service, such as an axum router. The service gets every request for another path.
    ///
    /// [`Layer::layer`] does the same. axum's own `Router::layer` instead wraps each of its routes, for each request:
    /// that is slower, and adds some kilobytes of WebAssembly.
    ///
    /// The result is a tower service, which further layers can wrap: tower-http's `CorsLayer` for instance.
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

impl<S, C, B, R> Service<Request<B>> for WithMigrationRoutes<S, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Body + 'static,
    C: 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = match self.routes.route(request.uri().path()) {
            Some(route) => Answer::Routes { future: RoutesFuture::new(&self.routes, route, request) },
            None => Answer::Inner { future: self.inner.call(request) },
        };
        ResponseFuture { answer }
    }
}

pin_project! {
    /// The answer of [`WithMigrationRoutes`]. It fails only if the inner service fails.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless you poll them"]
    pub struct ResponseFuture<F> {
        #[pin]
        answer: Answer<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = AnswerProjection]
    enum Answer<F> {
        Routes { #[pin] future: RoutesFuture },
        Inner { #[pin] future: F },
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().answer.project() {
            AnswerProjection::Routes { future } => {
                let Ok(response) = ready!(future.poll(context));
                Ok(response.map(ResponseBody::routes))
            }
            AnswerProjection::Inner { future } => {
                let response = ready!(future.poll(context))?;
                Ok(response.map(ResponseBody::inner))
            }
        })
    }
}
