//! The binding of a coordinator, with what is set for it.

/// The name of a Durable Object binding, and how its object coordinates runs. A name alone is one, too.
///
/// # Example
/// ```
/// use kv_migrations_routes::{CoordinatorBinding, MigrationRoutes, coordinator, migration_routes};
/// # fn migrations() -> Vec<kv_migrations::Migration<worker::Env>> { Vec::new() }
///
/// /// On the free plan, with 1,000 writes a day for all of the account.
/// fn routes() -> MigrationRoutes {
///     let coordinator = CoordinatorBinding::new("MIGRATIONS").with_writes_per_day(500);
///     migration_routes("MY_SERVICE_KV", "my-service", migrations()).with_coordinator(coordinator)
/// }
///
/// coordinator!(Migrations = routes());
/// # fn main() {}
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorBinding {
    pub(crate) name: String,
    pub(crate) writes_per_day: Option<u64>,
}

impl CoordinatorBinding {
    /// Creates the binding of this name in `wrangler.toml`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), writes_per_day: None }
    }

    /// Lets migrations make at most this many puts and as many deletes a day (default: any number). Then the run waits for
    /// 00:00 UTC: see
    /// [`Coordinator::with_writes_per_day`](kv_migrations::coordinator::Coordinator::with_writes_per_day).
    #[must_use]
    pub fn with_writes_per_day(mut self, writes: u64) -> Self {
        self.writes_per_day = Some(writes);
        self
    }
}

impl<S: Into<String>> From<S> for CoordinatorBinding {
    fn from(name: S) -> Self {
        Self::new(name)
    }
}
