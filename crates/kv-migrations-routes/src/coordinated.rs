//! What a coordinator answers to a request for the routes.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use kv_migrations::coordinator::{Caller, Coordinator};
use kv_migrations::{Event, State, Status};

use crate::answer;
use crate::body::{Body, Queue};
use crate::events::events_unless_refused;
use crate::problem::Problem;
use crate::query::Query;
use crate::response::{accepted, json, to_json};
use crate::route::{Action, Route};

/// After so long a run has stopped that was asked to.
const A_MOMENT: Duration = Duration::from_secs(1);

pub(crate) async fn answer<C: 'static>(
    coordinator: &Arc<Coordinator<C>>,
    route: Route,
    query: &Query,
    accepts_events: bool,
) -> Result<Response<Body>, Box<Problem>> {
    let caller = caller(query);
    Ok(match route {
        Route::Status => answer::status(&coordinator.status().await?, query.requires_up_to_date),
        Route::History => json(StatusCode::OK, &coordinator.history()?),
        Route::Migrate if accepts_events => {
            let coordinator = coordinator.clone();
            let run = async move |queue: Queue| {
                let observer = move |event: Event<'_>| queue.push(to_json(&event));
                Ok(coordinator.run_pending_observed(&caller.until_finished(), observer).await?)
            };
            events_unless_refused(run, query.requires_up_to_date).await?
        }
        Route::Migrate => {
            let report = coordinator.run_pending(&caller).await?;
            answer::run(report, query.requires_up_to_date).map_err(Problem::while_alarms_carry_on)?
        }
        Route::Of { id, action: Action::Rollback } => {
            answer::rollback(&coordinator.rollback(&id, &caller).await?)
        }
        Route::Of { id, action: Action::Pause } => stopping(&coordinator.pause(&id, &caller).await?),
        Route::Of { id, action: Action::Cancel } => stopping(&coordinator.cancel(&id, &caller).await?),
        Route::Of { id, action: Action::Resume } => {
            json(StatusCode::OK, &coordinator.resume(&id, &caller).await?)
        }
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

/// The status of a migration that was asked to stop, and is about to if it is still running.
fn stopping(status: &Status) -> Response<Body> {
    match status.state {
        State::Running => accepted(status, Some(A_MOMENT)),
        _ => json(StatusCode::OK, status),
    }
}
