//! Which entries a backfill or a fold works on, and what it reads of them.

use super::prefixes::Prefixes;
use super::record::Record;
use super::values::{LargeValues, Loaded, load_entries};
use super::walk::Scope;
use crate::error::{BoxError, Result};
use crate::kv::{Key, Kv};

/// The entries of a scope, with or without their values.
pub(super) struct Selection {
    pub(super) scope: Scope,
    values: Values,
}

/// How the values are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    InBulk,
    Singly,
    NotAtAll,
}

impl Selection {
    pub(super) fn new(prefixes: Prefixes) -> Self {
        Self { scope: Scope::new(prefixes), values: Values::InBulk }
    }

    pub(super) fn read_singly(&mut self) {
        self.values = Values::Singly;
    }

    pub(super) fn read_keys_only(&mut self) {
        self.values = Values::NotAtAll;
    }

    /// Reads what is needed of the entries of at most 100 keys: one operation at most.
    pub(super) async fn load(&self, kv: &Kv, keys: Vec<Key>) -> Result<Vec<(Key, Loaded)>> {
        match self.values {
            Values::InBulk => Ok(load_entries(kv, keys).await?),
            Values::Singly | Values::NotAtAll => {
                kv.note_values(0, 0);
                Ok(keys.into_iter().map(|key| (key, self.unread())).collect())
            }
        }
    }

    /// What is known of a value before it is read. Nothing is left to read where values are not read at all.
    pub(super) fn unread(&self) -> Loaded {
        if self.values == Values::NotAtAll { Loaded::Value(Vec::new()) } else { Loaded::Unread }
    }

    /// The entry with its value; `None` if it was deleted in the meantime.
    pub(super) async fn read_record(
        &self,
        kv: Kv,
        large_values: &LargeValues,
        key: Key,
        loaded: Loaded,
    ) -> Result<Option<Record>> {
        let name = key.name.clone();
        let value =
            large_values.with_value(&kv, &name, loaded, async |value| Ok::<_, BoxError>(value)).await?;
        Ok(value.map(|value| self.record(&kv, key, value)))
    }

    pub(super) fn record(&self, kv: &Kv, key: Key, value: Vec<u8>) -> Record {
        Record::new(kv, key, value).with_value_read(self.values != Values::NotAtAll)
    }
}
