//! The object that coordinates runs, and the runtime that makes its instances and calls its alarm.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::SystemTime;

use futures::future::{Either, select};
use kv_migrations::coordinator::{MemoryStorage, RowChange, Storage};

use super::instance::Instance;
use super::rows::AlarmSet;
use crate::executor::Spawner;
use crate::fate::Fate;
use crate::time::since_1970;
use crate::world::World;

/// So often the runtime calls an alarm again that failed.
const MOST_RETRIES: u32 = 6;

/// The one object of a world.
pub struct Object {
    pub(super) world: World,
    /// What the witness knows it by.
    number: usize,
    pub(super) storage: MemoryStorage,
    alarm: AlarmSet,
    spawner: Spawner,
    current: RefCell<Rc<Instance>>,
    instances: RefCell<Vec<Rc<Instance>>>,
    is_calm: Cell<bool>,
    /// How often in a row an alarm has failed.
    failures: Cell<u32>,
    is_over: Cell<bool>,
    /// How many callers there still are.
    pub(super) callers: Cell<usize>,
}

impl Object {
    /// The one whose rows there are.
    pub fn new(world: &World, spawner: Spawner) -> Rc<Self> {
        let (storage, alarm, number) = (world.storage.clone(), AlarmSet::default(), world.witness.isolate());
        let first = Instance::start(world, number, 0, (&storage, &alarm), world.plan.doomed);
        Rc::new(Self {
            world: world.clone(),
            number,
            storage,
            alarm,
            spawner,
            current: RefCell::new(first.clone()),
            instances: RefCell::new(vec![first]),
            is_calm: Cell::new(false),
            failures: Cell::new(0),
            is_over: Cell::new(false),
            callers: Cell::new(world.phase.callers),
        })
    }

    /// The instance that requests reach.
    pub(super) fn current(&self) -> Rc<Instance> {
        self.current.borrow().clone()
    }

    /// Another instance takes the place of this one, which may go on for a while.
    pub(super) fn replace(&self, instance: &Rc<Instance>) {
        if instance.number != self.current().number {
            return;
        }
        let number = self.instances.borrow().len();
        let doomed = if self.is_calm.get() { 0 } else { self.world.plan.doomed };
        let kept = (&self.storage, &self.alarm);
        let next = Instance::start(&self.world, self.number, number, kept, doomed);
        self.instances.borrow_mut().push(next.clone());
        self.current.replace(next);
    }

    /// What comes over an instance.
    pub(super) fn strike(self: &Rc<Self>, instance: &Rc<Instance>, fate: Fate) {
        self.world.witness.trace.note(|| format!("instance {}: {fate:?}", instance.number));
        self.world.witness.count(|tally| tally.cut_off = true);
        let step = instance.step.get();
        match fate {
            Fate::Crash => {
                instance.die();
                self.freeze(step);
            }
            Fate::Hang => {
                instance.freeze();
                self.freeze(step);
            }
            Fate::Stall(milliseconds) => {
                instance.freeze();
                let (world, instance) = (self.world.clone(), instance.clone());
                self.spawner.spawn(async move {
                    world.time.sleep(milliseconds).await;
                    world.witness.trace.note(|| format!("instance {} is resumed", instance.number));
                    instance.thaw();
                });
            }
        }
        self.replace(instance);
    }

    fn freeze(&self, step: Option<usize>) {
        if let Some(step) = step {
            self.world.witness.freeze(step, true);
        }
    }

    /// From now on nothing comes over it, and no alarm is lost.
    pub(super) fn calm_down(&self) {
        self.is_calm.set(true);
        self.current().die();
        self.replace(&self.current());
    }

    /// Nobody needs it any more.
    pub(super) fn end(&self) {
        self.is_over.set(true);
        self.alarm.tell();
        for instance in self.instances.take() {
            instance.die();
        }
    }

    /// Calls `alarm` in an instance.
    async fn ring(self: Rc<Self>) {
        let instance = self.current();
        let before = instance.step.get();
        let (object, struck) = (self.clone(), instance.clone());
        let inside = instance.clone();
        let work = async move { inside.coordinator.alarm().await };
        let ended = instance.within(work, move |fate| object.strike(&struck, fate)).await;
        // A second alarm finds a step going on that is not its own.
        if let Some(step) = instance.step.get().filter(|_| ended.is_some() && instance.step.get() != before) {
            self.world.witness.end(step);
        }
        match ended {
            Some(Ok(())) => self.failures.set(0),
            Some(Err(error)) => {
                self.world.witness.trace.note(|| format!("an alarm failed: {error}"));
                self.ring_again();
            }
            None => self.ring_again(),
        }
    }

    /// The runtime calls an alarm again that failed or did not return, with growing pauses, and gives up some time.
    fn ring_again(&self) {
        let failures = self.failures.get();
        if failures == MOST_RETRIES {
            self.world.witness.trace.note(|| "an alarm is given up".to_owned());
            return self.failures.set(0);
        }
        self.failures.set(failures + 1);
        let again = self.world.time.clock(2_000 << failures).now();
        self.set_alarm(self.storage.alarm().map_or(again, |at| at.min(again)));
    }

    fn set_alarm(&self, at: SystemTime) {
        // Memory takes it.
        let _ = self.storage.write(&[RowChange::alarm(at)]);
        self.alarm.tell();
    }
}

/// The runtime: calls the alarm when it is due; or a little later, twice, or not at all.
pub async fn ring_alarms(object: Rc<Object>) {
    let (time, dice) = (&object.world.time, &object.world.dice);
    while !object.is_over.get() {
        let times = object.alarm.times();
        let Some(at) = object.storage.alarm() else {
            object.alarm.next(times).await;
            continue;
        };
        let due = time.sleep_until(since_1970(at));
        let set_anew = std::pin::pin!(object.alarm.next(times));
        if let Either::Right(_) = select(due, set_anew).await {
            continue;
        }
        if !object.is_calm.get() && dice.chance(100) {
            time.sleep(i64::try_from(dice.between(0..=30_000)).unwrap_or(0)).await;
        }
        // By an instance whose clock is behind it is set again at once.
        time.sleep(i64::try_from(dice.between(5..=50)).unwrap_or(0)).await;
        object.storage.take_alarm();
        if !object.is_calm.get() && dice.chance(20) {
            object.world.witness.trace.note(|| "an alarm is lost".to_owned());
            continue;
        }
        let number = if !object.is_calm.get() && dice.chance(50) { 2 } else { 1 };
        for _ in 0..number {
            object.spawner.spawn(object.clone().ring());
        }
    }
}
