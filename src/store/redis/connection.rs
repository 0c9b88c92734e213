//! Connections to a single server or a cluster.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo, RedisError, RedisResult,
    ServerErrorKind,
    aio::{ConnectionManager, ConnectionManagerConfig},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
};

use super::{
    scripts::Script,
    sentinel::{SentinelUrl, Sentinels},
    transport::{RESPONSE_TIMEOUT, tcp_settings},
};

/// A connection to a single server or a cluster. Clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    Single(Arc<Single>),
    Cluster(Arc<Cluster>),
}

impl Connection {
    /// With `root_certificate`, trusts only that authority; it is `None` without TLS.
    pub(super) async fn single(url: &str, root_certificate: Option<Vec<u8>>) -> RedisResult<Self> {
        let info = url.into_connection_info()?.set_tcp_settings(tcp_settings());
        let client = client_of(info, root_certificate)?;
        Ok(Self::Single(Arc::new(Single::connect(client.clone(), Origin::Address(client)).await?)))
    }

    /// Connects to the master that the Sentinels name.
    pub(super) async fn through_sentinels(
        url: SentinelUrl,
        password: Option<&str>,
        root_certificate: Option<Vec<u8>>,
    ) -> RedisResult<Self> {
        let sentinels = Sentinels::new(&url, password, root_certificate)?;
        let master = sentinels.master().await?;
        Ok(Self::Single(Arc::new(Single::connect(master, Origin::Sentinels(sentinels)).await?)))
    }

    pub(super) fn given(manager: ConnectionManager) -> Self {
        Self::Single(Arc::new(Single::given(manager)))
    }

    pub(super) async fn cluster(urls: Vec<String>, root_certificate: Option<Vec<u8>>) -> RedisResult<Self> {
        // While slots are looked up, a node that hangs blocks calls to all nodes, hence the short timeouts.
        let client = trusting(ClusterClient::builder(urls), root_certificate)
            .tcp_settings(tcp_settings())
            .connection_timeout(CLUSTER_CONNECT_TIMEOUT)
            .response_timeout(CLUSTER_RESPONSE_TIMEOUT)
            .overall_response_timeout(Some(RESPONSE_TIMEOUT))
            // They end a little before the time does: the last answer of the server then says why.
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(10)
            .max_retry_wait(500)
            .build()?;
        let connection = client.get_async_connection().await?;
        Ok(Self::Cluster(Arc::new(Cluster::new(Some(client), connection))))
    }

    pub(super) fn given_cluster(connection: ClusterConnection) -> Self {
        Self::Cluster(Arc::new(Cluster::new(None, connection)))
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Runs a script with one more key, of another slot, or without it on a cluster.
    ///
    /// A server behind the address of a single one may be part of a cluster, too. Whether it is, is asked each time:
    /// behind the address, there may be another one by now.
    pub(super) async fn run_across<T: FromRedisValue>(
        &self,
        script: &Script,
        mut keys: Vec<String>,
        other: String,
        arguments: &[&[u8]],
    ) -> RedisResult<T> {
        if !self.is_cluster() {
            keys.push(other);
            match self.run(script, &keys, arguments).await {
                Err(error) if has_slots(&error) => _ = keys.pop(),
                answer => return answer,
            }
        }
        self.run(script, &keys, arguments).await
    }

    /// Runs a script, and retries it after transient errors such as a lost connection.
    ///
    /// Every script can be repeated safely: those that write recognize their own earlier write, and removing is
    /// idempotent.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[&[u8]],
    ) -> RedisResult<T> {
        let mut pauses = PAUSES.iter();
        loop {
            let error = match self.attempt(script, keys, arguments).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match pauses.next() {
                Some(pause) if may_pass(&error) => tokio::time::sleep(*pause).await,
                _ => return Err(error),
            }
        }
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[&[u8]],
    ) -> RedisResult<T> {
        let by_hash = self.send(&invocation("EVALSHA", &script.hash, keys, arguments)).await;
        match by_hash {
            // This node has not cached the script yet. `EVAL` sends it only to the node that holds the keys,
            // whereas loading it on all nodes would fail if one of them is down.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(&invocation("EVAL", script.code, keys, arguments)).await
            }
            answer => answer,
        }
    }

    pub(super) async fn send<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Single(single) => single.send(command).await,
            Self::Cluster(cluster) => cluster.send(command).await,
        }
    }
}

fn invocation(command: &str, script: &str, keys: &[String], arguments: &[&[u8]]) -> Cmd {
    let mut invocation = redis::cmd(command);
    invocation.arg(script).arg(keys.len()).arg(keys).arg(arguments);
    invocation
}

/// Returns `true` if the error may be transient: the server is restarting, or another is becoming the master.
fn may_pass(error: &RedisError) -> bool {
    // This includes failures of earlier attempts to connect, which are reported to the next call.
    error.is_connection_dropped()
        || error.is_timeout()
        || matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::ReadOnly | ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown
            )
        )
}

/// Does the work even if the caller gives up. Returns `None` if the runtime shuts down.
pub(super) async fn whole<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    tokio::spawn(work).await.ok()
}

/// Whether the server refuses keys of different slots.
pub(super) fn has_slots(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::CrossSlot)
}

fn client_of(info: ConnectionInfo, root_certificate: Option<Vec<u8>>) -> RedisResult<Client> {
    #[cfg(feature = "tls")]
    if let Some(root) = root_certificate {
        return Client::build_with_tls(info, super::transport::authority(root));
    }
    #[cfg(not(feature = "tls"))]
    let _ = root_certificate;
    Client::open(info)
}

fn trusting(builder: ClusterClientBuilder, root_certificate: Option<Vec<u8>>) -> ClusterClientBuilder {
    #[cfg(feature = "tls")]
    if let Some(root) = root_certificate {
        return builder.certs(super::transport::authority(root));
    }
    #[cfg(not(feature = "tls"))]
    let _ = root_certificate;
    builder
}

