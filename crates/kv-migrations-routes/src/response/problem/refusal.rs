//! Requests that are refused before anything is read or changed.

use http::header::{ALLOW, HeaderValue, WWW_AUTHENTICATE};

use super::{Problem, kinds};
use crate::request::access::Denied;
use crate::request::query::InvalidQuery;
use crate::request::route::MethodNotAllowed;

impl Problem {
    /// No route has the path of the request.
    pub(crate) fn not_found() -> Box<Self> {
        Self::new(&kinds::NOT_FOUND, "No migration route has this path.")
    }
}

impl From<MethodNotAllowed> for Box<Problem> {
    fn from(MethodNotAllowed { allow }: MethodNotAllowed) -> Self {
        Problem::new(&kinds::METHOD_NOT_ALLOWED, format!("This route takes {allow} only."))
            .with_header(ALLOW, HeaderValue::from_static(allow))
    }
}

impl From<InvalidQuery> for Box<Problem> {
    fn from(InvalidQuery(detail): InvalidQuery) -> Self {
        Problem::new(&kinds::INVALID_QUERY, detail)
    }
}

impl From<Denied> for Box<Problem> {
    fn from(denied: Denied) -> Self {
        let (detail, challenge) = match denied {
            Denied::NotConfigured { secrets } => {
                let mut detail = "Nobody has access yet: the secret `".to_owned();
                // `join` would add some hundred bytes of WebAssembly.
                for (index, secret) in secrets.iter().enumerate() {
                    detail.push_str(if index == 0 { "" } else { "` or `" });
                    detail.push_str(secret);
                }
                detail.push_str("` is not set, or is empty.");
                return Problem::new(&kinds::ACCESS_NOT_CONFIGURED, detail);
            }
            Denied::NoToken => ("A token is needed.", r#"Bearer realm="migrations""#),
            Denied::WrongToken => {
                ("The token is not the right one.", r#"Bearer realm="migrations", error="invalid_token""#)
            }
        };
        Problem::new(&kinds::UNAUTHORIZED, detail)
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }
}
