//! The shape of a decorator: something that is done around every operation of a store, the same for all five.

use futures_util::future::LocalBoxFuture;

use super::{BulkValue, Entry, KvError, ListOptions, Operation, Page, PutOptions, Store};

/// What a decorator does around one operation of the store inside it.
pub(crate) trait Around: Send + Sync {
    /// Makes the `call`, before, after or instead of which it may do as it likes.
    async fn around<T>(
        &self,
        operation: Operation,
        key: &str,
        call: impl AsyncFn() -> Result<T, KvError>,
    ) -> Result<T, KvError>;
}

/// A store, and what is done around its operations.
pub(crate) struct Decorated<A, S> {
    pub(crate) around: A,
    pub(crate) store: S,
}

impl<A: Around, S: Store> Store for Decorated<A, S> {
    fn get<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<Option<Entry>, KvError>> {
        Box::pin(self.around.around(Operation::Get, key, async move || self.store.get(key).await))
    }

    fn get_bulk<'a>(&'a self, keys: &'a [&'a str]) -> LocalBoxFuture<'a, Result<Vec<BulkValue>, KvError>> {
        let first = keys.first().copied().unwrap_or_default();
        Box::pin(self.around.around(Operation::GetBulk, first, async move || self.store.get_bulk(keys).await))
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        options: &'a PutOptions,
    ) -> LocalBoxFuture<'a, Result<(), KvError>> {
        Box::pin(
            self.around.around(Operation::Put, key, async move || self.store.put(key, value, options).await),
        )
    }

    fn delete<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<(), KvError>> {
        Box::pin(self.around.around(Operation::Delete, key, async move || self.store.delete(key).await))
    }

    fn list<'a>(&'a self, options: ListOptions<'a>) -> LocalBoxFuture<'a, Result<Page, KvError>> {
        Box::pin(
            self.around.around(Operation::List, options.prefix, async move || self.store.list(options).await),
        )
    }
}
