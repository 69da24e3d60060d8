//! What becomes of a request: it lives, or it is cut off between two of its operations.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use kv_migrations::BoxFuture;

use crate::dice::Dice;
use crate::time::{Sleep, Time};

/// How a request is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is dropped.
    Crash,
    /// It is never resumed, and never dropped, as the runtime does when a client hangs up.
    Hang,
    /// It is not resumed for so many milliseconds.
    Stall(i64),
}

/// Which fate comes over a request, and when. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Doom(Arc<Mutex<Countdown>>);

#[derive(Debug, Default)]
struct Countdown {
    /// After how many operations.
    left: Option<u64>,
    fate: Option<Fate>,
    has_struck: bool,
}

impl Doom {
    /// None.
    pub fn none() -> Self {
        Self::default()
    }

    /// One that is drawn: most requests have none, so many of a thousand have.
    pub fn draw(dice: &Dice, in_thousand: u64) -> Self {
        if !dice.chance(in_thousand) {
            return Self::none();
        }
        let fate = match dice.between(0..=9) {
            0..=5 => Fate::Crash,
            6..=7 => Fate::Hang,
            _ => Fate::Stall(i64::try_from(dice.between(100..=150_000)).unwrap_or(0)),
        };
        // Short runs are cut off as often as long ones.
        let most = dice.pick([3, 10, 30, 100]);
        let left = Some(dice.between(1..=most));
        Self(Arc::new(Mutex::new(Countdown { left, fate: Some(fate), has_struck: false })))
    }

    /// Counts an operation.
    pub fn count(&self) {
        let mut countdown = self.countdown();
        countdown.left = countdown.left.map(|left| left.saturating_sub(1));
        if countdown.left == Some(0) {
            countdown.left = None;
            countdown.has_struck = true;
        }
    }

    /// The fate, once.
    pub fn take(&self) -> Option<Fate> {
        let mut countdown = self.countdown();
        if std::mem::take(&mut countdown.has_struck) { countdown.fate.take() } else { None }
    }

    fn countdown(&self) -> MutexGuard<'_, Countdown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where hung requests are kept, so that they are not dropped before their world ends.
#[derive(Clone, Default)]
pub struct Limbo(Rc<RefCell<Vec<BoxFuture<'static, ()>>>>);

/// How a request ended.
#[derive(Debug)]
pub enum End<T> {
    /// By itself.
    With(T),
    /// It was cut off.
    By(Fate),
}

/// A request, and what comes over it.
pub struct Mortal<T> {
    work: Option<BoxFuture<'static, T>>,
    doom: Doom,
    limbo: Limbo,
    time: Time,
    stalled: Option<Sleep>,
    on_stall: Box<dyn Fn(bool)>,
}

impl<T: 'static> Mortal<T> {
    /// `on_stall` is told when the request is not resumed any more (`true`), and when it is again.
    pub fn new(
        work: impl Future<Output = T> + 'static,
        doom: Doom,
        limbo: Limbo,
        time: Time,
        on_stall: impl Fn(bool) + 'static,
    ) -> Self {
        let on_stall = Box::new(on_stall);
        Self { work: Some(Box::pin(work)), doom, limbo, time, stalled: None, on_stall }
    }
}

impl<T: 'static> Future for Mortal<T> {
    type Output = End<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<End<T>> {
        let this = &mut *self;
        loop {
            if let Some(stalled) = &mut this.stalled {
                if Pin::new(stalled).poll(context).is_pending() {
                    return Poll::Pending;
                }
                this.stalled = None;
                (this.on_stall)(false);
            }
            let Some(work) = &mut this.work else { return Poll::Pending };
            if let Poll::Ready(result) = work.as_mut().poll(context) {
                this.work = None;
                return Poll::Ready(End::With(result));
            }
            let Some(fate) = this.doom.take() else { return Poll::Pending };
            match fate {
                Fate::Crash => this.work = None,
                Fate::Hang => {
                    (this.on_stall)(true);
                    let hung = this
                        .work
                        .take()
                        .map(|work| -> BoxFuture<'static, ()> { Box::pin(async move { drop(work.await) }) });
                    this.limbo.0.borrow_mut().extend(hung);
                }
                Fate::Stall(milliseconds) => {
                    (this.on_stall)(true);
                    this.stalled = Some(this.time.sleep(milliseconds));
                    continue;
                }
            }
            return Poll::Ready(End::By(fate));
        }
    }
}
