//! Sends nothing to KV without the lease.

use std::future::ready;
use std::sync::Arc;

use super::lease::{Lease, superseded};
use crate::future::BoxFuture;
use crate::kv::{Answer, KvError, Namespaces, Request, Store};

/// Renews the lease before each operation. Once the lease is lost, every operation fails without being sent. So does a write
/// of a migration once the writes of a day are used up.
pub(crate) struct FencedStore {
    pub(crate) lease: Arc<Lease>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) purpose: Purpose,
}

/// Puts a [`FencedStore`] in front of each namespace that the migrations of a step work on.
pub(crate) struct Fence(pub(crate) Arc<Lease>);

impl Namespaces for Fence {
    fn in_front_of(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(FencedStore { lease: self.0.clone(), store, purpose: Purpose::Migrations })
    }
}

/// What a store is used for.
pub(crate) enum Purpose {
    Migrations,
    Markers,
}

impl Store for FencedStore {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        if self.lease.renew().is_err() {
            return Box::pin(ready(Err(superseded(request))));
        }
        let admitted = match (&self.lease.allowance, &self.purpose) {
            (Some(allowance), Purpose::Migrations) => allowance.admit(request),
            (Some(allowance), Purpose::Markers) => {
                allowance.add(request);
                Ok(())
            }
            (None, _) => Ok(()),
        };
        match admitted {
            Ok(()) => self.store.call(request),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }
}
