//! Which key an entry gets: the user's mapping, and what no mapping may give.

use std::sync::Arc;

use super::collision::Collision;
use crate::change::prefixes::Prefixes;
use crate::change::record::{AtEntry, Record};
use crate::change::walk::Scope;
use crate::error::Result;
use crate::kv::limits::{MAX_EXPIRATION_SECONDS, MAX_KEY_BYTES};
use crate::kv::{Key, Store};
use crate::session::Session;

/// New keys for the keys of a scope, as the user says.
pub(super) struct MapFn<C: ?Sized, T> {
    scope: Scope,
    map: Arc<Map<C, T>>,
}

/// It gets a record if it sees values.
type Map<C, T> = dyn Fn(&Key, Option<&Record>, &C, &T) -> Result<Option<String>> + Send + Sync;

impl<C: ?Sized, T> MapFn<C, T> {
    pub(super) fn new(
        prefixes: Prefixes,
        map: impl Fn(&Key, Option<&Record>, &C, &T) -> Result<Option<String>> + Send + Sync + 'static,
    ) -> Self {
        Self { scope: Scope::new(prefixes), map: Arc::new(map) }
    }

    /// The keys that it maps.
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Sets the namespace of the keys.
    pub(super) fn set_namespace(&mut self, store: Option<Arc<dyn Store>>) {
        self.scope.set_namespace(store);
    }

    /// The mapping that knows this context and this table.
    pub(super) fn with<'a>(&'a self, context: &'a C, table: &'a T, new_keys: NewKeys) -> Mapping<'a> {
        let Self { scope, map } = self;
        Mapping { scope, new_keys, map: Box::new(move |key, record| map(key, record, context, table)) }
    }
}

impl<C: ?Sized + 'static, T: 'static> MapFn<C, T> {
    /// The same where there is another context, which says what the mapping sees.
    pub(super) fn for_context<D: ?Sized + 'static>(
        self,
        context: impl Fn(&D) -> &C + Send + Sync + 'static,
    ) -> MapFn<D, T> {
        let Self { scope, map } = self;
        MapFn {
            scope,
            map: Arc::new(move |key, record, other: &D, table: &T| map(key, record, context(other), table)),
        }
    }
}

impl<C: ?Sized, T> Clone for MapFn<C, T> {
    fn clone(&self) -> Self {
        Self { scope: self.scope.clone(), map: self.map.clone() }
    }
}

type MapKey<'a> = dyn Fn(&Key, Option<&Record>) -> Result<Option<String>> + 'a;

/// New keys for the keys of a prefix.
pub(super) struct Mapping<'a> {
    scope: &'a Scope,
    new_keys: NewKeys,
    map: Box<MapKey<'a>>,
}

/// Where new keys are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NewKeys {
    /// In the same namespace as the old ones.
    BesideOld,
    /// In the routes' own namespace, where the markers are. The old ones are in another one.
    InOwnNamespace,
    /// In one that has no markers.
    InAnotherNamespace,
}

/// Where an entry goes.
pub(super) enum Target {
    /// Nowhere.
    Stays,
    Moves(String),
    /// To a key that it cannot have.
    Collides(Collision),
}

impl<'a> Mapping<'a> {
    /// The keys that it maps.
    pub(super) fn scope(&self) -> &'a Scope {
        self.scope
    }

    /// The key that the mapping gives, unless the entry is there already.
    fn map(&self, key: &Key, record: Option<&Record>) -> Result<Option<String>> {
        let new = (self.map)(key, record).map_err(|source| AtEntry { name: key.name.clone(), source })?;
        Ok(new.filter(|new| self.new_keys != NewKeys::BesideOld || *new != key.name))
    }

    /// Whether a new key may be a marker. Elsewhere than beside the old keys, only this service's own ones can be.
    fn is_marker(&self, session: &Session<'_>, new: &str) -> bool {
        match self.new_keys {
            NewKeys::BesideOld => self.scope.is_marker(session, new),
            NewKeys::InOwnNamespace => new.starts_with(&session.ledger.key("")),
            NewKeys::InAnotherNamespace => false,
        }
    }

    /// Where the entry of `key` goes.
    ///
    /// # Errors
    /// If the mapping fails, or the new key would be moved again.
    pub(super) fn target(
        &self,
        session: &Session<'_>,
        key: &Key,
        inverse: Option<&Mapping<'_>>,
    ) -> Result<Target> {
        self.find_target(session, key, inverse, &mut |mapping, key| mapping.map(key, None))
    }

    /// Where an entry goes that was read. Its record may have another key afterwards.
    pub(super) fn target_of(
        &self,
        session: &Session<'_>,
        record: &mut Record,
        inverse: Option<&Mapping<'_>>,
    ) -> Result<Target> {
        let key = record.key().clone();
        self.find_target(session, &key, inverse, &mut |mapping, key| {
            record.set_key(key.clone());
            mapping.map(key, Some(&*record))
        })
    }

    fn find_target(
        &self,
        session: &Session<'_>,
        key: &Key,
        inverse: Option<&Mapping<'_>>,
        map: &mut dyn FnMut(&Mapping<'_>, &Key) -> Result<Option<String>>,
    ) -> Result<Target> {
        let old = &key.name;
        let Some(new) = map(self, key)? else { return Ok(Target::Stays) };
        if matches!(new.as_str(), "" | "." | "..") || new.len() > MAX_KEY_BYTES {
            return Ok(Target::Collides(Collision::impossible(old, &new)));
        }
        if self.is_marker(session, &new) {
            return Ok(Target::Collides(Collision::marker(old, &new)));
        }
        if key.expiration.is_some_and(|at| at > MAX_EXPIRATION_SECONDS) {
            return Ok(Target::Collides(Collision::expires_late(old)));
        }
        let at_new = Key { name: new, ..key.clone() };
        if self.new_keys == NewKeys::BesideOld
            && self.scope.prefixes().of(&at_new.name).is_some()
            && let Some(next) = map(self, &at_new)?
        {
            let new = at_new.name;
            return Err(format!(
                "`{old}` would get the key `{new}`, which would then get the key `{next}`: the mapping must return \
                 `None` for a new key"
            )
            .into());
        }
        let Some(inverse) = inverse else { return Ok(Target::Moves(at_new.name)) };
        let back = map(inverse, &at_new)?;
        let is_inverted = back.as_ref() == Some(old) && inverse.scope.prefixes().of(&at_new.name).is_some();
        Ok(if is_inverted {
            Target::Moves(at_new.name)
        } else {
            Target::Collides(Collision::not_inverted(old, &at_new.name, back.as_deref()))
        })
    }
}
