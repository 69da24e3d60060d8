//! What is known of keys, in their order: what was written, or what was read.

use crate::kv::{Key, Metadata};

/// A key, and what is there.
pub(super) struct Slot {
    pub(super) name: String,
    /// `None` if there is nothing.
    pub(super) content: Option<Content>,
    /// Which migration wrote it, and how much time had been skipped by then.
    pub(super) written: (usize, u64),
}

/// What is known of an entry. Of one that was written, all is.
#[derive(Clone, Default)]
pub(super) struct Content {
    pub(super) value: Option<Vec<u8>>,
    pub(super) bytes: Option<usize>,
    pub(super) options: Option<Options>,
}

/// Metadata and expiration.
#[derive(Clone, Default)]
pub(super) struct Options {
    pub(super) metadata: Option<Metadata>,
    pub(super) expiration: Option<u64>,
}

impl Slot {
    pub(super) fn new(name: &str, content: Option<Content>) -> Self {
        Self { name: name.to_owned(), content, written: (0, 0) }
    }

    /// What is there, unless it has expired.
    pub(super) fn live(&self, now: u64) -> Option<&Content> {
        let is_live = |content: &&Content| content.expiration().is_none_or(|at| at > now);
        self.content.as_ref().filter(is_live)
    }

    /// The bytes that it takes.
    pub(super) fn size(&self) -> usize {
        let content = self.content.as_ref();
        let value = content.and_then(|content| content.value.as_ref()).map_or(0, Vec::len);
        self.name.len()
            + value
            + content.and_then(Content::metadata).map_or(0, |metadata| metadata.as_json().len())
    }
}

impl Content {
    pub(super) fn metadata(&self) -> Option<&Metadata> {
        self.options.as_ref()?.metadata.as_ref()
    }

    pub(super) fn expiration(&self) -> Option<u64> {
        self.options.as_ref()?.expiration
    }

    /// The key as a list returns it.
    pub(super) fn key(&self, name: &str) -> Key {
        Key::new(name).with_metadata(self.metadata().cloned()).with_expiration(self.expiration())
    }
}

/// Slots in the order of their keys. A list: a map would be more code in the wasm, and most keys come in order.
#[derive(Default)]
#[allow(clippy::vec_box, reason = "one that is added in between moves those after it")]
pub(super) struct Slots(Vec<Box<Slot>>);

impl Slots {
    fn place(&self, name: &str) -> Result<usize, usize> {
        // Most keys come in order.
        match self.0.last() {
            Some(last) if *last.name < *name => Err(self.0.len()),
            _ => self.0.binary_search_by(|slot| slot.name.as_str().cmp(name)),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Slot> {
        self.0.get(self.place(name).ok()?).map(|slot| &**slot)
    }

    /// Sets a slot. Returns what was there.
    pub(super) fn set(&mut self, slot: Slot) -> Option<Box<Slot>> {
        let place = self.place(&slot.name);
        let slot = Box::new(slot);
        match place {
            Ok(place) => self.0.get_mut(place).map(|old| std::mem::replace(old, slot)),
            Err(place) => {
                self.0.insert(place, slot);
                None
            }
        }
    }

    /// Those after a key.
    pub(super) fn after(&self, name: Option<&str>) -> impl Iterator<Item = &Slot> {
        let start = name.map_or(0, |name| self.place(name).map_or_else(|place| place, |place| place + 1));
        self.0.iter().skip(start).map(|slot| &**slot)
    }
}

/// How many keys of each generation are remembered: more than a page of a list.
const MAX_FACTS: usize = 2_000;

/// What was read of KV a moment ago, so that it is not read again when it is written.
#[derive(Default)]
pub(super) struct Facts {
    recent: Slots,
    older: Slots,
}

impl Facts {
    pub(super) fn get(&self, name: &str) -> Option<&Option<Content>> {
        self.recent.get(name).or_else(|| self.older.get(name)).map(|slot| &slot.content)
    }

    /// Adds what is known. What was known before stays.
    pub(super) fn add(&mut self, name: &str, mut content: Option<Content>) {
        if let (Some(content), Some(Some(known))) = (&mut content, self.get(name)) {
            content.bytes = content.bytes.or(known.bytes);
            if content.value.is_none() {
                content.value.clone_from(&known.value);
            }
            if content.options.is_none() {
                content.options.clone_from(&known.options);
            }
        }
        if self.recent.0.len() >= MAX_FACTS {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.set(Slot::new(name, content));
    }
}
