//! What a mapping knows beside the entry: the context of the migration, and a table that is loaded beforehand.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::changing::ChangeFn;
use super::mapping::MapFn;
use super::relocation::{Choose, ProveDistinct, Relocation, Settings, ValueSteps};
use super::state::RekeyState;
use crate::change::Job;
use crate::change::contract::BoxChange;
use crate::change::resumable::{Advance, Resumable, ResumableChange};
use crate::change::walk::Scope;
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::{Kv, Store};
use crate::sabotage::{self, Defect};
use crate::session::Session;

/// The largest table, as JSON: each checkpoint contains it.
const MAX_TABLE_BYTES: usize = 4 * 1024 * 1024;

/// The context of a [`Rekey`](crate::Rekey) that needs none: migrations with any context take it.
pub trait AnyContext {}

impl AnyContext for () {}

/// What a [`Migration`](crate::Migration) with the context `C` takes as a re-key: a plain [`Rekey`](crate::Rekey), or a `Rekey<C, T>`.
pub trait RekeyFor<C>: IntoChanges<C> {}

/// Makes the changes of a migration.
pub trait IntoChanges<C> {
    fn into_changes(self) -> Changes<C>;
}

/// The `up`, and the `down` if there is an inverse.
pub struct Changes<C> {
    pub(crate) up: BoxChange<C>,
    pub(crate) down: Option<BoxChange<C>>,
}

impl<C> Changes<C> {
    /// There, and back if there is an inverse.
    pub(super) fn new<D: ?Sized, T, R: Resumable<C> + 'static>(
        there: Direction<D, T>,
        change: impl Fn(Direction<D, T>) -> R,
    ) -> Self {
        let change = |direction| -> BoxChange<C> { Box::new(ResumableChange(change(direction))) };
        let back = there.back();
        Self { up: change(there), down: back.map(change) }
    }
}

impl<C> fmt::Debug for Changes<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("reversible", &self.down.is_some()).finish_non_exhaustive()
    }
}

/// Loads a table.
pub(super) trait Load<C: ?Sized, T>: Send + Sync {
    fn load<'a>(&'a self, kv: &'a Kv, context: &'a C) -> BoxFuture<'a, Result<T>>;
}

impl<C: ?Sized, T, F: AsyncFn(&Kv, &C) -> Result<T> + Send + Sync> Load<C, T> for F {
    fn load<'a>(&'a self, kv: &'a Kv, context: &'a C) -> BoxFuture<'a, Result<T>> {
        Box::pin(self(kv, context))
    }
}

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

    fn refusal(&self) -> Option<String> {
        let choice = self.choice.as_deref().filter(|_| self.by_value.is_some())?;
        Some(choice.refusal())
    }

    fn relocation<'a>(&'a self, session: &Session<'_>, context: &'a C, table: &'a T) -> Relocation<'a> {
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

/// A re-key whose table is loaded before anything else.
pub(super) struct WithTable<C, T> {
    pub(super) direction: Direction<C, T>,
    pub(super) load: Arc<dyn Load<C, T>>,
}

impl<C, T: Serialize + DeserializeOwned> Resumable<C> for WithTable<C, T> {
    type State = RekeyState;

    fn kind(&self) -> &'static str {
        self.direction.settings.part.kind(self.direction.change.is_some())
    }

    fn scope(&self) -> &Scope {
        self.direction.mapping.scope()
    }

    fn refusal(&self) -> Option<String> {
        self.direction.refusal()
    }

    fn name(&self) -> String {
        self.direction.name_of(self.kind())
    }

    fn other_namespaces(&self, session: &Session<'_>) -> Vec<Kv> {
        self.direction.named_namespaces(session)
    }

    fn begin(&self, job: &mut Job<'_>) -> RekeyState {
        RekeyState::begin(job)
    }

    async fn advance(&self, job: &mut Job<'_>, context: &C, state: &mut RekeyState) -> Result<Advance> {
        let kept = state.table.take().filter(|_| !sabotage::is_on(Defect::TableReloaded));
        let json = if let Some(json) = kept {
            json
        } else {
            let session = job.session();
            let table = self.load.load(&session.kv, context).await;
            // Whatever the closure made of it, an operation was refused.
            if session.meter.is_overdrawn() {
                let what = "the table of its mapping could not be loaded within";
                return Ok(Advance::Stuck { what, instead: "load less" });
            }
            encode(&table?)?
        };
        // Also the first time as it was written: so each request maps alike.
        let table = serde_json::from_str(&json);
        state.table = Some(json);
        let table: T = table.map_err(|_| UNREADABLE)?;
        self.direction.relocation(job.session(), context, &table).advance(job, state).await
    }
}

const UNREADABLE: &str = "the table of its mapping does not come back from JSON, in which checkpoints keep it. If its type has changed \
    while the re-key is under way, restore the earlier type; or reset the migration, to start over: POST /migrations/{id}/reset";

fn encode(table: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string(table).map_err(
        |_| "the table of its mapping cannot be written as JSON: its maps need keys that are text",
    )?;
    let bytes = json.len();
    if bytes > MAX_TABLE_BYTES {
        return Err(format!(
            "the table of its mapping has {bytes} bytes of JSON, and a checkpoint holds {MAX_TABLE_BYTES} of it. Nothing was \
             written or deleted. Load only what the mapping needs"
        )
        .into());
    }
    Ok(json)
}
