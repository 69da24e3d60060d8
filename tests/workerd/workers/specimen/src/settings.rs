//! What a test asks for: by the headers of its requests, or, since an alarm brings none, by the variable `COORDINATED`.

use serde_json::Value;
use worker::{Env, HttpRequest};

/// Settings by name; empty where there is none.
pub trait Settings {
    fn get(&self, name: &str) -> &str;
}

impl Settings for HttpRequest {
    fn get(&self, name: &str) -> &str {
        self.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Settings for Value {
    fn get(&self, name: &str) -> &str {
        self.get(name).and_then(Self::as_str).unwrap_or_default()
    }
}

/// What the variable says: an object of JSON, with the names of headers in lower case.
pub fn of_environment(env: &Env) -> Value {
    let variable = env.var("COORDINATED").map(|variable| variable.to_string()).unwrap_or_default();
    serde_json::from_str(&variable).unwrap_or_default()
}
