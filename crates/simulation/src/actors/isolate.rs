//! An isolate: what requests that reach the same one have in common.

use std::sync::Arc;
use std::time::Duration;

use kv_migrations::BoxFuture;
use kv_migrations::log::Log;
use kv_migrations::{Budget, Error, RunLock, Runner};

use crate::dice::Dice;
use crate::fate::{Doom, End, Fate, Mortal};
use crate::migrations::Context;
use crate::network::{Binding, Current};
use crate::plan::SERVICE;
use crate::world::World;

/// An isolate at a location. Clones are the same.
#[derive(Debug, Clone)]
pub struct Isolate {
    number: usize,
    /// Where it is.
    pub location: usize,
    lock: RunLock,
    skew: i64,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It is finished.
    Finished,
    /// It is to be carried on, after a time.
    Unfinished(Duration),
    /// Another run goes on.
    Busy(Duration),
    /// It failed.
    Failed(String),
    /// There was no answer.
    CutOff(Fate),
}

impl Answered {
    /// Whether nothing is left to be rolled back.
    pub(super) fn ends_rollback(&self) -> bool {
        match self {
            Self::Finished => true,
            Self::Failed(error) => {
                error.contains("has not been run") || error.contains("does not implement down")
            }
            _ => false,
        }
    }

    /// Whether not only the request was cut off, but its isolate is gone.
    pub(super) fn is_of_isolate(&self, dice: &Dice) -> bool {
        match self {
            Self::CutOff(Fate::Crash) => dice.chance(500),
            Self::CutOff(Fate::Hang) => dice.chance(300),
            _ => false,
        }
    }
}

impl Isolate {
    /// A new one, whose clock is wrong by some.
    pub fn start(world: &World, location: usize) -> Self {
        let skew = i64::try_from(world.dice.between(0..=4_000)).unwrap_or(0) - 2_000;
        Self { number: world.witness.isolate(), location, lock: RunLock::new(), skew }
    }

    /// `POST /migrate`.
    pub async fn migrate(&self, world: &World, doom: Doom) -> Answered {
        let (run, runner) = self.runner(world, doom.clone());
        let witness = world.witness.clone();
        let context = Context { run, witness: Some(witness.clone()) };
        let work = async move {
            let report = runner.run_pending_observed(&context, &|event| witness.event(run, &event)).await?;
            Ok(if report.is_finished() { None } else { Some(report.retry_after.unwrap_or_default()) })
        };
        self.answer(world, run, doom, Box::pin(work)).await
    }

    /// `POST /migrations/{id}/rollback`.
    pub async fn roll_back(&self, world: &World, doom: Doom, id: String) -> Answered {
        let (run, runner) = self.runner(world, doom.clone());
        world.witness.trace.note(|| format!("run {run} rolls {id} back"));
        let context = Context { run, witness: Some(world.witness.clone()) };
        let work = async move {
            let report = runner.rollback(&id, &context).await?;
            Ok(if report.is_finished() { None } else { Some(report.retry_after.unwrap_or_default()) })
        };
        self.answer(world, run, doom, Box::pin(work)).await
    }

    fn runner(&self, world: &World, doom: Doom) -> (usize, Runner<Context>) {
        let run = world.witness.begin(self.number);
        let Self { location, number, .. } = self;
        world.witness.trace.note(|| format!("run {run} in isolate {number} at location {location}"));
        let binding =
            Binding { run: Current::of(run), doom, ..world.binding(*location, format!("run {run}")) };
        let runner = Runner::new(binding, SERVICE, world.migrations.clone());
        #[allow(clippy::expect_used, reason = "the plan gives each its own id")]
        let runner = runner.expect("they can be registered");
        let runner = runner
            .with_clock(world.time.clock(self.skew))
            .with_lock(self.lock.clone())
            .with_log(Arc::new(Nowhere))
            .with_budget(Budget::default().with_operations(world.plan.budget));
        (run, runner)
    }

    async fn answer(
        &self,
        world: &World,
        run: usize,
        doom: Doom,
        work: BoxFuture<'static, Result<Option<Duration>, Error>>,
    ) -> Answered {
        let witness = world.witness.clone();
        let on_stall = move |is_frozen| witness.freeze(run, is_frozen);
        let end = Mortal::new(work, doom, world.limbo.clone(), world.time.clone(), on_stall).await;
        let answered = match end {
            End::With(Ok(None)) => Answered::Finished,
            End::With(Ok(Some(retry_after))) => Answered::Unfinished(retry_after),
            End::With(Err(Error::RunInProgress { retry_after, .. })) => Answered::Busy(retry_after),
            End::With(Err(error)) => Answered::Failed(error.to_string()),
            End::By(fate) => Answered::CutOff(fate),
        };
        if answered != Answered::CutOff(Fate::Hang) {
            world.witness.end(run);
        }
        world.witness.trace.note(|| format!("run {run}: {answered:?}"));
        world.witness.count(|tally| {
            tally.runs += 1;
            tally.cut_off |= matches!(answered, Answered::CutOff(_));
            tally.refused |= matches!(answered, Answered::Busy(_));
        });
        answered
    }
}

/// The trace has it all.
pub(super) struct Nowhere;

impl Log for Nowhere {
    fn info(&self, _: &str) {}

    fn error(&self, _: &str) {}
}
