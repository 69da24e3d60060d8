// src/migrations/m011_users_to_d1.rs
use kv_migrations::{Backfill, Migration, Record, Result};
use worker::{D1Type, Env};

pub const ID: &str = "011_users_to_d1";

pub fn migration() -> Migration<Env> {
    let copied = Backfill::in_batches("user_", 100, async |kv, users, env: &Env| {
        let db = env.d1("DB")?;
        let insert = db.prepare("INSERT OR REPLACE INTO users (id, profile) VALUES (?1, ?2)");
        let row = |user: &Record| -> Result<_> {
            Ok(insert.bind_refs(&[D1Type::Text(user.name()), D1Type::Text(user.text()?)])?)
        };
        kv.spend(1)?;
        db.batch(users.iter().map(row).collect::<Result<_>>()?).await?;
        Ok(())
    });
    Migration::backfill(ID, "Copy users to D1", copied)
}
