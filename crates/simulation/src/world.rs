//! A world, from its seed to its end.

use std::sync::Arc;
use std::time::Duration;

use kv_migrations::Migration;
use kv_migrations::coordinator::MemoryStorage;

use crate::actors::{
    Caller, Isolate, Object, ask_until_finished, ask_while_it_is_bad, call_until_finished,
    call_while_it_is_bad, ring_alarms, serve,
};
use crate::dice::Dice;
use crate::executor::{Executor, Stopped};
use crate::fate::{Doom, Limbo};
use crate::faultless;
use crate::invariants::{self, Violation, violated};
use crate::migrations::{self, Context};
use crate::network::{Binding, Current, Namespace, Weather};
use crate::phase::Phase;
use crate::plan::Plan;
use crate::tally::Tally;
use crate::time::Time;
use crate::trace::Trace;
use crate::versions::Versions;
use crate::witness::Witness;

/// Longer than KV's delay, a lease, and any operation that is on its way.
pub const CALM_AFTER: Duration = Duration::from_mins(5);

/// What there is in a world. Clones are the same.
#[derive(Clone)]
pub struct World {
    /// What it holds.
    pub plan: Arc<Plan>,
    /// Its time.
    pub time: Time,
    /// What is left to chance.
    pub dice: Dice,
    /// Its KV.
    pub namespace: Namespace,
    /// Who sees all.
    pub witness: Witness,
    /// Where hung requests are.
    pub limbo: Limbo,
    /// What its object keeps.
    pub storage: MemoryStorage,
    /// Who runs migrations at the moment.
    pub phase: Phase,
    /// Those of the release that runs at the moment.
    pub migrations: Arc<[Migration<Context>]>,
    /// In which version each entry is.
    pub versions: Versions,
}

/// How a world ended.
#[derive(Debug)]
pub struct Ended {
    /// What went wrong, if anything did.
    pub violation: Option<Violation>,
    /// What can happen, and did.
    pub tally: Tally,
    /// What happened, if it was to be kept.
    pub trace: Vec<String>,
}

/// Lets the world of this seed happen.
pub fn run(seed: u64, keeps_trace: bool) -> Ended {
    let world = World::new(seed, keeps_trace);
    world.happen();
    let (violation, tally) = (world.witness.violation(), world.witness.tally());
    Ended { violation, tally, trace: world.witness.trace.lines() }
}

impl World {
    fn new(seed: u64, keeps_trace: bool) -> Self {
        let (time, dice) = (Time::new(), Dice::of(seed));
        let plan = Arc::new(Plan::draw(&dice));
        let versions = Versions::new(&plan);
        let trace = Trace::new(time.clone(), keeps_trace);
        trace.note(|| format!("{plan:#?}"));
        let witness = Witness::new(plan.clone(), versions.clone(), time.clone(), trace);
        let sees = witness.clone();
        let namespace =
            Namespace::new(&time, dice.clone(), move |written, truth| sees.written(written, truth));
        let phase = plan.phases[0];
        Self {
            time,
            dice,
            namespace,
            witness,
            limbo: Limbo::default(),
            storage: MemoryStorage::new(),
            phase,
            migrations: migrations::first(&plan, phase.release),
            versions,
            plan,
        }
    }

    /// First all goes wrong that can; then nothing does any more, and all must come right.
    fn happen(&self) {
        let weather = Weather::draw(&self.dice, &self.plan);
        self.witness.trace.note(|| format!("{weather:?}"));
        self.namespace.set_weather(weather);
        self.fill();
        self.witness.count(|tally| tally.mode = self.plan.mode);
        for &phase in &self.plan.phases {
            self.witness.trace.note(|| format!("{phase:?}"));
            self.witness.set_coordinated(phase.is_coordinated);
            self.namespace.set_weather(weather);
            if !self.in_phase(phase).passes() {
                return;
            }
        }
        self.check_end();
    }

    fn in_phase(&self, phase: Phase) -> Self {
        Self { phase, migrations: migrations::first(&self.plan, phase.release), ..self.clone() }
    }

    /// Whether all went well.
    fn passes(&self) -> bool {
        if self.phase.is_coordinated {
            return self.run_to_end(|executor| self.spawn_object(executor))
                && self.wait_for_kv(Duration::from_secs(self.dice.between(61..=300)));
        }
        if !self.run_to_end(|executor| self.spawn_all(executor)) {
            return false;
        }
        if self.phase.is_cut_short {
            return self.wait_for_kv(Duration::from_secs(self.dice.between(61..=300)));
        }
        self.namespace.set_weather(Weather::calm());
        self.wait_for_kv(CALM_AFTER);
        self.witness.trace.note(|| "from here on nothing goes wrong".to_owned());
        self.run_to_end(|executor| executor.spawn(call_until_finished(self.clone())))
    }

