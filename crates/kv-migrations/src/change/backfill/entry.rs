//! The work on one entry, and whether it is the entry that failed, or KV.

use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;
use std::future::ready;
use std::iter::successors;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use super::ahead::NoWritesAhead;
use crate::change::record::Record;
use crate::change::selection::Selection;
use crate::change::values::{LargeValues, Loaded};
use crate::error::{BoxError, Result, reason};
use crate::future::BoxFuture;
use crate::kv::{EntryOperations, Key, Kv, KvError, PAUSES};
use crate::report::{EntryCounts, FailedEntry};
use crate::session::Session;

/// What is done to entries: an async closure behind a trait object.
pub(super) trait Each<C>: Send + Sync {
    fn run<'a>(&'a self, kv: &'a Kv, records: &'a [Record], context: &'a C) -> BoxFuture<'a, Result>;
}

/// What is done to one entry.
pub(super) struct ToEntry<F>(pub(super) F);

impl<C, F: AsyncFn(&Kv, &Record, &C) -> Result + Send + Sync> Each<C> for ToEntry<F> {
    fn run<'a>(&'a self, kv: &'a Kv, records: &'a [Record], context: &'a C) -> BoxFuture<'a, Result> {
        match records {
            [record] => Box::pin((self.0)(kv, record, context)),
            _ => Box::pin(ready(Ok(()))),
        }
    }
}

/// Works on entries.
pub(super) struct EntryWork<'a, C> {
    each: &'a dyn Each<C>,
    session: &'a Session<'a>,
    context: &'a C,
    selection: &'a Selection,
    /// The namespace of the entries.
    kv: Kv,
    /// Whether no entry may write ahead.
    is_guarded: bool,
    large_values: LargeValues,
    /// How many entries were written or deleted.
    changed: Cell<u64>,
}

impl<'a, C> EntryWork<'a, C> {
    pub(super) fn new(
        each: &'a dyn Each<C>,
        session: &'a Session<'a>,
        context: &'a C,
        selection: &'a Selection,
        is_guarded: bool,
    ) -> Self {
        let (large_values, changed) = (LargeValues::new(), Cell::new(0));
        let (kv, is_guarded) = (selection.scope.kv(session), is_guarded && !selection.scope.is_elsewhere());
        Self { each, session, context, selection, kv, is_guarded, large_values, changed }
    }

    pub(super) fn add_changed(&self, entries: usize) {
        self.changed.set(self.changed.get() + entries as u64);
    }

    /// The count of entries that were written or deleted since this was asked.
    pub(super) fn take_changed(&self) -> EntryCounts {
        EntryCounts { changed: self.changed.take(), ..EntryCounts::default() }
    }

    /// Changes an entry. Returns the failure that the entry itself caused; a failure of KV is an error.
    ///
    /// If KV refuses the first write to the entry with 429, somebody else wrote it a moment ago, perhaps after its value was
    /// read: then it is read and worked on again, instead of written over.
    pub(super) async fn change(
        &self,
        operations: EntryOperations,
        mut key: Key,
        mut loaded: Loaded,
        mut is_repeated: bool,
    ) -> Result<Option<FailedEntry>> {
        let name = key.name.clone();
        let mut pauses = PAUSES.iter();
        loop {
            let pause = pauses.next();
            let attempt = operations.begin_attempt(pause.map(|_| &*name).as_slice());
            let result = self.attempt(&attempt, key, loaded, is_repeated).await;
            if operations.is_cut_off() {
                // An operation was refused, whatever the closure made of that: the entry is not done.
                return Err("the budget is used up".into());
            }
            let Some(seconds) = pause.filter(|_| operations.has_conflict()) else {
                return result.map(|done| match done {
                    Ok(changed) => {
                        self.add_changed(usize::from(changed));
                        None
                    }
                    Err(failed) => Some(failed),
                });
            };
            self.session.sleep(Duration::from_secs(*seconds)).await;
            key = match self.find(&self.kv.for_entry(attempt), &name).await? {
                None => return Ok(None),
                Some(found) => found,
            };
            (loaded, is_repeated) = (self.selection.unread(), true);
        }
    }

