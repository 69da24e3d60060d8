//! A migration of each kind, behind a feature of its own: what a kind needs is in the WebAssembly of those that name it.

use kv_migrations::{Backfill, Fold, FoldOutput, Migration, Record, Rekey, Result, kv::Kv};
use kv_migrations_routes::Namespace;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use worker::Env;

/// Adds the migrations whose features are on.
pub(crate) fn add(migrations: &mut Vec<Migration<Env>>) {
    if cfg!(feature = "backfill") {
        migrations.push(Migration::backfill("002", "", backfill()));
    }
    if cfg!(feature = "backfill-json") {
        migrations.push(Migration::backfill("002", "", backfill_of_json()));
    }
    if cfg!(feature = "backfill-typed") {
        migrations.push(Migration::backfill("002", "", typed_backfill()));
    }
    if cfg!(feature = "backfill-in-batches") {
        migrations.push(Migration::backfill("002", "", backfill_in_batches()));
    }
    if cfg!(feature = "fold") {
        migrations.push(Migration::fold("002", "", fold()));
    }
    if cfg!(feature = "fold-merging") {
        migrations.push(Migration::fold("002", "", merging_fold()));
    }
    if cfg!(feature = "rekey") {
        migrations.push(Migration::rekey("002", "", Rekey::prefix("user_", "user:")));
    }
    if cfg!(feature = "rekey-by-value") {
        migrations.push(Migration::rekey("002", "", rekey_by_value()));
    }
    if cfg!(feature = "rekey-by-table") {
        migrations.push(Migration::rekey("002", "", rekey_by_table()));
    }
    if cfg!(feature = "rekey-into-namespace") {
        migrations.push(Migration::rekey("002", "", rekey_into_namespace()));
    }
}

fn backfill() -> Backfill<Env> {
    Backfill::new("customer_", async |_, customer, _| {
        customer.put([customer.value(), b"!"].concat()).await?;
        Ok(())
    })
}

fn backfill_of_json() -> Backfill<Env> {
    Backfill::new("customer_", async |_, customer, _| {
        let mut fields: Map<String, Value> = customer.json()?;
        fields.entry("verified").or_insert(false.into());
        customer.put_json(&fields).await?;
        Ok(())
    })
}

#[derive(Deserialize, Serialize)]
struct Customer {
    verified: Option<bool>,
}

fn typed_backfill() -> Backfill<Env> {
    Backfill::typed("customer_", async |_, _, customer: &mut Customer, _| {
        customer.verified.get_or_insert(false);
        Ok(())
    })
}

fn backfill_in_batches() -> Backfill<Env> {
    Backfill::in_batches("customer_", 100, async |kv, customers, _| {
        let values: Vec<_> = customers.iter().map(Record::value).collect();
        kv.put("last_customers", values.concat()).await?;
        Ok(())
    })
}

type Names = Vec<String>;

fn gather(names: &mut Names, customer: &Record, _: &Env) -> Result {
    names.push(customer.text()?.to_owned());
    Ok(())
}

fn fold() -> Fold<Env, Names> {
    let close = |names: &Names, _: &Env| Ok(vec![FoldOutput::new("names", names.concat())]);
    Fold::new("customer_", Names::new, gather, close)
}

fn merging_fold() -> Fold<Env, Names> {
    Fold::merging("customer_", Names::new, gather, async |kv: &Kv, names, _| {
        let names_before = kv.text("names").await?.unwrap_or_default();
        Ok(vec![FoldOutput::new("names", names_before + &names.concat())])
    })
}

fn rekey_by_value() -> Rekey {
    Rekey::by_value("user_", |user| Ok(Some(format!("user:{}", user.text()?))))
}

fn rekey_into_namespace() -> Rekey {
    Rekey::prefix("user_", "user:").into_namespace(Namespace::from("NEW_KV"))
}

fn rekey_by_table() -> Rekey<Env, String> {
    let load = async |kv: &Kv, _: &Env| Ok(kv.text("tenant").await?.unwrap_or_default());
    Rekey::by_table("user_", load, |user, tenant, _| Ok(Some(format!("user:{tenant}:{}", user.name))))
}
