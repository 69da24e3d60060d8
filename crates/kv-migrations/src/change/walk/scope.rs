//! Which keys a change works on.

use std::sync::Arc;

use crate::change::prefixes::Prefixes;
use crate::kv::{Key, Kv, Store};
use crate::ledger::MARKER_PREFIX;
use crate::session::Session;

/// Those that begin with one of some prefixes, perhaps only some of them, perhaps in another namespace than the routes' own.
#[derive(Clone)]
pub(crate) struct Scope {
    prefixes: Prefixes,
    only: Option<Arc<Only>>,
    /// The namespace, if it is another one.
    store: Option<Arc<dyn Store>>,
}

type Only = dyn Fn(&Key) -> bool + Send + Sync;

impl Scope {
    pub(crate) fn new(prefixes: Prefixes) -> Self {
        Self { prefixes, only: None, store: None }
    }

    /// Takes only the keys for which this returns true.
    pub(crate) fn set_only(&mut self, only: impl Fn(&Key) -> bool + Send + Sync + 'static) {
        self.only = Some(Arc::new(only));
    }

    pub(crate) fn set_store(&mut self, store: impl Store + 'static) {
        self.set_namespace(Some(Arc::new(store)));
    }

    /// Sets the namespace; `None` for the routes' own.
    pub(crate) fn set_namespace(&mut self, store: Option<Arc<dyn Store>>) {
        self.store = store;
    }

    /// The namespace, if it is another one than the routes' own.
    pub(crate) fn namespace(&self) -> Option<&Arc<dyn Store>> {
        self.store.as_ref()
    }

    /// Whether the keys are in another namespace.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.store.is_some()
    }

    /// The namespace of the keys. Its operations are those of the session, whichever namespace it is.
    pub(crate) fn kv(&self, session: &Session<'_>) -> Kv {
        match &self.store {
            None => session.kv.clone(),
            Some(store) => session.kv.in_namespace(store.clone()),
        }
    }

    /// What a checkpoint knows the scope by.
    pub(crate) fn text(&self) -> String {
        let mut text = self.prefixes.text();
        if self.is_elsewhere() {
            text.push_str(" in another namespace");
        }
        text
    }

    pub(crate) fn prefixes(&self) -> &Prefixes {
        &self.prefixes
    }

    /// Whether a key is a marker, of this service or another one. Markers are no data, unless a prefix asks for them: then
    /// those of this service are left out. In another namespace these are all that is left out: the markers of others there are
    /// data.
    pub(crate) fn is_marker(&self, session: &Session<'_>, key: &str) -> bool {
        let is_asked_for =
            self.is_elsewhere() || self.prefixes.iter().any(|prefix| prefix.starts_with(MARKER_PREFIX));
        key.starts_with(MARKER_PREFIX) && (!is_asked_for || key.starts_with(&session.ledger.key("")))
    }

    /// Whether it takes a key that begins with one of the prefixes.
    pub(crate) fn takes(&self, key: &Key) -> bool {
        self.only.as_ref().is_none_or(|only| only(key))
    }
}
