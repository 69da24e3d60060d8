//! Answers a request by the coordinator of this Durable Object.
//!
//! `local.rs` does the same without a coordinator.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use kv_migrations::coordinator::{Caller, Coordinator};
use kv_migrations::{Event, State, Status};

use crate::request::head::Head;
use crate::request::permission::Permission;
use crate::request::query::Query;
use crate::request::route::{Action, Route};
use crate::response::body::Body;
use crate::response::events;
use crate::response::json::{accepted, json, to_json};
use crate::response::problem::Problem;
use crate::response::queue::Queue;
use crate::response::report;

/// When to ask again for a run that was asked to stop.
const STOP_RETRY_AFTER: Duration = Duration::from_secs(1);

pub(super) async fn answer<C: 'static>(
    coordinator: &Arc<Coordinator<C>>,
    route: Route,
    query: &Query,
    head: &Head,
    permission: Permission,
) -> Result<Response<Body>, Box<Problem>> {
    let caller = caller(query);
    Ok(match route {
        Route::Status => report::status(&coordinator.status_report().await?, query),
        Route::Plan => report::plan(coordinator.plan(query.until()).await?, permission),
        Route::History => json(StatusCode::OK, &coordinator.history()?),
        Route::Migrate if head.accepts_events() => {
            let (coordinator, until) = (coordinator.clone(), query.until().clone());
            let run = async move |queue: Queue| {
                let observer = move |event: &Event| queue.push(to_json(event));
                let caller = caller.until_finished();
                Ok(coordinator.run_pending_until_observed(&until, &caller, observer).await?)
            };
            events::stream_unless_refused(run, query).await?
        }
        Route::Migrate => {
            let report = coordinator.run_pending_until(query.until(), &caller).await?;
            report::run(report, query).map_err(Problem::continued_by_alarms)?
        }
        Route::Rollback => {
            report::rollback_of_several(coordinator.rollback_until(query.until(), &caller).await?)
        }
        Route::Baseline => json(StatusCode::OK, &coordinator.baseline(query.last(), &caller).await?),
        // No path names these here: the Worker answers them.
        Route::DryRun | Route::Page => return Err(Problem::not_found()),
        Route::Migration { id, action } => match action {
            Action::Rollback => report::rollback(&coordinator.rollback(&id, &caller).await?),
            Action::Correct(correction) => {
                json(StatusCode::OK, &coordinator.correct(&id, correction, &caller).await?)
            }
            Action::Pause => stopping(&coordinator.pause(&id, &caller).await?),
            Action::Cancel => stopping(&coordinator.cancel(&id, &caller).await?),
            Action::Resume => json(StatusCode::OK, &coordinator.resume(&id, &caller).await?),
        },
    })
}

fn caller(query: &Query) -> Caller {
    let caller = Caller::default();
    let caller = if query.waits { caller.queued() } else { caller };
    match &query.by {
        Some(label) => caller.with_label(label),
        None => caller,
    }
}

/// The status of a migration that was asked to stop: a 202 while it still runs.
fn stopping(status: &Status) -> Response<Body> {
    match status.state {
        State::Running => accepted(status, Some(STOP_RETRY_AFTER)),
        _ => json(StatusCode::OK, status),
    }
}
