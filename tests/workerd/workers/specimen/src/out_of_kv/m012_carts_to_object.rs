// src/migrations/m012_carts_to_object.rs
use kv_migrations::{Backfill, Migration, Record, Result};
use worker::{Env, Method, Request, RequestInit};

pub const ID: &str = "012_carts_to_object";

pub fn migration() -> Migration<Env> {
    let copied = Backfill::in_batches("cart_", 100, async |kv, carts, env: &Env| {
        let entry = |cart: &Record| -> Result<_> { Ok((cart.name().to_owned(), cart.text()?.into())) };
        let carts: serde_json::Map<_, _> = carts.iter().map(entry).collect::<Result<_>>()?;
        let body = serde_json::to_string(&carts)?;
        let mut put = RequestInit::new();
        put.with_method(Method::Put).with_body(Some(body.into()));
        let request = Request::new_with_init("https://carts/", &put)?;
        kv.spend(1)?;
        let answer = env.durable_object("CARTS")?.get_by_name("all")?.fetch_with_request(request).await?;
        match answer.status_code() {
            200 => Ok(()),
            status => Err(format!("the object answered {status}").into()),
        }
    });
    Migration::backfill(ID, "Copy carts to an object", copied)
}
