//! Requests that are refused before anything is read or changed.

use std::time::Duration;

use http::header::{ALLOW, HeaderValue, WWW_AUTHENTICATE};

use super::Problem;
use super::kinds::{self, Kind};
use crate::platform::binding::NoNamespace;
use crate::request::query::{InvalidQuery, NotExpected};
use crate::request::route::MethodNotAllowed;
use crate::request::token::Denied;

/// When to ask again whether a deploy has arrived.
pub(super) const RELEASE_RETRY_AFTER: Duration = Duration::from_secs(5);

impl Problem {
    /// No route has the path of the request.
    pub(crate) fn not_found() -> Box<Self> {
        Self::new(&kinds::NOT_FOUND, "No migration route has this path.")
    }

    /// The path would be one of a route if it had the base path before it.
    pub(crate) fn outside_base_path(base_path: &str) -> Box<Self> {
        let detail = format!(
            "The routes are below `{base_path}`, and this path came without it. If the router removed it, as axum's \
             `nest_service` does, leave `with_base_path` away."
        );
        Self::new(&kinds::NOT_FOUND, detail)
    }

    /// The request has a body.
    pub(crate) fn unexpected_content() -> Box<Self> {
        Self::new(&kinds::UNEXPECTED_CONTENT, "This route takes no body.")
    }

    /// The token of the request may only read.
    pub(crate) fn read_only(secrets: &[String]) -> Box<Self> {
        let secret = secrets.first().map_or("", String::as_str);
        let detail = format!("This token may only read. Send the one in the secret `{secret}`.");
        Self::new(&kinds::READ_ONLY_TOKEN, detail)
    }

    /// Nobody has access, since `defect` is wrong with these secrets.
    pub(crate) fn access_not_configured(secrets: &[String], defect: &str) -> Box<Self> {
        let mut detail = "Nobody has access yet: the secret `".to_owned();
        // `join` would add some hundred bytes of WebAssembly.
        for (index, secret) in secrets.iter().enumerate() {
            detail.push_str(if index == 0 { "" } else { "` or `" });
            detail.push_str(secret);
        }
        detail.push_str("` ");
        Self::new(&kinds::ACCESS_NOT_CONFIGURED, detail + defect)
    }

    /// Nobody has access, since the Worker sees no secret at all.
    pub(crate) fn no_environment_for_access() -> Box<Self> {
        Self::no_environment(&kinds::ACCESS_NOT_CONFIGURED)
    }

    /// The name of the binding is not that of a KV namespace.
    pub(crate) fn no_kv_binding(name: &str, reason: NoNamespace) -> Box<Self> {
        let detail = match reason {
            NoNamespace::NoEnvironment => return Self::no_environment(&kinds::NO_KV_BINDING),
            NoNamespace::Missing => format!("The Worker has no KV binding `{name}`."),
            NoNamespace::OtherKind => format!("The binding `{name}` is not a KV namespace."),
        };
        Self::new(&kinds::NO_KV_BINDING, detail)
    }

    fn no_environment(kind: &Kind) -> Box<Self> {
        let mut problem = Self::new(kind, "The Worker can import no environment.");
        problem.help =
            "Delete the flag `disallow_importable_env`, or hand the environment over: `routes.with_env(env)`."
                .into();
        problem
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

impl From<NotExpected<'_>> for Box<Problem> {
    fn from(NotExpected { expected, last }: NotExpected<'_>) -> Self {
        let last = match last {
            Some(id) => format!("its last migration is `{id}`"),
            None => "it registers none".to_owned(),
        };
        let detail =
            format!("The release that answers does not register `{expected}`, which is expected: {last}.");
        Problem::new(&kinds::RELEASE_MISMATCH, detail).with_retry_after(RELEASE_RETRY_AFTER)
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
