//! The routes of a service: how they are set up, and who answers a request.

mod authorization;
mod binding;
mod dry_run;
mod page;

use std::fmt;
use std::sync::Arc;

pub use binding::CoordinatorBinding;
use futures_util::future::LocalBoxFuture;
use http::{Method, Response};
use kv_migrations::coordinator::{Coordinator, Storage};
use kv_migrations::{BoxError, Error, Migration, RegistrationError, RunLock, Runner};
use worker::Env;
use worker::durable::ObjectId;

use crate::access::Access;
use crate::local::Local;
use crate::namespace::Namespace;
use crate::platform::environment::Environment;
use crate::remote::{Forward, Remote};
use crate::request::head::Head;
use crate::request::permission::Permission;
use crate::request::query::Query;
use crate::request::release::Release;
use crate::request::route::{Route, base_path};
use crate::response::body::Body;
use crate::response::problem::Problem;

/// Makes the routes of a service whose migrations get the Worker's `Env` as context.
///
/// `kv_binding` is the name of the KV binding in `wrangler.toml`, or a store. `service` tells the markers of this service
/// from those of others in the same namespace, and must never change.
///
/// By default a caller needs the header `Authorization: Bearer …` with the value of the secret `MIGRATIONS_TOKEN`.
///
/// # Errors
/// Making the routes cannot fail. If the list of migrations is invalid (see [`RegistrationError`]), every request of a
/// caller with access is answered with a 500 that says why.
///
/// # Example
/// ```no_run
/// use axum::{Router, routing::get};
/// use kv_migrations::Migration;
/// use kv_migrations_routes::migration_routes;
/// use worker::Env;
///
/// fn migrations() -> Vec<Migration<Env>> {
///     vec![Migration::new("002_with_args", "Migration that uses environment variables", async |kv, env: &Env| {
///         let api_url = env.var("API_URL")?.to_string();
///         kv.put("api_url", api_url).await?;
///         Ok(())
///     })]
/// }
///
/// fn router() -> Router {
///     Router::new()
///         .route("/", get(|| async { "hello" }))
///         .nest_service("/admin", migration_routes("MY_SERVICE_KV", "my-service", migrations()))
/// }
/// # router();
/// ```
pub fn migration_routes(
    kv_binding: impl Into<Namespace>,
    service: impl Into<String>,
    migrations: Vec<Migration<Env>>,
) -> MigrationRoutes {
    new(kv_binding.into(), service.into(), migrations, Arc::new(|environment| Ok(environment.env()?)))
}

/// Makes the routes of a service whose migrations get a context of their own type instead of the Worker's `Env`.
///
/// `context` makes it: once for every run and every rollback, and for no other request. The other arguments are those of
/// [`migration_routes`].
///
/// # Errors
/// Making the routes cannot fail. If `context` fails, the run is not begun, and is answered with a 500 that says why.
///
/// # Example
/// ```
/// use kv_migrations::{Migration, kv::MemoryStore};
/// use kv_migrations_routes::migration_routes_with_context;
///
/// struct Settings {
///     api_url: String,
/// }
///
/// let migration = Migration::new("002_with_args", "Stores the URL", async |kv, settings: &Settings| {
///     kv.put("api_url", &settings.api_url).await?;
///     Ok(())
/// });
/// let routes = migration_routes_with_context(MemoryStore::new(), "my-service", vec![migration], || {
///     Ok(Settings { api_url: "https://api.example.com".to_owned() })
/// });
/// # let _ = routes;
/// ```
pub fn migration_routes_with_context<C>(
    kv_binding: impl Into<Namespace>,
    service: impl Into<String>,
    migrations: Vec<Migration<C>>,
    context: impl Fn() -> Result<C, BoxError> + Send + Sync + 'static,
) -> MigrationRoutes<C> {
    new(kv_binding.into(), service.into(), migrations, Arc::new(move |_| context()))
}

