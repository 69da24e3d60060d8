//! A pipeline, or a person with `curl`: asks isolates for runs and rollbacks.

use std::time::Duration;

use kv_migrations::Until;
use kv_migrations::clock::Clock;

use super::isolate::{Isolate, NOT_RUN, RequestEnd};
use super::limits::{COLLISION, MAX_REQUESTS, is_given_up_because_of_faults};
use crate::fault::FaultCountdown;
use crate::mode::Mode;
use crate::violation::violated;
use crate::world::{FAULTS_ARE_OVER_AFTER, World};

/// How many more requests a client makes to finish a rollback.
const MAX_ROLLBACK_REQUESTS: usize = 60;

/// A rollback that a client asks for, until it is finished.
#[derive(Clone)]
enum Rollback {
    One(String),
    /// The last migrations, this many.
    Steps(u64),
    /// All after a migration, or all: what is asked for once the last ones were.
    Until(Until),
}

/// A client, and the isolates that its requests can reach.
pub struct RunClient {
    /// The world.
    pub world: World,
    /// The isolates.
    pub isolates: Vec<Isolate>,
}

impl RunClient {
    /// Makes the requests of a deployment, any of which may be cut off.
    pub async fn run_while_faulty(mut self) {
        let (plan, random) = (self.world.plan.clone(), self.world.random.clone());
        let deployment = self.world.deployment;
        let has_rollbacks = plan.has_rollbacks && deployment.allows_rollbacks;
        // The migration whose rollback a pipeline has begun, and has to finish.
        let mut rolling_back: Option<Rollback> = None;
        let (mut made, requests) = (0, deployment.requests);
        while made < requests || rolling_back.is_some() && made < requests + MAX_ROLLBACK_REQUESTS {
            let countdown = if made < requests {
                FaultCountdown::draw(&random, plan.faults_per_thousand)
            } else {
                FaultCountdown::never()
            };
            made += 1;
            if plan.situation.older_release().is_some() {
                self.meet_both_releases().await;
            }
            if rolling_back.is_none() && has_rollbacks && random.chance(300) {
                rolling_back = self.draw_rollback();
            }
            if rolling_back.is_none() && plan.mode == Mode::Pipeline && random.chance(60) {
                self.mark_and_unmark().await;
            }
            let is_migrating = rolling_back.is_none();
            // To ask for a number of steps again can roll back more.
            let next = match &rolling_back {
                Some(Rollback::Steps(steps)) => Some(Rollback::Until(self.before_last(*steps))),
                other => other.clone(),
            };
            let (isolate, end) = self.request(rolling_back, countdown).await;
            rolling_back = next;
            if plan.mode == Mode::ManyCallers || end.ends_rollback() {
                rolling_back = None;
            }
            if end.loses_isolate(&random) {
                self.replace(&isolate);
            }
            let is_patient = plan.mode != Mode::ManyCallers || random.chance(500);
            match end {
                RequestEnd::Finished if is_migrating && random.chance(200) => break,
                RequestEnd::Unfinished(time) | RequestEnd::Refused(time) if is_patient => {
                    self.world.time.sleep(time).await;
                }
                _ => self.world.time.sleep(random.milliseconds(0..=10_000)).await,
            }
            if plan.mode == Mode::ManyCallers && random.chance(200) {
                self.world.time.sleep(random.milliseconds(0..=120_000)).await;
            }
        }
    }

    /// Somebody marks the last migration, or all that are not applied, and takes that back: what they do has to be done all
    /// the same. Meanwhile there are no runs.
    async fn mark_and_unmark(&self) {
        let (world, isolate) = (&self.world, &self.isolates[0]);
        let (plan, release) = (&world.plan, world.deployment.migrations);
        // What is unmarked may have begun: then nothing before it may be rolled back.
        let is_rolled_back = plan.is_chained && plan.has_rollbacks;
        if release == 0 || plan.situation.older_release().is_some() || is_rolled_back {
            return;
        }
        world.time.sleep(FAULTS_ARE_OVER_AFTER).await;
        let is_baseline = world.random.chance(500);
        let marked = if is_baseline { 0..release } else { release - 1..release };
        let id = |number: usize| plan.migrations[number].id.clone();
        let marked: Vec<usize> = marked.filter(|number| !world.monitor.is_marked(*number)).collect();
        world.monitor.begin_marking(&marked);
        let countdown = || FaultCountdown::draw(&world.random, plan.faults_per_thousand);
        isolate.mark(world, countdown(), id(release - 1), is_baseline).await;
        world.time.sleep(FAULTS_ARE_OVER_AFTER).await;
        for &number in marked.iter().rev() {
            for attempt in 0.. {
                let countdown = if attempt < 5 { countdown() } else { FaultCountdown::never() };
                match isolate.unmark(world, countdown, id(number)).await {
                    RequestEnd::Finished => break,
                    RequestEnd::Failed(error) if error.contains(NOT_RUN) => break,
                    _ => world.time.sleep(Duration::from_mins(2)).await,
                }
            }
        }
        world.time.sleep(FAULTS_ARE_OVER_AFTER).await;
        world.monitor.end_marking(&marked);
    }

