//! A second namespace: the keys of the only one that begin with a prefix that no other key begins with.

use kv_migrations::BoxFuture;
use kv_migrations::kv::{Answer, Key, KvError, ListOptions, Page, Request, Store};

/// What the keys of the second namespace begin with, as the world sees them.
const PREFIX: &str = "other/";

/// The second namespace of a store. It shows its keys without the prefix.
pub struct OtherNamespace<S>(pub S);

/// A key of the second namespace, as the world sees it.
pub fn elsewhere(key: &str) -> String {
    format!("{PREFIX}{key}")
}

/// A key as migrations see it, if it is in the second namespace.
pub fn from_elsewhere(key: &str) -> Option<&str> {
    key.strip_prefix(PREFIX)
}

impl<S: Store> Store for OtherNamespace<S> {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let key = elsewhere(request.key());
            match request {
                Request::Get { .. } => self.0.call(Request::Get { key: &key }).await,
                Request::GetBulk { keys } => {
                    let keys: Vec<String> = keys.iter().map(|key| elsewhere(key)).collect();
                    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                    self.0.call(Request::GetBulk { keys: &keys }).await
                }
                Request::Put { value, options, .. } => {
                    self.0.call(Request::Put { key: &key, value, options }).await
                }
                Request::Delete { .. } => self.0.call(Request::Delete { key: &key }).await,
                Request::List(options) => {
                    let mut options: ListOptions<'_> = options;
                    options.prefix = &key;
                    Ok(match self.0.call(Request::List(options)).await? {
                        Answer::Page(page) => Answer::Page(shown(page)),
                        answer => answer,
                    })
                }
                _ => Err(request.refused(None, "it is not known")),
            }
        })
    }
}

fn shown(mut page: Page) -> Page {
    let shown = |key: &mut Key| key.name.replace_range(..PREFIX.len(), "");
    page.keys.iter_mut().for_each(shown);
    page
}