fn new<C>(
    namespace: Namespace,
    service: String,
    migrations: Vec<Migration<C>>,
    context: Arc<MakeContext<C>>,
) -> MigrationRoutes<C> {
    MigrationRoutes(Arc::new(Settings {
        namespace,
        service,
        migrations: migrations.into(),
        environment: Environment::default(),
        context,
        configure_runner: Arc::new(|runner| runner),
        access: Access::default(),
        base_path: String::new(),
        coordinator: None,
        dry_run: None,
        page: None,
    }))
}

/// The routes of a service, ready to be mounted.
///
/// They are a [`tower_service::Service`] and a [`tower_layer::Layer`]. [`in_front_of`](Self::in_front_of) puts them in
/// front of a router, and [`fetch`](Self::fetch) is for handlers that have neither services nor layers.
///
/// A clone is cheap and shares the settings, until one of the two is set up further.
pub struct MigrationRoutes<C = Env>(Arc<Settings<C>>);

/// Makes the context of the migrations.
type MakeContext<C> = dyn Fn(&Environment) -> Result<C, BoxError> + Send + Sync;

/// Answers a route that a service has to name. A pointer, so that a Worker that does not name it carries none of its code.
type AnswerNamed<C> =
    for<'a> fn(&'a MigrationRoutes<C>, &'a Head) -> LocalBoxFuture<'a, Result<Response<Body>, Box<Problem>>>;

struct Settings<C> {
    namespace: Namespace,
    service: String,
    migrations: Arc<[Migration<C>]>,
    environment: Environment,
    context: Arc<MakeContext<C>>,
    configure_runner: Arc<dyn Fn(Runner<C>) -> Runner<C> + Send + Sync>,
    access: Access,
    base_path: String,
    coordinator: Option<Arc<dyn Forward>>,
    dry_run: Option<AnswerNamed<C>>,
    page: Option<AnswerNamed<C>>,
}

