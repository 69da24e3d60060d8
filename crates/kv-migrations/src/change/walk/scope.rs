//! Which keys a change works on.

use std::borrow::Cow;
use std::sync::Arc;

use crate::kv::Key;

/// Those that begin with a prefix, perhaps only some of them.
#[derive(Clone)]
pub(crate) struct Scope {
    prefix: Cow<'static, str>,
    only: Option<Arc<Only>>,
}

type Only = dyn Fn(&Key) -> bool + Send + Sync;

impl Scope {
    pub(crate) fn new(prefix: Cow<'static, str>) -> Self {
        Self { prefix, only: None }
    }

    /// Takes only the keys for which this returns true.
    pub(crate) fn set_only(&mut self, only: impl Fn(&Key) -> bool + Send + Sync + 'static) {
        self.only = Some(Arc::new(only));
    }

    pub(crate) fn prefix(&self) -> &Cow<'static, str> {
        &self.prefix
    }

    /// Whether it takes a key that begins with the prefix.
    pub(crate) fn takes(&self, key: &Key) -> bool {
        self.only.as_ref().is_none_or(|only| only(key))
    }
}
