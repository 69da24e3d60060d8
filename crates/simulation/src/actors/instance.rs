//! One instance of an object. There can be two for a while: the older one does not know that it was replaced.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use kv_migrations::BoxFuture;
use kv_migrations::coordinator::{Coordinator, MemoryStorage};
use kv_migrations::{Budget, Runner};

use super::isolate::Nowhere;
use super::rows::{AlarmSet, Rows};
use crate::fate::{Doom, Fate};
use crate::migrations::Context;
use crate::network::{Binding, Current};
use crate::plan::SERVICE;
use crate::world::World;

/// An instance.
pub(super) struct Instance {
    pub(super) number: usize,
    pub(super) coordinator: Coordinator<Context>,
    pub(super) step: Current,
    doom: Doom,
    life: RefCell<Life>,
}

#[derive(Default)]
struct Life {
    state: State,
    /// All that goes on in it.
    waiting: Vec<Waker>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Alive,
    Frozen,
    Dead,
}

impl Instance {
    /// A new one on what the object keeps, which is cut off so many times of a thousand.
    pub(super) fn start(
        world: &World,
        object: usize,
        number: usize,
        (storage, alarm): (&MemoryStorage, &AlarmSet),
        doomed: u64,
    ) -> Rc<Self> {
        let (step, doom) = (Current::default(), Doom::draw(&world.dice, doomed));
        let (storage, alarm) = (storage.clone(), alarm.clone());
        let (witness, namespace) = (world.witness.clone(), world.namespace.clone());
        let dice = world.dice.clone();
        let rows = Rows { storage, alarm, dice, witness, namespace, step: step.clone() };
        let location = world.phase.place + world.dice.below(world.plan.places);
        let skew = i64::try_from(world.dice.between(0..=4_000)).unwrap_or(0) - 2_000;
        world.witness.trace.note(|| format!("instance {number} at location {location}, {skew} ms off"));
        let name = format!("instance {number}");
        let binding = Binding { run: step.clone(), doom: doom.clone(), ..world.binding(location, name) };
        let runner = Runner::new(binding, SERVICE, world.migrations.clone());
        #[allow(clippy::expect_used, reason = "the plan gives each its own id")]
        let runner = runner.expect("they can be registered");
        let runner = runner
            .with_clock(world.time.clock(skew))
            .with_log(Arc::new(Nowhere))
            .with_budget(Budget::default().with_operations(world.plan.budget));
        let (witness, of_step) = (world.witness.clone(), step.clone());
        let coordinator = Coordinator::new(runner, Arc::new(rows), move || {
            let run = witness.begin(object);
            witness.trace.note(|| format!("instance {number} takes step {run}"));
            of_step.set(run);
            Ok(Context { run, witness: Some(witness.clone()) })
        });
        Rc::new(Self { number, coordinator, step, doom, life: RefCell::default() })
    }

    /// Does something in it, for as long as it lives; nothing comes of it if it dies before.
    pub(super) fn within<T: 'static>(
        self: &Rc<Self>,
        work: impl Future<Output = T> + 'static,
        on_fate: impl Fn(Fate) + 'static,
    ) -> Within<T> {
        Within { instance: self.clone(), work: Some(Box::pin(work)), on_fate: Box::new(on_fate) }
    }

    /// It ends, with all that goes on in it.
    pub(super) fn die(&self) {
        self.turn(State::Dead);
    }

    /// It is not resumed any more.
    pub(super) fn freeze(&self) {
        self.turn(State::Frozen);
    }

    /// It is resumed, if it still lives.
    pub(super) fn thaw(&self) {
        if self.life.borrow().state == State::Frozen {
            self.turn(State::Alive);
        }
    }

    fn turn(&self, state: State) {
        let waiting = {
            let mut life = self.life.borrow_mut();
            life.state = state;
            std::mem::take(&mut life.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Something that goes on in an instance.
pub(super) struct Within<T> {
    instance: Rc<Instance>,
    work: Option<BoxFuture<'static, T>>,
    on_fate: Box<dyn Fn(Fate)>,
}

impl<T> Future for Within<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        loop {
            let state = this.instance.life.borrow().state;
            match (state, &mut this.work) {
                (State::Dead, _) | (_, None) => {
                    this.work = None;
                    return Poll::Ready(None);
                }
                (State::Frozen, _) => {}
                (State::Alive, Some(work)) => {
                    if let Poll::Ready(result) = work.as_mut().poll(context) {
                        this.work = None;
                        return Poll::Ready(Some(result));
                    }
                    if let Some(fate) = this.instance.doom.take() {
                        (this.on_fate)(fate);
                        continue;
                    }
                }
            }
            let mut life = this.instance.life.borrow_mut();
            if !life.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                life.waiting.push(context.waker().clone());
            }
            return Poll::Pending;
        }
    }
}
