//! How far a run goes.

use serde::{Deserialize, Serialize};

/// How far a run goes, or a [rollback](crate::Runner::rollback_until).
///
/// # Example
/// ```
/// use kv_migrations::{Migration, Runner, Until, kv::MemoryStore};
///
/// # async fn example() -> Result<(), kv_migrations::Error> {
/// let migration = |id: &'static str| Migration::new(id, "", async |_, _: &()| Ok(()));
/// let migrations = vec![migration("001"), migration("002"), migration("003")];
/// let runner = Runner::new(MemoryStore::new(), "my-service", migrations)?;
///
/// let report = runner.run_pending_until(&Until::Migration("002".to_owned()), &(), &|_| {}).await?;
/// assert_eq!(report.ran, ["001", "002"]);
/// assert_eq!(report.beyond, ["003"]);
/// # Ok(())
/// # }
/// # futures::executor::block_on(example()).unwrap();
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Until {
    /// To the last registered migration. Of a rollback: over all of them.
    #[default]
    End,
    /// To this migration: it and those that are registered before it are applied. Of a rollback: those that are registered after
    /// it are rolled back, and it stays.
    Migration(String),
    /// Over the next migrations that are not applied, this many. Of a rollback: over the last that are.
    Steps(u64),
    /// Over the next entries of the next migration, at most this many. It must be a backfill. No rollback goes so far only. For a look at a few entries before
    /// the rest is changed.
    Entries(u64),
}
