//! What a Durable Object keeps, as the storage of a coordinator: rows in its database, and its alarm.

use std::cell::Cell;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use kv_migrations::coordinator::{Change, Storage, StorageError};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use worker::durable::State;
use worker::js_sys::{Array, Promise, Uint8Array};
use worker::send::SendWrapper;
use worker::wasm_bindgen_futures::{JsFuture, spawn_local};
use worker::worker_sys::types::SqlStorageCursor;

use crate::thrown::message;

/// Of a value that is longer, each part has a row: an object's database holds no value of more than 2 MB.
const PART_BYTES: usize = 1_000_000;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS kv_migrations (name TEXT, part INTEGER, bytes BLOB NOT NULL, \
                      PRIMARY KEY (name, part)) WITHOUT ROWID";

/// The storage of one object. A Worker has one thread, on which it is as good as `Send`.
pub struct ObjectStorage(SendWrapper<Rows>);

struct Rows {
    storage: DurableStorage,
    is_table_made: Cell<bool>,
}

/// `worker` has neither `transactionSync` nor an alarm that is set without waiting for it.
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
    /// Of this object.
    pub fn new(state: &State) -> Self {
        let storage = JsValue::from(state.storage().as_raw()).unchecked_into();
        Self(SendWrapper(Rows { storage, is_table_made: Cell::new(false) }))
    }
}

impl Storage for ObjectStorage {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.0.get(name).map_err(|thrown| failed(&thrown))
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        self.0.list(prefix).map_err(|thrown| failed(&thrown))
    }

    fn write(&self, changes: &[Change]) -> Result<(), StorageError> {
        self.0.write(changes).map_err(|thrown| failed(&thrown))
    }
}

impl Rows {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, JsValue> {
        let rows =
            self.query("SELECT bytes FROM kv_migrations WHERE name = ? ORDER BY part", [name.into()])?;
        let mut whole: Option<Vec<u8>> = None;
        for row in rows.raw() {
            whole.get_or_insert_default().extend(bytes(&row?, 0));
        }
        Ok(whole)
    }

    /// Read up to the first name that does not begin so. `LIKE` and `GLOB` would take some characters of a name for
    /// patterns; the order of names is that of their bytes.
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
                Some((last, whole)) if *last == name => whole.extend(bytes(&row, 1)),
                _ => found.push((name, bytes(&row, 1))),
            }
        }
        Ok(found)
    }

    /// In a transaction, since a statement that fails takes back only itself: `sql.exec` takes no `BEGIN`. What else is
    /// written before the next await goes to the disk with it.
    fn write(&self, changes: &[Change]) -> Result<(), JsValue> {
        let mut alarm = None;
        // Before: what is made inside would be taken back with the rest.
        self.sql()?;
        self.storage.transaction(&mut || {
            for change in changes {
                match change {
                    Change::Put { name, bytes } => self.put(name, bytes)?,
                    Change::Delete { name } => self.delete(name, 0)?,
                    Change::Alarm(at) => alarm = Some(at),
                }
            }
            // At the end, so that nothing has to be taken back if that is refused.
            match alarm {
                Some(Some(at)) => forget(self.storage.set_alarm(milliseconds(*at))?),
                Some(None) => forget(self.storage.delete_alarm()?),
                None => {}
            }
            Ok(())
        })?;
        Ok(())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), JsValue> {
        const ROW: &str = "INSERT OR REPLACE INTO kv_migrations (name, part, bytes) VALUES (?, ?, ?)";
        let mut parts = 0_u32;
        for part in bytes.chunks(PART_BYTES).chain(bytes.is_empty().then_some(bytes)) {
            self.query(ROW, [name.into(), parts.into(), Uint8Array::from(part).into()])?;
            parts += 1;
        }
        self.delete(name, parts)
    }

    /// From this part on.
    fn delete(&self, name: &str, part: u32) -> Result<(), JsValue> {
        const ROWS: &str = "DELETE FROM kv_migrations WHERE name = ? AND part >= ?";
        self.query(ROWS, [name.into(), part.into()]).map(drop)
    }

    fn query<const N: usize>(
        &self,
        statement: &str,
        values: [JsValue; N],
    ) -> Result<SqlStorageCursor, JsValue> {
        self.sql()?.exec(statement, &values.into_iter().collect())
    }

    /// The table is made when it is first needed: an object that refuses whoever asks keeps nothing.
    fn sql(&self) -> Result<Sql, JsValue> {
        let sql = self.storage.sql()?;
        if !self.is_table_made.get() {
            sql.exec(CREATE, &Array::new())?;
            self.is_table_made.set(true);
        }
        Ok(sql)
    }
}

/// A column of a row.
fn bytes(row: &JsValue, column: u32) -> Vec<u8> {
    Uint8Array::new(&row.unchecked_ref::<Array>().get(column)).to_vec()
}

/// Does not wait for it: what leaves the object waits until it is durable, and if it never gets so, the object is
/// reset, whoever waits. Only is it not to be told as a rejection that nobody handles.
fn forget(promise: Promise) {
    spawn_local(async move { drop(JsFuture::from(promise).await) });
}

/// Since 1970, as JavaScript has it.
#[allow(clippy::cast_precision_loss, reason = "times are far below 2⁵³, up to which it is exact")]
fn milliseconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as f64
}

fn failed(thrown: &JsValue) -> StorageError {
    StorageError::new(message(thrown))
}

impl fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStorage").finish_non_exhaustive()
    }
}
