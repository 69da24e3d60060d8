//! The head of a request: its method, its query and its headers.

use std::fmt;

use http::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

use super::route::Route;

/// The head of a request, whatever type of request it came as.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
}

/// One JSON value a line: <https://github.com/ndjson/ndjson-spec>.
pub(crate) const NDJSON: &str = "application/x-ndjson";

impl Head {
    pub(crate) fn from_parts(parts: Parts) -> Self {
        Self { method: parts.method, query: parts.uri.query().map(str::to_owned), headers: parts.headers }
    }

    /// `uri` is that of the request: see [`uri`].
    pub(crate) fn from_worker(request: &worker::Request, uri: &Uri) -> worker::Result<Self> {
        // `worker::Method` takes every method that it does not know for a GET.
        let method = Method::from_bytes(request.inner().method().as_bytes());
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers().entries() {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.append(name, value);
            }
        }
        Ok(Self {
            method: method.map_err(|error| worker::Error::RustError(error.to_string()))?,
            query: uri.query().map(str::to_owned),
            headers,
        })
    }

    /// The `Authorization` header. More than one are a wrong token, as they are where the runtime joins them.
    pub(crate) fn authorization(&self) -> Option<&[u8]> {
        let mut values = self.values(&AUTHORIZATION);
        let first = values.next()?.as_bytes();
        Some(if values.next().is_none() { first } else { b"Bearer " })
    }

    /// The values of a header. `HeaderMap::get_all` would add a kilobyte of WebAssembly.
    fn values(&self, name: &HeaderName) -> impl Iterator<Item = &HeaderValue> {
        self.headers.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Whether the caller asks for events, line by line.
    pub(crate) fn accepts_events(&self) -> bool {
        self.values(&ACCEPT).any(|accept| accepts_ndjson(accept.as_bytes()))
    }
}

/// What a guard sees of a request: see [`MigrationRoutes::guarded_by`](crate::MigrationRoutes::guarded_by).
///
/// With a coordinator the guard is asked twice, in the Worker and in the object, and sees the same in both.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    pub(crate) head: &'a Head,
    pub(crate) route: &'a Route,
}

impl<'a> RequestHead<'a> {
    /// Returns the method. A `HEAD` request is shown as the `GET` that it is answered as.
    pub fn method(&self) -> &'a Method {
        match &self.head.method {
            &Method::HEAD => &Method::GET,
            method => method,
        }
    }

    /// Returns the path of the route, such as `/migrate`: without what it is mounted below.
    pub fn path(&self) -> String {
        self.route.path()
    }

    /// Returns the query, without its question mark.
    pub fn query(&self) -> Option<&'a str> {
        self.head.query.as_deref()
    }

    /// Returns the headers, as the caller sent them.
    pub fn headers(&self) -> &'a HeaderMap {
        &self.head.headers
    }
}

/// Without the headers, which hold credentials.
impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", self.method())
            .field("path", &self.path())
            .finish_non_exhaustive()
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
fn accepts_ndjson(accept: &[u8]) -> bool {
    accept.split(|byte| *byte == b',').any(|range| {
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(NDJSON.as_bytes()))
            && !parts.any(|part| {
                part.strip_prefix(b"q=0")
                    .is_some_and(|rest| rest.iter().all(|byte| matches!(byte, b'.' | b'0')))
            })
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::request::token;

    #[test]
    fn only_an_accept_header_that_names_ndjson_asks_for_events() {
        assert!(accepts_ndjson(b"application/x-ndjson"));
        assert!(accepts_ndjson(b"application/json, Application/X-NDJSON;q=0.5"));
        for accept in ["", "*/*", "application/*", "application/json", "application/x-ndjson;q=0"] {
            assert!(!accepts_ndjson(accept.as_bytes()), "{accept}");
        }
    }

    #[test]
    fn two_credentials_are_a_wrong_one() {
        let request = Request::builder().header("authorization", "Bearer a").body(()).unwrap();
        let mut head = Head::from_parts(request.into_parts().0);
        assert_eq!(head.authorization(), Some("Bearer a".as_bytes()));
        head.headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        let denied = token::check(&["a".to_owned()], head.authorization());
        assert_eq!(denied, Err(token::Denied::WrongToken));
    }

    #[test]
    fn a_guard_sees_the_route_wherever_it_is_mounted_and_shows_no_credential() {
        let request =
            Request::head("/admin/migrations/status?require=up-to-date").header("cookie", "session=1");
        let head = Head::from_parts(request.body(()).unwrap().into_parts().0);
        let seen = RequestHead { head: &head, route: &Route::Status };
        assert_eq!((seen.method(), &*seen.path()), (&Method::GET, "/migrations/status"));
        assert_eq!(seen.query(), Some("require=up-to-date"));
        assert_eq!(seen.headers()["cookie"], "session=1");
        assert!(!format!("{seen:?}").contains("session"), "{seen:?}");
    }
}
