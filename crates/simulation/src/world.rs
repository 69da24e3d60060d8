//! What a world consists of.

use std::sync::Arc;
use std::time::Duration;

use kv_migrations::Until;
use kv_migrations::coordinator::MemoryStorage;
use kv_migrations::testing::VirtualTime;

use crate::deployment::Deployment;
use crate::fault::{FaultCountdown, ParkedTasks};
use crate::monitor::Monitor;
use crate::network::{Binding, CurrentRun, Namespace, UnderWay};
use crate::plan::Plan;
use crate::random::Random;
use crate::time::start;
use crate::trace::{Trace, Tracing};
use crate::versions::Versions;

/// Longer than KV's delay, a lease, and any operation that is on its way.
pub const FAULTS_ARE_OVER_AFTER: Duration = Duration::from_mins(5);

/// What a world consists of. Clones are the same.
#[derive(Clone)]
pub struct World {
    /// What it holds.
    pub plan: Arc<Plan>,
    /// Its time.
    pub time: VirtualTime,
    /// What everything random is drawn from.
    pub random: Random,
    /// Its KV.
    pub namespace: Namespace,
    /// What checks the invariants.
    pub monitor: Monitor,
    /// The requests that hang.
    pub parked: ParkedTasks,
    /// The storage of its object.
    pub storage: MemoryStorage,
    /// The release that is deployed.
    pub deployment: Deployment,
    /// The version of each entry.
    pub versions: Versions,
}

impl World {
    /// The world of a seed, with its first deployment.
    pub fn new(seed: u64, tracing: Tracing) -> Self {
        let (time, random) = (VirtualTime::starting_at(start()), Random::from_seed(seed));
        let special = Random::from_seed(!seed);
        let mut plan = Plan::draw(&random, &special);
        plan.draw_ways(&Random::from_seed(seed.rotate_left(32)));
        let plan = Arc::new(plan);
        let versions = Versions::new(&plan);
        let trace = Trace::new(time.clone(), tracing);
        trace.add(|| format!("{plan:#?}"));
        let monitor = Monitor::new(plan.clone(), versions.clone(), time.clone(), trace);
        let observer = monitor.clone();
        let namespace =
            Namespace::new(&time, random.clone(), move |write, truth| observer.kv_written(write, truth));
        let deployment = plan.deployments[0];
        Self {
            time,
            random,
            namespace,
            monitor,
            parked: ParkedTasks::default(),
            storage: MemoryStorage::new(),
            deployment,
            versions,
            plan,
        }
    }

    /// Draws how many migrations the release has that answers next.
    pub fn draw_release(&self) -> usize {
        match self.plan.situation.older_release() {
            Some(older) if self.random.chance(500) => older,
            _ => self.deployment.migrations,
        }
    }

    /// Draws how far a run of a release goes: mostly to the end. While two releases are deployed, always: which one answers
    /// is not known to the one who asks.
    pub fn draw_until(&self, release: usize) -> Until {
        let is_known = release > 0 && self.plan.situation.older_release().is_none();
        if !(is_known && self.random.chance(250)) {
            return Until::End;
        }
        self.monitor.count(|tally| tally.asked_for_part = true);
        match self.random.below(3) {
            0 => Until::Migration(self.plan.migrations[self.random.below(release)].id.clone()),
            1 => Until::Steps(self.random.between(1..=2)),
            _ => Until::Entries(self.random.between(1..=5)),
        }
    }

    /// The KV binding of a request that meets no fault.
    pub fn binding(&self, location: usize, name: String) -> Binding {
        Binding {
            namespace: self.namespace.clone(),
            time: self.time.clone(),
            random: self.random.clone(),
            monitor: self.monitor.clone(),
            location,
            name,
            run: CurrentRun::default(),
            countdown: FaultCountdown::never(),
            under_way: UnderWay::default(),
        }
    }
}
