//! Scheduling of the background removal of expired sessions, which never delays a request.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Schedules the sweeps of one store and its clones: one at a time, and at most one per minute.
#[derive(Clone, Default)]
pub(crate) struct Sweeps(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    running: bool,
    began: Option<Instant>,
}

impl Sweeps {
    /// Spawns a task that sweeps if one is due, and calls `batch` until it returns `false`.
    ///
    /// # Panics
    ///
    /// Panics if called outside a Tokio runtime.
    pub(crate) fn start<F, Fut>(&self, batch: F)
    where
        F: Fn() -> Fut + Send + 'static,
        Fut: Future<Output = bool> + Send,
    {
        if !self.begin(Instant::now()) {
            return;
        }
        // Created outside the task, so that it is also dropped if the task is never polled.
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
        // A panic cannot leave the two fields inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks a sweep as running until it is dropped, including by a panic or a runtime shutdown.
struct Running(Sweeps);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.state().running = false;
    }
}

const INTERVAL: Duration = Duration::from_secs(60);
/// The pause between two batches, which leaves room for requests.
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn one_sweep_runs_at_a_time_and_one_a_minute() {
        let sweeps = Sweeps::default();
        let start = Instant::now();
        assert!(sweeps.begin(start), "the first is due immediately");
        assert!(!sweeps.begin(start + 2 * INTERVAL), "the second waits for the first to end");
        drop(Running(sweeps.clone()));
        assert!(!sweeps.begin(start + INTERVAL - Duration::from_millis(1)), "a minute has not passed");
        assert!(sweeps.clone().begin(start + INTERVAL), "a minute has passed");
    }

    #[tokio::test]
    async fn a_sweep_continues_until_a_batch_finds_no_more() {
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
