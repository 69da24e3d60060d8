//! The store that is asked for.

use std::sync::Arc;

use kv_migrations::kv::Store;
use kv_migrations_routes::Namespace;
use worker::Env;

use crate::BINDING;
use crate::hung::Hung;
use crate::refused::Refused;
use crate::settings::Settings;
use crate::slow::Slow;

/// By the binding's name, handed over, or with something put around it.
pub fn namespace(settings: &dyn Settings, env: &Env) -> Namespace {
    let namespace = match (settings.get("store"), env.kv(BINDING)) {
        ("handed-over", Ok(store)) => Namespace::from(store),
        _ => Namespace::from(BINDING),
    };
    if let Ok(milliseconds) = settings.get("latency").parse() {
        return handed_over(Slow::new(milliseconds, namespace.store()));
    }
    if let Some(hung) = Hung::parse(settings.get("hang"), namespace.store()) {
        return handed_over(hung);
    }
    if let Some(refused) = Refused::parse(settings.get("refuse"), namespace.store()) {
        return handed_over(refused);
    }
    namespace
}

fn handed_over(store: impl Store + 'static) -> Namespace {
    let store: Arc<dyn Store> = Arc::new(store);
    store.into()
}
