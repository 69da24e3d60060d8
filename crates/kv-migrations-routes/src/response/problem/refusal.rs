//! Requests that are refused before anything is read or changed.

use http::header::{ALLOW, HeaderValue, WWW_AUTHENTICATE};

use super::{Problem, kinds};
use crate::request::query::InvalidQuery;
use crate::request::route::MethodNotAllowed;
use crate::request::token::Denied;

impl Problem {
    /// No route has the path of the request.
    pub(crate) fn not_found() -> Box<Self> {
        Self::new(&kinds::NOT_FOUND, "No migration route has this path.")
    }

    /// None of these secrets is set, so that nobody has access.
    pub(crate) fn access_not_configured(secrets: &[String]) -> Box<Self> {
        let mut detail = "Nobody has access yet: the secret `".to_owned();
        // `join` would add some hundred bytes of WebAssembly.
        for (index, secret) in secrets.iter().enumerate() {
            detail.push_str(if index == 0 { "" } else { "` or `" });
            detail.push_str(secret);
        }
        detail.push_str("` is not set, or is empty.");
        Self::new(&kinds::ACCESS_NOT_CONFIGURED, detail)
    }

    /// A page of another site may have made a browser send the request.
    pub(crate) fn cross_site_request() -> Box<Self> {
        Self::new(&kinds::CROSS_SITE_REQUEST, "A browser sent this request for a page of another site.")
    }

    /// The service's guard let the caller not in.
    pub(crate) fn forbidden() -> Box<Self> {
        Self::new(&kinds::FORBIDDEN, "The guard of the service refuses this caller.")
    }

    /// The service's guard could not decide. The error is not for the caller, who may be anyone.
    pub(crate) fn guard_failed() -> Box<Self> {
        Self::new(&kinds::GUARD_FAILED, "The guard of the service failed, so that nobody was let in.")
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
            Denied::NoToken => ("A token is needed.", r#"Bearer realm="migrations""#),
            Denied::WrongToken => {
                ("The token is not the right one.", r#"Bearer realm="migrations", error="invalid_token""#)
            }
        };
        Problem::new(&kinds::UNAUTHORIZED, detail)
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }
}
