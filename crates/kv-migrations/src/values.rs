//! Values of many keys, read in bulk where that is exact, and else one by one when their turn comes.

use crate::kv::{BulkValue, Connections, Key, Kv, KvError, StoreExt};

/// What is known of a value once its chunk was read.
pub(crate) enum Loaded {
    Value(Vec<u8>),
    Missing,
    /// It has to be read by itself.
    Unread,
    /// Together with others it is too large to be held: it has to be read when no other such is.
    Large,
}

/// The values of at most 100 keys. One operation.
pub(crate) async fn load_values(kv: &Kv, names: &[&str]) -> Result<Vec<Loaded>, KvError> {
    let values = match kv.store().get_bulk(names).await {
        Err(error) if error.is_too_large() => names.iter().map(|_| Loaded::Large).collect(),
        values => values?.into_iter().map(Loaded::from).collect(),
    };
    Ok(values)
}

/// The same for keys of a list, each with its value.
pub(crate) async fn load_entries(kv: &Kv, keys: Vec<Key>) -> Result<Vec<(Key, Loaded)>, KvError> {
    let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    let values = load_values(kv, &names).await?;
    Ok(keys.into_iter().zip(values).collect())
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

/// Lets one large value after the other be held.
pub(crate) struct Hall(Connections);

impl Hall {
    pub(crate) fn new() -> Self {
        Self(Connections::new(1))
    }

    /// Lets this be done when no other such is.
    pub(crate) async fn alone<R>(&self, work: impl Future<Output = R>) -> R {
        let _place = self.0.take().await;
        work.await
    }

    /// Works on the value, read now if it was not; `None` if there is none.
    pub(crate) async fn with_value<R, E: From<KvError>>(
        &self,
        kv: &Kv,
        name: &str,
        loaded: Loaded,
        work: impl AsyncFnOnce(Option<Vec<u8>>) -> Result<R, E>,
    ) -> Result<R, E> {
        match loaded {
            Loaded::Value(value) => work(Some(value)).await,
            Loaded::Missing => work(None).await,
            Loaded::Unread => work(kv.bytes(name).await?).await,
            Loaded::Large => self.alone(async { work(kv.bytes(name).await?).await }).await,
        }
    }
}
