//! One instance of an object. Two can exist for a while: the older one does not know that it was replaced.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use kv_migrations::BoxFuture;
use kv_migrations::coordinator::{Coordinator, JournalEvent};
use kv_migrations::testing::ObjectRuntime;

use super::isolate::runner;
use super::object_storage::ObjectStorage;
use crate::context::Context;
use crate::fault::{Fault, FaultCountdown};
use crate::network::{Binding, CurrentRun};
use crate::time::SkewedClock;
use crate::world::World;

/// An instance.
pub(super) struct Instance {
    pub(super) number: usize,
    /// How many migrations its release has.
    pub(super) release: usize,
    pub(super) coordinator: Coordinator<Context>,
    /// The step that it took last.
    pub(super) step: CurrentRun,
    pub(super) countdown: FaultCountdown,
    state: RefCell<State>,
    /// The tasks that run in it.
    wakers: RefCell<Vec<Waker>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Suspended,
    Ended,
}

impl Instance {
    /// Starts an instance of the object that the monitor knows by this number.
    pub(super) fn start(
        world: &World,
        object: usize,
        number: usize,
        release: usize,
        runtime: &ObjectRuntime,
        countdown: FaultCountdown,
    ) -> Rc<Self> {
        let (step, monitor) = (CurrentRun::default(), world.monitor.clone());
        let location = world.deployment.location + world.random.below(world.plan.run_locations);
        let clock = SkewedClock::draw(&world.time, &world.random);
        let skew = clock.skew;
        monitor.trace.add(|| {
            format!("instance {number} at location {location}, {skew} ms off, with {release} migrations")
        });
        let binding = world.binding(location, format!("instance {number}"));
        let binding = Binding { run: step.clone(), countdown: countdown.clone(), ..binding };
        let storage = ObjectStorage {
            runtime: runtime.clone(),
            random: world.random.clone(),
            monitor: monitor.clone(),
            namespace: world.namespace.clone(),
            step: step.clone(),
        };
        let (current, context_monitor, limit) = (step.clone(), monitor.clone(), countdown.clone());
        let random = world.random.clone();
        let context = move || {
            limit.begin_request();
            let run = context_monitor.run_begins(object);
            context_monitor.trace.add(|| format!("instance {number} takes step {run}"));
            current.set(run);
            Ok(Context { run, monitor: Some(context_monitor.clone()), random: random.clone() })
        };
        let (current, namespace) = (step.clone(), world.namespace.clone());
        let observer =
            move |event: &JournalEvent| monitor.journal_event(current.get(), event, namespace.truth());
        let coordinator =
            Coordinator::new(runner(world, release, binding, clock), Arc::new(storage), context)
                .with_journal_observer(observer);
        let (state, wakers) = (RefCell::new(State::Running), RefCell::default());
        Rc::new(Self { number, release, coordinator, step, countdown, state, wakers })
    }

    /// Runs a task in the instance. Its output is `None` if the instance ends before.
    pub(super) fn run<T: 'static>(
        self: &Rc<Self>,
        work: impl Future<Output = T> + 'static,
        on_fault: impl Fn(Fault) + 'static,
    ) -> InstanceTask<T> {
        InstanceTask { instance: self.clone(), work: Some(Box::pin(work)), on_fault: Box::new(on_fault) }
    }

    /// Ends the instance and all tasks in it.
    pub(super) fn end(&self) {
        self.change(State::Ended);
    }

    /// Stops resuming its tasks.
    pub(super) fn suspend(&self) {
        self.change(State::Suspended);
    }

    /// Resumes its tasks, unless it has ended.
    pub(super) fn resume(&self) {
        if *self.state.borrow() == State::Suspended {
            self.change(State::Running);
        }
    }

    fn change(&self, state: State) {
        self.state.replace(state);
        self.wakers.take().into_iter().for_each(Waker::wake);
    }
}

/// A task that runs in an instance.
pub(super) struct InstanceTask<T> {
    instance: Rc<Instance>,
    work: Option<BoxFuture<'static, T>>,
    on_fault: Box<dyn Fn(Fault)>,
}

impl<T> Future for InstanceTask<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        loop {
            let state = *this.instance.state.borrow();
            match (state, &mut this.work) {
                (State::Ended, _) | (_, None) => {
                    this.work = None;
                    return Poll::Ready(None);
                }
                (State::Suspended, _) => {}
                (State::Running, Some(work)) => {
                    if let Poll::Ready(output) = work.as_mut().poll(context) {
                        this.work = None;
                        return Poll::Ready(Some(output));
                    }
                    if let Some(fault) = this.instance.countdown.take() {
                        (this.on_fault)(fault);
                        continue;
                    }
                }
            }
            let mut wakers = this.instance.wakers.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                wakers.push(context.waker().clone());
            }
            return Poll::Pending;
        }
    }
}
