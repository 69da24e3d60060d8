//! A pipeline, or somebody with `curl`: migrates again and again.

use std::time::Duration;

use super::{ASKS_FOR_HELP, Answered, Isolate, MOST_REQUESTS, WRITES_TOO_OFTEN};
use crate::fate::Doom;
use crate::invariants::violated;
use crate::plan::Mode;
use crate::world::World;

/// How many more it makes to finish a rollback.
const MOST_MORE: usize = 60;

/// Who calls, and which isolates there are for it.
pub struct Caller {
    /// The world.
    pub world: World,
    /// Those that a request can reach.
    pub isolates: Vec<Isolate>,
}

impl Caller {
    fn isolate(&self) -> Isolate {
        self.isolates[self.world.dice.below(self.isolates.len())].clone()
    }

    /// It is gone, with all that it remembered; another takes its place.
    fn replace(&mut self, gone: &Isolate) {
        let fresh = Isolate::start(&self.world, gone.location);
        for isolate in self.isolates.iter_mut().filter(|isolate| isolate.location == gone.location) {
            *isolate = fresh.clone();
        }
    }

    /// Migrates, or rolls back.
    async fn request(&self, undone: Option<&str>, doom: Doom) -> (Isolate, Answered) {
        let isolate = self.isolate();
        let answered = match undone {
            Some(id) => {
                self.world.witness.count(|tally| tally.rolled_back = true);
                isolate.roll_back(&self.world, doom, id.to_owned()).await
            }
            None => isolate.migrate(&self.world, doom).await,
        };
        (isolate, answered)
    }

    /// What is rolled back: in a pipeline the last migration that something is recorded of, since those before it
    /// may be what it builds on.
    fn choice(&self) -> Option<String> {
        let plan = &self.world.plan;
        let has_marker = |number: &usize| {
            let marker = plan.migrations[*number].marker();
            self.world.namespace.truth().value(&marker).is_some()
        };
        let number = match plan.mode {
            Mode::Pipeline | Mode::Object | Mode::Both => {
                (0..self.world.phase.release).rev().find(has_marker)?
            }
            Mode::Crowd => self.world.dice.below(plan.migrations.len()),
        };
        Some(plan.migrations[number].id.clone())
    }
}

/// Makes its requests, any of which can be cut off.
pub async fn call_while_it_is_bad(mut caller: Caller) {
    let (plan, dice) = (caller.world.plan.clone(), caller.world.dice.clone());
    // What a pipeline has begun to roll back, and must roll back until that is finished.
    let mut undoing: Option<String> = None;
    let (mut made, requests) = (0, caller.world.phase.requests);
    while made < requests || undoing.is_some() && made < requests + MOST_MORE {
        let doom = if made < requests { Doom::draw(&dice, plan.doomed) } else { Doom::none() };
        made += 1;
        if undoing.is_none() && caller.world.phase.has_rollbacks && dice.chance(300) {
            undoing = caller.choice();
        }
        let is_migrating = undoing.is_none();
        let (isolate, answered) = caller.request(undoing.as_deref(), doom).await;
        if plan.mode == Mode::Crowd || answered.ends_rollback() {
            undoing = None;
        }
        if answered.is_of_isolate(&dice) {
            caller.replace(&isolate);
        }
        let is_patient = plan.mode != Mode::Crowd || dice.chance(500);
        match answered {
            Answered::Finished if is_migrating && dice.chance(200) => break,
            Answered::Unfinished(time) | Answered::Busy(time) if is_patient => {
                wait(&caller.world, time).await;
            }
            _ => wait(&caller.world, Duration::from_millis(dice.between(0..=10_000))).await,
        }
        if plan.mode == Mode::Crowd && dice.chance(200) {
            wait(&caller.world, Duration::from_millis(dice.between(0..=120_000))).await;
        }
    }
}

async fn wait(world: &World, duration: Duration) {
    world.time.sleep(i64::try_from(duration.as_millis()).unwrap_or(0)).await;
}

/// Calls until all is finished, when nothing goes wrong any more.
pub async fn call_until_finished(world: World) {
    let isolate = Isolate::start(&world, world.phase.place);
    let mut failures = 0;
    for _ in 0..MOST_REQUESTS {
        match isolate.migrate(&world, Doom::none()).await {
            Answered::Finished => return,
            Answered::Unfinished(time) => {
                wait(&world, time).await;
            }
            Answered::Failed(error) if error.contains(ASKS_FOR_HELP) && world.witness.may_ask_for_help() => {
                failures += 1;
                if failures > 3 {
                    return world.witness.count(|tally| tally.asked_for_help = true);
                }
                world.time.sleep(120_000).await;
            }
            // The service wrote between any two sweeps, while it was bad: the error says to migrate again.
            Answered::Failed(error) if error.contains(WRITES_TOO_OFTEN) && failures == 0 => failures += 1,
            other => {
                return world
                    .witness
                    .check(violated("a_calm_run_succeeds", format!("it ended with {other:?}")));
            }
        }
    }
    let text = format!("it is not finished after {MOST_REQUESTS} requests");
    world.witness.check(violated("a_calm_run_succeeds", text));
}
