//! Requests that are cut off between two of their operations.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use kv_migrations::BoxFuture;
use kv_migrations::clock::Clock;
use kv_migrations::testing::VirtualTime;

use crate::random::Random;
use crate::situation::RequestLimit;

/// How a request is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is dropped.
    Crash,
    /// It is neither resumed nor dropped, as by the Workers runtime when a client disconnects.
    Hang,
    /// It is not resumed for a while.
    Stall(Duration),
}

/// Which fault a request meets, and after how many operations. Clones count down together.
#[derive(Debug, Clone, Default)]
pub struct FaultCountdown(Arc<Mutex<Countdown>>);

#[derive(Debug, Default)]
struct Countdown {
    operations_left: Option<u64>,
    fault: Option<Fault>,
    is_due: bool,
    /// What cuts off each request: the countdown begins again with every one.
    limit: Option<RequestLimit>,
}

impl FaultCountdown {
    /// No fault.
    pub fn never() -> Self {
        Self::default()
    }

    /// A fault this often in a thousand, after a number of operations.
    pub fn draw(random: &Random, per_thousand: u64) -> Self {
        if !random.chance(per_thousand) {
            return Self::never();
        }
        let fault = match random.between(0..=9) {
            0..=5 => Fault::Crash,
            6..=7 => Fault::Hang,
            _ => Fault::Stall(random.milliseconds(100..=150_000)),
        };
        // Short runs are cut off as often as long ones.
        let max_operations = random.pick([3, 10, 30, 100]);
        let operations_left = Some(random.between(1..=max_operations));
        let countdown = Countdown { operations_left, fault: Some(fault), ..Countdown::default() };
        Self(Arc::new(Mutex::new(countdown)))
    }

    /// Requests that are cut off by this limit, one after the other.
    pub fn limited(limit: RequestLimit) -> Self {
        let countdown = Self(Arc::new(Mutex::new(Countdown { limit: Some(limit), ..Countdown::default() })));
        countdown.begin_request();
        countdown
    }

    /// Counts the operations of the next request, if there is a limit.
    pub fn begin_request(&self) {
        let mut countdown = self.locked();
        if let Some(RequestLimit::Operations(operations)) = countdown.limit {
            (countdown.operations_left, countdown.fault) = (Some(operations), Some(Fault::Crash));
        }
    }

    /// The time after which a request is cut off, if there is one.
    pub fn time_limit(&self) -> Option<Duration> {
        match self.locked().limit {
            Some(RequestLimit::Time(milliseconds)) => Some(Duration::from_millis(milliseconds)),
            _ => None,
        }
    }

    /// Counts an operation.
    pub fn count(&self) {
        let mut countdown = self.locked();
        countdown.operations_left = countdown.operations_left.map(|left| left.saturating_sub(1));
        if countdown.operations_left == Some(0) {
            countdown.operations_left = None;
            countdown.is_due = true;
        }
    }

    /// The fault once it is due, and only once.
    pub fn take(&self) -> Option<Fault> {
        let mut countdown = self.locked();
        if std::mem::take(&mut countdown.is_due) { countdown.fault.take() } else { None }
    }

    fn locked(&self) -> MutexGuard<'_, Countdown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps tasks that hang, so that they are not dropped before their world ends.
#[derive(Clone, Default)]
pub struct ParkedTasks(Rc<RefCell<Vec<BoxFuture<'static, ()>>>>);

/// How a request ended.
#[derive(Debug)]
pub enum TaskEnd<T> {
    /// It returned.
    Returned(T),
    /// It was cut off.
    CutOff(Fault),
}

/// A time in which a request is not resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspension {
    /// It begins.
    Begins,
    /// It ends.
    Ends,
}

/// A request that may meet a fault.
pub struct FaultableTask<T> {
    work: Option<BoxFuture<'static, T>>,
    countdown: FaultCountdown,
    parked: ParkedTasks,
    time: VirtualTime,
    stall: Option<BoxFuture<'static, ()>>,
    /// When its time is over.
    end: Option<BoxFuture<'static, ()>>,
    on_suspension: Box<dyn Fn(Suspension)>,
}

impl<T: 'static> FaultableTask<T> {
    /// A request that tells `on_suspension` about each suspension.
    pub fn new(
        work: BoxFuture<'static, T>,
        countdown: FaultCountdown,
        parked: ParkedTasks,
        time: VirtualTime,
        on_suspension: impl Fn(Suspension) + 'static,
    ) -> Self {
        let end = countdown.time_limit().map(|limit| time.sleep_until(time.now() + limit));
        Self {
            work: Some(work),
            countdown,
            parked,
            time,
            stall: None,
            end: end.map(|end| Box::pin(end) as BoxFuture<'static, ()>),
            on_suspension: Box::new(on_suspension),
        }
    }
}

impl<T: 'static> Future for FaultableTask<T> {
    type Output = TaskEnd<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<TaskEnd<T>> {
        let this = &mut *self;
        loop {
            if let Some(stall) = &mut this.stall {
                if stall.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                this.stall = None;
                (this.on_suspension)(Suspension::Ends);
            }
            let Some(work) = &mut this.work else { return Poll::Pending };
            if let Poll::Ready(result) = work.as_mut().poll(context) {
                this.work = None;
                return Poll::Ready(TaskEnd::Returned(result));
            }
            let is_over = this.end.as_mut().is_some_and(|end| end.as_mut().poll(context).is_ready());
            let fault = if is_over { Some(Fault::Crash) } else { this.countdown.take() };
            let Some(fault) = fault else { return Poll::Pending };
            match fault {
                Fault::Crash => this.work = None,
                Fault::Hang => {
                    (this.on_suspension)(Suspension::Begins);
                    let work = this.work.take();
                    this.parked.0.borrow_mut().extend(work.map(without_output));
                }
                Fault::Stall(duration) => {
                    (this.on_suspension)(Suspension::Begins);
                    this.stall = Some(Box::pin(this.time.sleep_until(this.time.now() + duration)));
                    continue;
                }
            }
            return Poll::Ready(TaskEnd::CutOff(fault));
        }
    }
}

fn without_output<T: 'static>(work: BoxFuture<'static, T>) -> BoxFuture<'static, ()> {
    Box::pin(async { drop(work.await) })
}
