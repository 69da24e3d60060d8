//! A state that is gathered from every entry of a prefix and then written.

mod gather;
mod json;
mod once;
mod output;
mod repeated;
mod selecting;
mod write;
mod writing;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::contract::BoxChange;
use super::prefixes::Prefixes;
use super::record::Record;
use super::resumable::ResumableChange;
use super::selection::Selection;
use crate::error::Result;
use crate::kv::Kv;
use gather::{Closing, FoldChange, Gathering};
use once::Once;
pub use output::FoldOutput;
use repeated::Repeated;

/// Gathers a state from each entry whose key begins with a prefix, in the order of the keys, and writes what follows from
/// it at the end: an index, a sum.
///
/// - **Which entries.** It first counts the keys, one operation for every 1,000, and ends at the last one that it counted,
///   even while a service adds entries. Entries that KV does not list yet do not count.
/// - **The state** is kept in checkpoints, as JSON of at most 10 MiB. It must come back from JSON as it was: its maps need
///   keys that are text, and its numbers must be finite. That is checked at the first entry and after the last one.
/// - **Each entry counts once**, whatever crashes: state and position are one value of KV. That holds even if an old
///   checkpoint is read.
///
/// # Example
/// ```
/// use kv_migrations::{Fold, Migration, Runner, FoldOutput, kv::MemoryStore};
/// use std::collections::BTreeMap;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// type Index = BTreeMap<String, Vec<String>>;
///
/// let by_customer = Fold::new(
///     "mod_",
///     Index::new,
///     |index: &mut Index, record, _: &()| {
///         let customer = record.text()?.to_owned();
///         index.entry(customer).or_default().push(record.name().to_owned());
///         Ok(())
///     },
///     |index, _| index.iter().map(|(customer, mods)| FoldOutput::json(format!("mods_of_{customer}"), mods)).collect(),
/// );
/// let migration = Migration::fold("004_index", "Index all mods by customer", by_customer);
///
/// let store = MemoryStore::new();
/// store.insert("mod_1", "ada");
/// store.insert("mod_2", "ada");
/// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
/// assert_eq!(store.value("mods_of_ada").unwrap(), br#"["mod_1","mod_2"]"#);
/// # Ok(())
/// # }
/// # futures::executor::block_on(example()).unwrap();
/// ```
pub struct Fold<C, S> {
    gathering: Gathering<C, S>,
    closing: Box<dyn IntoChange<C, S>>,
}

/// A way to close a fold. A trait object, so that a Worker has the code of the ways that it uses alone.
trait IntoChange<C, S>: Send + Sync {
    fn into_change(self: Box<Self>, gathering: Gathering<C, S>) -> BoxChange<C>;
}

impl<C: 'static, S, K> IntoChange<C, S> for K
where
    S: Serialize + DeserializeOwned + 'static,
    K: Closing<C, S> + 'static,
{
    fn into_change(self: Box<Self>, gathering: Gathering<C, S>) -> BoxChange<C> {
        Box::new(ResumableChange(FoldChange { gathering, closing: *self }))
    }
}

impl<C: 'static, S: Serialize + DeserializeOwned + 'static> Fold<C, S> {
    /// Begins with `initial()`, calls `each` for one entry after the other, and writes what `close` returns for the final
    /// state: over several requests if necessary.
    ///
    /// `close` is called again by each request that writes, and must return the same for the same state. If you have changed
    /// it, so that it returns something else, the fold writes its outputs again. It deletes what it wrote before and no longer
    /// produces. At the third difference it fails. If it writes more than 10,000 keys, it fails at the first.
    pub fn new(
        prefixes: impl Into<Prefixes>,
        initial: impl Fn() -> S + Send + Sync + 'static,
        each: impl Fn(&mut S, &Record, &C) -> Result + Send + Sync + 'static,
        close: impl Fn(&S, &C) -> Result<Vec<FoldOutput>> + Send + Sync + 'static,
    ) -> Self {
        let (initial, each) = (Box::new(initial), Box::new(each));
        Self {
            gathering: Gathering { selection: Selection::new(prefixes.into()), initial, each },
            closing: Box::new(Repeated(Box::new(close))),
        }
    }

    /// Gathers a state as [`new`](Self::new) does, with a `close` that reads other keys: to add to an existing
    /// index, to delete the keys of an older one, or to look something up.
    ///
    /// `close` is `async |kv, state, context| { …; Ok(outputs) }`. It only reads: each write is a [`FoldOutput`]. It is called
    /// in one request, and once: before the first output is written, a checkpoint keeps all of them in place of the state.
    /// So it never reads what the fold itself has written, and a number is added once, whatever is cut off. Outputs that KV
    /// would not take fail the migration before anything is written.
    ///
    /// The checkpoint keeps all outputs until they are written: they have 10 MiB at most together, or the migration fails before
    /// anything is written.
    ///
    /// Once `close` has returned, a changed one has no effect on this migration, unless it is reset. What the service writes to
    /// an output's key after `close` has read it is overwritten. Without a coordinator, a run elsewhere that reads an older
    /// checkpoint, within KV's delay, may call `close` again: add to a set there, rather than to a number.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Fold, FoldOutput, Migration, Runner, kv::MemoryStore};
    /// use std::collections::{BTreeMap, BTreeSet};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// type Index = BTreeMap<String, BTreeSet<String>>;
    ///
    /// let by_customer = Fold::merging(
    ///     "mod_",
    ///     Index::new,
    ///     |index: &mut Index, record, _: &()| {
    ///         index.entry(record.text()?.to_owned()).or_default().insert(record.name().to_owned());
    ///         Ok(())
    ///     },
    ///     async |kv, index, _| {
    ///         let mut outputs = Vec::new();
    ///         for (customer, mods) in index {
    ///             let key = format!("mods_of_{customer}");
    ///             let mut all: BTreeSet<String> = kv.json(&key).await?.unwrap_or_default();
    ///             all.extend(mods.iter().cloned());
    ///             outputs.push(FoldOutput::json(key, &all)?.keep_metadata().keep_expiration());
    ///         }
    ///         Ok(outputs)
    ///     },
    /// );
    /// let migration = Migration::fold("004_index", "Index all mods by customer", by_customer);
    ///
    /// let store = MemoryStore::new();
    /// store.insert("mod_2", "ada");
    /// store.insert("mods_of_ada", r#"["archived_1"]"#);
    /// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
    /// assert_eq!(store.value("mods_of_ada").unwrap(), br#"["archived_1","mod_2"]"#);
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    pub fn merging(
        prefixes: impl Into<Prefixes>,
        initial: impl Fn() -> S + Send + Sync + 'static,
        each: impl Fn(&mut S, &Record, &C) -> Result + Send + Sync + 'static,
        close: impl AsyncFn(&Kv, &S, &C) -> Result<Vec<FoldOutput>> + Send + Sync + 'static,
    ) -> Self {
        let (initial, each) = (Box::new(initial), Box::new(each));
        Self {
            gathering: Gathering { selection: Selection::new(prefixes.into()), initial, each },
            closing: Box::new(Once(Box::new(close))),
        }
    }
}

impl<C, S> Fold<C, S> {
    pub(crate) fn into_change(self) -> BoxChange<C> {
        self.closing.into_change(self.gathering)
    }
}

impl<C, S> fmt::Debug for Fold<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fold")
            .field("prefixes", self.gathering.selection.scope.prefixes())
            .finish_non_exhaustive()
    }
}
