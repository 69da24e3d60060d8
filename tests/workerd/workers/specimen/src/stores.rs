//! The store that the headers of a request ask for.

use std::sync::Arc;

use kv_migrations::kv::Store;
use kv_migrations_routes::Namespace;
use worker::{Env, HttpRequest, Result};

use crate::hung::Hung;
use crate::slow::Slow;
use crate::{BINDING, header};

/// By the binding's name, handed over, or with something put around it.
pub fn namespace(request: &HttpRequest, env: &Env) -> Result<Namespace> {
    let namespace = match header(request, "store") {
        "handed-over" => Namespace::from(env.kv(BINDING)?),
        _ => Namespace::from(BINDING),
    };
    if let Ok(milliseconds) = header(request, "latency").parse() {
        return Ok(handed_over(Slow::new(milliseconds, namespace.store())));
    }
    if let Some(hung) = Hung::parse(header(request, "hang"), namespace.store()) {
        return Ok(handed_over(hung));
    }
    Ok(namespace)
}

fn handed_over(store: impl Store + 'static) -> Namespace {
    let store: Arc<dyn Store> = Arc::new(store);
    store.into()
}
