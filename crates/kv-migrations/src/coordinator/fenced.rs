//! Sends nothing to KV without the right to.

use std::future::ready;
use std::sync::Arc;

use super::lease::Lease;
use crate::future::BoxFuture;
use crate::kv::{Answer, KvError, KvErrorKind, Request, Store};

/// Renews the lease before each operation, and sends none when it has gone to another step.
pub(super) struct Fenced {
    pub(super) lease: Arc<Lease>,
    pub(super) store: Arc<dyn Store>,
}

impl Store for Fenced {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        match self.lease.renew() {
            Ok(()) => self.store.call(request),
            Err(_) => Box::pin(ready(Err(superseded(request)))),
        }
    }
}

pub(super) fn superseded(request: Request<'_>) -> KvError {
    KvError::new(request.operation(), request.key(), KvErrorKind::Superseded)
}