    /// Where a deploy is under way, the next request can reach another isolate, of the other release.
    async fn meet_both_releases(&mut self) {
        let random = &self.world.random;
        let isolate = self.isolates[random.below(self.isolates.len())].clone();
        if random.chance(300) {
            isolate.status(&self.world).await;
        }
        if random.chance(500) {
            self.replace(&isolate);
        }
    }

    /// Migrates, or rolls a migration back.
    async fn request(
        &self,
        rolling_back: Option<Rollback>,
        countdown: FaultCountdown,
    ) -> (Isolate, RequestEnd) {
        let isolate = self.isolates[self.world.random.below(self.isolates.len())].clone();
        let end = match rolling_back {
            Some(rollback) => {
                self.world.monitor.count(|tally| tally.rolled_back = true);
                let until = match rollback {
                    Rollback::One(id) => {
                        return (isolate.clone(), isolate.roll_back(&self.world, countdown, id).await);
                    }
                    Rollback::Steps(steps) => Until::Steps(steps),
                    Rollback::Until(until) => until,
                };
                self.world.monitor.count(|tally| tally.rolled_back_several = true);
                isolate.roll_back_until(&self.world, countdown, until).await
            }
            None => isolate.migrate_somewhere(&self.world, countdown).await,
        };
        (isolate, end)
    }

    /// Replaces an isolate that was lost with everything that it remembered.
    fn replace(&mut self, lost: &Isolate) {
        let next = Isolate::start_of_any_release(&self.world, lost.location);
        for isolate in self.isolates.iter_mut().filter(|isolate| isolate.location == lost.location) {
            *isolate = next.clone();
        }
    }

    /// How far a rollback of the last steps goes.
    fn before_last(&self, steps: u64) -> Until {
        let mut marked = self.marked().skip(usize::try_from(steps).unwrap_or(usize::MAX));
        marked
            .next()
            .map_or(Until::End, |number| Until::Migration(self.world.plan.migrations[number].id.clone()))
    }

    /// The migrations that have a marker, the last first.
    fn marked(&self) -> impl Iterator<Item = usize> {
        let (plan, truth) = (&self.world.plan, self.world.namespace.truth());
        let has_marker = |number: &usize| truth.value(&plan.migrations[*number].marker()).is_some();
        (0..self.world.deployment.migrations).rev().filter(has_marker)
    }

    /// Draws a migration to roll back, or several. A pipeline rolls back the last one that has a marker, since it may build on those
    /// before it.
    fn draw_rollback(&self) -> Option<Rollback> {
        let (plan, random) = (&self.world.plan, &self.world.random);
        if plan.mode == Mode::Pipeline && plan.situation.older_release().is_none() && random.chance(400) {
            return Some(Rollback::Steps(random.between(1..=3)));
        }
        let number = if plan.mode == Mode::ManyCallers {
            random.below(plan.migrations.len())
        } else {
            self.marked().next()?
        };
        Some(Rollback::One(plan.migrations[number].id.clone()))
    }
}

/// Asks for runs until all is finished, once there are no faults any more.
pub async fn run_until_finished(world: World) {
    let isolate = Isolate::start(&world, world.deployment.location);
    let mut failures = 0;
    for _ in 0..MAX_REQUESTS {
        match isolate.migrate(&world, FaultCountdown::never()).await {
            RequestEnd::Finished => return,
            RequestEnd::Unfinished(time) => world.time.sleep(time).await,
            RequestEnd::Failed(error)
                if error.contains(COLLISION) && world.monitor.may_report_collision() =>
            {
                failures += 1;
                if failures > 3 {
                    return world.monitor.count(|tally| tally.collision_reported = true);
                }
                world.time.sleep(Duration::from_mins(2)).await;
            }
            RequestEnd::Failed(error) if failures == 0 && is_given_up_because_of_faults(&world, &error) => {
                failures += 1;
            }
            other => {
                let text = format!("it ended with {other:?}");
                return world.monitor.check(violated("runs_without_faults_succeed", text));
            }
        }
    }
    let text = format!("it is not finished after {MAX_REQUESTS} requests");
    world.monitor.check(violated("runs_without_faults_succeed", text));
}