    /// Works on an entry once. Returns whether it was written or deleted, or the failure that it caused.
    async fn attempt(
        &self,
        operations: &EntryOperations,
        key: Key,
        loaded: Loaded,
        is_repeated: bool,
    ) -> Result<Result<bool, FailedEntry>> {
        let name = key.name.clone();
        let (kv, guard) = self.kv(operations, &name);
        let change = async |value: Option<Vec<u8>>| match value {
            // It was deleted in the meantime.
            None => Ok(false),
            Some(value) => {
                let record = self.selection.record(&kv, key, value).repeated(is_repeated);
                self.run(&kv, operations, slice::from_ref(&record)).await?;
                Ok(record.is_changed())
            }
        };
        let result: Result<bool> = self.large_values.with_value(&kv, &name, loaded, change).await;
        match result {
            Ok(_) if guard.is_some_and(|guard| guard.has_refused()) => {
                // The closure hides it, but something is not written.
                let refused = operations.outage().map(|error| error.to_string());
                Err(format!("{}: {}", at_entry(&name), refused.unwrap_or_default()).into())
            }
            Ok(is_changed) => Ok(Ok(is_changed)),
            Err(error) => match failure(&*error, operations.outage()) {
                Ok(reason) => Ok(Err(FailedEntry { key: name, reason })),
                Err(outage) => Err(outage.at(&at_entry(&name))),
            },
        }
    }

    /// The handle for work whose last entry has this name, and what refuses writes ahead of it.
    pub(super) fn kv(&self, operations: &EntryOperations, name: &str) -> (Kv, Option<Arc<NoWritesAhead>>) {
        let mut guard = None;
        let kv = self.kv.for_entry_in(operations.clone(), |store| {
            if !self.is_guarded {
                return store;
            }
            let prefixes = self.selection.scope.prefixes().clone();
            guard.insert(Arc::new(NoWritesAhead::new(store, prefixes, name))).clone()
        });
        (kv, guard)
    }

    /// Runs the closure on records of this handle, with a handle of the routes' own namespace.
    pub(super) async fn run(&self, kv: &Kv, operations: &EntryOperations, records: &[Record]) -> Result {
        if !self.selection.scope.is_elsewhere() {
            return self.each.run(kv, records, self.context).await;
        }
        let own = self.session.kv.for_other_entry(operations.clone());
        self.each.run(&own, records, self.context).await
    }

    /// Changes an entry again of which only the name is known.
    pub(super) async fn find_and_change(&self, name: &str) -> Result<Option<FailedEntry>> {
        match self.find(&self.kv, name).await? {
            Some(key) => self.change(EntryOperations::default(), key, self.selection.unread(), true).await,
            None => Ok(None),
        }
    }

    /// The key of an entry, if it is still one that the backfill works on.
    async fn find(&self, kv: &Kv, name: &str) -> Result<Option<Key>> {
        let outage = |source: KvError| Outage { text: source.to_string(), source }.at(&at_entry(name));
        let found = kv.find(name).await.map_err(outage)?;
        Ok(found.filter(|key| self.selection.scope.takes(key)))
    }
}

/// Why entries failed. An error if KV failed them, whatever the closure made of that.
pub(super) fn failure(error: &(dyn StdError + 'static), outage: Option<KvError>) -> Result<String, Outage> {
    let text = reason(error);
    let mut outages = causes(error).filter_map(|cause| cause.downcast_ref::<KvError>());
    match outage.or_else(|| outages.find(|error| error.is_outage()).cloned()) {
        Some(source) => {
            let outage = source.to_string();
            let text = if text.contains(&outage) { text } else { format!("{text}. KV had failed: {outage}") };
            Err(Outage { text, source })
        }
        None => Ok(text),
    }
}

/// The failure of entries that KV failed. Its error stays the source: it may say that another run has replaced this one.
#[derive(Debug)]
pub(super) struct Outage {
    text: String,
    source: KvError,
}

impl Outage {
    /// The error, which names the place.
    pub(super) fn at(self, place: &str) -> BoxError {
        Box::new(Self { text: format!("{place}: {}", self.text), ..self })
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Outage {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}

/// An error and its causes.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    successors(Some(error), |&error| error.source())
}

/// Names an entry in an error.
pub(super) fn at_entry(name: &str) -> String {
    format!("at the entry `{name}`")
}