/// A command fails immediately if the server is unreachable; [`Connection::run`] does the retries.
fn manager_config() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
}

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const CLUSTER_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const CLUSTER_RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// For all servers: some may be down.
const CLUSTER_REPLACE_TIMEOUT: Duration = Duration::from_secs(10);
/// Two seconds of waiting on average, and four at most.
const CLUSTER_RETRIES: u32 = 13;
const PAUSES: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(300)];

/// How to connect again.
enum Origin {
    Address(Client),
    /// To the master that they name then.
    Sentinels(Sentinels),
    /// The application has supplied the connection.
    Application,
}

/// A connection to a single server that can be replaced by a new one.
pub(super) struct Single {
    origin: Origin,
    /// The current connection, and the number of connections before it.
    present: Mutex<(u64, ConnectionManager)>,
}

impl Single {
    async fn connect(client: Client, origin: Origin) -> RedisResult<Self> {
        let manager = ConnectionManager::new_with_config(client, manager_config()).await?;
        Ok(Self { origin, present: Mutex::new((0, manager)) })
    }

    const fn given(manager: ConnectionManager) -> Self {
        Self { origin: Origin::Application, present: Mutex::new((0, manager)) }
    }

    async fn send<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let (number, mut manager) = self.present().clone();
        let answer = command.query_async(&mut manager).await;
        if let Err(error) = &answer {
            self.leave(number, error, manager).await;
        }
        answer
    }

    /// Whether it can be connected to again.
    pub(super) const fn can_connect(&self) -> bool {
        !matches!(self.origin, Origin::Application)
    }

    /// Returns the client of the present server.
    pub(super) async fn client(&self) -> RedisResult<Client> {
        match &self.origin {
            Origin::Address(client) => Ok(client.clone()),
            Origin::Sentinels(sentinels) => sentinels.master().await,
            Origin::Application => {
                Err((ErrorKind::InvalidClientConfig, "the connection is the application's").into())
            }
        }
    }

    /// Leaves a server that the next call must not go to.
    async fn leave(&self, number: u64, error: &RedisError, manager: ConnectionManager) {
        let is_demoted = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
        // A frozen machine keeps its connections open, even if its address already leads to another machine.
        let is_left = is_demoted || error.is_timeout();
        match &self.origin {
            Origin::Address(client) if is_left => self.replace(number, client),
            Origin::Sentinels(sentinels)
                if is_left || error.is_connection_dropped() || error.is_io_error() =>
            {
                let mut sentinels = sentinels.lock().await;
                // Another call may have asked while this one waited. If they know no master yet, the next call asks again.
                if self.present().0 == number
                    && let Ok(master) = sentinels.async_get_client().await
                {
                    self.replace(number, &master);
                }
            }
            Origin::Application if is_demoted => hang_up(manager).await,
            _ => {}
        }
    }

    /// Makes the next call open a new connection, unless the connection `number` has already been replaced.
    fn replace(&self, number: u64, client: &Client) {
        let mut present = self.present();
        if present.0 == number
            && let Ok(manager) = ConnectionManager::new_lazy_with_config(client.clone(), manager_config())
        {
            *present = (number + 1, manager);
        }
    }

    fn present(&self) -> MutexGuard<'_, (u64, ConnectionManager)> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection to a cluster that can be replaced by a new one.
///
/// The driver's may hang for good once all servers have been out of reach at the same time: what connects again then
/// waits for a lock that is kept by what it keeps from running.
pub(super) struct Cluster {
    /// `None` if the application has supplied the connection.
    client: Option<ClusterClient>,
    present: Mutex<ClusterConnection>,
    /// How many calls have been answered, by a value or by an error of a server.
    answered: AtomicU64,
    is_being_replaced: AtomicBool,
}

impl Cluster {
    const fn new(client: Option<ClusterClient>, connection: ClusterConnection) -> Self {
        let present = Mutex::new(connection);
        Self { client, present, answered: AtomicU64::new(0), is_being_replaced: AtomicBool::new(false) }
    }

    async fn send<T: FromRedisValue>(self: &Arc<Self>, command: &Cmd) -> RedisResult<T> {
        let answered = self.answered.load(Ordering::Relaxed);
        let mut connection = self.present().clone();
        let answer = command.query_async(&mut connection).await;
        match &answer {
            // One server that hangs does not keep the others from answering.
            Err(error) if error.is_timeout() => {
                if self.answered.load(Ordering::Relaxed) == answered {
                    self.replace();
                }
            }
            _ => _ = self.answered.fetch_add(1, Ordering::Relaxed),
        }
        answer
    }

    /// Begins to connect anew, unless that has begun. The call does not wait for it, because it may give up before.
    fn replace(self: &Arc<Self>) {
        let Some(client) = self.client.clone() else { return };
        if self.is_being_replaced.swap(true, Ordering::Relaxed) {
            return;
        }
        let cluster = self.clone();
        tokio::spawn(async move {
            let connecting = tokio::time::timeout(CLUSTER_REPLACE_TIMEOUT, client.get_async_connection());
            if let Ok(Ok(connection)) = connecting.await {
                *cluster.present() = connection;
            }
            cluster.is_being_replaced.store(false, Ordering::Relaxed);
        });
    }

    fn present(&self) -> MutexGuard<'_, ClusterConnection> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the server close the connection, so that its manager reconnects. The manager notices only when a command
/// fails, so one command is sacrificed.
async fn hang_up(mut manager: ConnectionManager) {
    for lost in ["QUIT", "PING"] {
        let _: RedisResult<()> = redis::cmd(lost).query_async(&mut manager).await;
    }
}
