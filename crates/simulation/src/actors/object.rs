//! The object that coordinates runs: its instances, and the calls of its alarm.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::future::{Either, select};
use kv_migrations::clock::Clock;
use kv_migrations::testing::{ObjectRuntime, Spawner};

use super::instance::Instance;
use crate::fault::{Fault, FaultCountdown, Suspension};
use crate::violation::violated;
use crate::world::World;

/// More calls of its alarm than any deployment needs. Where the clock of an instance is seconds behind, an alarm that it sets
/// comes at once, again and again for that long.
const MAX_ALARMS: u32 = 5_000;

/// The object of a world, during one deployment.
pub struct Object {
    pub(super) world: World,
    /// Its number for the monitor.
    number: usize,
    pub(super) runtime: ObjectRuntime,
    spawner: Spawner<'static>,
    /// All instances; requests reach the last one.
    instances: RefCell<Vec<Rc<Instance>>>,
    has_faults: Cell<bool>,
    /// How many clients have requests left.
    pub(super) clients: Cell<usize>,
    /// How often its alarm was called.
    alarms: Cell<u32>,
}

impl Object {
    /// The object, with the storage of the deployments before.
    pub fn new(world: &World, spawner: Spawner<'static>) -> Rc<Self> {
        let object = Self {
            world: world.clone(),
            number: world.monitor.new_isolate(),
            runtime: ObjectRuntime::with_storage(world.time.clone(), world.storage.clone()),
            spawner,
            instances: RefCell::default(),
            has_faults: Cell::new(true),
            clients: Cell::new(world.deployment.clients),
            alarms: Cell::new(0),
        };
        object.start_instance();
        Rc::new(object)
    }

    fn start_instance(&self) {
        let (world, number) = (&self.world, self.instances.borrow().len());
        let countdown = match world.plan.situation.limit() {
            Some(limit) if self.has_faults.get() => FaultCountdown::limited(limit),
            _ => {
                let per_thousand = if self.has_faults.get() { world.plan.faults_per_thousand } else { 0 };
                FaultCountdown::draw(&world.random, per_thousand)
            }
        };
        let release = if self.has_faults.get() { world.draw_release() } else { world.deployment.migrations };
        let instance = Instance::start(world, self.number, number, release, &self.runtime, countdown);
        self.instances.borrow_mut().push(instance);
    }

    /// Waits for one more client before faults end.
    pub fn add_client(&self) {
        self.clients.set(self.clients.get() + 1);
    }

    /// One client is done.
    pub fn remove_client(&self) {
        self.clients.set(self.clients.get() - 1);
    }

    /// The instance that requests reach.
    pub(super) fn current(&self) -> Rc<Instance> {
        let instances = self.instances.borrow();
        instances[instances.len() - 1].clone()
    }

    /// Starts another instance in place of this one, which may continue for a while.
    pub(super) fn replace(&self, instance: &Instance) {
        if instance.number == self.current().number {
            self.start_instance();
        }
    }

    /// Has an instance meet a fault.
    pub(super) fn inject(&self, instance: &Rc<Instance>, fault: Fault) {
        let monitor = &self.world.monitor;
        monitor.trace.add(|| format!("instance {}: {fault:?}", instance.number));
        monitor.count(|tally| tally.cut_off = true);
        match fault {
            Fault::Crash => instance.end(),
            Fault::Hang | Fault::Stall(_) => instance.suspend(),
        }
        if let Fault::Stall(duration) = fault {
            let (world, instance) = (self.world.clone(), instance.clone());
            self.spawner.spawn(async move {
                world.time.sleep(duration).await;
                world.monitor.trace.add(|| format!("instance {} is resumed", instance.number));
                instance.resume();
            });
        } else if let Some(step) = instance.step.get() {
            monitor.run_suspension(step, Suspension::Begins);
        }
        self.replace(instance);
    }

    /// Ends all faults: from now on no instance is cut off, and no alarm is late or lost.
    pub(super) fn end_faults(&self) {
        self.has_faults.set(false);
        let instance = self.current();
        instance.end();
        self.replace(&instance);
    }

    /// Ends the object.
    pub(super) fn end(&self) {
        self.runtime.stop();
        for instance in self.instances.borrow().iter() {
            instance.end();
        }
    }

    fn count_alarm(&self) {
        self.alarms.set(self.alarms.get() + 1);
        if self.alarms.get() == MAX_ALARMS {
            let text = format!("the alarm was called {MAX_ALARMS} times");
            self.world.monitor.check(violated("alarms_end", text));
        }
    }

    async fn call_alarm(self: Rc<Self>) {
        self.count_alarm();
        let instance = self.current();
        let before = instance.step.get();
        let (object, faulty, running) = (self.clone(), instance.clone(), instance.clone());
        let work = async move { running.coordinator.alarm().await };
        let time_limit = instance.countdown.time_limit();
        let step = instance.run(work, move |fault| object.inject(&faulty, fault));
        let result = match time_limit {
            None => step.await,
            Some(limit) => match select(step, self.world.time.sleep(limit)).await {
                Either::Left((result, _)) => result,
                Either::Right(_) => {
                    self.inject(&instance, Fault::Crash);
                    None
                }
            },
        };
        let monitor = &self.world.monitor;
        // Of two calls at once, one finds a step in progress that is not its own.
        if let Some(step) = instance.step.get().filter(|_| result.is_some() && instance.step.get() != before)
        {
            monitor.run_ended(step);
        }
        match result {
            Some(Ok(())) => return self.runtime.alarm_succeeded(),
            Some(Err(error)) => monitor.trace.add(|| format!("an alarm failed: {error}")),
            None => {}
        }
        if !self.runtime.alarm_failed() {
            monitor.trace.add(|| "an alarm is not retried any more".to_owned());
        }
    }
}

/// Calls the alarm when it is due; or a little later, twice, or not at all.
pub async fn call_alarms(object: Rc<Object>) {
    let (time, random) = (&object.world.time, &object.world.random);
    let chance = |per_thousand| object.has_faults.get() && random.chance(per_thousand);
    while object.runtime.alarm_is_due().await {
        if chance(100) {
            time.sleep(random.milliseconds(0..=30_000)).await;
        }
        // An instance whose clock is behind sets it again at once.
        time.sleep(random.milliseconds(5..=50)).await;
        object.runtime.take_alarm();
        if chance(20) {
            object.world.monitor.trace.add(|| "an alarm is lost".to_owned());
            continue;
        }
        let calls = if chance(50) { 2 } else { 1 };
        for _ in 0..calls {
            object.spawner.spawn(object.clone().call_alarm());
        }
    }
}
