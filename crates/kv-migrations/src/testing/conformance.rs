//! What every store must do, as tests that any store can be put to: natively, and in the Workers runtime.
//!
//! A [`Case`] writes only below the keys that begin with its own name, so cases can share a namespace that nobody
//! else uses, and run in any order.
//!
//! # Example
//! ```
//! use kv_migrations::kv::MemoryStore;
//! use kv_migrations::testing::conformance;
//!
//! # async fn example() {
//! let store = MemoryStore::new();
//! for case in conformance::CASES {
//!     case.run(&store).await.unwrap();
//! }
//! # }
//! # futures::executor::block_on(example());
//! ```

use std::fmt::Debug;

use crate::future::BoxFuture;
use crate::kv::{
    BulkValue, Entry, Expiration, KvError, ListOptions, Metadata, PutOptions, Store, StoreExt, limits,
};

/// One thing that a store must do.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name, and what the keys that it writes begin with.
    pub name: &'static str,
    check: for<'a> fn(&'a dyn Store) -> BoxFuture<'a, Outcome>,
}

type Outcome = Result<(), String>;

impl Case {
    /// Puts the store to the test. The error says what differs.
    pub async fn run(&self, store: &dyn Store) -> Result<(), String> {
        (self.check)(store).await.map_err(|difference| format!("{}: {difference}", self.name))
    }
}

impl Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! cases {
    ($($name:ident),+ $(,)?) => {
        /// All of them.
        pub const CASES: &[Case] =
            &[$(Case { name: stringify!($name), check: |store| Box::pin($name(store)) }),+];
    };
}

cases![
    values_are_kept_byte_for_byte,
    missing_is_not_empty,
    metadata_is_kept,
    a_put_replaces_everything,
    expirations_are_listed,
    expirations_must_lie_in_range,
    deleting_is_idempotent,
    any_key_can_be_read_and_listed,
    keys_that_are_none_are_refused,
    too_much_metadata_is_refused,
    lists_are_in_byte_order,
    lists_hold_only_their_prefix,
    lists_go_on_over_pages,
    lists_take_limits_in_range,
    bulk_reads_agree_with_single_ones,
    bulk_reads_stop_at_100,
];

const PLAIN: &PutOptions = &PutOptions::new();

/// In the far future, as far as KV goes.
const FAR: u64 = limits::MAX_EXPIRATION_SECONDS;

#[allow(clippy::needless_pass_by_value, reason = "so that a case reads as a table")]
fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, found {found:?}"))
}

fn refused<T: Debug>(what: &str, result: Result<T, KvError>) -> Outcome {
    match result {
        Err(_) => Ok(()),
        Ok(answer) => Err(format!("{what}: expected an error, found {answer:?}")),
    }
}

