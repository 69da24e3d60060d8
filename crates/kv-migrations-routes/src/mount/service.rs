//! The routes as a service: nested in an axum router, or called by a `fetch` handler.

use std::convert::Infallible;
use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::{Method, Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;
use worker::send::SendFuture;

use crate::request::content::has_content;
use crate::request::head::Head;
use crate::request::route::Route;
use crate::response::body::Body;
use crate::routes::MigrationRoutes;

/// The answer of [`MigrationRoutes`] as a [`Service`]: a future that never fails.
///
/// It owns what it needs of the request. It is `Send`, as axum requires: a Worker has a single thread.
#[must_use = "futures do nothing unless you poll them"]
pub struct RoutesFuture(Pin<Box<dyn Future<Output = Response<Body>> + Send>>);

impl RoutesFuture {
    pub(super) fn new<C: 'static, B: HttpBody + 'static>(
        routes: &MigrationRoutes<C>,
        route: Route,
        request: Request<B>,
    ) -> Self {
        let (parts, body) = request.into_parts();
        // Boxed, so that all else is compiled once for all types of bodies.
        let content = has_content(body).boxed_local();
        Self::with_content(routes.clone(), route, Head::from_parts(parts), content)
    }

    fn with_content<C: 'static>(
        routes: MigrationRoutes<C>,
        route: Route,
        head: Head,
        content: LocalBoxFuture<'static, bool>,
    ) -> Self {
        Self(Box::pin(SendFuture::new(async move { routes.respond(&route, &head, content).await })))
    }
}

impl Future for RoutesFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context).map(Ok)
    }
}

impl fmt::Debug for RoutesFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutesFuture").finish_non_exhaustive()
    }
}

impl<C: 'static, B: HttpBody + 'static> Service<Request<B>> for MigrationRoutes<C> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = RoutesFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> RoutesFuture {
        if let Some(route) = self.route(request.uri().path()) {
            return RoutesFuture::new(self, route, request);
        }
        let mut response = Response::from(self.no_route(request.uri().path()));
        if request.method() == Method::HEAD {
            *response.body_mut() = Body::default();
        }
        RoutesFuture(Box::pin(ready(response)))
    }
}
