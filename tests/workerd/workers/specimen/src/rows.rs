//! The storage of a Durable Object, put to the contract of a coordinator's storage.

use axum::body::Body;
use axum::http::Response as HttpResponse;
use kv_migrations::clock::{Clock, SystemClock};
use kv_migrations::coordinator::{RowChange, Storage};
use kv_migrations_routes::ObjectStorage;
use std::time::{Duration, UNIX_EPOCH};
use worker::durable::State;
#[allow(unused_imports, reason = "what `durable_object` makes looks for it by this name")]
use worker::wasm_bindgen;
use worker::{DurableObject, Env, Request, Response, Result, durable_object};

/// An object that tries its own storage.
#[durable_object(alarm)]
pub struct Rows(State);

impl DurableObject for Rows {
    fn new(state: State, _: Env) -> Self {
        Self(state)
    }

    async fn fetch(&self, _: Request) -> Result<Response> {
        match self.check().await {
            Ok(()) => Response::ok("ok"),
            Err(difference) => Response::ok(difference.to_string()),
        }
    }

    async fn alarm(&self) -> Result<Response> {
        Response::empty()
    }
}

/// What the object says: `ok`, or what differs.
pub async fn report(env: &Env) -> Result<HttpResponse<Body>> {
    let mut answer = env.durable_object("ROWS")?.get_by_name("rows")?.fetch_with_str("https://rows/").await?;
    Ok(HttpResponse::new(answer.text().await?.into()))
}

fn put(name: &str, bytes: impl Into<Vec<u8>>) -> RowChange {
    RowChange::put(name, bytes)
}

fn delete(name: &str) -> RowChange {
    RowChange::delete(name)
}

fn expect(what: &str, is_so: bool) -> kv_migrations::Result {
    if is_so { Ok(()) } else { Err(what.into()) }
}

#[allow(clippy::indexing_slicing, reason = "what it finds there it has put there")]
impl Rows {
    async fn check(&self) -> kv_migrations::Result {
        let storage = ObjectStorage::new(&self.0);
        expect("nothing is there at first", storage.get("a")?.is_none() && storage.list("")?.is_empty())?;

        storage.write(&[
            put("a", "1"),
            put("b", ""),
            put("a", "2"),
            put("c", "3"),
            delete("c"),
            delete("d"),
        ])?;
        expect("the last change of a row counts", storage.get("a")?.as_deref() == Some(b"2"))?;
        expect("a row can be empty", storage.get("b")?.as_deref() == Some(b""))?;
        expect("what is deleted is gone", storage.get("c")?.is_none())?;

        let large: Vec<u8> =
            (0..25_000_000_u32).map(|number| number.to_le_bytes()[number as usize % 4]).collect();
        storage.write(&[put("large", large.clone())])?;
        expect("25 MB come back as they were", storage.get("large")?.as_ref() == Some(&large))?;
        storage.write(&[put("large", &large[..1_000_000])])?;
        expect(
            "a shorter row leaves nothing of the longer",
            storage.get("large")?.as_deref() == large.get(..1_000_000),
        )?;
        storage.write(&[put("large", &large[..1_000_001])])?;
        expect("nor do parts miss", storage.list("large")?.len() == 1)?;
        expect("in either way", storage.list("large")?[0].1 == large[..1_000_001])?;

        let names = [
            "p",
            "p/",
            "p/%",
            "p/1",
            "p/10",
            "p/2",
            "p/_",
            "p/a",
            "p/\u{E000}",
            "p/\u{FFFD}",
            "p/😀",
            "p/\u{10FFFF}",
            "p/\u{10FFFF}x",
            "p0",
        ];
        storage.write(&names.map(|name| put(name, name)))?;
        let listed = |prefix: &str| {
            storage.list(prefix).map(|rows| rows.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        expect("by prefix, in the order of bytes", listed("p/")? == names[1..13])?;
        expect("a prefix is no pattern", listed("p/%")? == ["p/%"] && listed("p/_")? == ["p/_"])?;
        expect("up to the last character there is", listed("p/\u{10FFFF}")? == names[11..13])?;
        expect("all of them", listed("")?.len() == names.len() + 3)?;
        expect("with their bytes", storage.list("p/😀")?[0].1 == "p/😀".as_bytes())?;

        storage.write(&[put("order", "1"), delete("order"), put("order", "2")])?;
        expect("changes are made in their order", storage.get("order")?.as_deref() == Some(b"2"))?;
        storage.write(&[delete("order")])?;

        let now = SystemClock.now();
        let (soon, later) = (now + Duration::from_secs(100), now + Duration::from_secs(200));
        storage.write(&[
            RowChange::Alarm(Some(later)),
            RowChange::Alarm(None),
            RowChange::Alarm(Some(soon)),
        ])?;
        let alarm = async || self.0.storage().get_alarm().await;
        let soon_in_milliseconds = soon.duration_since(UNIX_EPOCH)?.as_millis().try_into().ok();
        expect("the last alarm counts", alarm().await? == soon_in_milliseconds)?;

        // A name that SQLite refuses.
        let refused = put(&"x".repeat(3_000_000), "");
        let changes = [
            put("a", "3"),
            delete("b"),
            put("e", "5"),
            RowChange::Alarm(Some(later)),
            refused,
            RowChange::Alarm(None),
        ];
        expect("a name can be too long", storage.write(&changes).is_err())?;
        expect(
            "nothing of a batch stays",
            storage.get("a")?.as_deref() == Some(b"2") && storage.get("e")?.is_none(),
        )?;
        expect("not even what was deleted", storage.get("b")?.is_some())?;
        expect("nor the alarm", alarm().await? == soon_in_milliseconds)?;

        storage.write(&[RowChange::Alarm(Some(UNIX_EPOCH))])?;
        let overdue = alarm().await?;
        expect(
            "what is overdue is due at once",
            overdue >= now.duration_since(UNIX_EPOCH)?.as_millis().try_into().ok(),
        )?;

        storage.write(&[RowChange::Alarm(None)])?;
        expect("an alarm can be taken off", alarm().await?.is_none())?;
        storage.write(&[])?;
        Ok(())
    }
}
