//! The routes of a service: set up where they are mounted, and what they answer.

use std::fmt;
use std::sync::Arc;

use http::{Method, Response};
use kv_migrations::coordinator::{Coordinator, Storage};
use kv_migrations::{BoxError, Error, Migration, RegistrationError, Runner};
use worker::Env;

use crate::access::Access;
use crate::answer;
use crate::body::{Body, Queue};
use crate::environment::{environment, secret};
use crate::events::events;
use crate::forward::{Forward, Remote};
use crate::head::Head;
use crate::locks::run_lock;
use crate::namespace::Namespace;
use crate::problem::Problem;
use crate::query::requires_up_to_date;
use crate::response::to_json;
use crate::route::{Action, Route, base};

/// The routes of a service whose migrations get the Worker's `Env` as context.
///
/// `kv_binding` is the name of the KV binding in `wrangler.toml`, or a store; `prefix` is what tells this service's
/// markers from those of others in the same namespace, and must stay what it is for ever.
///
/// As it stands it expects `Authorization: Bearer …` with the value of the secret `MIGRATIONS_TOKEN`. What is wrong
/// with the migrations (see [`kv_migrations::RegistrationError`]) is the answer to the first request of a caller with access.
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
    prefix: impl Into<String>,
    migrations: Vec<Migration<Env>>,
) -> MigrationRoutes {
    migration_routes_with_context(kv_binding, prefix, migrations, || Ok(environment()?))
}

/// The routes of a service whose migrations get something else than the Worker's `Env`: what `context` makes, once
/// for every run and every rollback, and for nothing else.
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
    prefix: impl Into<String>,
    migrations: Vec<Migration<C>>,
    context: impl Fn() -> Result<C, BoxError> + Send + Sync + 'static,
) -> MigrationRoutes<C> {
    MigrationRoutes(Arc::new(Settings {
        namespace: kv_binding.into(),
        prefix: prefix.into(),
        migrations: migrations.into(),
        context: Arc::new(context),
        set_up: Arc::new(|runner| runner),
        access: Access::default(),
        base: String::new(),
        coordinator: None,
    }))
}

/// The routes of a service, ready to be mounted: a [`tower_service::Service`], a [`tower_layer::Layer`], and
/// [`fetch`](Self::fetch) for handlers without either.
///
/// Clones are the same routes.
pub struct MigrationRoutes<C = Env>(Arc<Settings<C>>);

/// How they were set up.
struct Settings<C> {
    namespace: Namespace,
    prefix: String,
    migrations: Arc<[Migration<C>]>,
    context: Arc<dyn Fn() -> Result<C, BoxError> + Send + Sync>,
    set_up: Arc<dyn Fn(Runner<C>) -> Runner<C> + Send + Sync>,
    access: Access,
    base: String,
    /// Where runs are coordinated, if they are.
    coordinator: Option<Arc<dyn Forward>>,
}

