//! The coordinator as a Durable Object: its class, and who may ask it.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::HeaderValue;
use kv_migrations::clock::{Clock, SystemClock};
use kv_migrations::coordinator::{Coordinator, RowChange, Storage, StorageError};
use kv_migrations::log::{ConsoleLog, Log};
use kv_migrations::{Error, RegistrationError};
use wasm_bindgen::JsValue;
use worker::durable::State;
use worker::js_sys::Promise;
use worker::worker_sys::web_sys;
use worker::{Request, Response};

use super::handler;
use crate::platform::object_storage::ObjectStorage;
use crate::platform::panics::reject_on_panic;
use crate::remote::{COORDINATOR, RELEASE, header_value};
use crate::request::head::{Head, uri};
use crate::request::permission::Permission;
use crate::request::query::Query;
use crate::request::release::Release;
use crate::request::route::{Action, Route};
use crate::response::body::Body;
use crate::response::convert::to_worker;
use crate::response::problem::Problem;
use crate::routes::MigrationRoutes;

/// The row with the object's name, which an object that an alarm wakes does not get otherwise. It is written only by an
/// object that knows that it is its own.
const NAME: &str = "name";
/// When to look again whether a deploy has corrected an invalid list of migrations.
const REGISTRATION_RETRY_AFTER: Duration = Duration::from_mins(10);

