//! The storage of a Durable Object, as a coordinator needs it: rows in its database, and its alarm.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kv_migrations::clock::{Clock, SystemClock};
use kv_migrations::coordinator::{RowChange, Storage, StorageError};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use worker::durable::State;
use worker::js_sys::{Array, Promise, Uint8Array};
use worker::send::SendWrapper;
use worker::wasm_bindgen_futures::{JsFuture, spawn_local};
use worker::worker_sys::types::SqlStorageCursor;

use super::js_error::message;

/// Longer values have a row for each part: an object's database holds no value of more than 2 MB.
const MAX_PART_BYTES: usize = 1_000_000;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS kv_migrations (name TEXT, part INTEGER, bytes BLOB NOT NULL, \
                      PRIMARY KEY (name, part)) WITHOUT ROWID";

/// The storage of one object. `SendWrapper` makes it `Send`: a Worker has a single thread.
pub struct ObjectStorage(SendWrapper<Rows>);

struct Rows {
    storage: DurableStorage,
    /// Not a `Cell`: in a build with `panic=unwind`, closures for JavaScript have to be unwind safe.
    is_table_created: AtomicBool,
}

/// `worker` has no `transactionSync`, and awaits an alarm when it sets one.
#[wasm_bindgen]
extern "C" {
    type DurableStorage;

    #[wasm_bindgen(method, catch, getter)]
    fn sql(this: &DurableStorage) -> Result<Sql, JsValue>;

    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction(
        this: &DurableStorage,
        work: &mut dyn FnMut() -> Result<(), JsValue>,
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = setAlarm)]
    fn set_alarm(this: &DurableStorage, milliseconds: f64) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch, js_name = deleteAlarm)]
    fn delete_alarm(this: &DurableStorage) -> Result<Promise, JsValue>;

    type Sql;

    #[wasm_bindgen(method, catch, variadic)]
    fn exec(this: &Sql, statement: &str, values: &Array) -> Result<SqlStorageCursor, JsValue>;
}

impl ObjectStorage {
    /// Creates the storage of the object with this state.
    pub fn new(state: &State) -> Self {
        let storage = JsValue::from(state.storage().as_raw()).unchecked_into();
        Self(SendWrapper(Rows { storage, is_table_created: AtomicBool::new(false) }))
    }
}

impl Storage for ObjectStorage {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.0.get(name).map_err(|error| failed(&error))
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        self.0.list(prefix).map_err(|error| failed(&error))
    }

    fn write(&self, changes: &[RowChange]) -> Result<(), StorageError> {
        self.0.write(changes).map_err(|error| failed(&error))
    }
}

impl Rows {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, JsValue> {
        let rows =
            self.query("SELECT bytes FROM kv_migrations WHERE name = ? ORDER BY part", [name.into()])?;
        let mut value: Option<Vec<u8>> = None;
        for row in rows.raw() {
            value.get_or_insert_default().extend(bytes(&row?, 0));
        }
        Ok(value)
    }

    /// Reads in the order of the names' bytes, up to the first name without the prefix. `LIKE` and `GLOB` would take
    /// some characters of a name for patterns.
    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, JsValue> {
        const ROWS: &str = "SELECT name, bytes FROM kv_migrations WHERE name >= ? ORDER BY name, part";
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        for row in self.query(ROWS, [prefix.into()])?.raw() {
            let row = row?;
            let name = row.unchecked_ref::<Array>().get(0).as_string().unwrap_or_default();
            if !name.starts_with(prefix) {
                break;
            }
            match found.last_mut() {
                Some((last, value)) if *last == name => value.extend(bytes(&row, 1)),
                _ => found.push((name, bytes(&row, 1))),
            }
        }
        Ok(found)
    }

