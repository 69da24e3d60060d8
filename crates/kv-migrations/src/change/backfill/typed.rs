//! Entries as values of a type, of which only what changed is written.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Backfill;
use super::merge::{Unassignable, is_same, merged};
use crate::change::prefixes::Prefixes;
use crate::change::record::Record;
use crate::error::Result;
use crate::kv::{Kv, parse_json, without_byte_order_mark};

impl<C> Backfill<C> {
    /// Reads each entry whose key begins with one of `prefixes` as JSON of a type, and writes what `each` changes in it:
    /// `async |kv, record, value: &mut T, context| { …; Ok(()) }`.
    ///
    /// - The type names only the fields that matter. All others stay as they stand in the text, at any depth: no digit, no
    ///   order and no white space is touched.
    /// - Only what changed is written. If nothing did, nothing is written, and costs nothing. A field that the text does not
    ///   have, and that keeps its default, is not added: to fill in a field, make it an `Option`.
    /// - Metadata and expiration stay. If `each` deletes or writes the entry by its [`Record`], nothing else is written.
    /// - An entry that is not JSON of this type fails, with the path of the field, and without the value.
    ///
    /// An element of an array is recognized by its value or by its place. Where an array changes so that this is ambiguous
    /// and elements have fields that the type does not name, the entry fails. So does an entry that would be read
    /// differently from how it was to be written, as with a field that has an alias. Then nothing is written.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Backfill, Migration, Runner, kv::MemoryStore};
    /// use serde::{Deserialize, Serialize};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// #[derive(Serialize, Deserialize)]
    /// struct Customer {
    ///     verified: Option<bool>,
    /// }
    ///
    /// let verified = Backfill::typed("customer_", async |_, _, customer: &mut Customer, _: &()| {
    ///     customer.verified.get_or_insert(false);
    ///     Ok(())
    /// });
    ///
    /// let store = MemoryStore::new();
    /// store.insert("customer_1", r#"{"name": "Ada", "spent": 12.50}"#);
    /// let migration = Migration::backfill("003_verified", "Fill in `verified`", verified);
    /// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
    /// assert_eq!(store.value("customer_1").unwrap(), br#"{"name": "Ada", "spent": 12.50, "verified": false}"#);
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    pub fn typed<T: DeserializeOwned + Serialize + 'static>(
        prefixes: impl Into<Prefixes>,
        each: impl AsyncFn(&Kv, &Record, &mut T, &C) -> Result + Send + Sync + 'static,
    ) -> Self {
        Self::new(prefixes, async move |kv, record, context| {
            let mut value: T = record.json()?;
            let before = written(&value)?;
            each(kv, record, &mut value, context).await?;
            if record.is_changed() {
                return Ok(());
            }
            let after = written(&value)?;
            drop(value);
            let reread = |json: &[u8]| written(&parse_json::<T>(json)?);
            match changed(record.value(), &before, &after, reread)? {
                Some(value) => Ok(record.put(value).await?),
                None => Ok(()),
            }
        })
    }
}

fn written(value: &impl Serialize) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(value);
    Ok(json.map_err(|_| "its value cannot be written as JSON: its maps need keys that are text")?)
}

/// The new value of an entry; `None` if it stays. `reread` reads JSON as a value of the type and writes it again.
fn changed(
    old: &[u8],
    before: &[u8],
    after: &[u8],
    reread: impl Fn(&[u8]) -> Result<Vec<u8>>,
) -> Result<Option<Vec<u8>>> {
    let json = without_byte_order_mark(old).trim_ascii();
    let Some(new) = merged(json, before, after).map_err(|Unassignable| {
        "an array changed so that nobody can tell which of its elements keep the fields that the type does not name. Nothing \
         was written. Name all of them, or change the value as a `serde_json::Value`"
    })?
    else {
        return Ok(None);
    };
    if !reread(&new).is_ok_and(|again| is_same(&again, after)) {
        return Err("its changed value would not be read as it was to be written: a field has an alias, perhaps, or is not read. \
                    Nothing was written"
            .into());
    }
    let start = old.len() - without_byte_order_mark(old).trim_ascii_start().len();
    let end = start + json.len();
    Ok(Some([old.get(..start).unwrap_or_default(), &new, old.get(end..).unwrap_or_default()].concat()))
}
