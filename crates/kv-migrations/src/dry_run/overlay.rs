//! A store that reads through to a namespace and keeps what is written to it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::page::{Start, merge};
use super::recorder::{Before, Change, Lookup};
use super::shared::Shared;
use super::slots::{Content, Facts, Options, Slot, Slots};
use crate::clock::{Clock, seconds};
use crate::future::BoxFuture;
use crate::kv::{
    Answer, BulkValue, Entry, Kv, KvError, KvErrorKind, ListOptions, Page, Request, Store, bulk_value,
    check_bulk, check_bulk_values, check_key, check_put, limits,
};
use crate::report::DryRunStop;

/// A store in front of a namespace.
pub(super) struct Overlay {
    shared: Arc<Shared>,
    /// Only reads are sent to it.
    real: Kv,
    /// Whether it is the service's own, which has its markers.
    is_own: bool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    written: Slots,
    read: Facts,
    samples: Vec<Sample>,
}

/// How far the lists of a prefix go, in a sample.
struct Sample {
    migration: usize,
    prefix: String,
    seen: u64,
    /// The last key that counts.
    last: String,
}

impl Overlay {
    pub(super) fn new(shared: Arc<Shared>, store: Arc<dyn Store>, is_own: bool) -> Self {
        let real = Kv::with_policy(store, shared.policy.clone());
        Self { shared, real, is_own, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        seconds(self.shared.clock.now())
    }

    /// What is known of an entry whose value was read.
    fn content(&self, value: &[u8]) -> Content {
        /// Larger values are read again if they are shown.
        const MAX_KEPT: usize = 4 * 1024;
        let is_kept = self.shared.has_values && value.len() <= MAX_KEPT;
        Content { value: is_kept.then(|| value.to_vec()), bytes: Some(value.len()), options: None }
    }

    fn is_marker(&self, key: &str) -> bool {
        self.is_own && key.starts_with(&self.shared.markers)
    }

    async fn answer(&self, request: Request<'_>) -> Result<Answer, KvError> {
        self.shared.check_budget();
        self.shared.state().recorder.count(request);
        match request {
            Request::Get { key } => self.get(request, key).await.map(Answer::Entry),
            Request::GetBulk { keys } => self.get_bulk(request, keys).await.map(Answer::Values),
            Request::List(options) => self.list(options).await.map(Answer::Page),
            Request::Put { key, value, options } => {
                let expiration = check_put(key, value, options, self.now()).map_err(|refusal| {
                    let error = refusal.of(request);
                    self.shared.state().recorder.refused(key, &error);
                    error
                })?;
                let options = Some(Options { metadata: options.metadata.clone(), expiration });
                let content = Content { value: Some(value.to_vec()), bytes: Some(value.len()), options };
                self.write(request, key, Some(content)).await
            }
            Request::Delete { key } => {
                check_key(key).map_err(|refusal| refusal.of(request))?;
                self.write(request, key, None).await
            }
        }
    }

    /// Sends a read to KV.
    async fn send(&self, request: Request<'_>) -> Result<Answer, KvError> {
        if let Some(failure) = &self.shared.state().failure {
            return Err(failure.clone());
        }
        let result = self.real.store().call(request).await;
        match result.as_ref().map_err(KvError::kind) {
            Err(KvErrorKind::OverBudget) => self.shared.cut_off(DryRunStop::Budget),
            // It was retried: the run need not retry it once more.
            Err(_) if result.as_ref().is_err_and(KvError::is_retryable) => {
                self.shared.state().failure = result.as_ref().err().cloned();
            }
            _ => {}
        }
        result
    }

    async fn get(&self, request: Request<'_>, key: &str) -> Result<Option<Entry>, KvError> {
        if let Some(slot) = self.known().written.get(key) {
            let content = slot.live(self.now());
            self.shared.note_read(1, content.and_then(|content| content.bytes).unwrap_or_default());
            return Ok(content.map(|content| {
                Entry::new(content.value.clone().unwrap_or_default())
                    .with_metadata(content.metadata().cloned())
            }));
        }
        let Answer::Entry(entry) = self.send(request).await? else { return Err(wrong(request)) };
        let bytes = entry.as_ref().map_or(0, |entry| entry.value.len());
        self.shared.note_read(1, bytes);
        let content = entry.as_ref().map(|entry| self.content(&entry.value));
        self.known().read.add(key, content);
        Ok(entry)
    }

    async fn get_bulk(&self, request: Request<'_>, keys: &[&str]) -> Result<Vec<BulkValue>, KvError> {
        check_bulk(keys).map_err(|refusal| refusal.of(request))?;
        let (mut values, mut unknown, now) = (Vec::new(), Vec::new(), self.now());
        for key in keys {
            let value = self.known().written.get(key).map(|slot| {
                let value = slot.live(now).and_then(|content| content.value.clone());
                bulk_value(key, value)
            });
            if value.is_none() {
                unknown.push(*key);
            }
            values.push(value);
        }
        let mut read = Vec::new().into_iter();
        if !unknown.is_empty() {
            let Answer::Values(answer) = self.send(Request::GetBulk { keys: &unknown }).await? else {
                return Err(wrong(request));
            };
            let mut known = self.known();
            for (key, value) in unknown.iter().zip(&answer) {
                let content = match value {
                    BulkValue::Found(value) => Some(self.content(value)),
                    BulkValue::Missing => None,
                    BulkValue::Unread => continue,
                };
                known.read.add(key, content);
            }
            read = answer.into_iter();
        }
        let mut all = Vec::with_capacity(values.len());
        let mut bytes = 0;
        for value in values {
            let value = value.or_else(|| read.next()).unwrap_or(BulkValue::Unread);
            if let BulkValue::Found(value) = &value {
                bytes += value.len();
            }
            all.push(value);
        }
        check_bulk_values(&all).map_err(|refusal| refusal.of(request))?;
        self.shared.note_read(all.len(), bytes);
        Ok(all)
    }

    async fn list(&self, options: ListOptions<'_>) -> Result<Page, KvError> {
        let start = Start::parse(options.cursor);
        let request = Request::List(ListOptions { cursor: start.cursor.as_deref(), ..options });
        let Answer::Page(page) = self.send(request).await? else { return Err(wrong(request)) };
        self.shared.note_listed(page.keys.len());
        let limit = options.limit.unwrap_or(limits::MAX_PAGE_KEYS) as usize;
        let known = &mut *self.known();
        for key in &page.keys {
            let options = Options { metadata: key.metadata.clone(), expiration: key.expiration };
            known.read.add(&key.name, Some(Content { options: Some(options), ..Content::default() }));
        }
        let is_known = !page.keys.is_empty() || page.cursor.is_none();
        if is_known
            && start == Start::default()
            && page.keys.first().is_none_or(|key| key.name != options.prefix)
        {
            // What begins with the prefix comes after it.
            known.read.add(options.prefix, None);
        }
        let mut page = merge(page, &known.written, options.prefix, start, limit, self.now());
        let state = self.shared.state();
        let is_sampled = options.limit.is_none() && state.recorder.is_at_long_one();
        if let Some(most) = self.shared.sample.filter(|_| is_sampled && !self.is_marker(options.prefix)) {
            sample(&mut known.samples, &mut page, options.prefix, state.recorder.number(), most);
        }
        Ok(page)
    }

    /// Keeps what is written, or that it is deleted.
    async fn write(
        &self,
        request: Request<'_>,
        key: &str,
        content: Option<Content>,
    ) -> Result<Answer, KvError> {
        let before = if self.is_marker(key) { None } else { Some(self.before(key).await) };
        let mut slot = Slot::new(key, content);
        if !self.shared.hold(slot.size()) {
            return Err(KvError::new(request.operation(), key, KvErrorKind::OverBudget));
        }
        let known = &mut *self.known();
        let mut shown = 0;
        if let Some(before) = before {
            let recorder = &mut self.shared.state().recorder;
            slot.written = (recorder.number(), self.shared.clock.skipped());
            let is_again = known.written.get(key).is_some_and(|last| last.written == slot.written);
            let (is_elsewhere, after) = (!self.is_own, slot.content.as_ref());
            shown = recorder.change(Change { key, is_elsewhere, before, after, is_again });
        }
        if shown > 0 {
            self.shared.hold(shown);
        }
        if let Some(last) = known.written.set(slot) {
            self.shared.release(last.size());
        }
        Ok(Answer::Done)
    }

    /// What is there before a change.
    async fn before(&self, key: &str) -> Before {
        let Lookup { has_options, has_size, has_value } = self.shared.state().recorder.lookup();
        let mut content = {
            let known = self.known();
            if let Some(slot) = known.written.get(key) {
                return Before::Known(slot.live(self.now()).cloned());
            }
            known.read.get(key).cloned().unwrap_or_else(|| Some(Content::default()))
        };
        let Some(content) = &mut content else { return Before::Known(None) };
        if content.options.is_none() {
            if !has_options {
                return Before::Unknown;
            }
            self.shared.state().recorder.note_lookup();
            let Ok(found) = self.real.find(key).await else { return Before::Unknown };
            let Some(found) = found else { return Before::Known(None) };
            content.options = Some(Options { metadata: found.metadata, expiration: found.expiration });
        }
        if has_value && content.value.is_none() || has_size && content.bytes.is_none() {
            let Ok(value) = self.real.bytes(key).await else { return Before::Unknown };
            let Some(value) = value else { return Before::Known(None) };
            content.bytes = Some(value.len());
            content.value = Some(value).filter(|_| has_value);
        }
        Before::Known(Some(content.clone()))
    }
}

/// Ends the list of a prefix after this number of keys.
fn sample(samples: &mut Vec<Sample>, page: &mut Page, prefix: &str, migration: usize, most: u64) {
    let is_same = |sample: &Sample| sample.migration == migration && sample.prefix == prefix;
    let place = samples.iter().position(is_same).unwrap_or_else(|| {
        samples.push(Sample { migration, prefix: prefix.to_owned(), seen: 0, last: String::new() });
        samples.len() - 1
    });
    let Some(sample) = samples.get_mut(place) else { return };
    page.keys.retain(|key| {
        if key.name > sample.last && sample.seen < most {
            sample.seen += 1;
            sample.last.clone_from(&key.name);
        }
        key.name <= sample.last
    });
    if sample.seen == most {
        page.cursor =
            page.cursor.take().filter(|_| page.keys.last().is_some_and(|last| last.name < sample.last));
    }
}

fn wrong(request: Request<'_>) -> KvError {
    request.refused(None, "the store returned a wrong answer")
}

impl Store for Overlay {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(self.answer(request))
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
