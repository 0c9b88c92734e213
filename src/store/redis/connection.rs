//! Connections to one server or a cluster, and the scripts that are called over them.
//!
//! Each script is one operation on keys of one slot, and takes effect entirely or not at all.

use std::{
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use redis::{
    Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo, RedisError, RedisResult,
    ServerErrorKind,
    aio::{ConnectionManager, ConnectionManagerConfig},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    io::tcp::TcpSettings,
};

/// Clones share their connections.
#[derive(Clone)]
pub(super) enum Connection {
    Single(Arc<Single>),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) async fn single(url: &str) -> RedisResult<Self> {
        let info = url.into_connection_info()?.set_tcp_settings(tcp_settings());
        // A call that needs the server fails at once when there is none, and tries again itself.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        Ok(Self::Single(Arc::new(Single::connect(info, config).await?)))
    }

    pub(super) fn given(manager: ConnectionManager) -> Self {
        Self::Single(Arc::new(Single::given(manager)))
    }

    pub(super) async fn cluster(urls: Vec<String>) -> RedisResult<Self> {
        // A node that hangs keeps the others waiting while slots are looked up: not for long.
        let client = ClusterClient::builder(urls)
            .tcp_settings(tcp_settings())
            .connection_timeout(CLUSTER_CONNECT_TIMEOUT)
            .response_timeout(CLUSTER_RESPONSE_TIMEOUT)
            .overall_response_timeout(Some(RESPONSE_TIMEOUT))
            .min_retry_wait(10)
            .max_retry_wait(500)
            .build()?;
        Ok(Self::Cluster(client.get_async_connection().await?))
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Runs a script; again when the connection was lost, which each script allows: those that write
    /// recognize what they have done, and what was removed stays removed.
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
            // This node has not seen it yet. It goes where its keys are: not to all nodes, of which
            // one may be down.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(&invocation("EVAL", script.code, keys, arguments)).await
            }
            answer => answer,
        }
    }

    async fn send<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Single(single) => single.send(command).await,
            Self::Cluster(cluster) => command.query_async(&mut cluster.clone()).await,
        }
    }
}

fn invocation(command: &str, script: &str, keys: &[String], arguments: &[&[u8]]) -> Cmd {
    let mut invocation = redis::cmd(command);
    invocation.arg(script).arg(keys.len()).arg(keys).arg(arguments);
    invocation
}

/// Whether a moment later things may be better: the server restarts, or another becomes the master.
fn may_pass(error: &RedisError) -> bool {
    // An attempt to connect that failed some time ago is told to the next call.
    error.is_connection_dropped()
        || error.is_timeout()
        || matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::ReadOnly | ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown
            )
        )
}

fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    // Where a machine or a network has vanished, nothing else ends the connection for minutes.
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(RESPONSE_TIMEOUT);
    settings
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Shorter than the 5 seconds of a call, so that its end is noticed as the connection's.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(4);
const CLUSTER_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const CLUSTER_RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
const PAUSES: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(300)];

/// The connection to one server, which can be left for a better one.
pub(super) struct Single {
    /// How to connect again; unknown of a connection that was given to us.
    origin: Option<(Client, ConnectionManagerConfig)>,
    /// The connection, and how many there were before it.
    present: Mutex<(u64, ConnectionManager)>,
}

impl Single {
    pub(super) async fn connect(info: ConnectionInfo, config: ConnectionManagerConfig) -> RedisResult<Self> {
        let client = Client::open(info)?;
        let manager = ConnectionManager::new_with_config(client.clone(), config.clone()).await?;
        Ok(Self { origin: Some((client, config)), present: Mutex::new((0, manager)) })
    }

    pub(super) const fn given(manager: ConnectionManager) -> Self {
        Self { origin: None, present: Mutex::new((0, manager)) }
    }

    pub(super) async fn send<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let (number, mut manager) = self.present.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = command.query_async(&mut manager).await;
        if let Err(error) = &answer {
            let demoted = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
            // A frozen machine keeps its connections, while its address may lead to another already.
            let renewed = (demoted || error.is_timeout()) && self.renew(number);
            if demoted && !renewed {
                hang_up(manager).await;
            }
        }
        answer
    }

    /// Lets the next call connect anew, to where the address leads then, unless that has happened
    /// already; false when we cannot.
    fn renew(&self, number: u64) -> bool {
        let Some((client, config)) = &self.origin else {
            return false;
        };
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if present.0 == number
            && let Ok(manager) = ConnectionManager::new_lazy_with_config(client.clone(), config.clone())
        {
            *present = (number + 1, manager);
        }
        true
    }
}

/// Makes the server close the connection, after which its manager connects anew: when a command finds it
/// closed, so that one is lost.
async fn hang_up(mut manager: ConnectionManager) {
    for lost in ["QUIT", "PING"] {
        let _: RedisResult<()> = redis::cmd(lost).query_async(&mut manager).await;
    }
}

/// A script and its SHA-1, by which servers know it.
pub(super) struct Script {
    pub(super) code: &'static str,
    pub(super) hash: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }
}

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(include_str!("lua/shared.lua"), include_str!($file))));
    };
}

script!(CREATE, "lua/create.lua");
script!(READ, "lua/read.lua");
script!(UPDATE, "lua/update.lua");
script!(REMOVE, "lua/remove.lua");
script!(SCAN, "lua/scan.lua");
script!(FIRST, "lua/first.lua");
script!(FETCH, "lua/fetch.lua");