    /// Until it shows everywhere what was written.
    fn wait_for_kv(&self, duration: Duration) -> bool {
        self.time.pass(duration);
        self.namespace.settle();
        !self.witness.has_violation()
    }

    /// What is there from the start; some of it written a moment ago, elsewhere.
    fn fill(&self) {
        for (number, table) in self.plan.tables.iter().enumerate() {
            for (index, entry) in table.entries.iter().enumerate() {
                let options = faultless::options(entry.metadata, entry.ttl, self.time.now() / 1_000);
                let key = format!("{}{}", table.prefix(0), entry.name);
                let is_fresh = entry.is_fresh && entry.ttl.is_none();
                if !is_fresh || self.dice.chance(500) {
                    self.namespace.write_before(0, &key, &entry.value(0), options.clone(), 600_000);
                }
                if is_fresh {
                    let version = self.versions.begin(number, index);
                    let location = index % self.plan.locations;
                    let ago = i64::try_from(self.dice.between(0..=60_000)).unwrap_or(0);
                    self.namespace.write_before(location, &key, &entry.value(version), options, ago);
                    self.versions.end(number, index);
                }
            }
        }
    }

    fn spawn_all(&self, executor: &mut Executor) {
        let isolates: Vec<Isolate> =
            (0..self.plan.places).map(|number| Isolate::start(self, self.phase.place + number)).collect();
        for _ in 0..self.phase.callers {
            // Some of them always reach the same place.
            let isolates = match self.dice.below(isolates.len() + 1) {
                0 => isolates.clone(),
                place => vec![isolates[place - 1].clone()],
            };
            executor.spawn(call_while_it_is_bad(Caller { world: self.clone(), isolates }));
        }
        self.spawn_services(executor);
    }

    fn spawn_object(&self, executor: &mut Executor) {
        let object = Object::new(self, executor.spawner());
        executor.spawn(ring_alarms(object.clone()));
        for _ in 0..self.phase.callers {
            executor.spawn(ask_while_it_is_bad(object.clone()));
        }
        executor.spawn(ask_until_finished(object));
        self.spawn_services(executor);
    }

    fn spawn_services(&self, executor: &mut Executor) {
        for (number, _) in self.plan.tables.iter().enumerate().filter(|(_, table)| table.is_served) {
            for location in 0..self.plan.locations {
                executor.spawn(serve(self.clone(), number, location));
            }
        }
    }

    /// Whether all tasks came to their ends, and nothing went wrong.
    fn run_to_end(&self, spawn: impl FnOnce(&mut Executor)) -> bool {
        let mut executor = Executor::new(self.time.clone(), self.dice.clone());
        spawn(&mut executor);
        let stopped = executor.run(|| {
            self.namespace.settle();
            self.witness.has_violation()
        });
        if matches!(stopped, Stopped::Stuck | Stopped::Endless) {
            self.witness.check(violated("every_request_ends", format!("the world is {stopped:?}")));
        }
        !self.witness.has_violation()
    }

    fn check_end(&self) {
        let (plan, truth) = (&*self.plan, self.namespace.truth());
        let mut entries = Ok(());
        self.witness.count(|tally| {
            entries = invariants::no_entry_is_lost(plan, &self.versions, truth, tally);
        });
        let tally = self.witness.tally();
        if tally.asked_for_help || tally.stale_copy_won {
            return;
        }
        self.witness.check(entries);
        self.witness.check(invariants::everything_is_applied(plan, truth));
        if !self.witness.is_exact() {
            return;
        }
        let expected =
            match faultless::outcome(plan, migrations::first(plan, plan.migrations.len()), &self.versions) {
                Ok(expected) => expected,
                Err(error) => return self.witness.check(violated("without_faults_it_succeeds", error)),
            };
        self.time.pass(faultless::AFTER);
        let mut found = faultless::data(truth);
        // The service wrote both keys until the end.
        let served: Vec<String> =
            plan.tables.iter().filter(|table| table.is_served).map(|table| table.prefix(0)).collect();
        found.retain(|(key, _)| !served.iter().any(|prefix| key.name.starts_with(prefix)));
        self.witness.check(invariants::all_is_as_without_faults(&expected, &found));
    }

    /// The KV binding of a request that nothing comes over.
    pub fn binding(&self, location: usize, name: String) -> Binding {
        Binding {
            namespace: self.namespace.clone(),
            time: self.time.clone(),
            dice: self.dice.clone(),
            witness: self.witness.clone(),
            location,
            name,
            run: Current::default(),
            doom: Doom::none(),
        }
    }
}
