use kv_migrations::Migration;
use worker::Env;

pub const ID: &str = "002_with_args";

pub fn migration() -> Migration<Env> {
    Migration::new(ID, "Migration that uses environment variables", async |kv, env: &Env| {
        let api_url = env.var("API_URL")?.to_string();
        kv.put("api_url", api_url).await?;
        Ok(())
    })
}
