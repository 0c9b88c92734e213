//! What becomes of a connection whose call has been given up while the server still works for it.
//!
//! Closing it would not end that work: a commit that waits for a standby, or a statement that waits for a lock, goes on
//! without a client. If its place in the pool were freed at once, each later call would open another connection, until the
//! server accepts no more. It therefore keeps its place until the server is done, and the server is asked to cancel.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions, Connection, PgConnection, Postgres, pool::PoolConnection, postgres::PgConnectOptions,
};
use tokio::sync::Mutex;

/// Which process of which server a connection leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Backend {
    pid: i32,
    /// When the server was started, in seconds since the epoch: another one may have a process of the same number.
    server: f64,
}

impl Backend {
    /// Asks the connection, which shows that it works, too.
    pub(super) async fn of(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let (pid, server) = sqlx::query_as(WHO).fetch_one(connection).await?;
        Ok(Self { pid, server })
    }
}

/// Cancels what the server does for abandoned connections. Clones share the connection that is kept for it.
#[derive(Clone)]
pub(super) struct Canceller(Arc<State>);

struct State {
    options: PgConnectOptions,
    /// Kept open, because a server that is full would not accept another.
    kept: Mutex<Option<PgConnection>>,
}

/// What the server says of a backend.
enum Progress {
    /// It has been asked to stop.
    Asked,
    Gone,
    /// The server does not answer.
    Unknown,
}

impl Canceller {
    pub(super) fn new(options: PgConnectOptions, kept: PgConnection) -> Self {
        Self(Arc::new(State { options, kept: Mutex::new(Some(kept)) }))
    }

    async fn cancel(&self, backend: Backend) -> Progress {
        let mut kept = self.0.kept.lock().await;
        let asking = async {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => self.0.options.connect().await?,
            };
            let asked = sqlx::query_scalar::<_, bool>(CANCEL)
                .bind(backend.pid)
                .bind(backend.server)
                .fetch_optional(&mut connection)
                .await?;
            *kept = Some(connection);
            Ok::<_, sqlx::Error>(asked)
        };
        match tokio::time::timeout(LIMIT, asking).await {
            Ok(Ok(Some(_))) => Progress::Asked,
            Ok(Ok(None)) => Progress::Gone,
            Ok(Err(_)) | Err(_) => Progress::Unknown,
        }
    }

    /// Closes the connection that is kept.
    pub(super) async fn close(&self) {
        if let Some(connection) = self.0.kept.lock().await.take() {
            let _ = tokio::time::timeout(LIMIT, connection.close()).await;
        }
    }
}

/// Holds the connection until the server has nothing to do for it any more, or cannot be reached; then returns it to the
/// pool if it still works.
///
/// Without a canceller, the server must come to an end on its own. After half a minute, the connection is taken for one that a
/// firewall has forgotten.
pub(super) async fn outlast(
    mut connection: PoolConnection<Postgres>,
    cancelled_by: Option<(Canceller, Backend)>,
) {
    let began = Instant::now();
    let mut first_asked = None;
    let works = {
        let mut answer = std::pin::pin!(connection.ping());
        loop {
            if let Ok(answered) = tokio::time::timeout(AGAIN, &mut answer).await {
                break answered.is_ok();
            }
            let Some((canceller, backend)) = &cancelled_by else {
                if began.elapsed() > FORGOTTEN {
                    break false;
                }
                continue;
            };
            match canceller.cancel(*backend).await {
                Progress::Gone => break false,
                Progress::Unknown if began.elapsed() > UNREACHABLE => break false,
                Progress::Asked if first_asked.get_or_insert_with(Instant::now).elapsed() > STUBBORN => {
                    break false;
                }
                Progress::Asked | Progress::Unknown => {}
            }
        }
    };
    if works {
        connection.return_to_pool().await;
    } else {
        drop(connection.detach());
    }
}

const WHO: &str = "SELECT pg_backend_pid(), extract(epoch FROM pg_postmaster_start_time())::double precision";
/// An idle backend has lost its client without noticing.
const CANCEL: &str = "
    SELECT CASE state WHEN 'active' THEN pg_cancel_backend(pid) ELSE pg_terminate_backend(pid) END
    FROM pg_stat_activity
    WHERE pid = $1 AND $2 = extract(epoch FROM pg_postmaster_start_time())::double precision";
/// How long a request to stop may take.
const LIMIT: Duration = Duration::from_secs(2);
/// How long to wait for the effect of a request before the next.
const AGAIN: Duration = Duration::from_millis(300);
/// How long a backend may take to obey. One that takes longer hangs, and has the signal when it goes on.
const STUBBORN: Duration = Duration::from_millis(1500);
/// How long a server may be out of reach before its connections count as lost.
const UNREACHABLE: Duration = Duration::from_secs(10);
const FORGOTTEN: Duration = Duration::from_secs(30);
