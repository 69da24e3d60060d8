//! What the routes read of a request beside its path. They never read its body.

use http::header::{ACCEPT, AUTHORIZATION};
use http::{Method, Request, Uri};

/// The head of a request, whatever type of request it came as.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) query: Option<String>,
    /// All `Authorization` headers. More than one is no credential.
    pub(crate) authorization: Vec<Vec<u8>>,
    /// Whether the caller asks for events, line by line.
    pub(crate) accepts_events: bool,
}

/// One JSON value a line: <https://github.com/ndjson/ndjson-spec>.
pub(crate) const NDJSON: &str = "application/x-ndjson";

impl Head {
    pub(crate) fn from_http<B>(request: &Request<B>) -> Self {
        let mut head = Self {
            method: request.method().clone(),
            query: request.uri().query().map(str::to_owned),
            authorization: Vec::new(),
            accepts_events: false,
        };
        for (name, value) in request.headers() {
            if name == AUTHORIZATION {
                head.authorization.push(value.as_bytes().to_vec());
            } else if name == ACCEPT {
                head.accepts_events |= value.to_str().is_ok_and(accepts_ndjson);
            }
        }
        head
    }

    /// `uri` is that of the request: see [`uri`].
    pub(crate) fn from_worker(request: &worker::Request, uri: &Uri) -> worker::Result<Self> {
        // `worker::Method` takes every method that it does not know for a GET.
        let method = Method::from_bytes(request.inner().method().as_bytes());
        let headers = request.headers();
        Ok(Self {
            method: method.map_err(|error| worker::Error::RustError(error.to_string()))?,
            query: uri.query().map(str::to_owned),
            authorization: headers.get("Authorization")?.into_iter().map(Into::into).collect(),
            accepts_events: headers.get("Accept")?.is_some_and(|accept| accepts_ndjson(&accept)),
        })
    }
}

/// The URI of a request of `worker`'s own type. None if `http` cannot parse it: then it names no route.
///
/// `worker` parses it with the crate `url`, whose Unicode tables are larger than all of this crate. The runtime has
/// checked it already.
pub(crate) fn uri(request: &worker::Request) -> Option<Uri> {
    request.inner().url().parse().ok()
}

/// Whether an `Accept` header names NDJSON. `*/*`, which `curl` sends, does not.
fn accepts_ndjson(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim_ascii);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(NDJSON))
            && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_accept_header_that_names_ndjson_asks_for_events() {
        assert!(accepts_ndjson("application/x-ndjson"));
        assert!(accepts_ndjson("application/json, Application/X-NDJSON;q=0.5"));
        for accept in ["", "*/*", "application/*", "application/json", "application/x-ndjson;q=0"] {
            assert!(!accepts_ndjson(accept), "{accept}");
        }
    }
}
