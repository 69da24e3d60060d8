//! The documentation's migrations that copy entries out of KV, and an object that takes them.

mod m011_users_to_d1;
mod m012_carts_to_object;

use std::collections::BTreeMap;

use kv_migrations::{Migration, migrations};
use serde_json::Value;
use worker::durable::State;
#[allow(unused_imports, reason = "what `durable_object` makes looks for it by this name")]
use worker::wasm_bindgen;
use worker::{DurableObject, Env, Method, Request, Response, Result, durable_object};

pub fn to_d1() -> Vec<Migration<Env>> {
    migrations![m011_users_to_d1]
}

pub fn to_object() -> Vec<Migration<Env>> {
    migrations![m012_carts_to_object]
}

/// Keeps carts. A `PUT` has some of them by their ids, and a `GET` is answered with all. It refuses an empty cart, with all
/// that came with it.
#[durable_object(fetch)]
pub struct Carts {
    state: State,
}

impl DurableObject for Carts {
    fn new(state: State, _env: Env) -> Self {
        Self { state }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let sql = self.state.storage().sql();
        sql.exec("CREATE TABLE IF NOT EXISTS carts (id TEXT PRIMARY KEY, cart TEXT)", None)?;
        if request.method() == Method::Get {
            let carts: Vec<Value> = sql.exec("SELECT id, cart FROM carts ORDER BY id", None)?.to_array()?;
            return Response::from_json(&carts);
        }
        let carts: BTreeMap<String, String> = request.json().await?;
        if carts.values().any(String::is_empty) {
            return Response::error("an empty cart", 400);
        }
        for (id, cart) in carts {
            sql.exec("INSERT OR REPLACE INTO carts VALUES (?, ?)", vec![id.into(), cart.into()])?;
        }
        Response::ok("")
    }
}
