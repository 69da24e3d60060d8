//! Time that passes only when everything waits: how long something takes is exact, and known at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime};

use futures::future::poll_fn;
use kv_migrations::BoxFuture;
use kv_migrations::clock::Clock;
use kv_migrations::kv::{Answer, KvError, Request, Store};
use kv_migrations::testing::ManualClock;

use crate::service::start;

/// A clock, and what waits for it. Clones are the same.
#[derive(Clone)]
pub struct VirtualTime {
    pub clock: ManualClock,
    waiting: Arc<Mutex<Vec<Waiting>>>,
}

/// Until when, and who.
type Waiting = (SystemTime, Waker);

impl VirtualTime {
    pub fn new() -> Self {
        Self { clock: ManualClock::starting_at(start()), waiting: Arc::default() }
    }

    /// How long `work` takes, and what comes of it.
    pub fn time<T>(&self, work: impl Future<Output = T>) -> (T, Duration) {
        let start = self.clock.now();
        let result = self.block_on(work);
        (result, self.clock.now().duration_since(start).expect("time goes on"))
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(woken.clone());
        loop {
            while woken.0.swap(false, Ordering::Relaxed) {
                if let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return result;
                }
            }
            self.advance();
        }
    }

    /// To the time that is waited for next.
    fn advance(&self) {
        let mut waiting = self.waiting.lock().unwrap();
        let next = waiting.iter().map(|(at, _)| *at).min().expect("something is waited for");
        self.clock.advance(next.duration_since(self.clock.now()).expect("it lies ahead"));
        waiting.retain(|(at, waker)| {
            let is_due = *at <= next;
            if is_due {
                waker.wake_by_ref();
            }
            !is_due
        });
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Clock for VirtualTime {
    fn now(&self) -> SystemTime {
        self.clock.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        let until = self.clock.now() + duration;
        Box::pin(poll_fn(move |context| {
            if self.clock.now() >= until {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.lock().unwrap();
            if !waiting.iter().any(|(at, waker)| *at == until && waker.will_wake(context.waker())) {
                waiting.push((until, context.waker().clone()));
            }
            Poll::Pending
        }))
    }
}

/// A store whose every operation takes so long.
pub struct Slow<S> {
    pub store: S,
    pub time: VirtualTime,
    pub latency: Duration,
}

impl<S: Store> Store for Slow<S> {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            self.time.sleep(self.latency).await;
            self.store.call(request).await
        })
    }
}
