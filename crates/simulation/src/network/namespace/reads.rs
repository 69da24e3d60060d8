//! What each location sees.

use std::ops::Bound;

use kv_migrations::kv::{BulkValue, Entry, Key, ListOptions, Page};

use super::Namespace;

/// A page never has more keys than this.
const MOST_KEYS: u32 = 1_000;
/// For how long a cursor is good.
const CURSOR_LIFE: i64 = 600_000;

impl Namespace {
    pub(in crate::network) fn get(&self, location: usize, key: &str) -> Option<Entry> {
        self.settle();
        let state = &mut *self.state();
        let remembered = self.dice.between(0..=state.weather.delay);
        let history = state.keys.entry(key.to_owned()).or_default();
        history.seen(location, self.time.now(), remembered).map(|stored| stored.entry.clone())
    }

    pub(in crate::network) fn get_bulk(&self, location: usize, keys: &[&str]) -> Vec<BulkValue> {
        let read = |key: &&str| match self.get(location, key) {
            None => BulkValue::Missing,
            Some(entry) => String::from_utf8(entry.value).map_or(BulkValue::Unread, BulkValue::from_text),
        };
        keys.iter().map(read).collect()
    }

    /// A page, which can be short or empty. A cursor is when the page before was told, and its last key.
    pub(in crate::network) fn list(&self, location: usize, options: ListOptions<'_>) -> Page {
        self.settle();
        let (now, state) = (self.time.now(), self.state());
        let cursor = options.cursor.and_then(|cursor| cursor.split_once(' '));
        let told = cursor.and_then(|(told, _)| told.parse().ok()).unwrap_or(now);
        if now - told > CURSOR_LIFE {
            return Page::new(Vec::new());
        }
        let mut limit = options.limit.unwrap_or(MOST_KEYS) as usize;
        if self.dice.chance(state.weather.short_pages) {
            limit = limit.min(self.dice.below(8));
        }
        let after = cursor.map(|(_, after)| after).filter(|after| !after.is_empty());
        let start = after.map_or(Bound::Included(options.prefix), Bound::Excluded);
        let range = state.keys.range::<str, _>((start, Bound::Unbounded));
        let in_prefix = range.take_while(|(name, _)| name.starts_with(options.prefix));
        let mut keys: Vec<Key> = in_prefix
            .filter_map(|(name, history)| history.listed(name, location, now))
            .take(limit + 1)
            .collect();
        let is_last = keys.len() <= limit;
        keys.truncate(limit);
        let last = keys.last().map_or(after.unwrap_or_default(), |key| key.name.as_str());
        let cursor = (!is_last).then(|| format!("{now} {last}"));
        Page::new(keys).with_cursor(cursor)
    }
}
