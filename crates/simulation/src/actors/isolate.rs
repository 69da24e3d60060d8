//! An isolate, which runs migrations without a coordinator. Its requests share a lock.

use std::sync::Arc;
use std::time::Duration;

use kv_migrations::BoxFuture;
use kv_migrations::clock::Clock;
use kv_migrations::log::Log;
use kv_migrations::{Budget, Error, RunLock, Runner, State, Until};

use crate::context::Context;
use crate::fault::{Fault, FaultCountdown, FaultableTask, TaskEnd};
use crate::migrations;
use crate::network::{Binding, CurrentRun};
use crate::plan::SERVICE;
use crate::random::Random;
use crate::time::SkewedClock;
use crate::world::World;

/// An isolate at a location. Clones are the same.
#[derive(Debug, Clone)]
pub struct Isolate {
    number: usize,
    /// How many migrations its release has.
    release: usize,
    /// Its location.
    pub location: usize,
    lock: RunLock,
    clock: SkewedClock,
}

/// What an error says of a migration that is not applied.
pub(super) const NOT_RUN: &str = "has not been run";
/// What it says of the one that a rollback of several is to leave.
const NOT_SEEN: &str = "cannot rollback to it";

/// How a request to an isolate ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestEnd {
    /// The run is finished.
    Finished,
    /// The next request, after this time, continues the run.
    Unfinished(Duration),
    /// Another run is in progress.
    Refused(Duration),
    /// The run failed.
    Failed(String),
    /// There was no answer.
    CutOff(Fault),
}

impl RequestEnd {
    /// Whether nothing is left to be rolled back.
    pub(super) fn ends_rollback(&self) -> bool {
        match self {
            Self::Finished => true,
            // That the migration is not seen which is to stay is no end.
            Self::Failed(error) => {
                error.contains(NOT_RUN) && !error.contains(NOT_SEEN)
                    || error.contains("does not implement down")
            }
            _ => false,
        }
    }

    /// Draws whether the isolate was lost with its request.
    pub(super) fn loses_isolate(&self, random: &Random) -> bool {
        match self {
            Self::CutOff(Fault::Crash) => random.chance(500),
            Self::CutOff(Fault::Hang) => random.chance(300),
            _ => false,
        }
    }
}

/// The work of a request. Its output says after which time to continue; `None` if it is finished.
type Work = BoxFuture<'static, Result<Option<Duration>, Error>>;

impl Isolate {
    /// Starts an isolate at a location.
    pub fn start(world: &World, location: usize) -> Self {
        Self::of_release(world, location, world.deployment.migrations)
    }

    /// Starts an isolate at a location: of two releases, either.
    pub fn start_of_any_release(world: &World, location: usize) -> Self {
        Self::of_release(world, location, world.draw_release())
    }

    fn of_release(world: &World, location: usize, release: usize) -> Self {
        let clock = SkewedClock::draw(&world.time, &world.random);
        Self { number: world.monitor.new_isolate(), release, location, lock: RunLock::new(), clock }
    }

    /// `POST /migrate`.
    pub async fn migrate(&self, world: &World, countdown: FaultCountdown) -> RequestEnd {
        self.migrate_until(world, countdown, Until::End).await
    }

    /// `POST /migrate`, mostly, or with `to`, `steps` or `entries`.
    pub async fn migrate_somewhere(&self, world: &World, countdown: FaultCountdown) -> RequestEnd {
        self.migrate_until(world, countdown, world.draw_until(self.release)).await
    }

    async fn migrate_until(&self, world: &World, countdown: FaultCountdown, until: Until) -> RequestEnd {
        let (run, runner) = self.runner(world, countdown.clone());
        let monitor = world.monitor.clone();
        let context = Context { run, monitor: Some(monitor.clone()), random: world.random.clone() };
        let (release, began) = (self.release, world.time.now());
        if until != Until::End {
            world.monitor.trace.add(|| format!("run {run} goes so far: {until:?}"));
        }
        let work = async move {
            let observer = |event: &_| monitor.event(run, event);
            let report = runner.run_pending_until(&until, &context, &observer).await?;
            if report.is_finished() && report.beyond.is_empty() {
                monitor.told_that_all_is_applied(release, began);
            }
            Ok(if report.is_finished() { None } else { Some(report.retry_after.unwrap_or_default()) })
        };
        self.end(world, run, countdown, Box::pin(work)).await
    }

    /// `POST /migrations/{id}/rollback`.
    pub async fn roll_back(&self, world: &World, countdown: FaultCountdown, id: String) -> RequestEnd {
        let (run, runner) = self.runner(world, countdown.clone());
        world.monitor.rolls_back(run, &id);
        let context = Context { run, monitor: Some(world.monitor.clone()), random: world.random.clone() };
        let work = async move {
            let report = runner.rollback(&id, &context).await?;
            Ok(if report.is_finished() { None } else { Some(report.retry_after.unwrap_or_default()) })
        };
        self.end(world, run, countdown, Box::pin(work)).await
    }

