//! The work on entries in batches.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::entry::{Each, EntryWork, at_entry, failure};
use super::state::{BackfillState, first_failure};
use super::{Backfill, Batches};
use crate::change::Job;
use crate::change::prefixes::Prefixes;
use crate::change::record::Record;
use crate::change::values::Loaded;
use crate::change::walk::{BatchWalk, Range, WalkEnd, over_budget};
use crate::error::{BoxError, Result};
use crate::future::BoxFuture;
use crate::kv::limits::{MAX_BULK_KEYS, MAX_CONNECTIONS};
use crate::kv::{EntryOperations, Key, Kv, KvError, PAUSES};
use crate::report::Phase;
use crate::session::Session;

/// The bytes of a batch, unless it is told otherwise.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What is done to a batch.
struct ToBatch<F>(F);

impl<C, F: AsyncFn(&Kv, &[Record], &C) -> Result + Send + Sync> Each<C> for ToBatch<F> {
    fn run<'a>(&'a self, kv: &'a Kv, records: &'a [Record], context: &'a C) -> BoxFuture<'a, Result> {
        Box::pin((self.0)(kv, records, context))
    }
}

impl<C> Backfill<C> {
    /// Runs `each` on up to `size` entries at once, whose keys begin with one of `prefixes`: `async |kv, records, context| { …; Ok(()) }`.
    /// For what takes many entries in one call: a batch of D1, a call of a Durable Object, a bulk insert.
    ///
    /// One batch comes after the other, in the order of the keys. It has fewer entries at the end of a page of 1,000 keys,
    /// and where their values would have more than 4 MiB ([`with_batch_bytes`](Self::with_batch_bytes)). Checkpoints lie
    /// between batches: after a crash, all batches since the last one are repeated, perhaps with other bounds. So let the
    /// target overwrite what it has.
    ///
    /// The first batch for which it returns an error fails the migration, with the first and the last key of the batch. The
    /// next run resumes with that batch. With [`skip_failures`](Self::skip_failures), `each` gets the entries of such a batch
    /// again, one by one, and those that fail are skipped.
    ///
    /// `each` may write the entries, as that of [`new`](Self::new): if KV refuses a write because the service wrote the entry
    /// within the last second, the batch is read again and repeated. What the service wrote earlier, while `each` did
    /// something else, is overwritten. So to copy entries elsewhere and delete them, use two migrations.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Backfill, Migration, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # async fn insert_all(_rows: &[(String, String)]) -> Result<(), std::io::Error> { Ok(()) }
    /// let moved = Backfill::in_batches("user_", 100, async |_, users, _: &()| {
    ///     let row = |user: &kv_migrations::Record| Ok((user.name().to_owned(), user.text()?.to_owned()));
    ///     let rows = users.iter().map(row).collect::<kv_migrations::Result<Vec<_>>>()?;
    ///     assert!(rows.len() == 100 || rows.len() == 50);
    ///     insert_all(&rows).await?;
    ///     Ok(())
    /// });
    ///
    /// let store = MemoryStore::new();
    /// for number in 0..250 {
    ///     store.insert(&format!("user_{number:03}"), "Ada");
    /// }
    /// let migration = Migration::backfill("007_users", "Copy users to the database", moved);
    /// let report = Runner::new(store, "my-service", vec![migration])?.run_pending(&()).await?;
    /// assert!(report.is_finished());
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    pub fn in_batches(
        prefixes: impl Into<Prefixes>,
        size: usize,
        each: impl AsyncFn(&Kv, &[Record], &C) -> Result + Send + Sync + 'static,
    ) -> Self {
        let batches = Batches { size: size.max(1), bytes: MAX_BYTES, change: change_batches };
        Self { batches: Some(batches), ..Self::with_each(prefixes.into(), Box::new(ToBatch(each))) }
    }

    /// Sets how many bytes the values of a batch may have together (default 4 MiB). A larger value is a batch of its own.
    /// Without [`in_batches`](Self::in_batches) it changes nothing.
    ///
    /// # Example
    /// ```
    /// use kv_migrations::{Backfill, Migration, Runner, kv::MemoryStore};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let counted = Backfill::in_batches("user_", 100, async |kv, users, _: &()| {
    ///     Ok(kv.put(&format!("batch_from_{}", users[0].name()), users.len().to_string()).await?)
    /// })
    /// .with_batch_bytes(8);
    ///
    /// let store = MemoryStore::new();
    /// for (user, name) in [("user_1", "Ada"), ("user_2", "Grace"), ("user_3", "Barbara")] {
    ///     store.insert(user, name);
    /// }
    /// let migration = Migration::backfill("007_count", "Count users", counted);
    /// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
    /// assert_eq!(store.value("batch_from_user_1").unwrap(), b"2");
    /// assert_eq!(store.value("batch_from_user_3").unwrap(), b"1");
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    #[must_use]
    pub fn with_batch_bytes(mut self, bytes: usize) -> Self {
        if let Some(batches) = &mut self.batches {
            batches.bytes = bytes;
        }
        self
    }
}

