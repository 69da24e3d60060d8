//! Sends nothing to KV without the lease.

use std::future::ready;
use std::sync::Arc;

use super::lease::{Lease, superseded};
use crate::future::BoxFuture;
use crate::kv::{Answer, KvError, Request, Store};

/// Renews the lease before each operation. Once the lease is lost, every operation fails without being sent.
pub(crate) struct FencedStore {
    pub(crate) lease: Arc<Lease>,
    pub(crate) store: Arc<dyn Store>,
}

impl Store for FencedStore {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        match self.lease.renew() {
            Ok(()) => self.store.call(request),
            Err(_) => Box::pin(ready(Err(superseded(request)))),
        }
    }
}