impl<C: 'static> MigrationRoutes<C> {
    /// Moves the routes below a path, such as `/admin`. The default is the root. What a URL has percent-encoded, it may
    /// have as it is: `/ü` is the same as `/%C3%BC`.
    ///
    /// For mounts that pass on the whole path: a layer, a service in front of a router, a `fetch` handler. Mounts that
    /// remove their own part of it, as axum's `nest_service` does, need no base path: with one the routes would be below
    /// both.
    ///
    /// # Example
    /// ```
    /// # use kv_migrations_routes::migration_routes_with_context;
    /// # use kv_migrations::kv::MemoryStore;
    /// # let routes = migration_routes_with_context(MemoryStore::new(), "my-service", vec![], || Ok(()));
    /// let routes = routes.with_base_path("/admin"); // answers POST /admin/migrate
    /// # let _ = routes;
    /// ```
    #[must_use]
    pub fn with_base_path(mut self, path: &str) -> Self {
        self.settings_mut().base_path = base_path(path);
        self
    }

    /// Hands the environment of the Worker over, in place of the one that the runtime offers for import.
    ///
    /// Only a Worker with the compatibility flag `disallow_importable_env` needs it: bindings and secrets are looked up in
    /// it, and migrations get it as their context. The class that [`coordinator!`](crate::coordinator!) makes hands its
    /// own over by itself.
    #[must_use]
    pub fn with_env(mut self, env: Env) -> Self {
        self.settings_mut().environment = Environment::new(env);
        self
    }

    /// Sets up the runner further: its budget, its clock, its log. `configure` is called for each request that needs a
    /// runner.
    ///
    /// # Example
    /// ```
    /// # use kv_migrations_routes::migration_routes_with_context;
    /// # use kv_migrations::kv::MemoryStore;
    /// use std::time::Duration;
    ///
    /// use kv_migrations::Budget;
    ///
    /// # let routes = migration_routes_with_context(MemoryStore::new(), "my-service", vec![], || Ok(()));
    /// let budget = Budget::default().with_time(Duration::from_secs(10));
    /// let routes = routes.with_runner(move |runner| runner.with_budget(budget));
    /// # let _ = routes;
    /// ```
    #[must_use]
    pub fn with_runner(mut self, configure: impl Fn(Runner<C>) -> Runner<C> + Send + Sync + 'static) -> Self {
        self.settings_mut().configure_runner = Arc::new(configure);
        self
    }

    /// Has a Durable Object coordinate the runs: one at a time in the world. Its alarms continue a long run without
    /// further requests.
    ///
    /// [`coordinator!`](crate::coordinator!) makes the object's class of the same routes. `binding` is its name in
    /// `wrangler.toml`, or a [`CoordinatorBinding`]:
    ///
    /// ```toml
    /// [[durable_objects.bindings]]
    /// name = "MIGRATIONS"
    /// class_name = "Migrations"
    ///
    /// [[migrations]]
    /// tag = "v1"
    /// new_sqlite_classes = ["Migrations"]
    /// ```
    ///
    /// The object of a service is named `{kv_binding}/{service}`.
    ///
    /// # Errors
    /// If the Worker has no such binding, or another class is bound to it, every request of a caller with access is
    /// answered with a 500 that says what to write in `wrangler.toml`.
    ///
    /// # Example
    /// ```
    /// use kv_migrations_routes::{MigrationRoutes, coordinator, migration_routes};
    /// # fn migrations() -> Vec<kv_migrations::Migration<worker::Env>> { Vec::new() }
    ///
    /// fn routes() -> MigrationRoutes {
    ///     migration_routes("MY_SERVICE_KV", "my-service", migrations()).with_coordinator("MIGRATIONS")
    /// }
    ///
    /// coordinator!(Migrations = routes());
    /// # fn main() {}
    /// ```
    #[must_use]
    pub fn with_coordinator(mut self, binding: impl Into<CoordinatorBinding>) -> Self {
        let (object, migrations) = (self.object_name(), self.0.migrations.clone());
        let release = Box::new(move || Release::new(&migrations));
        let CoordinatorBinding { name: binding, writes_per_day } = binding.into();
        let coordinator = Remote { binding, object, release, writes_per_day };
        self.settings_mut().coordinator = Some(Arc::new(coordinator));
        self
    }

    fn settings_mut(&mut self) -> &mut Settings<C> {
        Arc::make_mut(&mut self.0)
    }

    /// The route that a path names. None if the path is not ours.
    pub(crate) fn route(&self, path: &str) -> Option<Route> {
        let Settings { base_path, coordinator, dry_run, page, .. } = &*self.0;
        let named = path.strip_prefix(base_path.as_str());
        if page.is_some() && matches!(named, Some(Route::PAGE | "/migrations/")) {
            return Some(Route::Page);
        }
        if dry_run.is_some() && named == Some(Route::DRY_RUN) {
            return Some(Route::DryRun);
        }
        match coordinator {
            Some(coordinator) => coordinator.route(path, base_path),
            None => Route::parse(path, base_path),
        }
    }

    /// Why no route has this path.
    pub(crate) fn no_route(&self, path: &str) -> Box<Problem> {
        let base_path = &self.0.base_path;
        if Route::parse_coordinated(path, "").is_some() && !base_path.is_empty() {
            return Problem::outside_base_path(base_path);
        }
        Problem::not_found()
    }

    /// The answer to a request for a route. `content` says whether its body has any.
    pub(crate) async fn respond(
        &self,
        route: &Route,
        head: &Head,
        content: LocalBoxFuture<'_, bool>,
    ) -> Response<Body> {
        let answer = match (route, self.0.page) {
            (Route::Page, Some(page)) => page(self, head).await,
            _ => match self.check(route, head).await {
                // Ignored, a body that asks for a dry run would start a run.
                Ok(_) if head.method == Method::POST && content.await => Err(Problem::unexpected_content()),
                Ok(permission) => self.answer(route, head, permission).await,
                Err(problem) => Err(problem),
            },
        };
        let mut response = answer.unwrap_or_else(Response::from);
        if matches!(head.method, Method::HEAD) {
            *response.body_mut() = Body::default();
        }
        response
    }

    /// The answer to code of this Worker, which needs no access.
    pub(crate) async fn respond_to_own(&self, route: &Route, head: &Head) -> Response<Body> {
        self.answer(route, head, Permission::Full).await.unwrap_or_else(Response::from)
    }

    /// The answer to a caller who has access.
    async fn answer(
        &self,
        route: &Route,
        head: &Head,
        permission: Permission,
    ) -> Result<Response<Body>, Box<Problem>> {
        let Settings { environment, context, coordinator, dry_run, .. } = &*self.0;
        let elsewhere = match (route, dry_run, coordinator) {
            (Route::DryRun, Some(dry_run), _) => Some(dry_run(self, head)),
            (.., Some(coordinator)) => Some(coordinator.forward(route, head, environment)),
            _ => None,
        };
        if let Some(answer) = elsewhere {
            return answer.await;
        }
        let query = Query::parse(route, head.query.as_deref(), false)?;
        query.check_expected(self.0.migrations.iter().map(Migration::id))?;
        self.check_namespace()?;
        let runner = self.runner().map_err(Error::from)?;
        Local { runner, context: &|| context(environment), permission }.answer(route, &query, head).await
    }

    /// Whether there is a KV namespace. Only where the runs are: with a coordinator, a Worker needs none.
    pub(crate) fn check_namespace(&self) -> Result<(), Box<Problem>> {
        let Settings { namespace, environment, .. } = &*self.0;
        namespace.check(environment).map_err(|reason| Problem::no_kv_binding(namespace.name(), reason))
    }

    pub(crate) fn is_coordinated(&self) -> bool {
        self.0.coordinator.is_some()
    }

    /// Whether the object with this id coordinates the service. `None` if nothing tells.
    pub(crate) fn is_coordinated_by(&self, id: &ObjectId<'_>) -> Option<bool> {
        self.0.coordinator.as_ref()?.is_at(id, &self.0.environment)
    }

    /// The name of the object that coordinates the service. No binding's name contains a slash.
    pub(crate) fn object_name(&self) -> String {
        format!("{}/{}", self.0.namespace.name(), self.0.service)
    }

    /// The release of the object whose routes these are.
    pub(crate) fn release(&self) -> Release {
        Release::new(&self.0.migrations)
    }

    /// The coordinator of the service, in the object with this storage.
    pub(crate) fn coordinator(&self, storage: Arc<dyn Storage>) -> Result<Coordinator<C>, RegistrationError> {
        let Settings { context, environment, coordinator, .. } = &*self.0;
        let writes_per_day = coordinator.as_ref().and_then(|coordinator| coordinator.writes_per_day());
        let (context, environment) = (context.clone(), environment.clone());
        let coordinator = Coordinator::new(self.runner()?, storage, move || context(&environment));
        Ok(match writes_per_day {
            Some(writes) => coordinator.with_writes_per_day(writes),
            None => coordinator,
        })
    }

    /// Made only for a request that needs it: all others do not pay for the check of the migrations.
    fn runner(&self) -> Result<Runner<C>, RegistrationError> {
        let Settings { namespace, service, migrations, environment, configure_runner, .. } = &*self.0;
        let runner = Runner::new(namespace.store_in(environment), service, migrations.clone())?;
        // Whatever the store: routes are often set up for each request, so that a lock of the runner's own excludes nobody.
        Ok(configure_runner(runner.with_lock(RunLock::of_process(service))))
    }
}

impl<C> Clone for MigrationRoutes<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Derived, it would ask for `C: Clone`.
impl<C> Clone for Settings<C> {
    fn clone(&self) -> Self {
        Self {
            namespace: self.namespace.clone(),
            service: self.service.clone(),
            migrations: self.migrations.clone(),
            environment: self.environment.clone(),
            context: self.context.clone(),
            configure_runner: self.configure_runner.clone(),
            access: self.access.clone(),
            base_path: self.base_path.clone(),
            coordinator: self.coordinator.clone(),
            dry_run: self.dry_run,
            page: self.page,
        }
    }
}

impl<C> fmt::Debug for MigrationRoutes<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { namespace, service, migrations, base_path, coordinator, .. } = &*self.0;
        f.debug_struct("MigrationRoutes")
            .field("namespace", namespace)
            .field("service", service)
            .field("migrations", migrations)
            .field("base_path", base_path)
            .field("is_coordinated", &coordinator.is_some())
            .finish_non_exhaustive()
    }
}
