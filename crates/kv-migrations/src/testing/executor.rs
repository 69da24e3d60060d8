//! Runs tasks in virtual time, on one thread.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::VirtualTime;
use crate::future::BoxFuture;

/// Runs tasks in an order that a test chooses, and lets [`VirtualTime`] jump once all of them wait.
///
/// For one piece of work, [`VirtualTime::run`] is enough.
///
/// # Example
/// ```
/// use kv_migrations::clock::Clock;
/// use kv_migrations::testing::{Executor, Stopped, VirtualTime};
/// use std::time::Duration;
///
/// let time = VirtualTime::default();
/// // Of the tasks that can run, always the first.
/// let mut executor = Executor::new(time.clone(), |_| 0);
/// executor.spawn(async { time.sleep(Duration::from_secs(1)).await });
/// executor.spawn(async { time.sleep(Duration::from_secs(2)).await });
/// assert_eq!(executor.run(|| false), Stopped::AllDone);
/// ```
pub struct Executor<'a> {
    time: VirtualTime,
    choose: Box<dyn FnMut(usize) -> usize + 'a>,
    spawner: Spawner<'a>,
    tasks: Vec<Task<'a>>,
    ready: Ready,
}

/// Why an [`Executor`] stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// All tasks have ended.
    AllDone,
    /// The test asked for it.
    Asked,
    /// All tasks wait, and none of them for a time.
    Stuck,
}

/// Adds tasks to an [`Executor`] while it runs. Clones add to the same one.
#[derive(Clone, Default)]
pub struct Spawner<'a>(Rc<RefCell<Vec<BoxFuture<'a, ()>>>>);

/// The numbers of the tasks that can run.
type Ready = Arc<Mutex<Vec<usize>>>;

struct Task<'a> {
    /// `None` once it has ended.
    work: Option<BoxFuture<'a, ()>>,
    waker: Waker,
    wake_up: Arc<WakeUp>,
}

struct WakeUp {
    number: usize,
    is_ready: AtomicBool,
    ready: Ready,
}

impl Wake for WakeUp {
    fn wake(self: Arc<Self>) {
        if !self.is_ready.swap(true, Ordering::Relaxed) {
            locked(&self.ready).push(self.number);
        }
    }
}

impl<'a> Executor<'a> {
    /// Creates an executor without tasks. Where several tasks can run, `choose` gets their number and returns the
    /// index of the one that runs next.
    pub fn new(time: VirtualTime, choose: impl FnMut(usize) -> usize + 'a) -> Self {
        Self {
            time,
            choose: Box::new(choose),
            spawner: Spawner::default(),
            tasks: Vec::new(),
            ready: Ready::default(),
        }
    }

    /// Returns what adds tasks from within tasks.
    pub fn spawner(&self) -> Spawner<'a> {
        self.spawner.clone()
    }

    /// Adds a task.
    pub fn spawn(&mut self, work: impl Future<Output = ()> + 'a) {
        self.add(Box::pin(work));
    }

    /// Runs all tasks to their ends, unless `stop`, which is asked before each step, returns `true`.
    pub fn run(&mut self, mut stop: impl FnMut() -> bool) -> Stopped {
        loop {
            if stop() {
                return Stopped::Asked;
            }
            let spawned = std::mem::take(&mut *self.spawner.0.borrow_mut());
            for work in spawned {
                self.add(work);
            }
            if let Some(number) = self.next() {
                self.step(number);
            } else if self.tasks.iter().all(|task| task.work.is_none()) {
                return Stopped::AllDone;
            } else if !self.time.jump() {
                return Stopped::Stuck;
            }
        }
    }

    fn add(&mut self, work: BoxFuture<'a, ()>) {
        let (number, ready) = (self.tasks.len(), self.ready.clone());
        let wake_up = Arc::new(WakeUp { number, is_ready: AtomicBool::new(false), ready });
        let waker = Waker::from(wake_up.clone());
        waker.wake_by_ref();
        self.tasks.push(Task { work: Some(work), waker, wake_up });
    }

    fn next(&mut self) -> Option<usize> {
        let mut ready = locked(&self.ready);
        match ready.len() {
            0 | 1 => ready.pop(),
            number => Some(ready.swap_remove((self.choose)(number))),
        }
    }

    fn step(&mut self, number: usize) {
        let Some(task) = self.tasks.get_mut(number) else { return };
        task.wake_up.is_ready.store(false, Ordering::Relaxed);
        let Some(work) = &mut task.work else { return };
        if let Poll::Ready(()) = work.as_mut().poll(&mut Context::from_waker(&task.waker)) {
            task.work = None;
        }
    }
}

impl<'a> Spawner<'a> {
    /// Adds a task.
    pub fn spawn(&self, work: impl Future<Output = ()> + 'a) {
        self.0.borrow_mut().push(Box::pin(work));
    }
}

impl VirtualTime {
    /// Runs `work` to its end and returns its output.
    ///
    /// # Panics
    /// If `work` waits for something other than a time.
    #[allow(clippy::panic, reason = "a test fails so")]
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let mut output = None;
        let mut executor = Executor::new(self.clone(), |_| 0);
        executor.spawn(async { output = Some(work.await) });
        let stopped = executor.run(|| false);
        drop(executor);
        output.unwrap_or_else(|| panic!("the work waits for ever: {stopped:?}"))
    }
}

impl fmt::Debug for Executor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Spawner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner").finish_non_exhaustive()
    }
}

fn locked(ready: &Ready) -> MutexGuard<'_, Vec<usize>> {
    ready.lock().unwrap_or_else(PoisonError::into_inner)
}
