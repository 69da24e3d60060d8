//! What a dry run is asked for.

use crate::report::{State, Status};

/// What to run without writing, and what to tell of it: for [`Runner::dry_run`](crate::Runner::dry_run).
///
/// # Example
/// ```
/// use kv_migrations::{DryRun, Migration, Runner, kv::MemoryStore};
///
/// # async fn example() -> Result<(), kv_migrations::Error> {
/// let store = MemoryStore::new();
/// store.insert("flag", "off");
/// let migration = Migration::new("001_flag", "Switches it on", async |kv, _: &()| {
///     kv.put("flag", "on").await?;
///     Ok(())
/// });
/// let runner = Runner::new(store.clone(), "my-service", vec![migration])?;
///
/// let report = runner.dry_run(&DryRun::new().showing(5).with_values(), &()).await?;
/// let change = &report.migrations[0].changes[0];
/// assert_eq!(change.before.as_ref().unwrap().value.as_deref(), Some("off"));
/// assert_eq!(change.after.as_ref().unwrap().value.as_deref(), Some("on"));
/// assert_eq!(store.value("flag").unwrap(), b"off");
/// # Ok(())
/// # }
/// # futures::executor::block_on(example()).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct DryRun {
    #[doc(hidden)]
    pub to: Option<String>,
    #[doc(hidden)]
    pub steps: Option<u64>,
    #[doc(hidden)]
    pub only: Option<String>,
    #[doc(hidden)]
    pub sample: Option<u64>,
    #[doc(hidden)]
    pub shown: usize,
    #[doc(hidden)]
    pub has_values: bool,
    pub(crate) ledger: Vec<Known>,
}

impl Default for DryRun {
    fn default() -> Self {
        Self::new()
    }
}

impl DryRun {
    /// How many changes of each migration are shown unless another number is asked for.
    pub const DEFAULT_SHOWN: usize = 20;
    /// The most changes of each migration that are shown.
    pub const MAX_SHOWN: usize = 10_000;

    /// Creates a dry run of everything that is pending.
    pub const fn new() -> Self {
        Self {
            to: None,
            steps: None,
            only: None,
            sample: None,
            shown: Self::DEFAULT_SHOWN,
            has_values: false,
            ledger: Vec::new(),
        }
    }

    /// Creates a dry run of what is pending up to this migration.
    pub fn to(mut self, id: impl Into<String>) -> Self {
        self.to = Some(id.into());
        self
    }

    /// Creates a dry run of this many of the next migrations.
    pub const fn steps(mut self, steps: u64) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Creates a dry run of this migration alone, as if those that are pending before it were applied and had
    /// changed nothing.
    pub fn only(mut self, id: impl Into<String>) -> Self {
        self.only = Some(id.into());
        self
    }

    /// Takes a sample: to a backfill, a fold or a re-key, each list of a prefix ends after this many keys. What its closure
    /// lists ends there as well.
    pub const fn with_entries(mut self, entries: u64) -> Self {
        self.sample = Some(entries);
        self
    }

    /// Sets how many changes of each migration are shown (default 20, at most 10,000).
    pub const fn showing(mut self, changes: usize) -> Self {
        self.shown = if changes < Self::MAX_SHOWN { changes } else { Self::MAX_SHOWN };
        self
    }

    /// Shows the values of the changes too. They may be personal data of customers.
    pub const fn with_values(mut self) -> Self {
        self.has_values = true;
        self
    }

    /// Sets what is known of the migrations, in place of what the markers in KV say: the
    /// [status](crate::coordinator::Coordinator::status) of a coordinator, which is never stale.
    pub fn with_ledger(self, ledger: Vec<Status>) -> Self {
        ledger.into_iter().map(Known::from).fold(self, Self::knowing)
    }

    /// Adds one migration to what is known.
    #[doc(hidden)]
    pub fn knowing(mut self, known: Known) -> Self {
        self.ledger.push(known);
        self
    }
}

/// What is known of a migration.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub id: String,
    pub is_applied: bool,
    pub revision: Option<String>,
    pub has_checkpoint: bool,
    /// Whether a run is at it, or will be.
    pub is_begun: bool,
}

impl From<Status> for Known {
    fn from(status: Status) -> Self {
        let is_begun = matches!(status.state, State::Running | State::Paused) || status.retry_at.is_some();
        Self {
            id: status.id,
            is_applied: status.run,
            revision: status.revision,
            has_checkpoint: status.progress.is_some(),
            is_begun,
        }
    }
}
