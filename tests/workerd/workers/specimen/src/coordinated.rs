//! Routes with a coordinator, and the classes of Durable Objects that are bound to it, rightly or wrongly.

use kv_migrations_routes::{CoordinatorBinding, MigrationRoutes, coordinator, migration_routes};
use worker::durable::State;
#[allow(unused_imports, reason = "what `durable_object` makes looks for it by this name")]
use worker::wasm_bindgen;
use worker::{DurableObject, Env, Request, RequestInit, Response, Result, durable_object};

use crate::settings::{Settings, of_environment};
use crate::{BINDING, routes};

/// The name of the coordinator's binding.
const OBJECT: &str = "MIGRATIONS";

coordinator!(Migrations(env) = mounted(&env));

// Of another service.
coordinator!(Others = migration_routes(BINDING, "others", Vec::new()).with_coordinator(OBJECT));

/// What the Worker mounts: without the coordinator if `coordinated` is `no`.
pub fn mounted(env: &Env) -> MigrationRoutes {
    let settings = of_environment(env);
    let routes = routes(&settings, env);
    match Settings::get(&settings, "coordinated") {
        "no" => routes,
        _ => match Settings::get(&settings, "writes-per-day").parse() {
            Ok(writes) => {
                routes.with_coordinator(CoordinatorBinding::new(OBJECT).with_writes_per_day(writes))
            }
            Err(_) => routes.with_coordinator(OBJECT),
        },
    }
}

/// The answer of an object itself, which other code of a Worker can ask too. The header `object` names it, and `id` asks
/// for one by its id: `named` has the id of that name, `unique` a new one. The path begins with `/stub`.
pub async fn stub(request: Request, env: &Env) -> Result<Response> {
    let name = request.headers().get("object")?.unwrap_or_default();
    let request_id = request.headers().get("id")?;
    let (path, url) = (request.path().replacen("/stub", "", 1), request.url()?);
    let query = url.query().unwrap_or_default();
    let mut init = RequestInit::new();
    init.with_method(request.method()).with_headers(request.headers().clone());
    let request = Request::new_with_init(&format!("https://object{path}?{query}"), &init)?;
    let objects = env.durable_object(OBJECT)?;
    let object = match request_id.as_deref() {
        Some("unique") => objects.unique_id()?.get_stub()?,
        Some(_) => objects.id_from_string(&objects.id_from_name(&name)?.to_string())?.get_stub()?,
        None => objects.get_by_name(&name)?,
    };
    object.fetch_with_request(request).await
}

/// A class that is no coordinator at all.
#[durable_object(fetch)]
pub struct Stranger;

impl DurableObject for Stranger {
    fn new(_: State, _: Env) -> Self {
        Self
    }

    async fn fetch(&self, _: Request) -> Result<Response> {
        Response::ok("hello")
    }
}
