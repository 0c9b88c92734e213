//! Scheduling of the background removal of expired sessions, which never delays a request.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Decides when a store removes expired sessions: one sweep at a time, and at most one a minute. Clones share the
/// decision, as do the clones of the store.
///
/// # Examples
///
/// A store begins a sweep with a sign-in, and goes on with the request:
///
/// ```
/// use tower_cookie_jwt::store::Sweeps;
///
/// /// Removes up to a hundred expired sessions, and returns how many.
/// async fn remove_expired_batch() -> u64 {
///     // `DELETE FROM sessions WHERE … LIMIT 100`
///     # 0
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let sweeps = Sweeps::default();
/// if let Some(sweep) = sweeps.begin() {
///     tokio::spawn(async move {
///         while remove_expired_batch().await == 100 {}
///         drop(sweep);
///     });
/// }
/// assert!(sweeps.begin().is_none(), "one has just begun");
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sweeps(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    running: bool,
    began: Option<Instant>,
}

/// A sweep, which goes on until it is dropped.
#[derive(Debug)]
#[must_use = "the sweep ends when this is dropped"]
pub struct Sweep(Sweeps);

impl Sweeps {
    /// Begins a sweep if one is due.
    pub fn begin(&self) -> Option<Sweep> {
        self.begin_at(Instant::now())
    }

    /// Spawns a task that sweeps if one is due, and calls `batch` until it returns `false`.
    ///
    /// # Panics
    ///
    /// Panics if called outside a Tokio runtime.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn start<F, Fut>(&self, batch: F)
    where
        F: Fn() -> Fut + Send + 'static,
        Fut: Future<Output = bool> + Send,
    {
        // Created outside the task, so that it is also dropped if the task is never polled.
        let Some(sweep) = self.begin() else { return };
        tokio::spawn(async move {
            let _sweep = sweep;
            while batch().await {
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    fn begin_at(&self, now: Instant) -> Option<Sweep> {
        let mut state = self.state();
        let is_due = !state.running && state.began.is_none_or(|began| now.duration_since(began) >= INTERVAL);
        is_due.then(|| {
            *state = State { running: true, began: Some(now) };
            Sweep(self.clone())
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave the two fields inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Also after a panic, or when the runtime shuts down.
impl Drop for Sweep {
    fn drop(&mut self) {
        self.0.state().running = false;
    }
}

const INTERVAL: Duration = Duration::from_secs(60);
/// The pause between two batches, which leaves room for requests.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sweep_runs_at_a_time_and_one_a_minute() {
        let sweeps = Sweeps::default();
        let start = Instant::now();
        let first = sweeps.begin_at(start).expect("the first is due immediately");
        assert!(sweeps.begin_at(start + 2 * INTERVAL).is_none(), "the second waits for the first to end");
        drop(first);
        assert!(
            sweeps.begin_at(start + INTERVAL - Duration::from_millis(1)).is_none(),
            "a minute has not passed"
        );
        assert!(sweeps.clone().begin_at(start + INTERVAL).is_some(), "a minute has passed");
    }

    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    #[tokio::test]
    async fn a_sweep_continues_until_a_batch_finds_no_more() {
        use std::sync::atomic::{AtomicUsize, Ordering};

        let batches = Arc::new(AtomicUsize::new(0));
        let sweeps = Sweeps::default();
        let counted = Arc::clone(&batches);
        sweeps.start(move || {
            let batch = counted.fetch_add(1, Ordering::Relaxed);
            async move { batch < 2 }
        });
        while sweeps.state().running {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(batches.load(Ordering::Relaxed), 3);
    }
}
