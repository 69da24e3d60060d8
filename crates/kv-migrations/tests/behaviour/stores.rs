//! Stores that are not as they should be.

use futures::executor::block_on;
use futures::future::LocalBoxFuture;
use kv_migrations::kv::{Answer, KvError, ListOptions, MemoryStore, Page, Request, Store, StoreExt};

/// Lists as they were when it was made, as KV elsewhere in the world still sees them.
pub struct StaleLists {
    store: MemoryStore,
    page: Page,
}

impl StaleLists {
    pub fn of(store: MemoryStore) -> Self {
        let page = block_on(store.list(ListOptions::default())).expect("memory lists");
        Self { store, page }
    }
}

impl Store for StaleLists {
    fn call<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Answer, KvError>> {
        let Request::List(options) = request else { return self.store.call(request) };
        let mut page = self.page.clone();
        page.keys.retain(|key| key.name.starts_with(options.prefix));
        Box::pin(async move { Ok(Answer::Page(page)) })
    }
}

/// Answers every list with an empty page before each page, as KV may.
pub struct EmptyPages(pub MemoryStore);

const EMPTY: &str = "empty";

impl Store for EmptyPages {
    fn call<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Answer, KvError>> {
        let Request::List(options) = request else { return self.0.call(request) };
        Box::pin(async move {
            let cursor = options.cursor.map(|cursor| cursor.split_at(EMPTY.len()));
            match cursor {
                Some((EMPTY, rest)) => {
                    let cursor = Some(rest).filter(|rest| !rest.is_empty());
                    let page = self.0.list(ListOptions { cursor, ..options }).await?;
                    let cursor = page.cursor.map(|cursor| format!("later{cursor}"));
                    Ok(Answer::Page(Page { keys: page.keys, cursor }))
                }
                rest => {
                    let rest = rest.map_or("", |(_, rest)| rest);
                    Ok(Answer::Page(Page { keys: Vec::new(), cursor: Some(format!("{EMPTY}{rest}")) }))
                }
            }
        })
    }
}

/// What a store can get wrong.
#[derive(Debug, Clone, Copy)]
pub enum Mistake {
    LosesMetadata,
    ListsEverything,
    ListsBackwards,
    TellsMissingFromEmptyNot,
}

/// A store that makes one mistake.
pub struct Mistaken(pub MemoryStore, pub Mistake);

impl Store for Mistaken {
    fn call<'a>(&'a self, request: Request<'a>) -> LocalBoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let request = match (self.1, request) {
                (Mistake::ListsEverything, Request::List(options)) => {
                    Request::List(ListOptions { prefix: "", ..options })
                }
                (_, request) => request,
            };
            let mut answer = self.0.call(request).await?;
            match (self.1, &mut answer) {
                (Mistake::LosesMetadata, Answer::Entry(Some(entry))) => entry.metadata = None,
                (Mistake::ListsBackwards, Answer::Page(page)) => page.keys.reverse(),
                (Mistake::TellsMissingFromEmptyNot, Answer::Entry(entry)) => {
                    entry.take_if(|entry| entry.value.is_empty());
                }
                _ => {}
            }
            Ok(answer)
        })
    }
}
