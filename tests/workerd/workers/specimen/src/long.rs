//! Migrations that outlive one request.

use std::collections::BTreeMap;
use std::time::Duration;

use kv_migrations::clock::{Clock, SystemClock};
use kv_migrations::kv::Key;
use kv_migrations::{Backfill, Fold, FoldOutput, Migration, Record, Rekey, Result};
use serde_json::{Map, Value};
use worker::Env;

use crate::{namespaces, out_of_kv};

/// The migrations of a scenario, in order: its name, and what it is about. None for the name of another.
pub fn migrations(scenario: &str) -> Option<Vec<Migration<Env>>> {
    let (name, about) = scenario.split_once(' ').unwrap_or((scenario, ""));
    let about = about.to_owned();
    Some(match name {
        "seen" => vec![seen(backfill(|_| Ok(())))],
        "seen-reversible" => vec![seen(backfill(|_| Ok(()))).with_down_backfill(unseen())],
        "seen-but" => vec![seen(backfill(move |key| if key == about { Err("boom".into()) } else { Ok(()) }))],
        "seen-skipping" => {
            let look = move |key: &str| if key == about { Err("boom".into()) } else { Ok(()) };
            vec![seen(backfill(look).skip_failures(10).apply_despite_failures())]
        }
        "seen-panicking" => vec![seen(backfill(move |key| {
            assert_ne!(key, about, "on purpose");
            Ok(())
        }))],
        "seen-failing" => vec![seen(breaking(about, || Err("boom".into())))],
        "operated" => operated(breaking(about, || Err("boom".into()))),
        "operated-stuck" => operated(stuck(about)),
        "seen-breaking" => vec![seen(breaking(about, || unreachable!("on purpose")))],
        "marked" => about.split_whitespace().map(marked).collect(),
        "indexed" => vec![Migration::fold("001_index", "Indexes mods by customer", index())],
        "rekeyed" => vec![rekeyed(Rekey::prefix("user_", "user:"))],
        "rekeyed-at-once" => {
            vec![rekeyed(Rekey::prefix("user_", "user:").with_visibility_delay(Duration::ZERO))]
        }
        "rekeyed-alike" => vec![rekeyed(Rekey::new("user_", alike))],
        "puts" => about.split_whitespace().zip(1..).filter_map(|(number, nth)| puts(number, nth)).collect(),
        "to-d1" => out_of_kv::to_d1(),
        "to-object" => out_of_kv::to_object(),
        "copied-from" => namespaces::copied_from(about),
        "moved-from" => namespaces::moved_from(about),
        "moved-into" => namespaces::moved_into(about),
        "gated" => vec![gated()],
        "gated-failing" => {
            vec![gated(), Migration::new("002_failing", "Fails", async |_, _: &Env| Err("boom".into()))]
        }
        _ => return None,
    })
}

fn seen(up: Backfill<Env>) -> Migration<Env> {
    Migration::backfill("001_seen", "Counts how often each customer was seen", up)
}

/// A short one with a `down`, this long one with a `down`, and a short one without.
fn operated(second: Backfill<Env>) -> Vec<Migration<Env>> {
    let first =
        Migration::new("001_first", "", async |kv, _: &Env| Ok(kv.put("done/001_first", "true").await?))
            .with_down(async |kv, _| Ok(kv.delete("done/001_first").await?));
    let second = Migration::backfill("002_second", "", second);
    let third =
        Migration::new("003_third", "", async |kv, _: &Env| Ok(kv.put("done/003_third", "true").await?));
    vec![first, second.with_down_backfill(unseen()), third]
}

/// A backfill that is never done with a key.
fn stuck(key: String) -> Backfill<Env> {
    Backfill::new("customer_", async move |_, customer, _: &Env| {
        if customer.name() == key {
            SystemClock.sleep(Duration::from_hours(1)).await;
        }
        count(customer, 1).await
    })
}

/// Adds one to the field `seen` of every customer, after a look at its key.
fn backfill(look: impl Fn(&str) -> Result + Send + Sync + 'static) -> Backfill<Env> {
    Backfill::new("customer_", async move |_, customer, _: &Env| {
        look(customer.name())?;
        count(customer, 1).await
    })
}

/// A backfill that breaks at a key until there is a key `mended`.
fn breaking(key: String, how: fn() -> Result) -> Backfill<Env> {
    Backfill::new("customer_", async move |kv, customer, _: &Env| {
        if customer.name() == key && kv.bytes("mended").await?.is_none() {
            how()?;
        }
        count(customer, 1).await
    })
}

fn unseen() -> Backfill<Env> {
    Backfill::new("customer_", async |_, customer, _: &Env| count(customer, -1).await)
}

async fn count(customer: &Record, more: i64) -> Result {
    let mut fields: Map<String, Value> = customer.json()?;
    let seen = fields.get("seen").and_then(Value::as_i64).unwrap_or(0);
    fields.insert("seen".to_owned(), (seen + more).into());
    Ok(customer.put_json(&fields).await?)
}

/// Adds a byte to every value of a prefix, whatever it holds, unless it is there already.
fn marked(prefix: &str) -> Migration<Env> {
    let mark = async |_: &_, record: &Record, _: &Env| {
        if record.value().ends_with(b"!") {
            return Ok(());
        }
        Ok(record.put([record.value(), b"!"].concat()).await?)
    };
    Migration::backfill(format!("mark {prefix}"), "", Backfill::new(prefix.to_owned(), mark))
}

type Index = BTreeMap<String, Vec<String>>;

/// The mods of each customer, who is named in their metadata.
fn index() -> Fold<Env, Index> {
    let each = |index: &mut Index, record: &Record, _: &Env| {
        let customer: String = record.metadata().ok_or("it has no customer")?.parse()?;
        index.entry(customer).or_default().push(record.name().to_owned());
        Ok(())
    };
    Fold::new("mod_", Index::new, each, |index, _| {
        index.iter().map(|(customer, mods)| FoldOutput::json(format!("mods_of_{customer}"), mods)).collect()
    })
}

fn rekeyed(rekey: Rekey) -> Migration<Env> {
    Migration::rekey("001_rekey", "Renames users", rekey)
}

/// A mapping that gives several keys the same one.
fn alike(key: &Key) -> Option<String> {
    Some(format!("user:{}", key.name.strip_prefix("user_")?.to_lowercase()))
}

/// Makes a number of operations in one `up`.
fn puts(number: &str, nth: u32) -> Option<Migration<Env>> {
    let number: u32 = number.parse().ok()?;
    Some(Migration::new(format!("{nth:03}_puts"), "", async move |kv, _: &Env| {
        for key in 0..number {
            kv.put(&format!("put_{nth}_{key}"), "").clear_metadata().clear_expiration().await?;
        }
        Ok(())
    }))
}

/// Goes on when the key `go` is there.
fn gated() -> Migration<Env> {
    Migration::new("001_gated", "Waits for a key", async |kv, _: &Env| {
        while kv.bytes("go").await?.is_none() {
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    })
}