fn done<T>(result: Result<T, KvError>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

async fn put(store: &dyn Store, key: &str, value: &str) -> Outcome {
    done(store.put(key, value.as_bytes(), PLAIN).await)
}

fn entry(value: impl AsRef<[u8]>) -> Entry {
    Entry { value: value.as_ref().to_vec(), metadata: None }
}

async fn names(store: &dyn Store, options: ListOptions<'_>) -> Result<Vec<String>, String> {
    let page = done(store.list(options).await)?;
    Ok(page.keys.into_iter().map(|key| key.name).collect())
}

async fn values_are_kept_byte_for_byte(store: &dyn Store) -> Outcome {
    let every_byte: Vec<u8> = (0..=255).collect();
    for value in
        [b"".as_slice(), b"true", "gr\u{fc}\u{df}e \u{FFFD}".as_bytes(), b"\xEF\xBB\xBFbom", &every_byte]
    {
        let key = "values_are_kept_byte_for_byte";
        done(store.put(key, value, PLAIN).await)?;
        same("value", done(store.get(key).await)?, Some(entry(value)))?;
    }
    Ok(())
}

async fn missing_is_not_empty(store: &dyn Store) -> Outcome {
    put(store, "missing_is_not_empty/empty", "").await?;
    same("empty", done(store.get("missing_is_not_empty/empty").await)?, Some(entry("")))?;
    same("missing", done(store.get("missing_is_not_empty/missing").await)?, None)
}

async fn metadata_is_kept(store: &dyn Store) -> Outcome {
    let key = "metadata_is_kept";
    for json in [r#"{"a":"2026-11-22T10:48:28.744Z","z":[1,1.5,null,"ü",{}]}"#, r#""text""#, "7", "false"] {
        let metadata = Some(Metadata::from_json(json));
        let options = PutOptions { metadata: metadata.clone(), expiration: None };
        done(store.put(key, b"value", &options).await)?;
        let expected = Entry { value: b"value".to_vec(), metadata: metadata.clone() };
        same("get", done(store.get(key).await)?, Some(expected))?;
        let page = done(store.list(ListOptions::new(key)).await)?;
        same("list", page.keys.into_iter().next().and_then(|key| key.metadata), metadata)?;
    }
    let options = PutOptions { metadata: Some(Metadata::from_json("not JSON")), expiration: None };
    refused("what is no JSON", store.put(key, b"value", &options).await)
}

async fn a_put_replaces_everything(store: &dyn Store) -> Outcome {
    let key = "a_put_replaces_everything";
    let options = PutOptions {
        metadata: Some(Metadata::from_json(r#"{"schema":1}"#)),
        expiration: Some(Expiration::At(FAR)),
    };
    done(store.put(key, b"old", &options).await)?;
    put(store, key, "new").await?;
    same("get", done(store.get(key).await)?, Some(entry("new")))?;
    let page = done(store.list(ListOptions::new(key)).await)?;
    let expiration = page.keys.into_iter().next().and_then(|key| key.expiration);
    same("expiration", expiration, None)
}

async fn expirations_are_listed(store: &dyn Store) -> Outcome {
    let key = "expirations_are_listed";
    let options = PutOptions { metadata: None, expiration: Some(Expiration::At(FAR)) };
    done(store.put(key, b"value", &options).await)?;
    let page = done(store.list(ListOptions::new(key)).await)?;
    same("at", page.keys.first().map(|key| key.expiration), Some(Some(FAR)))?;

    let options = PutOptions { metadata: None, expiration: Some(Expiration::After(3600)) };
    done(store.put(key, b"value", &options).await)?;
    let page = done(store.list(ListOptions::new(key)).await)?;
    let listed = page.keys.first().is_some_and(|key| key.expiration.is_some_and(|at| at > 3600));
    same("after", listed, true)
}

async fn expirations_must_lie_in_range(store: &dyn Store) -> Outcome {
    let key = "expirations_must_lie_in_range";
    let refusals = [
        Expiration::After(59),
        Expiration::After(0),
        Expiration::At(0),
        Expiration::At(1),
        Expiration::At(FAR + 1),
    ];
    for expiration in refusals {
        let options = PutOptions { metadata: None, expiration: Some(expiration) };
        refused(&format!("{expiration:?}"), store.put(key, b"value", &options).await)?;
    }
    let options = PutOptions { metadata: None, expiration: Some(Expiration::After(60)) };
    done(store.put(key, b"value", &options).await)
}

async fn deleting_is_idempotent(store: &dyn Store) -> Outcome {
    let key = "deleting_is_idempotent";
    put(store, key, "value").await?;
    done(store.delete(key).await)?;
    same("get", done(store.get(key).await)?, None)?;
    same("list", names(store, ListOptions::new(key)).await?, vec![])?;
    done(store.delete(key).await)
}

async fn any_key_can_be_read_and_listed(store: &dyn Store) -> Outcome {
    let longest = format!("any_key_{}", "k".repeat(limits::MAX_KEY_BYTES - "any_key_".len()));
    for key in ["1", "42", "007", "__proto__", "constructor", " ", "grüße/%2F?#", "日本語", longest.as_str()]
    {
        put(store, key, key).await?;
        same(key, done(store.get(key).await)?, Some(entry(key)))?;
        let first = names(store, ListOptions::new(key).with_limit(1)).await?;
        same("listed", first, vec![key.to_owned()])?;
        done(store.delete(key).await)?;
        same("deleted", done(store.get(key).await)?, None)?;
    }
    Ok(())
}

async fn keys_that_are_none_are_refused(store: &dyn Store) -> Outcome {
    let too_long = "k".repeat(limits::MAX_KEY_BYTES + 1);
    for key in ["", ".", "..", &too_long, &"ü".repeat(257)] {
        let what = format!("a key of {} bytes", key.len());
        refused(&format!("put of {what}"), store.put(key, b"value", PLAIN).await)?;
        refused(&format!("get of {what}"), store.get(key).await)?;
        refused(&format!("delete of {what}"), store.delete(key).await)?;
    }
    Ok(())
}

async fn too_much_metadata_is_refused(store: &dyn Store) -> Outcome {
    let key = "too_much_metadata_is_refused";
    let of_bytes = |bytes| {
        // A string of JSON has two quotes.
        let metadata = Metadata::from_json(format!("\"{}\"", "m".repeat(bytes - 2)));
        PutOptions { metadata: Some(metadata), expiration: None }
    };
    done(store.put(key, b"value", &of_bytes(limits::MAX_METADATA_BYTES)).await)?;
    let more = of_bytes(limits::MAX_METADATA_BYTES + 1);
    refused("1,025 bytes", store.put(key, b"value", &more).await)
}

async fn lists_are_in_byte_order(store: &dyn Store) -> Outcome {
    let prefix = "lists_are_in_byte_order/";
    // By UTF-16, as JavaScript sorts, the last two would change places.
    let ordered =
        ["", "1", "10", "2", "A", "a", "é", "\u{FF5E}", "\u{1F600}"].map(|end| format!("{prefix}{end}"));
    for key in ordered.iter().rev() {
        put(store, key, "").await?;
    }
    same("order", names(store, ListOptions::new(prefix)).await?, ordered.to_vec())
}

async fn lists_hold_only_their_prefix(store: &dyn Store) -> Outcome {
    let prefix = "lists_hold_only_their_prefix/";
    for end in ["a", "ab", "b"] {
        put(store, &format!("{prefix}{end}"), "").await?;
    }
    let found = names(store, ListOptions::new(&format!("{prefix}a"))).await?;
    same("prefix", found, vec![format!("{prefix}a"), format!("{prefix}ab")])
}

async fn lists_go_on_over_pages(store: &dyn Store) -> Outcome {
    let prefix = "lists_go_on_over_pages/";
    let keys: Vec<String> = (0..7).map(|n| format!("{prefix}{n}")).collect();
    for key in &keys {
        put(store, key, "").await?;
    }
    let mut found = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let options = ListOptions::new(prefix).with_cursor(cursor.as_deref()).with_limit(3);
        let page = done(store.list(options).await)?;
        if page.keys.len() > 3 {
            return Err(format!("a page of {} keys where at most 3 were asked for", page.keys.len()));
        }
        found.extend(page.keys.into_iter().map(|key| key.name));
        match page.cursor {
            Some(next) => cursor = Some(next),
            None => return same("all pages", found, keys),
        }
    }
}

async fn lists_take_limits_in_range(store: &dyn Store) -> Outcome {
    let options = ListOptions::new("lists_take_limits_in_range");
    refused("1,001", store.list(options.with_limit(1001)).await)?;
    done(store.list(options.with_limit(1000)).await).map(drop)
}

async fn bulk_reads_agree_with_single_ones(store: &dyn Store) -> Outcome {
    let prefix = "bulk_reads_agree_with_single_ones";
    let [text, doubtful, bytes, missing] = ["t", "d", "b", "-"].map(|end| format!("{prefix}/{end}"));
    let keys = ["1", "__proto__", &text, &doubtful, &bytes, &missing];
    put(store, "1", "one").await?;
    put(store, "__proto__", "proto").await?;
    put(store, &text, "grüße").await?;
    put(store, &doubtful, "\u{FFFD}").await?;
    done(store.put(&bytes, b"\xFF\x00", PLAIN).await)?;

    let bulk = done(store.get_bulk(&keys).await)?;
    same("answers", bulk.len(), keys.len())?;
    for (key, found) in keys.iter().zip(bulk) {
        let expected = match done(store.get(key).await)? {
            Some(entry) => BulkValue::Found(entry.value),
            None => BulkValue::Missing,
        };
        // Not to know is allowed; to say something else is not.
        if found != BulkValue::Unread {
            same(key, found, expected)?;
        } else if *key == text || *key == missing {
            return Err(format!("{key}: expected an answer, as nothing stands against one"));
        }
    }
    done(store.delete("1").await)?;
    done(store.delete("__proto__").await)
}

async fn bulk_reads_stop_at_100(store: &dyn Store) -> Outcome {
    let keys: Vec<String> =
        (0..=limits::MAX_BULK_KEYS).map(|n| format!("bulk_reads_stop_at_100/{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    refused("101 keys", store.get_bulk(&keys).await)?;
    let answers = done(store.get_bulk(keys.get(1..).unwrap_or_default()).await)?;
    same("100 keys", answers, vec![BulkValue::Missing; limits::MAX_BULK_KEYS])
}
