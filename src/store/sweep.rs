//! When expired sessions are removed: beside the requests, never in the way of one.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The sweeps of one store, shared by its clones: one at a time, and one a minute at the most.
#[derive(Clone, Default)]
pub(crate) struct Sweeps(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    running: bool,
    began: Option<Instant>,
}

impl Sweeps {
    /// Sweeps in a task of its own if it is time to, while `batch` says that there may be more.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub(crate) fn start<F, Fut>(&self, batch: F)
    where
        F: Fn() -> Fut + Send + 'static,
        Fut: Future<Output = bool> + Send,
    {
        if !self.begin(Instant::now()) {
            return;
        }
        // Made here: a task that is dropped before it was ever polled has ended, too.
        let running = Running(self.clone());
        tokio::spawn(async move {
            let _running = running;
            while batch().await {
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    fn begin(&self, now: Instant) -> bool {
        let mut state = self.state();
        let due = !state.running && state.began.is_none_or(|began| now.duration_since(began) >= INTERVAL);
        if due {
            *state = State { running: true, began: Some(now) };
        }
        due
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No panic can leave the two values at odds.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sweep under way; it has ended when this is dropped, by a panic or a runtime's end as well.
struct Running(Sweeps);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.state().running = false;
    }
}

const INTERVAL: Duration = Duration::from_secs(60);
/// Between two batches, so that requests get their turn.
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn one_sweep_runs_at_a_time_and_one_a_minute() {
        let sweeps = Sweeps::default();
        let start = Instant::now();
        assert!(sweeps.begin(start), "the first is due at once");
        assert!(!sweeps.begin(start + 2 * INTERVAL), "a second waits for the end of the first");
        drop(Running(sweeps.clone()));
        assert!(!sweeps.begin(start + INTERVAL - Duration::from_millis(1)), "a minute has not passed");
        assert!(sweeps.clone().begin(start + INTERVAL), "a minute has passed");
    }

    #[tokio::test]
    async fn a_sweep_goes_on_while_there_may_be_more() {
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
