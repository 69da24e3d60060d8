//! The life of a world, from its seed to its end.

use std::time::Duration;

use kv_migrations::clock::Clock;
use kv_migrations::kv::PutOptions;
use kv_migrations::testing::{Executor, LOCATIONS, Stopped};

use crate::actors::{
    Isolate, Object, RunClient, ask_until_finished, ask_while_faulty, ask_within, call_alarms, damage_rows,
    migrate_within, run_until_finished, serve,
};
use crate::deployment::KnownKeys;
use crate::end::without_chance;
use crate::faultless;
use crate::invariants;
use crate::network::NetworkConditions;
use crate::plan::Plan;
use crate::situation::Situation;
use crate::table::{STANDING, Table};
use crate::tally::Tally;
use crate::trace::Tracing;
use crate::violation::{Violation, violated};
use crate::world::{FAULTS_ARE_OVER_AFTER, World};

/// The number of steps after which a world is taken to be endless.
const MAX_STEPS: u64 = 2_000_000;

/// How a world ended.
#[derive(Debug)]
pub struct WorldEnd {
    /// The first violation of an invariant.
    pub violation: Option<Violation>,
    /// What may happen, and did.
    pub tally: Tally,
    /// What happened, if a trace was kept.
    pub trace: Vec<String>,
}

/// Runs the world of a seed.
pub fn run(seed: u64, tracing: Tracing) -> WorldEnd {
    let mut world = World::new(seed, tracing);
    world.run();
    let (violation, tally) = (world.monitor.violation(), world.monitor.tally());
    WorldEnd { violation, tally, trace: world.monitor.trace.lines() }
}

impl World {
    /// Runs all deployments, the last of them to an end without faults.
    fn run(&mut self) {
        let conditions = NetworkConditions::draw(&self.random, &self.plan);
        self.monitor.trace.add(|| format!("{conditions:?}"));
        self.namespace.set_conditions(conditions);
        self.fill();
        for deployment in self.plan.clone().deployments.iter().copied() {
            self.monitor.deployed(&deployment);
            self.namespace.set_conditions(conditions);
            self.deployment = deployment;
            self.run_deployment();
            if self.monitor.has_violation() {
                return;
            }
            let is_live = self.plan.situation == Situation::LiveService;
            if is_live && self.monitor.tally().collision_reported {
                // Somebody has to compare the two entries before anything else is deployed.
                break;
            }
        }
        self.check_end();
    }

    fn run_deployment(&self) {
        let is_coordinated = self.deployment.is_coordinated;
        self.run_tasks(|executor| {
            if is_coordinated {
                self.spawn_object(executor);
            } else {
                self.spawn_run_clients(executor);
            }
            self.spawn_services(executor);
        });
        if self.monitor.has_violation() {
            return;
        }
        if is_coordinated || self.deployment.is_cut_short {
            return self.wait_for_kv(Duration::from_secs(self.random.between(61..=300)));
        }
        self.namespace.set_conditions(NetworkConditions::faultless());
        self.wait_for_kv(FAULTS_ARE_OVER_AFTER);
        self.monitor.trace.add(|| "there are no more faults".to_owned());
        let is_live = self.plan.situation == Situation::LiveService;
        self.run_tasks(|executor| {
            executor.spawn(run_until_finished(self.clone()));
            if is_live {
                self.spawn_services(executor);
            }
        });
    }

    /// Waits until all locations see what was written.
    fn wait_for_kv(&self, duration: Duration) {
        self.time.advance(duration);
        self.namespace.settle();
    }

    /// Writes the entries that exist from the start, some of them a moment ago and elsewhere.
    fn fill(&self) {
        for (number, table) in self.plan.tables.iter().enumerate() {
            for (index, entry) in table.entries.iter().enumerate() {
                let options = faultless::options(entry, self.time.now());
                let key = table.old_key(&entry.name);
                let is_fresh = entry.is_fresh && entry.ttl.is_none();
                if !is_fresh || self.random.chance(500) {
                    let ago = Duration::from_mins(10);
                    self.namespace.put_before(0, &key, &entry.value(entry.version), &options, ago);
                }
                for key in table.standing_keys(entry) {
                    let ago = Duration::from_mins(10);
                    self.namespace.put_before(0, &key, &entry.value(STANDING), &PutOptions::new(), ago);
                }
                if is_fresh {
                    let version = self.versions.begin(number, index);
                    let (location, ago) =
                        (Plan::location_of_entry(index), self.random.milliseconds(0..=60_000));
                    self.namespace.put_before(location, &key, &entry.value(version), &options, ago);
                    self.versions.end(number, index, self.time.now());
                }
            }
        }
    }

