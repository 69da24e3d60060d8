//! Pages of a list of what is in KV and of what was written over it: pure.

use super::slots::Slots;
use crate::kv::{Key, Page};

/// What the cursors of an overlay begin with. Any other one is KV's own: of a checkpoint of a real run.
const OWN: &str = "\u{1}dry-run\u{1}";

/// Where a page begins.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    /// The last key of the page before.
    pub(super) after: Option<String>,
    /// The cursor of KV's page that the next keys are on, or after.
    pub(super) cursor: Option<String>,
}

impl Start {
    pub(super) fn parse(cursor: Option<&str>) -> Self {
        let Some(text) = cursor else { return Self::default() };
        let own = || {
            let (length, rest) = text.strip_prefix(OWN)?.split_once(':')?;
            let (after, cursor) = rest.split_at_checked(length.parse().ok()?)?;
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            Some(Self { after: some(after), cursor: some(cursor) })
        };
        own().unwrap_or_else(|| Self { after: None, cursor: Some(text.to_owned()) })
    }

    fn text(&self) -> String {
        let (after, cursor) = (self.after.as_deref().unwrap_or_default(), self.cursor.as_deref());
        format!("{OWN}{}:{after}{}", after.len(), cursor.unwrap_or_default())
    }
}

/// Merges what was written into a page of KV. At most `limit` keys.
pub(super) fn merge(page: Page, written: &Slots, prefix: &str, start: Start, limit: usize, now: u64) -> Page {
    let Page { keys, cursor } = page;
    // On later pages of KV there are later keys.
    let end = keys.last().map(|last| last.name.clone()).or_else(|| start.after.clone());
    let is_last = cursor.is_none();
    let is_before_end = |name: &str| is_last || end.as_deref().is_some_and(|end| name <= end);
    let is_new = |key: &Key| {
        start.after.as_deref().is_none_or(|after| after < key.name.as_str())
            && key.expiration.is_none_or(|at| at > now)
    };
    let mut listed = keys.into_iter().filter(is_new).peekable();
    let mut merged = Vec::new();
    let first = start.after.as_deref().filter(|after| *after >= prefix).or(Some(prefix));
    let at_prefix = written.get(prefix).filter(|_| start.after.is_none());
    for slot in at_prefix.into_iter().chain(written.after(first)) {
        let name = slot.name.as_str();
        if !name.starts_with(prefix) || !is_before_end(name) {
            break;
        }
        while let Some(key) = listed.next_if(|key| key.name.as_str() < name) {
            merged.push(key);
        }
        listed.next_if(|key| key.name == name);
        if let Some(content) = slot.live(now) {
            merged.push(content.key(name));
        }
        if merged.len() > limit {
            break;
        }
    }
    merged.extend(listed);
    let next = if merged.len() > limit {
        merged.truncate(limit);
        // The same page of KV again.
        Some(Start { after: merged.last().map(|last| last.name.clone()), cursor: start.cursor })
    } else {
        cursor.map(|cursor| Start { after: end, cursor: Some(cursor) })
    };
    Page { keys: merged, cursor: next.map(|next| next.text()) }
}
