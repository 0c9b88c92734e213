//! A timer that needs no runtime: one thread wakes all that sleep.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::Instant,
};

/// A future that is ready at a certain time.
pub(super) struct Sleep {
    end: Instant,
    /// The place among the sleepers, once polled.
    place: Option<Place>,
}

/// The end of a sleep, and a number that tells apart those that end at the same time.
type Place = (Instant, u64);

impl Sleep {
    pub(super) const fn until(end: Instant) -> Self {
        Self { end, place: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.end {
            return Poll::Ready(());
        }
        let mut sleepers = sleepers();
        let end = self.end;
        let place = *self.place.get_or_insert_with(|| sleepers.place(end));
        sleepers.wakers.insert(place, cx.waker().clone());
        sleepers.start();
        drop(sleepers);
        CHANGED.notify_one();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            sleepers().wakers.remove(&place);
        }
    }
}

/// Returns the output of `work`, or `None` if it is not ready by `deadline`.
pub(super) async fn before<T>(deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut sleep) = (pin!(work), pin!(Sleep::until(deadline)));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}

struct Sleepers {
    wakers: BTreeMap<Place, Waker>,
    next: u64,
    is_started: bool,
}

static SLEEPERS: Mutex<Sleepers> =
    Mutex::new(Sleepers { wakers: BTreeMap::new(), next: 0, is_started: false });
static CHANGED: Condvar = Condvar::new();

fn sleepers() -> MutexGuard<'static, Sleepers> {
    SLEEPERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sleepers {
    fn place(&mut self, end: Instant) -> Place {
        self.next += 1;
        (end, self.next)
    }

    /// Starts the thread. If the system has none to spare, the next sleeper tries again.
    fn start(&mut self) {
        if !self.is_started {
            self.is_started = thread::Builder::new().name("cookie-jwt-timer".into()).spawn(wake).is_ok();
        }
    }

    fn take_due(&mut self) -> Vec<Waker> {
        let later = self.wakers.split_off(&(Instant::now(), u64::MAX));
        std::mem::replace(&mut self.wakers, later).into_values().collect()
    }
}

fn wake() {
    let mut sleepers = sleepers();
    loop {
        let due = sleepers.take_due();
        if !due.is_empty() {
            drop(sleepers);
            // A waker is code of the runtime: it must not run under the lock.
            due.into_iter().for_each(Waker::wake);
            sleepers = self::sleepers();
            continue;
        }
        sleepers = match sleepers.wakers.first_key_value() {
            None => CHANGED.wait(sleepers).unwrap_or_else(PoisonError::into_inner),
            Some(((end, _), _)) => {
                let left = end.saturating_duration_since(Instant::now());
                CHANGED.wait_timeout(sleepers, left).unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
}