    fn spawn_run_clients(&self, executor: &mut Executor<'_>) {
        if let Some(limit) = self.plan.situation.limit() {
            return executor.spawn(migrate_within(self.clone(), limit));
        }
        let locations = (0..self.plan.run_locations).map(|number| self.deployment.location + number);
        let isolates: Vec<Isolate> =
            locations.map(|location| Isolate::start_of_any_release(self, location)).collect();
        for _ in 0..self.deployment.clients {
            // Some of them always reach the same location.
            let isolates = match self.random.below(isolates.len() + 1) {
                0 => isolates.clone(),
                number => vec![isolates[number - 1].clone()],
            };
            executor.spawn(RunClient { world: self.clone(), isolates }.run_while_faulty());
        }
    }

    fn spawn_object(&self, executor: &mut Executor<'static>) {
        let object = Object::new(self, executor.spawner());
        executor.spawn(call_alarms(object.clone()));
        for _ in 0..self.deployment.clients {
            match self.plan.situation.limit() {
                Some(limit) => executor.spawn(ask_within(object.clone(), limit)),
                None => executor.spawn(ask_while_faulty(object.clone())),
            }
        }
        if self.plan.situation == Situation::DamagedRows {
            object.add_client();
            executor.spawn(damage_rows(object.clone()));
        }
        executor.spawn(ask_until_finished(object));
    }

    fn spawn_services(&self, executor: &mut Executor<'_>) {
        for (number, _) in self.plan.tables.iter().enumerate().filter(|(_, table)| table.is_served) {
            for location in 0..LOCATIONS {
                executor.spawn(serve(self.clone(), number, location));
            }
        }
    }

    /// Runs tasks to their ends, or to the first violation.
    fn run_tasks(&self, spawn: impl FnOnce(&mut Executor<'static>)) {
        let random = self.random.clone();
        let mut executor = Executor::new(self.time.clone(), move |number| random.below(number));
        spawn(&mut executor);
        let mut steps = 0;
        let stopped = executor.run(|| {
            self.namespace.settle();
            steps += 1;
            steps > MAX_STEPS || self.monitor.has_violation()
        });
        if stopped == Stopped::Stuck || steps > MAX_STEPS {
            let text = format!("{stopped:?} after {steps} steps");
            self.monitor.check(violated("every_request_ends", text));
        }
    }

    fn check_end(&self) {
        let (plan, truth) = (&*self.plan, self.namespace.truth());
        let mut entries = Ok(());
        self.monitor.count(|tally| {
            entries = invariants::no_entry_is_lost(plan, &self.versions, truth, tally);
        });
        let tally = self.monitor.tally();
        if tally.collision_reported || tally.stale_copy_won || tally.forgotten_copy_won {
            return;
        }
        self.monitor.check(entries);
        // The row is damaged, perhaps, that says what is still to be copied to KV.
        if plan.situation != Situation::DamagedRows {
            self.monitor.check(invariants::all_migrations_are_applied(plan, truth));
        }
        if !self.monitor.is_exact() {
            return;
        }
        let expected = match faultless::outcome(plan, &self.versions) {
            Ok(expected) => expected,
            Err(error) => return self.monitor.check(violated("migrations_succeed_without_faults", error)),
        };
        self.time.advance(faultless::AFTERWARDS);
        let mut found = faultless::data(truth);
        // The service wrote both keys until the end, if its last release knows both.
        let knows_old_keys = self.deployment.known_keys == KnownKeys::Both;
        let writes_both = |table: &&Table| table.is_served && !table.has_old_writes && knows_old_keys;
        let served: Vec<String> =
            plan.tables.iter().filter(writes_both).map(|table| table.prefix(0)).collect();
        found.retain(|(key, _)| !served.iter().any(|prefix| key.name.starts_with(prefix)));
        let is_known = self.monitor.knows_all_copies();
        if is_known {
            self.monitor.check(invariants::entries_are_mapped_by_one_table(plan, &found));
        }
        let may_be_unknown = !is_known || self.monitor.has_returned();
        let (expected, mut found) = (without_chance(plan, expected), without_chance(plan, found));
        if invariants::forget_outdated_copies(plan, truth, &expected, &mut found, may_be_unknown) {
            self.monitor.count(|tally| tally.outdated_left = true);
        }
        if invariants::forget_taken(plan, truth, &expected, &mut found) {
            self.monitor.count(|tally| tally.taken_was_left = true);
        }
        self.monitor.check(invariants::data_is_as_without_faults(&expected, &found));
        self.monitor.check(invariants::left_entries_are_reported(plan, truth));
    }
}
