//! Connections that calls have just used, for the calls that follow at once.
//!
//! The pool asks a connection whether it works when it is returned, and a lease asks when it takes one: two round trips
//! beside the one of the call. While calls follow each other closely, that would be most of the work.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{Postgres, pool::PoolConnection};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::abandoned::Backend;

/// The connections at hand of one pool. Clones share them.
#[derive(Clone)]
pub(super) struct AtHand(Arc<State>);

struct State {
    /// One for each connection of the pool, so that a call which has one finds a connection here or room in the pool.
    places: Arc<Semaphore>,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    connections: Vec<Working>,
    /// Whether a task returns them to the pool once they are idle.
    is_tidied: bool,
}

/// A connection that works, or did a moment ago.
pub(super) struct Working {
    /// `None` once it has been taken out.
    connection: Option<PoolConnection<Postgres>>,
    pub(super) backend: Option<Backend>,
    taken_from_pool: Instant,
    last_used: Instant,
}

impl Working {
    /// A connection that the pool has just given.
    pub(super) fn new(connection: PoolConnection<Postgres>, backend: Option<Backend>) -> Self {
        let now = Instant::now();
        Self { connection: Some(connection), backend, taken_from_pool: now, last_used: now }
    }

    pub(super) fn connection(&mut self) -> &mut PoolConnection<Postgres> {
        self.connection.as_mut().expect("it is taken out only when the whole is used up")
    }

    pub(super) fn into_connection(mut self) -> PoolConnection<Postgres> {
        self.connection.take().expect("it is taken out only here")
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        // Returning it takes a task.
        if let Some(connection) = self.connection.take()
            && Handle::try_current().is_err()
        {
            drop(connection.detach());
        }
    }
}

impl AtHand {
    /// For a pool of so many connections.
    pub(super) fn new(places: u32) -> Self {
        let places = Arc::new(Semaphore::new(places as usize));
        Self(Arc::new(State { places, shelf: Mutex::default() }))
    }

    /// Waits until fewer calls than the pool has connections are being served; calls take turns. Returns `None` once the
    /// store has been closed.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.0.places.clone().acquire_owned().await.ok()
    }

    /// Returns a place if that takes no waiting.
    pub(super) fn place_at_once(&self) -> Option<OwnedSemaphorePermit> {
        self.0.places.clone().try_acquire_owned().ok()
    }

    /// Takes the connection that was used last.
    pub(super) fn take(&self) -> Option<Working> {
        let working = self.shelf().connections.pop()?;
        if working.last_used.elapsed() < IDLE {
            return Some(working);
        }
        // The task that tidies up has not had its turn.
        return_to_pool(working.into_connection(), None);
        None
    }

    /// Keeps a connection after a call, or returns it to the pool if it is old: pools have limits on age.
    pub(super) fn keep(&self, mut working: Working, place: Option<OwnedSemaphorePermit>) {
        working.last_used = Instant::now();
        if self.0.places.is_closed() || working.taken_from_pool.elapsed() > LONGEST {
            return return_to_pool(working.into_connection(), place);
        }
        let mut shelf = self.shelf();
        shelf.connections.push(working);
        if !shelf.is_tidied {
            shelf.is_tidied = true;
            tokio::spawn(self.clone().tidy());
        }
    }

    /// Returns all to the pool, which tries them: another has just failed.
    pub(super) fn distrust(&self) {
        let distrusted = std::mem::take(&mut self.shelf().connections);
        distrusted.into_iter().for_each(|working| return_to_pool(working.into_connection(), None));
    }

    /// Returns all to the pool. From now on, calls fail.
    pub(super) fn close(&self) {
        self.0.places.close();
        self.distrust();
    }

    /// Returns idle connections to the pool until none is left.
    async fn tidy(self) {
        loop {
            tokio::time::sleep(IDLE).await;
            let mut shelf = self.shelf();
            // Those that were used last are at the end.
            let idle =
                shelf.connections.iter().take_while(|working| working.last_used.elapsed() >= IDLE).count();
            shelf
                .connections
                .drain(..idle)
                .for_each(|working| return_to_pool(working.into_connection(), None));
            if shelf.connections.is_empty() {
                shelf.is_tidied = false;
                return;
            }
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // A panic cannot leave a connection half on the shelf.
        self.0.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a connection to the pool, with a time limit: the pool itself would wait forever for the connection's answer.
pub(super) fn return_to_pool(mut connection: PoolConnection<Postgres>, place: Option<OwnedSemaphorePermit>) {
    tokio::spawn(async move {
        let _ = timeout(RETURN, connection.return_to_pool()).await;
        drop((connection, place));
    });
}

/// How long a connection counts as working after a call: that of a server which has vanished costs the next call its
/// time.
const IDLE: Duration = Duration::from_millis(100);
/// How long the pool does not see a connection that is always in use.
const LONGEST: Duration = Duration::from_secs(30);
const RETURN: Duration = Duration::from_secs(5);