    /// Writes in a transaction, since a failed statement rolls back only itself, and `sql.exec` takes no `BEGIN`. All
    /// writes before the next await reach the disk together.
    fn write(&self, changes: &[RowChange]) -> Result<(), JsValue> {
        let alarm = changes.iter().rev().find_map(|change| match change {
            RowChange::Alarm(at) => Some(*at),
            _ => None,
        });
        // Creates the table before the transaction, which would roll it back with the rest.
        self.sql()?;
        self.storage.transaction(&mut || {
            for change in changes {
                match change {
                    RowChange::Put { name, bytes } => self.put(name, bytes)?,
                    RowChange::Delete { name } => self.delete(name, 0)?,
                    RowChange::Alarm(_) => {}
                    // All changes or none.
                    _ => return Err(JsValue::from_str("this storage does not know the change")),
                }
            }
            // The alarm comes last, so that nothing has to be taken back if it is refused.
            match alarm {
                Some(Some(at)) => ignore_result(self.storage.set_alarm(alarm_time(at, SystemClock.now()))?),
                Some(None) => ignore_result(self.storage.delete_alarm()?),
                None => {}
            }
            Ok(())
        })?;
        Ok(())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), JsValue> {
        const ROW: &str = "INSERT OR REPLACE INTO kv_migrations (name, part, bytes) VALUES (?, ?, ?)";
        let mut parts = 0_u32;
        for part in bytes.chunks(MAX_PART_BYTES).chain(bytes.is_empty().then_some(bytes)) {
            self.query(ROW, [name.into(), parts.into(), Uint8Array::from(part).into()])?;
            parts += 1;
        }
        self.delete(name, parts)
    }

    /// Deletes the parts of a value from this one on.
    fn delete(&self, name: &str, first_part: u32) -> Result<(), JsValue> {
        const ROWS: &str = "DELETE FROM kv_migrations WHERE name = ? AND part >= ?";
        self.query(ROWS, [name.into(), first_part.into()]).map(drop)
    }

    fn query<const N: usize>(
        &self,
        statement: &str,
        values: [JsValue; N],
    ) -> Result<SqlStorageCursor, JsValue> {
        self.sql()?.exec(statement, &values.into_iter().collect())
    }

    /// Creates the table when it is first needed, so that an object that refuses all callers stores nothing.
    fn sql(&self) -> Result<Sql, JsValue> {
        let sql = self.storage.sql()?;
        if !self.is_table_created.load(Ordering::Relaxed) {
            sql.exec(CREATE, &Array::new())?;
            self.is_table_created.store(true, Ordering::Relaxed);
        }
        Ok(sql)
    }
}

/// A column of a row.
fn bytes(row: &JsValue, column: u32) -> Vec<u8> {
    Uint8Array::new(&row.unchecked_ref::<Array>().get(column)).to_vec()
}

/// Does not wait for the promise: the runtime holds back all output of the object until its writes are durable, and
/// resets the object if they fail. Handles the rejection, which the runtime would otherwise report as unhandled.
fn ignore_result(promise: Promise) {
    spawn_local(async move { drop(JsFuture::from(promise).await) });
}

/// When the runtime is to call an alarm: in a millisecond at the earliest. It refuses 1970, and an alarm that an alarm sets
/// for the same millisecond can get lost (cloudflare/workerd#6866).
fn alarm_time(at: SystemTime, now: SystemTime) -> f64 {
    milliseconds(at.max(now + Duration::from_millis(1)))
}

/// Milliseconds since 1970, as a number of JavaScript.
#[allow(clippy::cast_precision_loss, reason = "times are far below 2⁵³, up to which it is exact")]
fn milliseconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as f64
}

fn failed(error: &JsValue) -> StorageError {
    StorageError::new(message(error))
}

impl fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStorage").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_never_set_for_the_present_or_the_past() {
        let now = UNIX_EPOCH + Duration::from_secs(100);
        let second = Duration::from_secs(1);
        for (at, expected) in
            [(UNIX_EPOCH, 100_001.0), (now - second, 100_001.0), (now, 100_001.0), (now + second, 101_000.0)]
        {
            assert!((alarm_time(at, now) - expected).abs() < 0.5, "{at:?}");
        }
    }
}
