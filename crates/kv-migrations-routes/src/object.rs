//! The coordinator as a Durable Object: the other side of the routes.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::HeaderValue;
use kv_migrations::clock::{Clock, SystemClock};
use kv_migrations::coordinator::{Change, Coordinator, Storage, StorageError};
use kv_migrations::log::{ConsoleLog, Log};
use kv_migrations::{Error, RegistrationError};
use wasm_bindgen::JsValue;
use worker::durable::State;
use worker::js_sys::Promise;
use worker::worker_sys::web_sys;
use worker::{Request, Response};

use crate::body::Body;
use crate::coordinated;
use crate::fetch::to_worker;
use crate::forward::{COORDINATOR, encoded};
use crate::head::{Head, uri};
use crate::object_storage::ObjectStorage;
use crate::problem::Problem;
use crate::query::Query;
use crate::route::Route;
use crate::routes::MigrationRoutes;
use crate::survivor::surviving;

/// The row of the object's name. An alarm that wakes it tells it nothing.
const NAME: &str = "name";
/// When to look again for migrations that can be registered.
const NEXT_DEPLOY: Duration = Duration::from_mins(10);

/// Makes the class of the Durable Object that coordinates the runs of a service: see
/// [`MigrationRoutes::coordinated_by`].
///
/// The routes are those that the Worker mounts, so that both know the same migrations, and the same access. If making
/// them takes the Worker's `Env`, name it after the class: `coordinator!(Migrations(env) = routes(env));`.
///
/// # Example
/// ```
/// use kv_migrations::Migration;
/// use kv_migrations_routes::{MigrationRoutes, coordinator, migration_routes};
/// # fn migrations() -> Vec<Migration<worker::Env>> { Vec::new() }
///
/// fn routes() -> MigrationRoutes {
///     migration_routes("MY_SERVICE_KV", "my-service", migrations()).coordinated_by("MIGRATIONS")
/// }
///
/// coordinator!(Migrations = routes());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! coordinator {
    ($class:ident = $routes:expr $(;)?) => {
        $crate::coordinator!($class(_) = $routes);
    };
    ($class:ident($env:pat) = $routes:expr $(;)?) => {
        const _: () = {
            // What the attribute makes looks for it by this name.
            use ::worker::wasm_bindgen;

            #[wasm_bindgen::prelude::wasm_bindgen(wasm_bindgen = ::worker::wasm_bindgen)]
            pub struct $class($crate::CoordinatorObject);

            #[wasm_bindgen::prelude::wasm_bindgen(wasm_bindgen = ::worker::wasm_bindgen)]
            impl $class {
                #[wasm_bindgen(constructor, wasm_bindgen = ::worker::wasm_bindgen)]
                pub fn new(state: ::worker::worker_sys::DurableObjectState, $env: ::worker::Env) -> Self {
                    Self($crate::CoordinatorObject::new(&state.into(), $routes))
                }

                pub fn fetch(
                    &self,
                    request: ::worker::worker_sys::web_sys::Request,
                ) -> ::worker::js_sys::Promise {
                    self.0.fetch(request.into())
                }

                pub fn alarm(&self) -> ::worker::js_sys::Promise {
                    self.0.alarm()
                }
            }
        };
    };
}

/// One instance of the object: what [`coordinator!`] makes a class of.
#[doc(hidden)]
pub struct CoordinatorObject(Rc<dyn Instance>);

impl CoordinatorObject {
    /// With what the object kept.
    pub fn new<C: 'static>(state: &State, routes: MigrationRoutes<C>) -> Self {
        let storage: Arc<dyn Storage> = Arc::new(ObjectStorage::new(state));
        let coordinator = routes.coordinator(storage.clone()).map(Arc::new);
        Self(Rc::new(Service { routes, storage, coordinator }))
    }

    /// The answer to the Worker, or to whoever else has the object's stub.
    pub fn fetch(&self, request: Request) -> Promise {
        let instance = self.0.clone();
        surviving(async move { Ok(answer(&*instance, &request).await.map(web_sys::Response::from)?.into()) })
    }

    /// Goes on with what was begun.
    pub fn alarm(&self) -> Promise {
        let instance = self.0.clone();
        surviving(async move {
            instance.alarm().await?;
            Ok(JsValue::UNDEFINED)
        })
    }
}

