//! The migrations that tests run.

use std::time::Duration;

use kv_migrations::Migration;
use kv_migrations::clock::{Clock, SystemClock};
use kv_migrations::kv::Kv;
use worker::Env;

/// An id that is markup, and would run a script.
const HOSTILE: &str = r#"<img src=x onerror="hacked=1">"#;

/// The migrations of a scenario, in order.
pub fn migrations(scenario: &str) -> Vec<Migration<Env>> {
    match scenario {
        // A failing one between two good ones, and the same when it is mended.
        "failing" => vec![good("001_first"), failing("002_second"), good("003_third")],
        "mended" => vec![good("001_first"), good("002_second"), good("003_third")],
        "failing-down" => vec![good("001_first").with_down(async |_, _| Err("boom".into()))],
        "panicking" => vec![good("001_first"), panicking("002_second"), good("003_third")],
        // One that never ends, and one that takes longer than its caller waits.
        "stuck" => vec![good("001_first"), stuck("002_second"), good("003_third")],
        "slow" => vec![good("001_first"), slow("002_second"), good("003_third")],
        "inserted" => vec![good("001_first"), good("001_inserted"), good("002_second"), good("003_third")],
        "reordered" => vec![good("001_first"), good("003_third"), good("002_second")],
        "removed" => vec![good("001_first"), good("003_third")],
        "odd-ids" => ["a b", "grüße", "50%", "a/b", "?#&+", "1", "__proto__", "status"].map(good).into(),
        "duplicate" => vec![good("001_first"), good("001_first")],
        "empty-id" => vec![good("")],
        "hostile" => vec![good(HOSTILE), hostile()],
        "many" => (0..1_500).map(|number| quiet(format!("{number:04}"))).collect(),
        "fixture-mods" => vec![good("001_add_feature"), good("002_with_args"), failing("003_broken")],
        "fixture-authz" => vec![good("001_fix_customer_upload_permissions")],
        "fixture-customer" => {
            vec![quiet("001_migrate_to_unified_keys".into()), quiet("002_fix_broken_keys".into())]
        }
        id if id.starts_with("id ") => vec![good(id.strip_prefix("id ").unwrap_or_default())],
        _ => vec![good("001_first")],
    }
}

/// Writes its id under `done/`, and its `down` deletes it. The value counts how often it ran.
fn good(id: &str) -> Migration<Env> {
    let (key, same) = (format!("done/{id}"), format!("done/{id}"));
    Migration::new(id.to_owned(), format!("Does {id}"), async move |kv, _: &Env| {
        let times: u64 = kv.json(&key).await?.unwrap_or(0);
        kv.put_json(&key, &(times + 1)).await?;
        Ok(())
    })
    .with_down(async move |kv, _| Ok(kv.delete(&same).await?))
}

/// Does nothing, and has no description.
fn quiet(id: String) -> Migration<Env> {
    Migration::new(id, "", async |_, _| Ok(()))
}

async fn half(kv: &Kv) -> kv_migrations::Result {
    Ok(kv.put("half", "done").await?)
}

fn failing(id: &'static str) -> Migration<Env> {
    Migration::new(id, "Fails half-way", async |kv, _| {
        half(kv).await?;
        Err("boom".into())
    })
}

fn hostile() -> Migration<Env> {
    let description = r#"</p><img src="x" onerror="hacked=2">"#;
    Migration::new(r#""><script>hacked=3</script>"#, description, async |_, _| {
        Err(r#"<svg onload="hacked=4"></svg>"#.into())
    })
}

#[allow(clippy::panic, reason = "what the test is about")]
fn panicking(id: &'static str) -> Migration<Env> {
    Migration::new(id, "Panics half-way", async |kv, _| {
        half(kv).await?;
        panic!("on purpose")
    })
}

fn stuck(id: &'static str) -> Migration<Env> {
    Migration::new(id, "Never ends", async |kv, _| {
        half(kv).await?;
        std::future::pending().await
    })
}

fn slow(id: &'static str) -> Migration<Env> {
    Migration::new(id, "Takes a minute and a half", async |kv, _| {
        half(kv).await?;
        SystemClock.sleep(Duration::from_secs(90)).await;
        Ok(())
    })
}
