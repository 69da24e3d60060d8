//! The page, which a browser shows. It is the same for every service: all that it shows it asks the other routes for.
//!
//! Only a Worker that names it carries it.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::Response;

use super::MigrationRoutes;
use crate::request::head::{Head, RequestHead};
use crate::request::query::Query;
use crate::request::route::Route;
use crate::response::body::Body;
use crate::response::page::page;
use crate::response::problem::Problem;

fn answer<'a, C: 'static>(
    routes: &'a MigrationRoutes<C>,
    head: &'a Head,
) -> LocalBoxFuture<'a, Result<Response<Body>, Box<Problem>>> {
    async move {
        let route = &Route::Page;
        routes.0.access.check_without_token(&routes.0.environment, RequestHead { head, route }).await?;
        route.check_method(&head.method)?;
        Query::parse(route, head.query.as_deref(), false)?;
        Ok(page())
    }
    .boxed_local()
}

impl<C: 'static> MigrationRoutes<C> {
    /// Answers `GET /migrations` too, with a page that shows the migrations in a browser, and runs them. A method of its
    /// own, since most Workers need not carry it.
    ///
    /// The page is one static file that says nothing of the service. It asks the other routes for all that it shows, with
    /// the token that its user enters. Anyone can load the file without a token, since a browser sends none when it
    /// navigates; [`guarded_by`](Self::guarded_by) covers it.
    ///
    /// # Example
    /// ```
    /// # use futures::executor::block_on;
    /// # use http::Request;
    /// # use kv_migrations::kv::MemoryStore;
    /// # use kv_migrations_routes::migration_routes_with_context;
    /// # use tower_service::Service;
    /// # let routes = migration_routes_with_context(MemoryStore::new(), "my-service", vec![], || Ok(()));
    /// let mut routes = routes.with_page();
    ///
    /// let request = Request::get("/migrations").body(String::new())?;
    /// let answer = block_on(routes.call(request))?;
    /// assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_page(mut self) -> Self {
        self.settings_mut().page = Some(answer);
        self
    }
}
