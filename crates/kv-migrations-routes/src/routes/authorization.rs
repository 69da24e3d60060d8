//! Who has access to the routes: how that is set up and checked.

use std::sync::Arc;

use kv_migrations::BoxError;

use super::MigrationRoutes;
use crate::access::{Anyone, GuardedBy, Kind, StoredSecrets};
use crate::request::head::{Head, RequestHead};
use crate::request::permission::Permission;
use crate::request::route::Route;
use crate::response::problem::Problem;

impl<C: 'static> MigrationRoutes<C> {
    /// Sets the secret that holds the token of callers (default `MIGRATIONS_TOKEN`).
    #[must_use]
    pub fn with_secret(self, name: impl Into<String>) -> Self {
        self.with_secrets([name])
    }

    /// Sets several secrets. The token in any of them has access.
    ///
    /// To change a token, set the new one beside the old one, and delete the old one when no caller uses it any more.
    /// Secrets that are not set do not count. If none is set, nobody has access.
    #[must_use]
    pub fn with_secrets<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.settings_mut().access.kind = Kind::Secrets(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the secret that holds the token of callers who may only read (default `MIGRATIONS_STATUS_TOKEN`), such as a check
    /// in CI. With it, a `GET` is answered, and any `POST` is refused with 403.
    ///
    /// If the secret is not set, there is no such token. A guard decides without it.
    ///
    /// # Example
    /// ```
    /// # use kv_migrations_routes::migration_routes_with_context;
    /// # use kv_migrations::kv::MemoryStore;
    /// # let routes = migration_routes_with_context(MemoryStore::new(), "my-service", vec![], || Ok(()));
    /// let routes = routes.with_status_secret("CI_TOKEN");
    /// # let _ = routes;
    /// ```
    #[must_use]
    pub fn with_status_secret(mut self, name: impl Into<String>) -> Self {
        self.settings_mut().access.status_secret = name.into().into();
        self
    }

    /// Sets several secrets, as [`with_secrets`](Self::with_secrets) does, but a secret can also be one of the
    /// Secrets Store.
    ///
    /// A name is that of its `binding` under `[[secrets_store_secrets]]` in `wrangler.toml`. A method of its own, since
    /// most Workers need not carry the code that reads such a secret.
    ///
    /// # Example
    /// ```
    /// # use kv_migrations_routes::migration_routes_with_context;
    /// # use kv_migrations::kv::MemoryStore;
    /// # let routes = migration_routes_with_context(MemoryStore::new(), "my-service", vec![], || Ok(()));
    /// let routes = routes.with_stored_secrets(["MIGRATIONS_TOKEN"]);
    /// # let _ = routes;
    /// ```
    #[must_use]
    pub fn with_stored_secrets<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        self.settings_mut().access.kind = Kind::Guard(Arc::new(StoredSecrets(names)));
        self
    }

    /// Gives access to those whom a guard lets in, in place of a token: Cloudflare Access, or a session of your own.
    ///
    /// `guard` is asked before anything else, for every route. `Ok(false)` is answered with 403, an error with 500 and a
    /// line in the log. With a [coordinator](Self::with_coordinator) the object asks it again: other code that has the
    /// object's binding must pass it too.
    ///
    /// A request that changes something is refused with 403 if a page of another site may have made a browser send it:
    /// if its `Sec-Fetch-Site` is neither `same-origin` nor `none`, or if it has an `Origin` and no `Sec-Fetch-Site`.
    ///
    /// The last call of [`with_secrets`](Self::with_secrets), [`with_stored_secrets`](Self::with_stored_secrets),
    /// `guarded_by` and [`without_auth`](Self::without_auth) counts.
    ///
    /// # Example
    /// ```
    /// # use kv_migrations_routes::migration_routes_with_context;
    /// # use kv_migrations::kv::MemoryStore;
    /// # async fn is_admin(session: &str) -> kv_migrations::Result<bool> { Ok(session == "1") }
    /// # let routes = migration_routes_with_context(MemoryStore::new(), "my-service", vec![], || Ok(()));
    /// let routes = routes.guarded_by(async |head| match head.headers().get("cookie") {
    ///     Some(session) => is_admin(session.to_str()?).await,
    ///     None => Ok(false),
    /// });
    /// # let _ = routes;
    /// ```
    #[must_use]
    pub fn guarded_by(
        mut self,
        guard: impl AsyncFn(RequestHead<'_>) -> Result<bool, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.settings_mut().access.kind = Kind::Guard(Arc::new(GuardedBy(guard)));
        self
    }

    /// Gives access to **every caller**: anyone who reaches the routes can run and roll back migrations.
    ///
    /// Pages of other sites cannot make a visitor's browser do so: see [`guarded_by`](Self::guarded_by), which is what to
    /// use in place of a guard around the mount. The routes do not know what stands around them. A layer of the router
    /// that they are mounted in front of does not guard them, and no layer guards the object of a
    /// [coordinator](Self::with_coordinator).
    #[must_use]
    pub fn without_auth(mut self) -> Self {
        self.settings_mut().access.kind = Kind::Guard(Arc::new(Anyone));
        self
    }

    /// What the caller may do. An error without access, or if the route does not take the method of the request.
    pub(crate) async fn check(&self, route: &Route, head: &Head) -> Result<Permission, Box<Problem>> {
        let permission = self.0.access.check(&self.0.environment, RequestHead { head, route }).await?;
        route.check_method(&head.method)?;
        Ok(permission)
    }

    /// A token that has access. None if a guard decides, or if no secret is set.
    pub(crate) async fn token(&self) -> Option<String> {
        self.0.access.token(&self.0.environment).await
    }
}