/// Changes the entries that are left.
fn change_batches<'a, C>(
    backfill: &'a Backfill<C>,
    job: &'a mut Job<'_>,
    context: &'a C,
    state: &'a mut BackfillState,
) -> BoxFuture<'a, Result<WalkEnd>> {
    Box::pin(async move {
        job.set_phase(Phase::Entries);
        let Some(batches) = &backfill.batches else { return Ok(WalkEnd::Complete) };
        let session = job.session();
        session.meter.value_size().forget();
        let entries = backfill.entry_work(session, context);
        let begun = std::mem::take(&mut state.begun);
        let mut run = BatchRun { backfill, batches, session, entries, size: batches.size, cost: 1, begun };
        let result = run.change(job, state).await;
        run.note(state);
        match result {
            Err(_) if session.meter.is_overdrawn() => Ok(over_budget(job)),
            result => {
                state.is_visited = matches!(result, Ok(WalkEnd::Complete));
                result
            }
        }
    })
}

/// The batches of one request.
struct BatchRun<'a, C> {
    backfill: &'a Backfill<C>,
    batches: &'a Batches<C>,
    session: &'a Session<'a>,
    entries: EntryWork<'a, C>,
    /// How many entries fit into the next batch, as far as is known.
    size: usize,
    /// The most operations that a batch has taken so far.
    cost: u64,
    /// The last entry that has begun, perhaps in an earlier request.
    begun: Option<String>,
}

/// Entries with their values.
#[derive(Default)]
struct Batch {
    entries: Vec<(Key, Vec<u8>)>,
    /// The last key, whose entry may be deleted by now.
    last: String,
}

/// What became of a batch.
enum BatchEnd {
    Done,
    /// The service wrote one of its entries a moment ago.
    Conflict,
    Failed(BoxError),
}