async fn answer(instance: &dyn Instance, request: &Request) -> worker::Result<Response> {
    let uri = uri(request).unwrap_or_default();
    let mut response = match Route::of_coordinated(uri.path(), "") {
        Some(route) => {
            let asked = request.headers().get(COORDINATOR)?;
            instance.respond(route, asked, Head::of_worker(request, &uri)?).await
        }
        None => Problem::not_found().into(),
    };
    if let Ok(name) = HeaderValue::try_from(encoded(&instance.name())) {
        response.headers_mut().append(COORDINATOR, name);
    }
    to_worker(response).await
}

/// An instance for one kind of context, which the class need not name.
trait Instance {
    fn name(&self) -> String;
    fn respond(
        &self,
        route: Route,
        asked: Option<String>,
        head: Head,
    ) -> LocalBoxFuture<'_, http::Response<Body>>;
    fn alarm(&self) -> LocalBoxFuture<'_, Result<(), String>>;
}

struct Service<C> {
    routes: MigrationRoutes<C>,
    storage: Arc<dyn Storage>,
    coordinator: Result<Arc<Coordinator<C>>, RegistrationError>,
}

impl<C: 'static> Instance for Service<C> {
    fn name(&self) -> String {
        self.routes.object()
    }

    fn respond(
        &self,
        route: Route,
        asked: Option<String>,
        head: Head,
    ) -> LocalBoxFuture<'_, http::Response<Body>> {
        async move { self.result(route, asked, &head).await.unwrap_or_else(http::Response::from) }
            .boxed_local()
    }

    fn alarm(&self) -> LocalBoxFuture<'_, Result<(), String>> {
        async move {
            let name = self.storage.get(NAME).map_err(|error| error.to_string())?;
            if !self.routes.is_coordinated() || name.is_some_and(|name| name != self.name().as_bytes()) {
                // What it had begun is not its own any more.
                return Ok(());
            }
            match &self.coordinator {
                Ok(coordinator) => coordinator.alarm().await.map_err(|error| error.to_string()),
                Err(error) => self.wait_for_a_deploy(error).map_err(|error| error.to_string()),
            }
        }
        .boxed_local()
    }
}

impl<C: 'static> Service<C> {
    async fn result(
        &self,
        route: Route,
        asked: Option<String>,
        head: &Head,
    ) -> Result<http::Response<Body>, Box<Problem>> {
        self.routes.admit(&route, head)?;
        let query = Query::of(&route, head.query.as_deref())?;
        let name = self.name();
        if !self.routes.is_coordinated() || asked != Some(encoded(&name)) {
            let detail = format!("This object coordinates `{name}`, and was asked for something else.");
            return Err(Problem::wrong_coordinator(detail));
        }
        self.note(name).map_err(|error| Problem::coordinator_unavailable(&error.to_string()))?;
        let coordinator = self.coordinator.as_ref().map_err(|error| Error::from(error.clone()))?;
        coordinated::answer(coordinator, route, &query, head.accepts_events).await
    }

    fn note(&self, name: String) -> Result<(), StorageError> {
        if self.storage.get(NAME)?.is_some() {
            return Ok(());
        }
        self.storage.write(&[Change::Put { name: NAME.to_owned(), bytes: name.into_bytes() }])
    }

    /// What goes on by alarms must not end because a list of migrations was wrong for a while.
    fn wait_for_a_deploy(&self, error: &RegistrationError) -> Result<(), StorageError> {
        ConsoleLog.error(&format!("[Migration] {error}"));
        self.storage.write(&[Change::Alarm(Some(SystemClock.now() + NEXT_DEPLOY))])
    }
}

impl fmt::Debug for CoordinatorObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CoordinatorObject").field(&self.0.name()).finish()
    }
}
