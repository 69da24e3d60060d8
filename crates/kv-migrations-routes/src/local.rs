//! Answers a request by a runner in this isolate: for routes without a coordinator.
//!
//! `coordinator/handler.rs` does the same with a coordinator.

use http::{Response, StatusCode};
use kv_migrations::{BoxError, Event, Runner, reason};

use crate::request::head::Head;
use crate::request::permission::Permission;
use crate::request::query::{InvalidQuery, Query};
use crate::request::route::{Action, Route};
use crate::response::body::Body;
use crate::response::events;
use crate::response::json::{json, to_json};
use crate::response::problem::Problem;
use crate::response::queue::Queue;
use crate::response::report;

/// A runner, and what makes the context of its migrations.
pub(crate) struct Local<'a, C> {
    pub(crate) runner: Runner<C>,
    pub(crate) context: &'a dyn Fn() -> Result<C, BoxError>,
    pub(crate) permission: Permission,
}

impl<C: 'static> Local<'_, C> {
    pub(crate) async fn answer(
        self,
        route: &Route,
        query: &Query,
        head: &Head,
    ) -> Result<Response<Body>, Box<Problem>> {
        let runner = match &query.by {
            Some(label) => self.runner.with_label(label),
            None => self.runner,
        };
        let context = || (self.context)().map_err(|error| Problem::context(&reason(&*error)));
        match route {
            Route::Status => Ok(report::status(&runner.status_report().await?, query)),
            Route::Plan => Ok(report::plan(runner.plan(query.until()).await?, self.permission)),
            Route::Migrate if head.accepts_events() => {
                let context = context()?;
                let until = query.until().clone();
                let run = async move |queue: Queue| {
                    let observer = |event: &Event| queue.push(to_json(event));
                    Ok(runner.run_pending_until(&until, &context, &observer).await?)
                };
                Ok(events::stream(run, query))
            }
            Route::Migrate | Route::Baseline => {
                let context = if matches!(route, Route::Migrate) { Some(context()?) } else { None };
                let report = runner.run_or_mark(query.until(), context.as_ref(), &|_| {}).await?;
                report::run(report, query)
            }
            Route::Rollback => {
                let report = runner.rollback_until(query.until(), &context()?).await?;
                Ok(report::rollback_of_several(report))
            }
            Route::Migration { id, action: Action::Rollback } => {
                Ok(report::rollback(&runner.rollback(id, &context()?).await?))
            }
            Route::Migration { id, action: Action::Correct(correction) } => {
                Ok(json(StatusCode::OK, &runner.correct(id, *correction).await?))
            }
            // Without a coordinator no path names one of these. Not `not_found`: mounted in front of a service, a Worker
            // would carry its text for this alone.
            Route::History | Route::DryRun | Route::Page | Route::Migration { .. } => {
                Err(InvalidQuery("This route needs a coordinator.".to_owned()).into())
            }
        }
    }
}
