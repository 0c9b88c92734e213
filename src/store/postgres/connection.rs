//! Connections leased for one call, and the time limits of a call.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection, PgConnection, PgPool};
use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedSemaphorePermit},
    time::timeout,
};

use super::{
    abandoned::{Backend, Canceller, outlast},
    at_hand::{AtHand, Working, return_to_pool},
    error::{PostgresStoreError, Reason},
    probe::{Finding, Leased, Probe},
};

/// A connection that returns to the pool only if it is known to be in a clean state.
///
/// After an error it is closed, so that after a failover the next connection reaches the new primary. After a timeout, and
/// if the future that uses it is dropped midway because the client has disconnected, it keeps its place in the pool until
/// the server is done with it: see [`outlast`]. No call ever receives a connection with the remains of another call's
/// response.
pub(super) struct Lease {
    working: Option<Working>,
    source: Source,
    /// Whether another call has just used the connection, and no test has followed.
    is_untested: bool,
    counted: Option<Leased>,
    place: Option<OwnedSemaphorePermit>,
}

/// The connection over which the feed is polled: an exhausted pool must not keep a node from hearing of sign-outs. Clones
/// share it.
#[derive(Clone, Default)]
pub(super) struct FeedConnection(pub(super) Arc<Mutex<Option<PgConnection>>>);

impl FeedConnection {
    pub(super) async fn close(&self) {
        if let Some(connection) = self.0.lock().await.take() {
            let _ = timeout(TIMEOUT, connection.close()).await;
        }
    }
}

/// Where a store's connections come from, and go to.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) pool: PgPool,
    pub(super) probe: Probe,
    /// How to cancel what the server does for an abandoned connection. `None` if the pool is that of the application, or a
    /// pooler comes between.
    pub(super) canceller: Option<Canceller>,
    /// `None` if the pool is that of the application, whose other calls need its connections, too.
    pub(super) at_hand: Option<AtHand>,
}

impl Source {
    /// The pool of an application.
    pub(super) fn of_application(pool: PgPool) -> Self {
        Self { pool, probe: Probe::default(), canceller: None, at_hand: None }
    }
}

impl Lease {
    /// Waits for a connection, or for `limit`. Fails earlier while the server refuses connections.
    pub(super) async fn of(source: &Source, limit: Duration) -> Result<Self, PostgresStoreError> {
        match Self::at_hand(source) {
            Some(lease) => Ok(lease),
            None => Self::tested(source, limit).await,
        }
    }

    /// The same, but not over a connection that another call has just used, unless this one must wait for it.
    pub(super) async fn tested(source: &Source, limit: Duration) -> Result<Self, PostgresStoreError> {
        let (pool, probe) = (&source.pool, &source.probe);
        let acquiring = Self::acquire(source.clone());
        // Spawned, so that it continues if the caller is dropped. Otherwise a connection that is being opened or
        // tried would be lost.
        let mut lease = tokio::spawn(acquiring);
        let mut cause = None;
        let overdue = tokio::time::sleep(limit);
        tokio::pin!(overdue);
        loop {
            tokio::select! {
                lease = &mut lease => {
                    return match lease.unwrap_or(Err(sqlx::Error::PoolClosed)) {
                        Ok(lease) => Ok(lease),
                        Err(sqlx::Error::PoolTimedOut) => Err(cause.unwrap_or(Reason::NoAnswer.into())),
                        Err(error) => Err(error.into()),
                    };
                }
                () = &mut overdue => return Err(cause.unwrap_or(Reason::NoAnswer.into())),
                finding = probe.next(pool) => match finding {
                    Finding::Fatal(error) => return Err(error),
                    Finding::Passing(error) => cause = Some(error),
                    Finding::Clear => cause = None,
                },
            }
        }
    }

    /// Takes a connection that another call has just used, if no other call waits for one.
    fn at_hand(source: &Source) -> Option<Self> {
        let at_hand = source.at_hand.as_ref()?;
        let place = at_hand.place_at_once()?;
        let mut lease = Self::new(source.clone(), at_hand.take()?, Some(place));
        lease.is_untested = true;
        Some(lease)
    }

    /// Takes a connection that works from the pool.
    ///
    /// The pool's own test of idle connections has no time limit: a connection dropped by a firewall would use up the time
    /// of the call instead of being replaced.
    async fn acquire(source: Source) -> Result<Self, sqlx::Error> {
        let mut place = None;
        if let Some(at_hand) = &source.at_hand {
            place = Some(at_hand.place().await.ok_or(sqlx::Error::PoolClosed)?);
            if let Some(working) = at_hand.take() {
                return Ok(Self::new(source, working, place));
            }
        }
        loop {
            let mut connection = source.pool.acquire().await?;
            let backend = match &source.canceller {
                None => None,
                Some(_) => match timeout(SIGN_OF_LIFE, Backend::of(&mut connection)).await {
                    Ok(Ok(backend)) => Some(backend),
                    Ok(Err(_)) | Err(_) => {
                        drop(connection.detach());
                        continue;
                    }
                },
            };
            return Ok(Self::new(source, Working::new(connection, backend), place));
        }
    }

    fn new(source: Source, working: Working, place: Option<OwnedSemaphorePermit>) -> Self {
        let counted = Some(source.probe.lease());
        Self { working: Some(working), source, is_untested: false, counted, place }
    }

    pub(super) const fn is_untested(&self) -> bool {
        self.is_untested
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.working.as_mut().expect("a lease holds its connection until it ends").connection()
    }

    /// Returns the connection to the pool if the work succeeded, and closes it after an error. After a timeout, the server
    /// may still be working.
    pub(super) fn end<T>(mut self, outcome: Result<T, PostgresStoreError>) -> Result<T, PostgresStoreError> {
        match &outcome {
            Ok(_) => self.give_back(),
            Err(error) if error.is_timeout() => {} // as if dropped midway
            Err(_) => {
                drop(self.working.take().map(|working| working.into_connection().detach()));
                if let Some(at_hand) = &self.source.at_hand {
                    at_hand.distrust();
                }
            }
        }
        outcome
    }

    /// Keeps a connection that is done for the next call, or returns it to the pool, which asks it once more.
    fn give_back(&mut self) {
        let Some(working) = self.working.take() else { return };
        match &self.source.at_hand {
            Some(at_hand) => at_hand.keep(working, self.place.take()),
            None => return_to_pool(working.into_connection(), None),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(working) = self.working.take() else { return };
        let cancelled_by = self.source.canceller.clone().zip(working.backend);
        let (counted, place) = (self.counted.take(), self.place.take());
        let connection = working.into_connection();
        match Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    outlast(connection, cancelled_by).await;
                    drop((counted, place));
                });
            }
            Err(_) => drop(connection.detach()),
        }
    }
}

/// Runs `work`, and drops it and returns an error if it takes longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, PostgresStoreError>>,
) -> Result<T, PostgresStoreError> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(Reason::NoAnswer.into()))
}

pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection may take to show that it works.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
