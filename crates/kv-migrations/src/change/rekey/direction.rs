//! A re-key in one direction, as it is registered, and the way back.

use std::sync::Arc;

use super::changing::ChangeFn;
use super::mapping::MapFn;
use super::relocation::{Choose, ProveDistinct, Relocation, Settings, ValueSteps};
use super::state::RekeyState;
use crate::change::Job;
use crate::change::resumable::{Advance, Resumable};
use crate::change::walk::Scope;
use crate::error::Result;
use crate::kv::{Kv, Store};
use crate::report::MigrationKind;
use crate::session::Session;

/// The context of a [`Rekey`](crate::Rekey) that needs none: migrations with any context take it.
pub trait AnyContext {}

impl AnyContext for () {}

/// A re-key in one direction, as it is registered.
pub(super) struct Direction<C: ?Sized, T> {
    pub(super) settings: Settings,
    /// It also knows the namespace of the old keys.
    pub(super) mapping: MapFn<C, T>,
    /// The namespace of the new keys, if it is another one than the routes' own.
    pub(super) into: Option<Arc<dyn Store>>,
    /// If it names a namespace.
    pub(super) distinct: Option<&'static dyn ProveDistinct>,
    pub(super) inverse: Option<MapFn<C, T>>,
    /// If the mapping sees values.
    pub(super) by_value: Option<&'static dyn ValueSteps>,
    /// Says which of several entries gets their new key.
    pub(super) choice: Option<Arc<dyn Choose>>,
    /// Changes entries on their way, and back.
    pub(super) change: Option<Arc<dyn ChangeFn<C>>>,
    pub(super) change_back: Option<Arc<dyn ChangeFn<C>>>,
}

impl<C: ?Sized, T> Direction<C, T> {
    /// The way back, if there is an inverse.
    pub(super) fn back(&self) -> Option<Self> {
        let Self { settings, mapping, into, distinct, inverse, by_value, choice, change, change_back } = self;
        if change.is_some() && change_back.is_none() {
            return None;
        }
        let mut back = inverse.clone()?;
        back.set_namespace(into.clone());
        let settings = Settings { part: settings.part.inverse(), ..*settings };
        Some(Self {
            settings,
            mapping: back,
            into: mapping.scope().namespace().cloned(),
            distinct: *distinct,
            // The way back sees keys alone.
            inverse: by_value.is_none().then(|| mapping.clone()),
            by_value: None,
            choice: choice.clone(),
            change: change_back.clone(),
            change_back: change.clone(),
        })
    }

    pub(super) fn refusal(&self) -> Option<String> {
        let choice = self.choice.as_deref().filter(|_| self.by_value.is_some())?;
        Some(choice.refusal())
    }

    pub(super) fn relocation<'a>(
        &'a self,
        session: &Session<'_>,
        context: &'a C,
        table: &'a T,
    ) -> Relocation<'a> {
        let new_keys = self.new_keys();
        Relocation {
            settings: self.settings,
            old: self.mapping.scope().kv(session),
            new: self.new_namespace(session),
            mapping: self.mapping.with(context, table, new_keys),
            // Where entries share new keys, no inverse gives the old key of each.
            inverse: self
                .inverse
                .as_ref()
                .filter(|_| self.choice.is_none())
                .map(|inverse| inverse.with(context, table, new_keys)),
            by_value: self.by_value,
            choice: self.choice.as_deref(),
            changing: self.change.as_deref().map(|change| change.with(context)),
            distinct: self.distinct,
        }
    }
}

impl<C> Resumable<C> for Direction<dyn AnyContext, ()> {
    const KIND: MigrationKind = MigrationKind::Rekey;

    type State = RekeyState;

    fn kind(&self) -> &'static str {
        self.settings.part.kind(false)
    }

    fn scope(&self) -> &Scope {
        self.mapping.scope()
    }

    fn refusal(&self) -> Option<String> {
        Direction::refusal(self)
    }

    fn name(&self) -> String {
        self.name_of(self.settings.part.kind(false))
    }

    fn other_namespaces(&self, session: &Session<'_>) -> Vec<Kv> {
        self.named_namespaces(session)
    }

    fn begin(&self, job: &mut Job<'_>) -> RekeyState {
        RekeyState::begin(job)
    }

    async fn advance(&self, job: &mut Job<'_>, _: &C, state: &mut RekeyState) -> Result<Advance> {
        self.relocation(job.session(), &(), &()).advance(job, state).await
    }
}