    /// `POST /migrations/rollback`, with `to` or `steps`.
    pub async fn roll_back_until(
        &self,
        world: &World,
        countdown: FaultCountdown,
        until: Until,
    ) -> RequestEnd {
        let (run, runner) = self.runner(world, countdown.clone());
        world.monitor.trace.add(|| format!("run {run} rolls back until {until:?}"));
        let context = Context { run, monitor: Some(world.monitor.clone()), random: world.random.clone() };
        let work = async move {
            let report = runner.rollback_until(&until, &context).await?;
            Ok(if report.is_finished() { None } else { Some(report.retry_after.unwrap_or_default()) })
        };
        self.end(world, run, countdown, Box::pin(work)).await
    }

    /// `POST /migrations/{id}/unmark`.
    pub async fn unmark(&self, world: &World, countdown: FaultCountdown, id: String) -> RequestEnd {
        let (run, runner) = self.runner(world, countdown.clone());
        world.monitor.trace.add(|| format!("run {run} unmarks {id}"));
        let work = async move { runner.unmark(&id).await.map(|_| None) };
        self.end(world, run, countdown, Box::pin(work)).await
    }

    /// `POST /migrations/{id}/mark`, or `POST /migrations/baseline?to={id}`.
    pub async fn mark(
        &self,
        world: &World,
        countdown: FaultCountdown,
        id: String,
        is_baseline: bool,
    ) -> RequestEnd {
        let (run, runner) = self.runner(world, countdown.clone());
        world.monitor.trace.add(|| format!("run {run} marks {id}, as a baseline: {is_baseline}"));
        let work = async move {
            if is_baseline {
                let report = runner.baseline(&id).await?;
                return Ok(report.retry_after);
            }
            runner.mark(&id).await.map(|_| None)
        };
        self.end(world, run, countdown, Box::pin(work)).await
    }

    /// `GET /migrations?require=up-to-date`.
    pub async fn status(&self, world: &World) {
        let began = world.time.now();
        let binding = world.binding(self.location, format!("a status of isolate {}", self.number));
        let runner = runner(world, self.release, binding, self.clock.clone());
        if let Ok(status) = runner.status().await
            && status.iter().all(|status| status.state == State::Applied)
        {
            world.monitor.told_that_all_is_applied(self.release, began);
        }
    }

    fn runner(&self, world: &World, countdown: FaultCountdown) -> (usize, Runner<Context>) {
        let run = world.monitor.run_begins(self.number);
        let Self { location, number, release, .. } = self;
        world.monitor.trace.add(|| {
            format!("run {run} in isolate {number} at location {location}, with {release} migrations")
        });
        let binding = world.binding(*location, format!("run {run}"));
        let binding = Binding { run: CurrentRun::new(run), countdown, ..binding };
        let runner = runner(world, self.release, binding, self.clock.clone());
        (run, runner.with_lock(self.lock.clone()))
    }

    async fn end(&self, world: &World, run: usize, countdown: FaultCountdown, work: Work) -> RequestEnd {
        let monitor = world.monitor.clone();
        let on_suspension = move |suspension| monitor.run_suspension(run, suspension);
        let (parked, time) = (world.parked.clone(), world.time.clone());
        let end = match FaultableTask::new(work, countdown, parked, time, on_suspension).await {
            TaskEnd::Returned(Ok(None)) => RequestEnd::Finished,
            TaskEnd::Returned(Ok(Some(retry_after))) => RequestEnd::Unfinished(retry_after),
            TaskEnd::Returned(Err(Error::RunInProgress { retry_after, .. })) => {
                RequestEnd::Refused(retry_after)
            }
            TaskEnd::Returned(Err(error)) => RequestEnd::Failed(error.to_string()),
            TaskEnd::CutOff(fault) => RequestEnd::CutOff(fault),
        };
        if end != RequestEnd::CutOff(Fault::Hang) {
            world.monitor.run_ended(run);
        }
        world.monitor.trace.add(|| format!("run {run}: {end:?}"));
        world.monitor.count(|tally| {
            tally.runs += 1;
            tally.cut_off |= matches!(end, RequestEnd::CutOff(_));
            tally.refused |= matches!(end, RequestEnd::Refused(_));
        });
        end
    }
}

/// The runner of the release that has this many migrations.
pub(super) fn runner(world: &World, release: usize, binding: Binding, clock: SkewedClock) -> Runner<Context> {
    let random = world.random.clone();
    let migrations = migrations::first(&world.plan, release, binding.clone());
    let runner = Runner::new(binding, SERVICE, migrations);
    #[allow(clippy::expect_used, reason = "the plan gives each migration its own id")]
    let runner = runner.expect("they can be registered");
    runner
        .with_clock(Arc::new(clock))
        .with_log(Arc::new(NoLog))
        .with_hash_keys(move || [random.any(), random.any()])
        .with_budget(Budget::default().with_operations(world.plan.budget))
}

/// Drops all lines: the trace shows what happens.
struct NoLog;

impl Log for NoLog {
    fn info(&self, _: &str) {}

    fn error(&self, _: &str) {}
}
