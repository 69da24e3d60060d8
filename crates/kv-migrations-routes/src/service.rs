//! The routes as a service: nested in an axum router, or called by a `fetch` handler.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::{Request, Response};
use tower_service::Service;
use worker::send::SendFuture;

use crate::body::Body;
use crate::head::Head;
use crate::problem::Problem;
use crate::route::Route;
use crate::routes::MigrationRoutes;

/// A future of an answer. A Worker has one thread, on which it is as good as `Send`.
pub type ResponseFuture<E = Infallible, B = Body> =
    Pin<Box<dyn Future<Output = Result<Response<B>, E>> + Send>>;

impl<C: 'static> MigrationRoutes<C> {
    /// The answer, as a future of its own that axum takes. It owns what it needs of the request.
    pub(crate) fn respond_later<E: 'static, B: 'static>(
        &self,
        route: Route,
        head: Head,
        wrap: fn(Body) -> B,
    ) -> ResponseFuture<E, B> {
        let routes = self.clone();
        Box::pin(SendFuture::new(async move { Ok(routes.respond(route, &head).await.map(wrap)) }))
    }
}

impl<C: 'static, B> Service<Request<B>> for MigrationRoutes<C> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<ResponseFuture, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.route(request.uri().path()) {
            Some(route) => Either::Left(self.respond_later(route, Head::of(&request), |body| body)),
            None => Either::Right(ready(Ok(Problem::not_found().into()))),
        }
    }
}
