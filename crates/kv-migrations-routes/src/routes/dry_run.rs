//! Dry runs. They are always made in this Worker: with a coordinator on the ledger that its object tells.
//!
//! Only a Worker that names them carries this code.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::{Method, Response, StatusCode};
use kv_migrations::{DryRun, DryRunReport, Error, Migration, reason};

use super::{MigrationRoutes, Settings};
use crate::platform::told::told;
use crate::remote::Forward;
use crate::request::dry_run::DryRunQuery;
use crate::request::head::Head;
use crate::request::route::Route;
use crate::response::body::Body;
use crate::response::json::json;
use crate::response::problem::Problem;

fn answer<'a, C: 'static>(
    routes: &'a MigrationRoutes<C>,
    head: &'a Head,
) -> LocalBoxFuture<'a, Result<Response<Body>, Box<Problem>>> {
    async move {
        let DryRunQuery { options, expected } = DryRunQuery::parse(head.query.as_deref())?;
        expected.check_expected(routes.0.migrations.iter().map(Migration::id))?;
        Ok(match routes.dry_run(options, head).await {
            Ok(report) => json(StatusCode::OK, &report),
            Err(refused) => refused,
        })
    }
    .boxed_local()
}

impl<C: 'static> MigrationRoutes<C> {
    /// Answers `POST /migrations/dry-run` too: it runs what is pending without writing anything, and tells what a run would
    /// change. A method of its own, since most Workers need not carry the code for it.
    ///
    /// Only what goes to KV by the [`Kv`](kv_migrations::kv::Kv) of a migration is held back: see
    /// [`Runner::dry_run`](kv_migrations::Runner::dry_run). With a [coordinator](Self::with_coordinator) it is this Worker that
    /// runs its own list, and the object says what is applied.
    ///
    /// # Example
    /// ```
    /// # use kv_migrations_routes::migration_routes_with_context;
    /// # use kv_migrations::kv::MemoryStore;
    /// # let routes = migration_routes_with_context(MemoryStore::new(), "my-service", vec![], || Ok(()));
    /// let routes = routes.with_dry_run();
    /// # let _ = routes;
    /// ```
    #[must_use]
    pub fn with_dry_run(mut self) -> Self {
        self.settings_mut().dry_run = Some(answer);
        self
    }

    /// What a run would change, or the answer that refuses it.
    pub(crate) async fn dry_run(
        &self,
        mut options: DryRun,
        head: &Head,
    ) -> Result<DryRunReport, Response<Body>> {
        let Settings { environment, context, coordinator, .. } = &*self.0;
        if let Some(coordinator) = coordinator {
            options = self.with_ledger(options, &**coordinator, head).await?;
        }
        self.check_namespace()?;
        let runner = self.runner().map_err(|error| Box::<Problem>::from(Error::from(error)))?;
        let context = context(environment).map_err(|error| Problem::context(&reason(&*error)))?;
        let report = runner.dry_run(&options, &context).await;
        Ok(report.map_err(Box::<Problem>::from)?)
    }

    /// With what the object says of the migrations, whose copies in KV may be older.
    async fn with_ledger(
        &self,
        options: DryRun,
        coordinator: &dyn Forward,
        head: &Head,
    ) -> Result<DryRun, Response<Body>> {
        let head = Head { method: Method::GET, query: None, headers: head.headers.clone() };
        let answer = coordinator.forward(&Route::Status, &head, &self.0.environment).await?;
        if answer.status() != StatusCode::OK {
            return Err(answer);
        }
        Ok(told(&answer.into_body().into_bytes()).fold(options, DryRun::knowing))
    }
}
