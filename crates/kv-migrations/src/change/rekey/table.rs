//! A table that a mapping knows beside the entry: loaded once, and kept in the checkpoint.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::direction::Direction;
use super::state::RekeyState;
use crate::change::Job;
use crate::change::resumable::{Advance, Resumable};
use crate::change::walk::Scope;
use crate::error::Result;
use crate::future::BoxFuture;
use crate::kv::Kv;
use crate::report::MigrationKind;
use crate::sabotage::{self, Defect};
use crate::session::Session;

/// The largest table, as JSON: each checkpoint contains it.
const MAX_TABLE_BYTES: usize = 4 * 1024 * 1024;

/// Loads a table.
pub(super) trait Load<C: ?Sized, T>: Send + Sync {
    fn load<'a>(&'a self, kv: &'a Kv, context: &'a C) -> BoxFuture<'a, Result<T>>;
}

impl<C: ?Sized, T, F: AsyncFn(&Kv, &C) -> Result<T> + Send + Sync> Load<C, T> for F {
    fn load<'a>(&'a self, kv: &'a Kv, context: &'a C) -> BoxFuture<'a, Result<T>> {
        Box::pin(self(kv, context))
    }
}

/// A re-key whose table is loaded before anything else.
pub(super) struct WithTable<C, T> {
    pub(super) direction: Direction<C, T>,
    pub(super) load: Arc<dyn Load<C, T>>,
}

impl<C, T: Serialize + DeserializeOwned> Resumable<C> for WithTable<C, T> {
    const KIND: MigrationKind = MigrationKind::Rekey;

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
