//! Hearing from the server that there is something new in the feed of changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use std::time::Duration;
#[cfg(feature = "postgres")]
use std::time::Instant;

use tokio::{sync::Notify, task::JoinHandle};

/// Wakes followers when a task, the watcher, hears of something. Clones share the watcher, which ends with the last one.
///
/// Nothing depends on it but how soon a change is heard of: followers also ask from time to time.
#[derive(Clone, Default)]
pub(super) struct Pushes(Arc<State>);

#[derive(Default)]
struct State {
    news: Arc<News>,
    watcher: Mutex<Watcher>,
    /// When this process last told others, or is going to.
    #[cfg(feature = "postgres")]
    told_at: Mutex<Option<Instant>>,
}

#[derive(Default)]
enum Watcher {
    #[default]
    None,
    Runs(JoinHandle<()>),
    /// The store has been closed.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    Closed,
}

/// What the watcher and the followers share. It does not keep the watcher alive.
#[derive(Default)]
pub(super) struct News {
    arrived: Notify,
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    closed: Notify,
    /// A poll has found entries.
    #[cfg(feature = "postgres")]
    found: Notify,
    #[cfg(feature = "postgres")]
    arrived_at: Mutex<Option<Instant>>,
}

impl Pushes {
    /// Waits for what arrives from now on. Begins to watch, unless something does already.
    pub(super) fn next<F>(&self, watch: impl FnOnce(Arc<News>) -> F) -> impl Future<Output = ()> + Send
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Before the caller asks for changes: what arrives meanwhile is not lost.
        let arrived = self.0.news.arrived.notified();
        let mut watcher = lock(&self.0.watcher);
        let is_begun = match &*watcher {
            Watcher::None => false,
            Watcher::Runs(task) => !task.is_finished(),
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            Watcher::Closed => true,
        };
        if !is_begun {
            *watcher = Watcher::Runs(tokio::spawn(watch(self.0.news.clone())));
        }
        arrived
    }
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl Pushes {
    /// Ends the watcher, and waits until it has closed its connection.
    pub(super) async fn close(&self) {
        let watcher = std::mem::replace(&mut *lock(&self.0.watcher), Watcher::Closed);
        if let Watcher::Runs(task) = watcher {
            let aborter = task.abort_handle();
            self.0.news.closed.notify_one();
            if tokio::time::timeout(CLOSING, task).await.is_err() {
                aborter.abort();
            }
        }
    }
}

#[cfg(feature = "postgres")]
impl Pushes {
    /// Notes that a poll has found entries.
    pub(super) fn found(&self) {
        self.0.news.found.notify_one();
    }

    /// Calls `tell`, now or soon, so that others hear of a change that this process has made.
    ///
    /// Does nothing where nothing is watched: then nobody may be interested.
    pub(super) fn tell<F>(&self, tell: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if !matches!(*lock(&self.0.watcher), Watcher::Runs(_)) {
            return;
        }
        let now = Instant::now();
        let mut told_at = lock(&self.0.told_at);
        // What is going to be told is told after this change.
        if told_at.is_some_and(|told_at| told_at > now) {
            return;
        }
        let at = told_at.map_or(now, |told_at| now.max(told_at + GAP));
        *told_at = Some(at);
        drop(told_at);
        tokio::spawn(async move {
            tokio::time::sleep_until(at.into()).await;
            tell().await;
        });
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Watcher::Runs(task) = &*lock(&self.watcher) {
            task.abort();
        }
    }
}

impl News {
    /// Wakes the followers.
    pub(super) fn arrived(&self) {
        #[cfg(feature = "postgres")]
        lock(&self.arrived_at).replace(Instant::now());
        self.arrived.notify_waiters();
    }

    /// Returns once the store is being closed.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(super) async fn closed(&self) {
        self.closed.notified().await;
    }

    /// Returns once a poll has found entries of which nothing had arrived a second later: nothing comes through.
    #[cfg(feature = "postgres")]
    pub(super) async fn nothing_arrives(&self) {
        loop {
            self.found.notified().await;
            let found_at = Instant::now();
            tokio::time::sleep(LATEST).await;
            if lock(&self.arrived_at).is_none_or(|arrived_at| arrived_at + LATEST < found_at) {
                return;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a watcher may take to close its connection.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
const CLOSING: Duration = Duration::from_secs(2);
/// How often one process tells others, at most.
#[cfg(feature = "postgres")]
const GAP: Duration = Duration::from_millis(20);
/// How much sooner or later than an entry its announcement may come.
#[cfg(feature = "postgres")]
const LATEST: Duration = Duration::from_secs(1);
