//! Values of many keys: read in bulk where that is exact, else singly when their turn comes.

use crate::kv::limits::MAX_BULK_BYTES;
use crate::kv::{BulkValue, Connections, Key, Kv, KvError, StoreExt};

/// What is known of a value once its chunk of keys was read.
pub(super) enum Loaded {
    Value(Vec<u8>),
    Missing,
    /// It has to be read singly.
    Unread,
    /// The chunk is too large to be held: it has to be read singly, and alone.
    Large,
}

/// The values of at most 100 keys. One operation.
pub(super) async fn load_values(kv: &Kv, names: &[&str]) -> Result<Vec<Loaded>, KvError> {
    let values = load_uncounted(kv, names).await?;
    kv.add_bytes(values.iter().map(Loaded::bytes).sum());
    Ok(values)
}

async fn load_uncounted(kv: &Kv, names: &[&str]) -> Result<Vec<Loaded>, KvError> {
    let values: Vec<_> = match kv.store().get_bulk(names).await {
        Err(error) if error.is_too_large() => {
            kv.note_values(names.len(), MAX_BULK_BYTES);
            return Ok(names.iter().map(|_| Loaded::Large).collect());
        }
        values => values?.into_iter().map(Loaded::from).collect(),
    };
    let found = values.iter().filter(|value| matches!(value, Loaded::Value(_))).count();
    kv.note_values(found, values.iter().map(Loaded::bytes).sum());
    Ok(values)
}

/// Listed keys, each with its value. One operation. A value counts for the budget when it is worked on: it may wait for that in
/// vain.
pub(super) async fn load_entries(kv: &Kv, keys: Vec<Key>) -> Result<Vec<(Key, Loaded)>, KvError> {
    let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    let values = load_uncounted(kv, &names).await?;
    Ok(keys.into_iter().zip(values).collect())
}

impl Loaded {
    /// The size of the value, if it was read.
    fn bytes(&self) -> usize {
        if let Self::Value(value) = self { value.len() } else { 0 }
    }
}

impl From<BulkValue> for Loaded {
    fn from(value: BulkValue) -> Self {
        match value {
            BulkValue::Found(value) => Self::Value(value),
            BulkValue::Missing => Self::Missing,
            BulkValue::Unread => Self::Unread,
        }
    }
}

/// Holds one large value at a time.
pub(super) struct LargeValues(Connections);

impl LargeValues {
    pub(super) fn new() -> Self {
        Self(Connections::new(1))
    }

    /// Does `work` while no other large value is held.
    pub(super) async fn alone<R>(&self, work: impl Future<Output = R>) -> R {
        let _place = self.0.take().await;
        work.await
    }

    /// Does `work` with the value, which is read now if it was not; with `None` if there is none.
    pub(super) async fn with_value<R, E: From<KvError>>(
        &self,
        kv: &Kv,
        name: &str,
        loaded: Loaded,
        work: impl AsyncFnOnce(Option<Vec<u8>>) -> Result<R, E>,
    ) -> Result<R, E> {
        match loaded {
            Loaded::Value(value) => {
                kv.add_bytes(value.len());
                work(Some(value)).await
            }
            Loaded::Missing => work(None).await,
            Loaded::Unread => work(read(kv, name).await?).await,
            Loaded::Large => self.alone(async { work(read(kv, name).await?).await }).await,
        }
    }
}

async fn read(kv: &Kv, name: &str) -> Result<Option<Vec<u8>>, KvError> {
    let value = kv.bytes(name).await?;
    let bytes = value.as_ref().map_or(0, Vec::len);
    kv.add_bytes(bytes);
    kv.note_values(value.iter().len(), bytes);
    Ok(value)
}
