//! Single fields of metadata. A field of another shape than expected counts as missing.

use super::Metadata;

/// In a Worker, JavaScript's own parser reads them, so that the wasm needs no second one.
#[cfg(target_arch = "wasm32")]
mod parsed {
    use worker::js_sys::{Array, JSON, Reflect};
    use worker::wasm_bindgen::{JsCast, JsValue};

    pub(crate) struct Fields(JsValue);

    impl Fields {
        pub(super) fn parse_json(json: &str) -> Self {
            Self(JSON::parse(json).unwrap_or_default())
        }

        /// Undefined if there is no such field.
        fn field(&self, name: &str) -> JsValue {
            Reflect::get(&self.0, &name.into()).unwrap_or_default()
        }

        pub(crate) fn text(&self, name: &str) -> Option<String> {
            self.field(name).as_string()
        }

        pub(crate) fn texts(&self, name: &str) -> Vec<String> {
            let mut texts = Vec::new();
            if let Ok(list) = self.field(name).dyn_into::<Array>() {
                for text in list.iter() {
                    texts.extend(text.as_string());
                }
            }
            texts
        }

        pub(crate) fn flag(&self, name: &str) -> bool {
            self.field(name).as_bool() == Some(true)
        }

        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
        pub(crate) fn number(&self, name: &str) -> Option<u64> {
            const EXACT: f64 = 9_007_199_254_740_991.0;
            let number = self.field(name).as_f64()?;
            ((0.0..=EXACT).contains(&number) && number.fract() == 0.0).then_some(number as u64)
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod parsed {
    use serde_json::Value;

    pub(crate) struct Fields(Value);

    impl Fields {
        pub(super) fn parse_json(json: &str) -> Self {
            Self(serde_json::from_str(json).unwrap_or_default())
        }

        pub(crate) fn text(&self, name: &str) -> Option<String> {
            self.0.get(name)?.as_str().map(str::to_owned)
        }

        pub(crate) fn texts(&self, name: &str) -> Vec<String> {
            let list = self.0.get(name).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        }

        pub(crate) fn flag(&self, name: &str) -> bool {
            self.0.get(name).and_then(Value::as_bool) == Some(true)
        }

        pub(crate) fn number(&self, name: &str) -> Option<u64> {
            self.0.get(name)?.as_u64()
        }
    }
}

pub(crate) use parsed::Fields;

impl Fields {
    pub(crate) fn parse(metadata: &Metadata) -> Self {
        Self::parse_json(metadata.as_json())
    }

    /// A number, or zero.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.number(name).unwrap_or(0)
    }
}
