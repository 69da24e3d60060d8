//! Which keys a change works on.

use std::sync::Arc;

use crate::change::prefixes::Prefixes;
use crate::kv::Key;
use crate::ledger::MARKER_PREFIX;
use crate::session::Session;

/// Those that begin with one of some prefixes, perhaps only some of them.
#[derive(Clone)]
pub(crate) struct Scope {
    prefixes: Prefixes,
    only: Option<Arc<Only>>,
}

type Only = dyn Fn(&Key) -> bool + Send + Sync;

impl Scope {
    pub(crate) fn new(prefixes: Prefixes) -> Self {
        Self { prefixes, only: None }
    }

    /// Takes only the keys for which this returns true.
    pub(crate) fn set_only(&mut self, only: impl Fn(&Key) -> bool + Send + Sync + 'static) {
        self.only = Some(Arc::new(only));
    }

    pub(crate) fn prefixes(&self) -> &Prefixes {
        &self.prefixes
    }

    /// Whether a key is a marker, of this service or another one. Markers are no data, unless a prefix asks for them: then
    /// those of this service are left out.
    pub(crate) fn is_marker(&self, session: &Session<'_>, key: &str) -> bool {
        let is_asked_for = self.prefixes.iter().any(|prefix| prefix.starts_with(MARKER_PREFIX));
        key.starts_with(MARKER_PREFIX) && (!is_asked_for || key.starts_with(&session.ledger.key("")))
    }

    /// Whether it takes a key that begins with one of the prefixes.
    pub(crate) fn takes(&self, key: &Key) -> bool {
        self.only.as_ref().is_none_or(|only| only(key))
    }
}
