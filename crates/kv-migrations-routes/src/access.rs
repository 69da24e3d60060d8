//! Who has access to the routes: those with a token, those whom a guard of the service lets in, or everyone.

use std::future::ready;
use std::slice;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::Method;
use kv_migrations::log::{ConsoleLog, Log};
use kv_migrations::{BoxError, Result as Guarded, reason};

use crate::platform::environment::Environment;
use crate::request::head::RequestHead;
use crate::request::permission::Permission;
use crate::request::site::is_cross_site;
use crate::request::token;
use crate::response::problem::Problem;

/// The secret that holds the token, unless another is named.
const DEFAULT_SECRET: &str = "MIGRATIONS_TOKEN";
/// The secret that holds the token of those who may only read, unless another is named.
const DEFAULT_STATUS_SECRET: &str = "MIGRATIONS_STATUS_TOKEN";

/// Which callers have access.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) kind: Kind,
    /// The secret whose token may only read. Guards decide without it.
    pub(crate) status_secret: Arc<str>,
}

#[derive(Clone)]
pub(crate) enum Kind {
    /// Callers whose bearer token equals one of these secrets.
    Secrets(Arc<[String]>),
    /// Those whom it lets in. A trait object, so that a Worker carries the code of those guards alone that it names.
    Guard(Arc<dyn Guard>),
}

/// What a caller may do. The error is the answer to one who has no access.
type Checked<'a> = LocalBoxFuture<'a, Result<Permission, Box<Problem>>>;

/// Decides who has access, where [`Kind::Secrets`] does not.
pub(crate) trait Guard: Send + Sync {
    /// What the caller may do. A token in `status_secret` may only read.
    fn check<'a>(
        &'a self,
        environment: &'a Environment,
        head: RequestHead<'a>,
        status_secret: &'a str,
    ) -> Checked<'a>;

    /// Whether a token decides.
    fn takes_token(&self) -> bool {
        false
    }

    /// A token that has access, if one has.
    fn token<'a>(&'a self, _: &'a Environment) -> LocalBoxFuture<'a, Option<String>> {
        ready(None).boxed_local()
    }
}

/// Lets callers in whose bearer token equals one of these secrets, of the environment or of the Secrets Store.
pub(crate) struct StoredSecrets(pub(crate) Vec<String>);

/// Lets everyone in, but no page of another site that makes a visitor's browser send a request.
pub(crate) struct Anyone;

/// A guard of the service.
pub(crate) struct GuardedBy<F>(pub(crate) F);

impl Default for Access {
    fn default() -> Self {
        Self {
            kind: Kind::Secrets(Arc::new([DEFAULT_SECRET.to_owned()])),
            status_secret: DEFAULT_STATUS_SECRET.into(),
        }
    }
}

impl Access {
    /// The error is the answer to a caller who has no access.
    pub(crate) async fn check(
        &self,
        environment: &Environment,
        head: RequestHead<'_>,
    ) -> Result<Permission, Box<Problem>> {
        let status_secret = &*self.status_secret;
        match &self.kind {
            Kind::Secrets(names) => {
                let may_read = environment.secret(status_secret);
                check_token(&tokens(names, environment), may_read, names, environment, head)
            }
            Kind::Guard(guard) => guard.check(environment, head, status_secret).await,
        }
    }