impl<C: 'static> MigrationRoutes<C> {
    /// The same below a path, such as `/admin`: for a mount that leaves the path as it is, like a layer or a bare
    /// `fetch` handler. One that takes its own part off, like axum's `nest_service`, does without.
    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        self.settings_mut().base = base(path);
        self
    }

    /// The same with the token in another secret than `MIGRATIONS_TOKEN`.
    #[must_use]
    pub fn with_secret(self, name: impl Into<String>) -> Self {
        self.with_secrets([name])
    }

    /// The same with a token in each of these secrets, any of which gets access: to change a token, set the new one
    /// beside the old, and delete the old one when nobody uses it any more. Secrets that are not set do not count.
    #[must_use]
    pub fn with_secrets<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.settings_mut().access = Access::Secrets(names.into_iter().map(Into::into).collect());
        self
    }

    /// The same for **every caller**: anyone who reaches the mount can run and roll back migrations.
    ///
    /// For a mount that something else guards: Cloudflare Access, a layer of your own.
    #[must_use]
    pub fn without_auth(mut self) -> Self {
        self.settings_mut().access = Access::Open;
        self
    }

    /// The same with the runner set up further: its clock, its log.
    #[must_use]
    pub fn with_runner(mut self, set_up: impl Fn(Runner<C>) -> Runner<C> + Send + Sync + 'static) -> Self {
        self.settings_mut().set_up = Arc::new(set_up);
        self
    }

    /// The same with one run at a time in the world, carried on without further requests: coordinated by a Durable
    /// Object, whose class [`coordinator!`](crate::coordinator) makes of these routes. `binding` is the name that it has
    /// in `wrangler.toml`:
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
    /// The object of a service has the name `{kv_binding}/{prefix}`.
    ///
    /// # Example
    /// ```
    /// use kv_migrations_routes::{MigrationRoutes, coordinator, migration_routes};
    /// # fn migrations() -> Vec<kv_migrations::Migration<worker::Env>> { Vec::new() }
    ///
    /// fn routes() -> MigrationRoutes {
    ///     migration_routes("MY_SERVICE_KV", "my-service", migrations()).coordinated_by("MIGRATIONS")
    /// }
    ///
    /// coordinator!(Migrations = routes());
    /// # fn main() {}
    /// ```
    #[must_use]
    pub fn coordinated_by(mut self, binding: impl Into<String>) -> Self {
        let object = self.object();
        self.settings_mut().coordinator = Some(Arc::new(Remote { binding: binding.into(), object }));
        self
    }

    fn settings_mut(&mut self) -> &mut Settings<C> {
        Arc::make_mut(&mut self.0)
    }

    /// The route that a path names; none if it is not one of these.
    pub(crate) fn route(&self, path: &str) -> Option<Route> {
        match &self.0.coordinator {
            Some(coordinator) => coordinator.route(path, &self.0.base),
            None => Route::of(path, &self.0.base),
        }
    }

    /// The answer to a request for a route.
    pub(crate) async fn respond(&self, route: Route, head: &Head) -> Response<Body> {
        let mut response = self.result(route, head).await.unwrap_or_else(Response::from);
        if head.method == Method::HEAD {
            *response.body_mut() = Body::default();
        }
        response
    }

    async fn result(&self, route: Route, head: &Head) -> Result<Response<Body>, Box<Problem>> {
        self.admit(&route, head)?;
        if let Some(coordinator) = &self.0.coordinator {
            return coordinator.forward(&route, head).await;
        }
        let requires_up_to_date = requires_up_to_date(&route, head.query.as_deref())?;
        let runner = self.runner().map_err(Error::from)?;
        match route {
            Route::Status => Ok(answer::status(&runner.status().await?, requires_up_to_date)),
            Route::Migrate if head.accepts_events => {
                let context = self.make_context()?;
                let run = async move |queue: Queue| {
                    Ok(runner.run_pending_observed(&context, &|event| queue.push(to_json(&event))).await?)
                };
                Ok(events(run, requires_up_to_date))
            }
            Route::Migrate => {
                answer::run(runner.run_pending(&self.make_context()?).await?, requires_up_to_date)
            }
            Route::Of { id, action: Action::Rollback } => {
                Ok(answer::rollback(&runner.rollback(&id, &self.make_context()?).await?))
            }
            Route::History | Route::Of { .. } => Err(Problem::not_found()),
        }
    }

    /// Whether the request may be made.
    pub(crate) fn admit(&self, route: &Route, head: &Head) -> Result<(), Box<Problem>> {
        self.0.access.check(&head.authorization, secret)?;
        if !route.takes(&head.method) {
            return Err(Problem::method_not_allowed(route));
        }
        Ok(())
    }

    pub(crate) fn is_coordinated(&self) -> bool {
        self.0.coordinator.is_some()
    }

    /// The name of the object that coordinates these. No binding's name has a slash.
    pub(crate) fn object(&self) -> String {
        format!("{}/{}", self.0.namespace.name, self.0.prefix)
    }

    /// What coordinates these, in the object that keeps this.
    pub(crate) fn coordinator(&self, storage: Arc<dyn Storage>) -> Result<Coordinator<C>, RegistrationError> {
        let context = self.0.context.clone();
        Ok(Coordinator::new(self.runner()?, storage, move || context()))
    }

    /// Made for the request that needs it: for all others, mounting costs no check of the migrations.
    fn runner(&self) -> Result<Runner<C>, RegistrationError> {
        let Settings { namespace, prefix, migrations, set_up, .. } = &*self.0;
        let runner = Runner::new(namespace.store(), prefix, migrations.clone())?;
        Ok(set_up(runner.with_lock(run_lock(&namespace.name, prefix))))
    }

    fn make_context(&self) -> Result<C, Box<Problem>> {
        (self.0.context)().map_err(|error| Problem::context(&error.to_string()))
    }
}

/// Cheap: axum clones a layer for each route that it stands before, for each request.
impl<C> Clone for MigrationRoutes<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// For clones of the routes that are set up further.
impl<C> Clone for Settings<C> {
    fn clone(&self) -> Self {
        Self {
            namespace: self.namespace.clone(),
            prefix: self.prefix.clone(),
            migrations: self.migrations.clone(),
            context: self.context.clone(),
            set_up: self.set_up.clone(),
            access: self.access.clone(),
            base: self.base.clone(),
            coordinator: self.coordinator.clone(),
        }
    }
}

impl<C> fmt::Debug for MigrationRoutes<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { namespace, prefix, migrations, access, base, coordinator, .. } = &*self.0;
        f.debug_struct("MigrationRoutes")
            .field("namespace", namespace)
            .field("prefix", prefix)
            .field("migrations", migrations)
            .field("access", access)
            .field("base", base)
            .field("is_coordinated", &coordinator.is_some())
            .finish_non_exhaustive()
    }
}