/// Makes the class of the Durable Object that coordinates the runs of a service: see
/// [`MigrationRoutes::with_coordinator`].
///
/// Give it the routes that the Worker mounts, so that both have the same migrations and the same access. If making them
/// takes the Worker's `Env`, name that after the class: `coordinator!(Migrations(env) = routes(env));`.
///
/// # Example
/// ```
/// use kv_migrations::Migration;
/// use kv_migrations_routes::{MigrationRoutes, coordinator, migration_routes};
/// # fn migrations() -> Vec<Migration<worker::Env>> { Vec::new() }
///
/// fn routes() -> MigrationRoutes {
///     migration_routes("MY_SERVICE_KV", "my-service", migrations()).with_coordinator("MIGRATIONS")
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
            // The code that the attribute makes uses it by this name.
            use ::worker::wasm_bindgen;

            #[wasm_bindgen::prelude::wasm_bindgen(wasm_bindgen = ::worker::wasm_bindgen)]
            pub struct $class($crate::CoordinatorObject);

            #[wasm_bindgen::prelude::wasm_bindgen(wasm_bindgen = ::worker::wasm_bindgen)]
            impl $class {
                #[wasm_bindgen(constructor, wasm_bindgen = ::worker::wasm_bindgen)]
                pub fn new(state: ::worker::worker_sys::DurableObjectState, env: ::worker::Env) -> Self {
                    let $env = env.clone();
                    Self($crate::CoordinatorObject::new(&state.into(), $routes.with_env(env)))
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

/// An instance of the object, which [`coordinator!`] wraps in a class.
#[doc(hidden)]
pub struct CoordinatorObject(AssertUnwindSafe<Rc<dyn Instance>>);

impl CoordinatorObject {
    /// Creates the object with this state.
    pub fn new<C: 'static>(state: &State, routes: MigrationRoutes<C>) -> Self {
        let storage: Arc<dyn Storage> = Arc::new(ObjectStorage::new(state));
        let coordinator = routes.coordinator(storage.clone()).map(Arc::new);
        let is_itself = routes.is_coordinated_by(&state.id());
        // A build with `panic=unwind` asks it. All that lasts is in the storage, which a panic leaves whole.
        Self(AssertUnwindSafe(Rc::new(Service { routes, storage, coordinator, is_itself })))
    }

    /// Answers the Worker, or any other code that has the object's stub.
    pub fn fetch(&self, request: Request) -> Promise {
        let instance = Rc::clone(&self.0);
        reject_on_panic(
            async move { Ok(web_sys::Response::from(answer(&*instance, &request).await?).into()) },
        )
    }

    /// Continues what has begun.
    pub fn alarm(&self) -> Promise {
        let instance = Rc::clone(&self.0);
        reject_on_panic(async move {
            instance.alarm().await?;
            Ok(JsValue::UNDEFINED)
        })
    }
}

async fn answer(instance: &dyn Instance, request: &Request) -> worker::Result<Response> {
    let uri = uri(request).unwrap_or_default();
    let mut response = match Route::parse_coordinated(uri.path(), "") {
        Some(route) => {
            let headers = request.headers();
            let asked = Asked { name: headers.get(COORDINATOR)?, release: headers.get(RELEASE)? };
            instance.respond(route, asked, Head::from_worker(request, &uri)?).await
        }
        None => Problem::not_found().into(),
    };
    if let Ok(name) = HeaderValue::try_from(header_value(&instance.name())) {
        response.headers_mut().append(COORDINATOR, name);
    }
    to_worker(response).await
}

/// What a Worker asks for beside its request: the object of this name, of this release.
struct Asked {
    name: Option<String>,
    release: Option<String>,
}

/// An instance whatever the type of its migrations' context, so that the class need not name it.
trait Instance {
    fn name(&self) -> String;
    fn respond(&self, route: Route, asked: Asked, head: Head) -> LocalBoxFuture<'_, http::Response<Body>>;
    fn alarm(&self) -> LocalBoxFuture<'_, Result<(), String>>;
}

struct Service<C> {
    routes: MigrationRoutes<C>,
    storage: Arc<dyn Storage>,
    coordinator: Result<Arc<Coordinator<C>>, RegistrationError>,
    /// Whether it is the object that coordinates the service: the class can have others, under other names. `None` if its
    /// id does not tell.
    is_itself: Option<bool>,
}

impl<C: 'static> Instance for Service<C> {
    fn name(&self) -> String {
        self.routes.object_name()
    }

    fn respond(&self, route: Route, asked: Asked, head: Head) -> LocalBoxFuture<'_, http::Response<Body>> {
        async move {
            let permission = match self.routes.check(&route, &head).await {
                Ok(permission) => permission,
                Err(problem) => return problem.into(),
            };
            let release = self.routes.release();
            let digest = HeaderValue::try_from(&release.digest);
            let result = self.result(route, asked, release, &head, permission).await;
            let mut response = result.unwrap_or_else(http::Response::from);
            if let Ok(digest) = digest {
                response.headers_mut().append(RELEASE, digest);
            }
            response
        }
        .boxed_local()
    }

    fn alarm(&self) -> LocalBoxFuture<'_, Result<(), String>> {
        async move {
            let stored = self.storage.get(NAME).map_err(|error| error.to_string())?;
            let name = self.name();
            if !self.routes.is_coordinated() || stored.is_some_and(|stored| stored != name.as_bytes()) {
                // The service has another object now, or none: what this one has begun is no longer its own.
                let line = format!("[Migration] Nothing is done: `{name}` is not coordinated by this object");
                ConsoleLog.error(&line);
                return Ok(());
            }
            match &self.coordinator {
                Ok(coordinator) => coordinator.alarm().await.map_err(|error| error.to_string()),
                Err(error) => self.wait_for_deploy(error).map_err(|error| error.to_string()),
            }
        }
        .boxed_local()
    }
}

