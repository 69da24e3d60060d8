//! Runs the tasks of a world on one thread, in an order that is drawn from the seed.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use kv_migrations::BoxFuture;

use crate::dice::Dice;
use crate::time::Time;

/// After so many steps a world is said not to come to an end.
const MOST_STEPS: u64 = 2_000_000;

/// Why it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// All tasks have ended.
    AllDone,
    /// It was told to.
    Told,
    /// All tasks wait, and none for a time.
    Stuck,
    /// There were too many steps.
    Endless,
}

/// Adds tasks to an executor from within its tasks. Clones are the same.
#[derive(Clone, Default)]
pub struct Spawner(Rc<RefCell<Vec<BoxFuture<'static, ()>>>>);

impl Spawner {
    /// Adds a task.
    pub fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.0.borrow_mut().push(Box::pin(work));
    }
}

/// The tasks of a world.
pub struct Executor {
    spawned: Spawner,
    time: Time,
    dice: Dice,
    tasks: Vec<Task>,
    ready: Arc<Mutex<Vec<usize>>>,
}

struct Task {
    /// None once it has ended.
    work: Option<BoxFuture<'static, ()>>,
    waker: Waker,
    place: Arc<Place>,
}

/// Its place among those that are ready.
struct Place {
    number: usize,
    is_ready: AtomicBool,
    ready: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        if !self.is_ready.swap(true, Ordering::Relaxed) {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
        }
    }
}

impl Executor {
    /// Without tasks.
    pub fn new(time: Time, dice: Dice) -> Self {
        Self { time, dice, tasks: Vec::new(), ready: Arc::default(), spawned: Spawner::default() }
    }

    /// For tasks that add tasks.
    pub fn spawner(&self) -> Spawner {
        self.spawned.clone()
    }

    /// Adds a task.
    pub fn spawn(&mut self, work: impl Future<Output = ()> + 'static) {
        self.add(Box::pin(work));
    }

    fn add(&mut self, work: BoxFuture<'static, ()>) {
        let (number, ready) = (self.tasks.len(), self.ready.clone());
        let place = Arc::new(Place { number, is_ready: AtomicBool::new(false), ready });
        let waker = Waker::from(place.clone());
        waker.wake_by_ref();
        self.tasks.push(Task { work: Some(work), waker, place });
    }

    /// Runs all tasks to their ends, unless it is told to stop.
    pub fn run(&mut self, is_to_stop: impl Fn() -> bool) -> Stopped {
        for _ in 0..MOST_STEPS {
            if is_to_stop() {
                return Stopped::Told;
            }
            let spawned = std::mem::take(&mut *self.spawned.0.borrow_mut());
            for work in spawned {
                self.add(work);
            }
            if let Some(number) = self.next() {
                self.step(number);
            } else if self.tasks.iter().all(|task| task.work.is_none()) {
                return Stopped::AllDone;
            } else if !self.time.advance() {
                return Stopped::Stuck;
            }
        }
        Stopped::Endless
    }

    fn next(&self) -> Option<usize> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        match ready.len() {
            0 => None,
            1 => ready.pop(),
            number => Some(ready.swap_remove(self.dice.below(number))),
        }
    }

    fn step(&mut self, number: usize) {
        let task = &mut self.tasks[number];
        task.place.is_ready.store(false, Ordering::Relaxed);
        let Some(work) = &mut task.work else { return };
        if let Poll::Ready(()) = work.as_mut().poll(&mut Context::from_waker(&task.waker)) {
            task.work = None;
        }
    }
}
