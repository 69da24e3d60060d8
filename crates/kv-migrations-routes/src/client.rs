//! The routes for code of the Worker that has no request: a cron trigger, a queue consumer.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Response};
use http_body_util::{BodyExt, Collected};
use kv_migrations::{Correction, DryRun, DryRunReport, PlanReport, RollbackReport, RunReport, Status, Until};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use worker::Env;

use crate::request::head::Head;
use crate::request::query::can_wait;
use crate::request::route::{Action, Route};
use crate::response::body::Body;
use crate::routes::MigrationRoutes;

/// Asks the routes, without HTTP, for code of the Worker itself: made by [`MigrationRoutes::client`].
pub struct Client<C = Env> {
    routes: MigrationRoutes<C>,
    headers: HeaderMap,
    label: Option<String>,
    is_queued: bool,
}

/// Why the routes refused a client, or how the run failed: the problem that a request would have been answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientError {
    status: u16,
    retry_after: Option<Duration>,
    problem: Problem,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Problem {
    r#type: String,
    detail: String,
    help: String,
}

impl<C: 'static> MigrationRoutes<C> {
    /// Creates a client of the routes, for a cron trigger or a queue consumer.
    ///
    /// With a [coordinator](Self::with_coordinator) it asks the object, so that its run is one of those of which there is
    /// one at a time in the world. It sends the token of this Worker. Without a coordinator it runs here, and shares the
    /// lock of the isolate. A guard is asked by the object, too: [`Client::with_header`] sends what lets it in.
    ///
    /// # Example
    /// ```no_run
    /// use kv_migrations_routes::MigrationRoutes;
    /// use worker::{Env, ScheduleContext, ScheduledEvent, console_error};
    /// # fn routes() -> MigrationRoutes {
    /// #     kv_migrations_routes::migration_routes("MY_SERVICE_KV", "my-service", Vec::new())
    /// # }
    ///
    /// async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    ///     if let Err(error) = routes().client(&env).with_label("cron").run_pending().await {
    ///         console_error!("{error}");
    ///     }
    /// }
    /// # let _ = scheduled;
    /// ```
    pub fn client(&self, env: &Env) -> Client<C> {
        let routes = self.clone().with_env(env.clone());
        Client { routes, headers: HeaderMap::new(), label: None, is_queued: false }
    }
}

