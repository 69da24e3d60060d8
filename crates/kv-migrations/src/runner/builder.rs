//! Sets a runner up.

use std::sync::Arc;

use super::Runner;
use super::findings::{Refused, check_findings};
use super::registered::Registered;
use crate::budget::{Budget, Interrupt};
use crate::clock::{Clock, SystemClock};
use crate::id::RegistrationError;
use crate::kv::Store;
use crate::lock::RunLock;
use crate::log::{ConsoleLog, EscapedLog, Log};
use crate::migration::Migration;
use crate::random::Random;
use crate::report::FindingKind;
use crate::session::Settings;

impl<C> Runner<C> {
    /// Creates a runner for the service with the prefix `service`, whose markers are `migration_{service}_{id}` in
    /// `store`.
    ///
    /// If `store` is the KV of a Worker, no other runner of this prefix runs at the same time in this isolate, the routes
    /// among them. Runners on other stores exclude each other only if they have the same [lock](Self::with_lock).
    ///
    /// # Errors
    /// [`RegistrationError`] if an id or the prefix is empty, cannot be part of a key or is too long for one, or if an id
    /// occurs twice.
    pub fn new(
        store: impl Store + 'static,
        service: impl Into<String>,
        migrations: impl Into<Arc<[Migration<C>]>>,
    ) -> Result<Self, RegistrationError> {
        let service = service.into();
        let lock = store.shared_lock(&service).unwrap_or_default();
        Ok(Self {
            registered: Registered::new(&service, migrations.into())?,
            refused: None,
            settings: Settings {
                service,
                store: Arc::new(store),
                journal: None,
                clock: Arc::new(SystemClock),
                log: EscapedLog(Arc::new(ConsoleLog)),
                lock,
                budget: Budget::default(),
                interrupt: Interrupt::default(),
                other_services: Vec::new(),
                random: Random::default(),
                label: None,
                namespaces: None,
            },
        })
    }

    /// Says that `service` is the prefix of another service in the same namespace, whatever migrations it has.
    ///
    /// The first run of a service looks at the markers of all others. If everything that is applied under another prefix is
    /// registered here too, it looks as if the prefix had been mistyped, or changed, and all migrations were about to run
    /// again: the run fails with [`Error::AnotherPrefix`](crate::Error::AnotherPrefix). For a service that begins with the same migrations on purpose, this
    /// allows it.
    #[must_use]
    pub fn with_other_service(mut self, service: impl Into<String>) -> Self {
        self.settings.other_services.push(service.into());
        self
    }

    /// Refuses runs that find this, with [`Error::Refused`](crate::Error::Refused), before anything is changed.
    ///
    /// By default only [`AnotherPrefix`](FindingKind::AnotherPrefix) refuses a run. Rollbacks are never refused by it.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{FindingKind, Migration, Runner, kv::MemoryStore};
    ///
    /// let runner = Runner::new(MemoryStore::new(), "my-service", Vec::<Migration>::new())?
    ///     .refusing(FindingKind::OutOfOrder)
    ///     .refusing(FindingKind::Revised);
    /// # let _ = runner;
    /// # Ok::<(), kv_migrations::RegistrationError>(())
    /// ```
    #[must_use]
    pub fn refusing(mut self, kind: FindingKind) -> Self {
        let none = || Refused { kinds: Vec::new(), check: check_findings };
        self.refused.get_or_insert_with(none).kinds.push(kind);
        self
    }

    /// Sets the clock (default: the machine's).
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.settings.clock = clock;
        self
    }

    /// Sets the log (default: the console).
    #[must_use]
    pub fn with_log(mut self, log: Arc<dyn Log>) -> Self {
        self.settings.log = EscapedLog(log);
        self
    }

    /// Sets the lock (default: that of the [store](crate::kv::Store::shared_lock), or a new one). Runners with the same
    /// lock do not run at the same time.
    #[must_use]
    pub fn with_lock(mut self, lock: RunLock) -> Self {
        self.settings.lock = lock;
        self
    }

    /// Sets the budget of a run (default 900 KV operations and 25 seconds).
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.settings.budget = budget;
        self
    }

    /// Sets who asks, such as `deploy 4711`: for the lines of the log that say what begins or was changed, and for the metadata
    /// of the markers of what is applied or [marked](Self::mark) then.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.settings.label = Some(label.into());
        self
    }

    /// Sets where the secret keys of hashes come from, one for each re-key and each fold that begins (default: the random
    /// numbers of the machine). For tests that are to run the same way each time. In production, anyone who knows a key can
    /// make two hashes equal.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn with_hash_keys(mut self, keys: impl Fn() -> [u64; 2] + Send + Sync + 'static) -> Self {
        self.settings.random = Random::from(keys);
        self
    }
}
