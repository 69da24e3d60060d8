//! Random numbers: of the machine, or of a test.

#[cfg(feature = "testing")]
use std::sync::Arc;

/// Where random numbers come from.
#[derive(Clone, Default)]
pub(crate) struct Random {
    #[cfg(feature = "testing")]
    source: Option<Arc<dyn Fn() -> [u64; 2] + Send + Sync>>,
}

impl Random {
    /// They come from this function.
    #[cfg(feature = "testing")]
    pub(crate) fn from(source: impl Fn() -> [u64; 2] + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)) }
    }

    /// 128 bits that nobody can guess.
    #[cfg_attr(not(feature = "testing"), allow(clippy::unused_self, reason = "only a test sets a source"))]
    pub(crate) fn number(&self) -> [u64; 2] {
        #[cfg(feature = "testing")]
        if let Some(source) = &self.source {
            return source();
        }
        platform::number()
    }
}

/// The runtime's generator. The standard library has none here: its `RandomState` is made of addresses in memory, which
/// are the same each time.
#[cfg(target_arch = "wasm32")]
mod platform {
    use worker::wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen(wasm_bindgen = worker::wasm_bindgen)]
    extern "C" {
        #[wasm_bindgen(js_namespace = ["globalThis", "crypto"], js_name = getRandomValues)]
        fn fill(bytes: &mut [u8]);
    }

    pub(super) fn number() -> [u64; 2] {
        let mut halves = [[0; 8]; 2];
        for half in &mut halves {
            fill(half);
        }
        halves.map(u64::from_le_bytes)
    }
}

/// The keys of the standard library's maps, which the operating system draws.
#[cfg(not(target_arch = "wasm32"))]
mod platform {
    use std::hash::{BuildHasher, RandomState};

    pub(super) fn number() -> [u64; 2] {
        let random = RandomState::new();
        [0, 1].map(|half: u64| random.hash_one(half))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_draws_another_number_each_time() {
        assert_ne!(Random::default().number(), Random::default().number());
    }
}
