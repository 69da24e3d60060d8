//! Who has access to the routes: those with a token, those whom a guard of the service lets in, or everyone.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use kv_migrations::log::{ConsoleLog, Log};
use kv_migrations::{BoxError, Result as Guarded, reason};

use crate::platform::environment::{Environment, NoSecret};
use crate::request::head::RequestHead;
use crate::request::site::is_cross_site;
use crate::request::token;
use crate::response::problem::Problem;

/// The secret that holds the token, unless another is named.
const DEFAULT_SECRET: &str = "MIGRATIONS_TOKEN";

/// Which callers have access.
#[derive(Clone)]
pub(crate) enum Access {
    /// Callers whose bearer token equals one of these secrets.
    Secrets(Arc<[String]>),
    /// Those whom it lets in. A trait object, so that a Worker whose callers have tokens carries no code of guards.
    Guard(Arc<dyn Guard>),
}

/// Decides who has access by something other than a token.
pub(crate) trait Guard: Send + Sync {
    /// The error is the answer to a caller who has no access.
    fn check<'a>(&'a self, head: RequestHead<'a>) -> LocalBoxFuture<'a, Result<(), Box<Problem>>>;
}

/// Lets everyone in, but no page of another site that makes a visitor's browser send a request.
pub(crate) struct Anyone;

/// A guard of the service.
pub(crate) struct GuardedBy<F>(pub(crate) F);

impl Default for Access {
    fn default() -> Self {
        Self::Secrets(Arc::new([DEFAULT_SECRET.to_owned()]))
    }
}

impl Access {
    /// The error is the answer to a caller who has no access.
    pub(crate) async fn check(
        &self,
        environment: &Environment,
        head: RequestHead<'_>,
    ) -> Result<(), Box<Problem>> {
        match self {
            Self::Secrets(names) => {
                let tokens = tokens(names, environment).await?;
                Ok(token::check(&tokens, head.head.authorization())?)
            }
            Self::Guard(guard) => guard.check(head).await,
        }
    }

    /// A token that has access. None if a guard decides, or if no secret is set.
    pub(crate) async fn token(&self, environment: &Environment) -> Option<String> {
        match self {
            Self::Secrets(names) => tokens(names, environment).await.ok()?.into_iter().next(),
            Self::Guard(_) => None,
        }
    }
}

/// The tokens that have access: at least one.
async fn tokens(names: &[String], environment: &Environment) -> Result<Vec<String>, Box<Problem>> {
    let (mut tokens, mut defect) = (Vec::new(), None);
    for name in names {
        match environment.secret(name).await {
            Ok(token) => tokens.push(token),
            Err(NoSecret::Missing) => {}
            Err(reason) => defect = Some((name, reason)),
        }
    }
    if tokens.is_empty() { Err(Problem::access_not_configured(names, defect)) } else { Ok(tokens) }
}

impl Guard for Anyone {
    fn check<'a>(&'a self, head: RequestHead<'a>) -> LocalBoxFuture<'a, Result<(), Box<Problem>>> {
        async move { check_site(head) }.boxed_local()
    }
}

impl<F: AsyncFn(RequestHead<'_>) -> Guarded<bool> + Send + Sync> Guard for GuardedBy<F> {
    fn check<'a>(&'a self, head: RequestHead<'a>) -> LocalBoxFuture<'a, Result<(), Box<Problem>>> {
        async move {
            check_site(head)?;
            match (self.0)(head).await {
                Ok(true) => Ok(()),
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
