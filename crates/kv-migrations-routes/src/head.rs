//! What the routes read of a request beside its path: never its body.

use http::header::{ACCEPT, AUTHORIZATION};
use http::{Method, Request, Uri};

/// The head of a request, from whichever type of request the service has.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) query: Option<String>,
    /// Every `Authorization` header there is. More than one is no credential.
    pub(crate) authorization: Vec<Vec<u8>>,
    /// Whether the answer is to be told event by event, as it happens.
    pub(crate) accepts_events: bool,
}

/// One JSON value a line: <https://github.com/ndjson/ndjson-spec>.
pub(crate) const NDJSON: &str = "application/x-ndjson";

impl Head {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
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
                head.accepts_events |= value.to_str().is_ok_and(is_ndjson_accepted);
            }
        }
        head
    }

    pub(crate) fn of_worker(request: &worker::Request, uri: &Uri) -> worker::Result<Self> {
        // `worker::Method` takes every method that it does not know for a GET.
        let method = Method::from_bytes(request.inner().method().as_bytes());
        Ok(Self {
            method: method.map_err(|error| worker::Error::RustError(error.to_string()))?,
            query: uri.query().map(str::to_owned),
            authorization: request.headers().get("Authorization")?.into_iter().map(Into::into).collect(),
            accepts_events: request
                .headers()
                .get("Accept")?
                .is_some_and(|accept| is_ndjson_accepted(&accept)),
        })
    }
}

/// Where a request of `worker`'s own type goes; none if it is nowhere that a route can be.
///
/// `worker` reads it with the `url` crate, whose tables of Unicode's host names are larger than all of our code; the
/// runtime has parsed it already.
pub(crate) fn uri(request: &worker::Request) -> Option<Uri> {
    request.inner().url().parse().ok()
}

/// Only where it is named: `*/*`, which `curl` sends, does not ask for it.
fn is_ndjson_accepted(accept: &str) -> bool {
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
    fn events_are_told_only_to_who_asks_for_them() {
        assert!(is_ndjson_accepted("application/x-ndjson"));
        assert!(is_ndjson_accepted("application/json, Application/X-NDJSON;q=0.5"));
        for accept in ["", "*/*", "application/*", "application/json", "application/x-ndjson;q=0"] {
            assert!(!is_ndjson_accepted(accept), "{accept}");
        }
    }
}
