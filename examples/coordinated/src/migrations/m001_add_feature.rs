use kv_migrations::Migration;
use worker::Env;

pub const ID: &str = "001_add_feature";

pub fn migration() -> Migration<Env> {
    Migration::new(ID, "Add new feature to system", async |kv, _| {
        kv.put("feature_enabled", "true").await?;
        Ok(())
    })
    .with_down(async |kv, _| {
        kv.delete("feature_enabled").await?;
        Ok(())
    })
}