impl<C: 'static> Client<C> {
    /// Sets who asks, for the history of a coordinator: 1 to 200 bytes without control characters. Without a coordinator
    /// it stands in the markers of what is applied, and in the log.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a header, for a guard in the object of a coordinator.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Waits for a run in progress, and then for the end of its own run or rollback. Without a coordinator it changes nothing. What
    /// corrects the ledger, such as [`mark`](Self::mark), does not wait.
    #[must_use]
    pub fn queued(mut self) -> Self {
        self.is_queued = true;
        self
    }

    /// Returns the state of every registered migration, as `GET /migrations/status` answers it.
    ///
    /// # Errors
    /// [`ClientError`] with the problem of the answer.
    pub async fn status(&self) -> Result<Vec<Status>, ClientError> {
        read(self.ask(Method::GET, Route::Status).await).await
    }

    /// Applies what is pending, as `POST /migrate` does. If the report is not [finished](RunReport::is_finished), a
    /// coordinator continues by its alarms. Without one, run it again.
    ///
    /// # Errors
    /// [`ClientError`] with the problem of the answer.
    pub async fn run_pending(&self) -> Result<RunReport, ClientError> {
        self.run_pending_until(&Until::End).await
    }

    /// Returns what a run [so far](Until) would do now, as `GET /migrations/plan` answers it. `until` must not be a
    /// number of entries.
    ///
    /// # Errors
    /// [`ClientError`] with the problem of the answer.
    pub async fn plan(&self, until: &Until) -> Result<PlanReport, ClientError> {
        read(self.ask_until(Method::GET, Route::Plan, until).await).await
    }

    /// Returns what a run would change, as `POST /migrations/dry-run` answers it. The routes need not be made
    /// [`with_dry_run`](MigrationRoutes::with_dry_run). With a coordinator, the object says what is applied.
    ///
    /// # Errors
    /// [`ClientError`] with the problem of the answer. A migration that fails is no error, but in the report.
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(client: kv_migrations_routes::Client) -> Result<(), kv_migrations_routes::ClientError> {
    /// use kv_migrations::DryRun;
    ///
    /// let report = client.dry_run(&DryRun::new().with_entries(100)).await?;
    /// for migration in &report.migrations {
    ///     worker::console_log!("{} writes {} entries", migration.id, migration.writes);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn dry_run(&self, dry_run: &DryRun) -> Result<DryRunReport, ClientError> {
        let head = self.head(Method::GET, Vec::new()).await;
        match self.routes.dry_run(dry_run.clone(), &head).await {
            Ok(report) => Ok(report),
            Err(refused) => Err(error(refused).await),
        }
    }

    /// Applies what is pending, but only [so far](Until), as `POST /migrate?to=ID` does.
    ///
    /// # Errors
    /// [`ClientError`] with the problem of the answer.
    pub async fn run_pending_until(&self, until: &Until) -> Result<RunReport, ClientError> {
        run_report(self.ask_until(Method::POST, Route::Migrate, until).await).await
    }

    /// Rolls a migration back, as `POST /migrations/{id}/rollback` does.
    ///
    /// # Errors
    /// [`ClientError`] with the problem of the answer.
    pub async fn rollback(&self, id: &str) -> Result<RollbackReport, ClientError> {
        let route = Route::Migration { id: id.to_owned(), action: Action::Rollback };
        let response = self.ask(Method::POST, route).await;
        let retry_after = retry_after(&response);
        let mut report: RollbackReport = read(response).await?;
        report.retry_after = retry_after;
        Ok(report)
    }

    /// Rolls several migrations back, [so far](Until), as `POST /migrations/rollback` does. `until` must not be a number of
    /// entries. If the report is not [finished](RunReport::is_finished), a coordinator continues by its alarms. Without one,
    /// continue with its [`to`](RunReport::to), or with [`Until::End`] if it has none.
    ///
    /// # Errors
    /// [`ClientError`] with the problem of the answer.
    pub async fn rollback_until(&self, until: &Until) -> Result<RunReport, ClientError> {
        let response = match until {
            Until::End => self.ask_with(Method::POST, Route::Rollback, vec!["steps=all".to_owned()]).await,
            until => self.ask_until(Method::POST, Route::Rollback, until).await,
        };
        run_report(response).await
    }

    /// Records a migration as applied without running it, as `POST /migrations/{id}/mark` does.
    ///
    /// # Errors
    /// [`ClientError`] with the problem of the answer.
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(client: kv_migrations_routes::Client) -> Result<(), kv_migrations_routes::ClientError> {
    /// assert!(client.mark("001_add_feature").await?.run);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn mark(&self, id: &str) -> Result<Status, ClientError> {
        self.correct(id, Correction::Mark).await
    }

    /// Forgets that a migration is applied, without its `down`, as `POST /migrations/{id}/unmark` does.
    ///
    /// # Errors
    /// [`ClientError`] with the problem of the answer.
    pub async fn unmark(&self, id: &str) -> Result<Status, ClientError> {
        self.correct(id, Correction::Unmark).await
    }

    /// Forgets the checkpoint or the failure of a migration, as `POST /migrations/{id}/reset` does.
    ///
    /// # Errors
    /// [`ClientError`] with the problem of the answer.
    pub async fn reset(&self, id: &str) -> Result<Status, ClientError> {
        self.correct(id, Correction::Reset).await
    }

    /// Records all migrations up to and including this one as applied, as `POST /migrations/baseline?to=ID` does. If the report
    /// is not [finished](RunReport::is_finished), ask again.
    ///
    /// # Errors
    /// [`ClientError`] with the problem of the answer.
    pub async fn baseline(&self, id: &str) -> Result<RunReport, ClientError> {
        let until = Until::Migration(id.to_owned());
        run_report(self.ask_until(Method::POST, Route::Baseline, &until).await).await
    }

    async fn correct(&self, id: &str, correction: Correction) -> Result<Status, ClientError> {
        let route = Route::Migration { id: id.to_owned(), action: Action::Correct(correction) };
        read(self.ask(Method::POST, route).await).await
    }

    async fn ask(&self, method: Method, route: Route) -> Response<Body> {
        self.ask_until(method, route, &Until::End).await
    }

    async fn ask_until(&self, method: Method, route: Route, until: &Until) -> Response<Body> {
        self.ask_with(method, route, query_of(until)).await
    }

    async fn ask_with(&self, method: Method, route: Route, mut query: Vec<String>) -> Response<Body> {
        if method == Method::POST {
            query.extend(self.query(&route));
        }
        self.routes.respond_to_own(&route, &self.head(method, query).await).await
    }

    async fn head(&self, method: Method, query: Vec<String>) -> Head {
        let mut headers = self.headers.clone();
        let token =
            self.routes.token().await.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, token);
        }
        Head { method, query: Some(query.join("&")), headers }
    }

    fn query(&self, route: &Route) -> Vec<String> {
        let label =
            self.label.as_ref().map(|label| format!("by={}", utf8_percent_encode(label, NON_ALPHANUMERIC)));
        let waits = self.is_queued && self.routes.is_coordinated() && can_wait(route);
        let wait = waits.then(|| "wait=true".to_owned());
        label.into_iter().chain(wait).collect()
    }
}

fn query_of(until: &Until) -> Vec<String> {
    match until {
        Until::Migration(id) => vec![format!("to={}", utf8_percent_encode(id, NON_ALPHANUMERIC))],
        Until::Steps(steps) => vec![format!("steps={steps}")],
        Until::Entries(entries) => vec![format!("entries={entries}")],
        _ => Vec::new(),
    }
}

fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

async fn run_report(response: Response<Body>) -> Result<RunReport, ClientError> {
    let retry_after = retry_after(&response);
    let mut report: RunReport = read(response).await?;
    report.retry_after = retry_after;
    Ok(report)
}

async fn read<T: DeserializeOwned>(response: Response<Body>) -> Result<T, ClientError> {
    if !response.status().is_success() {
        return Err(error(response).await);
    }
    let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
    serde_json::from_slice(&content(response).await).map_err(|_| {
        let detail =
            "The answer is not of this release. If there is a coordinator, its object runs another one.";
        let problem = Problem { detail: detail.to_owned(), ..Problem::default() };
        ClientError { status, retry_after, problem }
    })
}

/// The problem of an answer.
async fn error(response: Response<Body>) -> ClientError {
    let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
    let problem = serde_json::from_slice(&content(response).await).unwrap_or_default();
    ClientError { status, retry_after, problem }
}

/// Our bodies cannot fail.
async fn content(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default()
}

impl ClientError {
    /// Returns the HTTP status that a request would have been answered with.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the type of the problem, such as `urn:kv-migrations:problem:run-in-progress`. Tools may rely on it.
    pub fn problem(&self) -> &str {
        &self.problem.r#type
    }

    /// Returns when to ask again, if it may succeed then.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.detail)?;
        if self.problem.help.is_empty() { Ok(()) } else { write!(f, " {}", self.problem.help) }
    }
}

impl std::error::Error for ClientError {}

impl<C> fmt::Debug for Client<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("routes", &self.routes)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}
