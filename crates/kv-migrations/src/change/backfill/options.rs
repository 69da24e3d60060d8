//! How a backfill goes about its entries.

use super::Backfill;

/// The most entries that can be skipped.
const MAX_FAILURES: usize = 1_000;

impl<C> Backfill<C> {
    /// Allows the closure to write other keys of the same prefix that come after its entry. Otherwise such a write fails the
    /// migration.
    ///
    /// If such a key comes before the end of the backfill, it is visited later as an entry of its own. A closure that writes
    /// `user_v2_1` for the entry `user_1` of the prefix `user_` must know that key when it gets it. To move entries to new
    /// keys, use a [`Rekey`](crate::Rekey).
    #[must_use]
    pub fn allow_writes_ahead(mut self) -> Self {
        self.allows_writes_ahead = true;
        self
    }

    /// Reads every value singly, byte for byte and together with its metadata: one operation for each entry instead of
    /// one for 100. Use it for values that may begin with a byte order mark that matters: a bulk read loses it.
    #[must_use]
    pub fn read_singly(mut self) -> Self {
        self.selection.read_singly();
        self
    }

    /// Changes one entry after the other, in the order of their keys. Otherwise several entries are changed at once, and
    /// closures that read a key and then write it lose each other's writes, if they share that key.
    ///
    /// A crash still repeats entries. To count or to gather something, use a [`Fold`](crate::Fold), which counts each entry
    /// once.
    #[must_use]
    pub fn one_at_a_time(self) -> Self {
        self.with_concurrency(1)
    }

    /// Sets how many entries are changed at once: at least 1, and never more than 12, which is the default. For closures that
    /// call something that allows fewer, such as another service by `fetch`. Batches always come one after the other.
    ///
    /// # Example
    /// ```
    /// # async fn fetch(_url: &str) -> kv_migrations::Result<String> { Ok("Title".to_owned()) }
    /// use kv_migrations::{Backfill, Migration, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let titles = Backfill::new("link_", async |_, link, _: &()| Ok(link.put(fetch(link.text()?).await?).await?))
    ///     .with_concurrency(4);
    ///
    /// let store = MemoryStore::new();
    /// store.insert("link_1", "https://example.com");
    /// let migration = Migration::backfill("009_titles", "Titles in place of links", titles);
    /// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
    /// assert_eq!(store.value("link_1").unwrap(), b"Title");
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    #[must_use]
    pub fn with_concurrency(mut self, entries: usize) -> Self {
        self.concurrency = entries.max(1);
        self
    }

    /// Skips up to `max` entries that fail: at most 1,000. An entry that fails because KV failed one of its operations is
    /// not skipped, whatever the closure returns: the next run resumes with it.
    ///
    /// When all other entries are done, the migration fails with a list of those that failed. The next run tries only
    /// these again.
    ///
    /// The code may have been fixed by the next request, so failures of earlier requests are tried again: first if the run
    /// failed, else once at the end.
    #[must_use]
    pub fn skip_failures(mut self, max: usize) -> Self {
        self.max_failures = max.min(MAX_FAILURES);
        self
    }

    /// Marks the migration as applied although entries were skipped. They are reported and, from then on, never tried again.
    #[must_use]
    pub fn apply_despite_failures(mut self) -> Self {
        self.applies_despite_failures = true;
        self
    }
}
