//! Requests to a service and its replies, without the way that they travel: [`crate::client`] has that.

use std::fmt::Write as _;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Below the routes' own, with the query: `/migrate?to=001_first`.
    pub(crate) path: String,
    /// Whether to ask for events, line by line.
    pub(crate) events: bool,
}

impl Request {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::Get, path: path.into(), events: false }
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self { method: Method::Post, path: path.into(), events: false }
    }

    /// Adds a parameter to the query. Its value is encoded.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        self.path.push(separator);
        self.path.push_str(name);
        self.path.push('=');
        self.path.push_str(&encoded(value));
        self
    }

    /// Adds a parameter to the query if there is a value.
    #[must_use]
    pub(crate) fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    #[must_use]
    pub(crate) fn with_events(self) -> Self {
        Self { events: true, ..self }
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Without its parameters.
    pub(crate) content_type: String,
    pub(crate) retry_after: Option<u64>,
    /// Where it redirects to.
    pub(crate) location: Option<String>,
    /// Of events, the last line.
    pub(crate) body: String,
}

/// Why nothing came back, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The service was not reached: it cannot have got the request.
    NotReached(String),
    /// The connection ended, or stayed silent for too long. The service may have got the request.
    Broken(String),
    /// The time that the request had is over.
    TimeIsUp,
}

/// A service that can be asked.
pub(crate) trait Service {
    /// Sends a request, which may take so long, and hands each line of events over as it arrives.
    fn send(&self, request: &Request, limit: Duration, on_line: &mut dyn FnMut(&str)) -> Result<Reply, Lost>;
}

/// A text as one segment of a path, or as a value in a query.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded() {
        let request = Request::post(format!("/migrations/{}/mark", encoded("a/b ü")))
            .with("by", "me & you")
            .with_some("to", None);
        assert_eq!(request.path, "/migrations/a%2Fb%20%C3%BC/mark?by=me%20%26%20you");
        assert_eq!(Request::get("/plan").with("to", "1").with("steps", "2").path, "/plan?to=1&steps=2");
    }
}