impl<C> BatchRun<'_, C> {
    async fn change(&mut self, job: &mut Job<'_>, state: &mut BackfillState) -> Result<WalkEnd> {
        let until = state.until.clone();
        let range = Range { scope: &self.backfill.selection.scope, until: until.as_deref() };
        let mut walk = BatchWalk::new(self.session, range, &state.position);
        let mut pauses = PAUSES.iter();
        loop {
            if job.has_advanced() && self.session.meter.left() < self.cost {
                return Ok(WalkEnd::Paused);
            }
            let sample = self.session.meter.sample_left();
            let keys = walk.next(self.size.min(usize::try_from(sample).unwrap_or(usize::MAX)));
            if keys.is_empty() {
                if !walk.list().await? {
                    job.note_advance();
                    return Ok(WalkEnd::Complete);
                }
                if state.position != *walk.position() {
                    self.pass(&mut walk, "", 0, job, state).await?;
                }
                continue;
            }
            let before = self.session.operations();
            let batch = self.read(keys).await?;
            let last = batch.last.clone();
            let pause = pauses.next();
            let end = self.attempt(batch, pause.is_some()).await?;
            self.cost = self.cost.max(self.session.operations() - before);
            match (end, pause) {
                (BatchEnd::Conflict, Some(seconds)) => {
                    self.session.sleep(Duration::from_secs(*seconds)).await;
                    walk = BatchWalk::new(self.session, range, &state.position);
                    continue;
                }
                (BatchEnd::Failed(error), _) if self.backfill.max_failures == 0 => return Err(error),
                (BatchEnd::Failed(_), _) => {
                    if !self.change_singly(&mut walk, &last, job, state).await? {
                        return Ok(WalkEnd::Paused);
                    }
                }
                _ => self.pass(&mut walk, &last, 0, job, state).await?,
            }
            pauses = PAUSES.iter();
        }
    }

    /// Changes the next entries up to this one, each in a batch of its own, and skips those that fail. False if the budget
    /// ends before.
    async fn change_singly(
        &mut self,
        walk: &mut BatchWalk<'_>,
        last: &str,
        job: &mut Job<'_>,
        state: &mut BackfillState,
    ) -> Result<bool> {
        let mut cost = 1;
        while let Some(key) = walk.next(1).pop().filter(|key| key.name.as_str() <= last) {
            if job.has_advanced() && self.session.meter.left() < cost {
                return Ok(false);
            }
            let (name, before) = (key.name.clone(), self.session.operations());
            let result = self
                .entries
                .change(EntryOperations::default(), key, self.backfill.selection.unread(), true)
                .await?;
            let failures = usize::from(result.is_some());
            match result {
                Some(failed) if state.skipped() >= self.backfill.max_failures => {
                    return Err(first_failure(&failed, state.skipped()).into());
                }
                Some(failed) => {
                    state.skip(failed);
                    job.set_failed(state.failed());
                }
                None => {}
            }
            cost = cost.max(self.session.operations() - before);
            self.pass(walk, &name, failures, job, state).await?;
        }
        Ok(true)
    }

    /// Notes that the entries up to this one are done, or have failed.
    async fn pass(
        &self,
        walk: &mut BatchWalk<'_>,
        last: &str,
        failures: usize,
        job: &mut Job<'_>,
        state: &mut BackfillState,
    ) -> Result {
        let passed = walk.pass(last);
        self.session.meter.add_entries(passed);
        job.add_done(passed.saturating_sub(failures) as u64);
        job.add_entries(self.entries.take_changed());
        job.note_advance();
        state.position.set(walk.position());
        self.note(state);
        job.save_if_due(state, walk.entries_left()).await
    }

    fn note(&self, state: &mut BackfillState) {
        state.note_begun(None, self.begun.as_deref());
    }

    /// Reads the values of the first of these keys: as many as a batch may have bytes.
    async fn read(&mut self, keys: Vec<Key>) -> Result<Batch> {
        let kv = &self.backfill.selection.scope.kv(self.session);
        let (mut batch, mut number, mut bytes) = (Batch::default(), 0, 0);
        let (mut keys, value_size) = (keys.into_iter(), self.session.meter.value_size());
        'reading: while keys.len() > 0 {
            let keys = keys.by_ref().take(value_size.fit(MAX_BULK_KEYS)).collect();
            let loaded = self.backfill.selection.load(kv, keys).await?;
            let is_large = loaded.iter().any(|(_, loaded)| matches!(loaded, Loaded::Large));
            let values = loaded.into_iter().map(async |(key, loaded)| {
                let value = match loaded {
                    Loaded::Value(value) => Some(value),
                    Loaded::Missing => None,
                    Loaded::Unread | Loaded::Large => kv.bytes(&key.name).await?,
                };
                Ok::<_, KvError>((key, value))
            });
            let mut values = stream::iter(values).buffered(if is_large { 1 } else { MAX_CONNECTIONS });
            while let Some(read) = values.next().await {
                let (key, value) = read?;
                let length = value.as_ref().map_or(0, Vec::len);
                if number > 0 && bytes + length > self.batches.bytes {
                    break 'reading;
                }
                (number, bytes) = (number + 1, bytes + length);
                batch.last.clone_from(&key.name);
                batch.entries.extend(value.map(|value| (key, value)));
            }
        }
        // What did not fit is read again. If the next ones are as large, all that is read fits.
        let fitting = self.batches.bytes.saturating_mul(number) / bytes.max(1);
        self.size = fitting.clamp(1, self.batches.size);
        Ok(batch)
    }

    /// Works on a batch once. If `is_careful`, no entry is overwritten that the service wrote a moment ago.
    async fn attempt(&mut self, batch: Batch, is_careful: bool) -> Result<BatchEnd> {
        let Batch { entries, last } = batch;
        let names: Vec<String> = entries.iter().map(|(key, _)| key.name.clone()).collect();
        let [first, ..] = &*names else { return Ok(BatchEnd::Done) };
        let own_keys: Vec<&str> = names.iter().map(String::as_str).filter(|_| is_careful).collect();
        let operations = EntryOperations::default().begin_attempt(&own_keys);
        let (kv, guard) = self.entries.kv(&operations, &last);
        let begun = self.begun.clone().unwrap_or_default();
        let record = |(key, value): (Key, Vec<u8>)| {
            let is_repeated = key.name <= begun;
            self.backfill.selection.record(&kv, key, value).repeated(is_repeated)
        };
        let records: Vec<Record> = entries.into_iter().map(record).collect();
        self.begun = self.begun.take().max(Some(last.clone()));
        let result = self.entries.run(&kv, &operations, &records).await;
        if operations.is_cut_off() {
            return Err("the budget is used up".into());
        }
        if operations.has_conflict() {
            return Ok(BatchEnd::Conflict);
        }
        let place = match names.len() {
            1 => at_entry(first),
            number => format!("at the batch of {number} entries from `{first}` to `{last}`"),
        };
        let at_batch = |text: &str| format!("{place}: {text}").into();
        let outage = operations.outage();
        match result {
            Ok(()) if guard.is_some_and(|guard| guard.has_refused()) => {
                Err(at_batch(&outage.map(|error| error.to_string()).unwrap_or_default()))
            }
            Ok(()) => {
                self.entries.add_changed(records.iter().filter(|record| record.is_changed()).count());
                Ok(BatchEnd::Done)
            }
            Err(error) => match failure(&*error, outage) {
                Ok(reason) => Ok(BatchEnd::Failed(at_batch(&reason))),
                Err(outage) => Err(outage.at(&place)),
            },
        }
    }
}