    /// The same for what needs no token, since a browser sends none when it navigates: only a guard of the service can
    /// refuse it.
    pub(crate) async fn check_without_token(
        &self,
        environment: &Environment,
        head: RequestHead<'_>,
    ) -> Result<(), Box<Problem>> {
        match &self.kind {
            Kind::Guard(guard) if !guard.takes_token() => {
                guard.check(environment, head, &self.status_secret).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// A token that has access. None if no secret has one, or if something other than a token decides.
    pub(crate) async fn token(&self, environment: &Environment) -> Option<String> {
        match &self.kind {
            Kind::Secrets(names) => tokens(names, environment).into_iter().next(),
            Kind::Guard(guard) => guard.token(environment).await,
        }
    }
}

/// The tokens that have access: secrets that are not set do not count.
fn tokens(names: &[String], environment: &Environment) -> Vec<String> {
    let mut tokens = Vec::new();
    for name in names {
        tokens.extend(environment.secret(name));
    }
    tokens
}

/// Without a token nobody has access: the answer says why there is none. With the token that `may_read`, a caller may do
/// nothing else.
fn check_token(
    tokens: &[String],
    may_read: Option<String>,
    names: &[String],
    environment: &Environment,
    RequestHead { head, .. }: RequestHead<'_>,
) -> Result<Permission, Box<Problem>> {
    let authorization = head.authorization();
    let checked = token::check(tokens, authorization);
    if checked.is_err()
        && let Some(may_read) = may_read
        && token::check(slice::from_ref(&may_read), authorization).is_ok()
    {
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        return if is_read { Ok(Permission::Read) } else { Err(Problem::read_only(names)) };
    }
    if !tokens.is_empty() {
        checked?;
        return Ok(Permission::Full);
    }
    if environment.is_empty() {
        return Err(Problem::no_environment_for_access());
    }
    Err(match names.iter().find(|name| environment.has_no_text(name)) {
        Some(name) => Problem::access_not_configured(
            slice::from_ref(name),
            "is not text. Of the Secrets Store: name it by `with_stored_secrets`.",
        ),
        None => Problem::access_not_configured(names, "is not set, or is empty."),
    })
}

impl StoredSecrets {
    /// Secrets that are not set do not count, unless none is left.
    async fn tokens(&self, environment: &Environment) -> Result<Vec<String>, Box<Problem>> {
        let (mut tokens, mut unreadable) = (Vec::new(), None);
        for name in &self.0 {
            match environment.secret(name) {
                Some(token) => tokens.push(token),
                None => match environment.stored_secret(name).await {
                    Ok(token) => tokens.extend(token),
                    Err(error) => {
                        ConsoleLog.error(&format!("[Migration] The secret `{name}` cannot be read: {error}"));
                        unreadable = Some(name);
                    }
                },
            }
        }
        match unreadable {
            Some(name) if tokens.is_empty() => Err(Problem::access_not_configured(
                slice::from_ref(name),
                "cannot be read: the log says why. Check `store_id` and `secret_name` under \
                 [[secrets_store_secrets]] in wrangler.toml.",
            )),
            _ if tokens.is_empty() => match self.0.iter().find(|name| environment.has_no_text(name)) {
                Some(name) => Err(Problem::access_not_configured(
                    slice::from_ref(name),
                    "is not text, nor a secret of the Secrets Store that has any.",
                )),
                None => Ok(tokens),
            },
            _ => Ok(tokens),
        }
    }
}

impl Guard for StoredSecrets {
    fn check<'a>(
        &'a self,
        environment: &'a Environment,
        head: RequestHead<'a>,
        status_secret: &'a str,
    ) -> Checked<'a> {
        async move {
            let may_read = match environment.secret(status_secret) {
                Some(token) => Some(token),
                // Without it, all is as if there were none.
                None => environment.stored_secret(status_secret).await.ok().flatten(),
            };
            check_token(&self.tokens(environment).await?, may_read, &self.0, environment, head)
        }
        .boxed_local()
    }

    fn takes_token(&self) -> bool {
        true
    }

    fn token<'a>(&'a self, environment: &'a Environment) -> LocalBoxFuture<'a, Option<String>> {
        async move { self.tokens(environment).await.ok()?.into_iter().next() }.boxed_local()
    }
}

impl Guard for Anyone {
    fn check<'a>(&'a self, _: &'a Environment, head: RequestHead<'a>, _: &'a str) -> Checked<'a> {
        async move { check_site(head).map(|()| Permission::Full) }.boxed_local()
    }
}

impl<F: AsyncFn(RequestHead<'_>) -> Guarded<bool> + Send + Sync> Guard for GuardedBy<F> {
    fn check<'a>(&'a self, _: &'a Environment, head: RequestHead<'a>, _: &'a str) -> Checked<'a> {
        async move {
            check_site(head)?;
            match (self.0)(head).await {
                Ok(true) => Ok(Permission::Full),
                Ok(false) => Err(Problem::forbidden()),
                Err(error) => {
                    // For the log alone: the caller may be anyone.
                    ConsoleLog.error(&guard_failed(&error));
                    Err(Problem::guard_failed())
                }
            }
        }
        .boxed_local()
    }
}

/// The log line about a guard's error, without a stack and of bounded length.
fn guard_failed(error: &BoxError) -> String {
    format!("[Migration] The guard of the routes failed: {}", reason(&**error))
}

/// A browser adds cookies and the like by itself, whichever page sends the request. It adds no bearer token.
fn check_site(RequestHead { head, .. }: RequestHead<'_>) -> Result<(), Box<Problem>> {
    if is_cross_site(&head.method, &head.headers) { Err(Problem::cross_site_request()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_guard_is_logged_within_bounds_and_without_a_stack() {
        let long = guard_failed(&"x".repeat(5_000_000).into());
        assert!(long.len() < 2_100, "{}", long.len());
        let thrown = "JsValue(Error: no session\nError: no session\n    at get (index.js:12:7))";
        assert!(guard_failed(&thrown.into()).ends_with("failed: Error: no session"));
    }
}