impl<C: 'static> Service<C> {
    async fn result(
        &self,
        route: Route,
        asked: Asked,
        release: Release,
        head: &Head,
        permission: Permission,
    ) -> Result<http::Response<Body>, Box<Problem>> {
        let query = Query::parse(&route, head.query.as_deref(), true)?;
        let name = self.name();
        if !self.routes.is_coordinated() || asked.name != Some(header_value(&name)) {
            let detail = format!("This object coordinates `{name}`, and was asked for another service.");
            return Err(Problem::wrong_coordinator(detail));
        }
        if !self.is_itself()? {
            let detail =
                format!("This object is not the one that is named `{name}`: only that one coordinates.");
            return Err(Problem::wrong_coordinator(detail));
        }
        if route.depends_on_release() && asked.release.as_ref() != Some(&release.digest) {
            return Err(Problem::other_release(release.ids));
        }
        self.routes.check_namespace()?;
        self.store_name(&name, &route)?;
        let coordinator = self.coordinator.as_ref().map_err(|error| Error::from(error.clone()))?;
        handler::answer(coordinator, route, &query, head, permission).await
    }

    /// An object that does not know its name has a row with one only if it was asked by its own name before. Whether the
    /// row still has that name, and what to do if not, is a matter of [`store_name`](Self::store_name).
    fn is_itself(&self) -> Result<bool, StorageError> {
        match self.is_itself {
            Some(is_itself) => Ok(is_itself),
            None => Ok(self.storage.get(NAME)?.is_some()),
        }
    }

    /// Keeps the name for the alarms. A wrong one is replaced when something is cancelled.
    fn store_name(&self, name: &str, route: &Route) -> Result<(), Box<Problem>> {
        let is_cancel = matches!(route, Route::Migration { action: Action::Cancel, .. });
        match self.storage.get(NAME)? {
            Some(stored) if stored == name.as_bytes() => Ok(()),
            Some(stored) if !is_cancel => Err(Problem::wrong_name(name, &stored)),
            _ => Ok(self.storage.write(&[RowChange::put(NAME, name)])?),
        }
    }

    /// A run that alarms continue must not end because a deploy had an invalid list of migrations.
    fn wait_for_deploy(&self, error: &RegistrationError) -> Result<(), StorageError> {
        ConsoleLog.error(&format!("[Migration] {error}"));
        self.storage.write(&[RowChange::alarm(SystemClock.now() + REGISTRATION_RETRY_AFTER)])
    }
}

impl fmt::Debug for CoordinatorObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CoordinatorObject").field(&self.0.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use http::Request as HttpRequest;
    use kv_migrations::Migration;
    use kv_migrations::coordinator::MemoryStorage;
    use kv_migrations::kv::MemoryStore;

    use super::*;
    use crate::migration_routes_with_context;

    /// An object whose row has this name, woken by its alarm: its id does not tell which one it is.
    fn woken(row: Option<&str>) -> Service<()> {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        if let Some(row) = row {
            storage.write(&[RowChange::put(NAME, row)]).expect("memory does not fail");
        }
        let migration = Migration::new("001", "", async |_, (): &()| Ok(()));
        let routes = migration_routes_with_context(MemoryStore::new(), "named", vec![migration], || Ok(()));
        let routes = routes.without_auth().with_coordinator("MIGRATIONS");
        let coordinator = routes.coordinator(storage.clone()).map(Arc::new);
        Service { routes, storage, coordinator, is_itself: None }
    }

    /// The problem that is answered, if it is one.
    fn ask(service: &Service<()>, method: &str, route: Route) -> Option<String> {
        let name = Some(header_value(&service.name()));
        let release = service.routes.release();
        let asked = Asked { name, release: Some(release.digest.clone()) };
        let request = HttpRequest::builder().method(method).uri("/").body(()).expect("it is a request");
        let head = Head::from_parts(request.into_parts().0);
        block_on(service.result(route, asked, release, &head, Permission::Full))
            .err()
            .map(|problem| format!("{problem:?}"))
    }

    #[test]
    fn an_object_that_its_alarm_woke_tells_of_a_damaged_name_and_a_cancel_mends_it() {
        let service = woken(Some("damaged"));
        let problem = ask(&service, "GET", Route::Status).expect("its alarms do nothing");
        assert!(problem.contains("holds the name") && problem.contains("/cancel"), "{problem}");
        let cancel = Route::Migration { id: "001".to_owned(), action: Action::Cancel };
        let problem = ask(&service, "POST", cancel).expect("nothing is running");
        assert!(problem.contains("problem:not-running"), "{problem}");
        assert_eq!(service.storage.get(NAME), Ok(Some(service.name().into_bytes())));
        assert_eq!(ask(&service, "GET", Route::Status), None);
    }

    #[test]
    fn an_object_that_its_alarm_woke_and_that_has_no_name_coordinates_nothing() {
        let service = woken(None);
        let problem = ask(&service, "GET", Route::Status).expect("nothing says that it is the one");
        assert!(problem.contains("only that one coordinates"), "{problem}");
        assert_eq!(service.storage.get(NAME), Ok(None));
    }
}
