mod check;
mod connection;
mod error;
mod feed;
mod keys;
mod listen;
mod options;
mod record;
mod scripts;
mod sentinel;
mod subject;
mod transport;

pub use self::{error::RedisStoreError, options::RedisStoreOptions};

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use redis::{aio::ConnectionManager, cluster_async::ClusterConnection};

use self::{
    connection::Connection,
    error::Corrupt,
    keys::{Keys, Place, parts},
    record::{around_times, decode, encode, version_bytes, with_times},
};
use super::{
    contract::{Created, RefreshStore, Snapshot, Update},
    feed::{Changes, Cursor},
    millis::{MAX_MILLIS, from_millis, whole_millis},
    push::Pushes,
    record::{NewRecord, SessionId, SessionRecord, Stamps},
};
use crate::{
    clock::from_epoch,
    error::ConfigError,
    store::redis::{
        connection::whole,
        scripts::{CREATE, READ, UPDATE},
    },
};

/// A store that keeps sessions in Redis or Valkey, on one server or a Redis Cluster, for applications on several
/// machines.
///
/// Times come from the server's clock. Expired sessions are removed by the server. Every call fails after 5 seconds,
/// or earlier if the server is unreachable, and the store recovers automatically once the server is back. Clones
/// share their connections.
///
/// Requires the feature `redis`, Redis 6 or later with Lua scripts, and a Tokio runtime with time and I/O enabled.
///
/// # Examples
///
/// ```no_run
/// use tower_cookie_jwt::{KeyRing, Sessions, store::RedisStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tag_key = std::fs::read("tag.key")?; // `openssl rand -out tag.key 32`, the same on all nodes
/// let store = RedisStore::connect("redis://127.0.0.1", &tag_key).await?;
///
/// let keys = KeyRing::hs256("at least 32 bytes of randomness, from a file")?;
/// let sessions = Sessions::<()>::builder(keys, store).with_audience("shop").build()?;
/// # Ok(())
/// # }
/// ```
///
/// On a cluster that is shared with other data:
///
/// ```no_run
/// # use tower_cookie_jwt::store::RedisStore;
/// # async fn open(tag_key: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// let nodes = ["redis://10.0.0.1", "redis://10.0.0.2", "redis://10.0.0.3"];
/// let store = RedisStore::connect_cluster(nodes, tag_key).await?.with_key_prefix("shop:")?;
/// # Ok(())
/// # }
/// ```
///
/// # The tag key
///
/// All sessions of a subject are in the same cluster slot as the index that lists them, so that each change is one
/// atomic step. The slot is determined by the subject's *tag*: 96 bits of the HMAC-SHA-256 of the subject under the
/// tag key. The tag is also the first part of every session id. Without a secret key, an attacker who can choose user
/// names could choose names that all fall into one slot, and overload one node.
///
/// The key has at least 16 bytes and must be the same on all nodes, because [`list`](RefreshStore::list) and
/// [`remove_all`](RefreshStore::remove_all) use it to find sessions. After the key is changed, existing sessions
/// still serve requests, are rotated and can be signed out, because their ids contain the old tag, but `list`,
/// `sign_out_everywhere` and `sign_out_others` no longer find them. Change the key only if it has been disclosed, and
/// then wait for the absolute lifetime of the sessions or sign out all users. Anyone who knows the key can tell which
/// ids belong to which subject, but cannot forge anything.
///
/// # What is stored
///
/// * `sessions:{tag}:random`: a string per session, which expires with the session.
/// * `sessions:{tag}`: a sorted set per subject, containing the random parts of the ids ordered by expiry. It expires
///   with the last session; expired members are removed when a session of the subject is written.
/// * `sessions:{changes}:push`: a stream of one entry without content, once a node listens for changes.
/// * `sessions:{changes}`: a sorted set of the sessions that have ended or changed, once a node follows them
///   ([`Sessions::follow`](crate::Sessions::follow)). It has up to 100,000 entries of about 135 bytes, and expires an
///   hour after the last one.
///
/// A session with 60 bytes of claims takes about 670 bytes of the server's memory, or 550 if the subject has several
/// sessions (Redis 7). The Redis user needs the following permissions, which opening the store tries one by one:
///
/// ```text
/// ~sessions:* +evalsha +eval +get +getrange +mget +set +unlink +pexpireat +time
/// +zadd +zrange +zrangebyscore +zrem +zrevrange +zscan
/// ```
///
/// | also | for |
/// |---|---|
/// | `+ping +cluster\|slots` | a cluster |
/// | `+select` | a database number in the URL |
/// | `+role` | Sentinel |
/// | `+info` | finding out whether the server evicts keys; without it, that is not checked |
/// | `+info` | following changes in a cluster |
/// | `+xadd +xread` | hearing of changes at once, rather than within a tenth of a second |
///
/// # Setting up the server
///
/// * **Eviction.** Set `maxmemory-policy noeviction`. Every other policy, including `volatile-ttl` and similar ones,
///   evicts sessions and thereby signs users out, and evicts entries of the index, so that `sign_out_everywhere` misses
///   sessions which are live. Opening a store on such a server fails, unless
///   [`with_eviction_allowed`](RedisStoreOptions::with_eviction_allowed) accepts that. A full server with `noeviction`
///   refuses new sessions and rotations with an error; reading, listing and signing out still work.
/// * **Persistence.** Set `appendonly yes`. With `appendfsync always`, acknowledged writes survive a power failure;
///   with `everysec`, the last one or two seconds may be lost; with snapshots alone, minutes. If only the server
///   process ends, neither of the first two settings loses acknowledged writes.
/// * **Replicas** can serve as standbys, but all calls must go to the master: a replica may report live sessions as
///   gone. If a server has become a replica or does not respond, the store drops the connection and resolves the
///   address again. With a managed service, configure an address that leads to the current master, such as a DNS name or
///   a proxy.
/// * **Sentinel.** `redis+sentinel://shop:secret@10.0.0.1:26379,10.0.0.2:26379,10.0.0.3:26379/mymaster` names the Sentinels
///   and the master that they watch; a database number may follow (`/mymaster/1`). The user and the password are the
///   server's. The Sentinels are asked for the master at the beginning, and again whenever it fails or is demoted.
/// * **A cluster that has lost a shard** refuses every call by default, also for the sessions of the other shards.
///   With `cluster-require-full-coverage no`, only the users of the lost shard get 503, and whoever signs out if that
///   shard has the feed of changes.
/// * **TLS.** Enable the feature `tls` and use a `rediss://` URL;
///   [`with_root_certificate`](RedisStoreOptions::with_root_certificate) names an authority of your own. With the feature
///   `aws-lc-rs`, the default, the provider of cryptography is chosen; otherwise the application installs one for rustls.
///   For client certificates or native TLS, give a connection of your own ([`from_manager`](Self::from_manager),
///   [`from_cluster`](Self::from_cluster)).
///
/// # Following changes
///
/// Nodes hear of sessions that have ended or changed ([`Sessions::follow`](crate::Sessions::follow)), and then need no
/// read for a token. Each asks the master up to ten times a second, and over a second connection waits to be told when
/// to ask, which takes Redis 6.2 or later, and a connection that the store has made itself. If the server loses its last writes, is
/// restored from a backup, emptied or evicts the feed, nodes notice: each token is then asked about once.
///
/// * **A cluster** keeps the feed on one master, and is only asked. To sign out takes three steps instead of one, and fails while that
///   master is down: the session has then ended, but the other nodes may not hear of it until it is signed out again.
///   The user of the server needs `+info`; without it, there is no feed, and with
///   [`with_sign_out_within`](crate::session::SessionsBuilder::with_sign_out_within), each token is asked about once
///   in the bound.
/// * **A proxy** that spreads keys over several servers has no feed either, nor has a server with `cluster-enabled yes`
///   behind [`connect`](Self::connect): they answer `CROSSSLOT`. Behind a proxy that does not, do not call `follow`.
/// * **Nodes of a build without the feed** announce nothing: the bound holds once the last one has been updated. Keys
///   that are deleted by hand are not announced either, until the session is signed out again.
///
/// # What a failover can lose
///
/// Replication is asynchronous: the last writes can be lost when a master fails, and also in a power failure or when
/// a backup is restored. The effect depends on the write:
///
/// * **A rotation or a confirmation**: the client presents a token of a later generation than the record, with the
///   right secret, and the record is moved forward. No user is signed out.
/// * **A new session**: the user has to sign in again. This is the only case in which a user is signed out.
/// * **A sign-out or a revocation**: the session is live again, until it is signed out again or expires. After a
///   backup is restored, all sessions revoked since the backup are live again. Shorter idle and absolute lifetimes
///   limit this, as do `min-replicas-to-write 1` and a small `min-replicas-max-lag`, which make a master without a
///   replica refuse writes. The store does not use `WAIT`, since it could not undo a write that no replica has
///   acknowledged. If a revocation must never be lost, use `PostgresStore` with synchronous replication.
#[derive(Clone)]
pub struct RedisStore {
    connection: Connection,
    keys: Keys,
    pushes: Pushes,
    timeout: Duration,
}

impl RedisStore {
    /// Connects to the server at `url`, such as `redis://user:password@10.0.0.1:6379/0`.
    ///
    /// All nodes need the same `tag_key` of at least 16 secret bytes: see [the tag key](Self#the-tag-key). A lost
    /// connection is reopened when it is next needed.
    ///
    /// # Errors
    ///
    /// Returns an error if the key is too short, if the URL is invalid, or if the server cannot be reached, rejects
    /// the credentials, is not a master or does not permit scripts.
    pub async fn connect(url: &str, tag_key: impl AsRef<[u8]>) -> Result<Self, RedisStoreError> {
        Self::options().connect(url, tag_key).await
    }

    /// Connects to the Redis Cluster that the nodes at `urls` belong to.
    ///
    /// Some of the cluster's nodes suffice; the others are discovered. All nodes of the application need the same
    /// `tag_key` of at least 16 secret bytes: see [the tag key](Self#the-tag-key). The store follows slots that are
    /// moved. While a slot is being migrated, calls for its sessions may have to wait, and fail after the usual 5
    /// seconds.
    ///
    /// # Errors
    ///
    /// Returns an error if the key is too short, if a URL is invalid, or if no node can be reached, accepts the
    /// credentials and permits scripts.
    pub async fn connect_cluster<U: Into<String>>(
        urls: impl IntoIterator<Item = U>,
        tag_key: impl AsRef<[u8]>,
    ) -> Result<Self, RedisStoreError> {
        Self::options().connect_cluster(urls, tag_key).await
    }

    /// Creates a store over an existing connection, which keeps its timeouts and settings.
    ///
    /// By default, the `redis` crate allows half a second for a response: increase it with `set_response_timeout` if
    /// the server's disk is slow. Reduce `set_number_of_retries` to make calls fail fast while the server is down.
    /// The store leaves a frozen machine only when TCP gives up the connection; with [`connect`](Self::connect), it
    /// does so after one call.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `tag_key` has fewer than 16 bytes.
    pub fn from_manager(manager: ConnectionManager, tag_key: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::options().from_manager(manager, tag_key)
    }

    /// Creates a store over an existing connection to a cluster, which keeps its timeouts and settings.
    ///
    /// The `overall_response_timeout` of the connection must leave time for a retry: by default, it equals the
    /// timeout of a single response.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `tag_key` has fewer than 16 bytes.
    pub fn from_cluster(cluster: ClusterConnection, tag_key: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::options().from_cluster(cluster, tag_key)
    }

    /// Sets the prefix of all key names. Stores with different prefixes share nothing.
    ///
    /// Opening the store has tried the default prefix. If the server's user may not use that, set the prefix with
    /// [`options`](Self::options).
    ///
    /// Defaults to `sessions:`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `prefix` contains braces: Redis Cluster determines the slot of a key from the
    /// text in the first pair of braces.
    pub fn with_key_prefix(self, prefix: &str) -> Result<Self, ConfigError> {
        Ok(Self { keys: self.keys.with_prefix(prefix)?, pushes: Pushes::default(), ..self })
    }

    /// Sets the time after which a call fails, including its retries.
    ///
    /// Defaults to 5 seconds. A longer timeout has an effect only with a connection of the application's own that has
    /// longer timeouts as well.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Asks the server for a session that does not exist, as a health check: it needs a connection, the master, and
    /// permission to run scripts.
    ///
    /// A readiness probe that asks takes a node out of service while the server is down, although requests with a valid
    /// access token need no store: let it report rather than decide.
    ///
    /// # Errors
    ///
    /// Returns an error if a read of a session would fail.
    pub async fn ping(&self) -> Result<(), RedisStoreError> {
        self.within(self.read_at(self.keys.nowhere())).await.map(drop)
    }

    fn new(keys: Keys, timeout: Duration, connection: Connection) -> Self {
        Self { connection, keys, pushes: Pushes::default(), timeout }
    }

    async fn begin(
        keys: Keys,
        options: &RedisStoreOptions,
        connecting: impl Future<Output = redis::RedisResult<Connection>>,
    ) -> Result<Self, RedisStoreError> {
        let connecting = tokio::time::timeout(options.timeout, connecting);
        let connection = connecting.await.map_err(|_| RedisStoreError::TIMED_OUT)??;
        let store = Self::new(keys, options.timeout, connection);
        // Now rather than at the first sign-in.
        store.check_permissions().await?;
        if !options.allows_eviction {
            store.check_eviction().await?;
        }
        Ok(store)
    }

    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, impl Into<RedisStoreError>>>,
    ) -> Result<T, RedisStoreError> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(outcome) => outcome.map_err(Into::into),
            Err(_) => Err(RedisStoreError::TIMED_OUT),
        }
    }

    async fn begin_session(&self, session: NewRecord) -> Result<SessionRecord, RedisStoreError> {
        let id = session.id.clone();
        let place = self.keys.place(&id).ok_or(RedisStoreError::FOREIGN_ID)?;
        if parts(&id).is_none_or(|(tag, _)| tag != self.keys.tag(&session.subject)) {
            return Err(RedisStoreError::FOREIGN_ID);
        }
        let [idle, absolute] = [session.idle, session.absolute].map(whole_millis);
        let session = NewRecord {
            idle: Duration::from_millis(idle.unsigned_abs()),
            absolute: Duration::from_millis(absolute.unsigned_abs()),
            ..session
        };
        let value = encode(&session.clone().begin(SystemTime::UNIX_EPOCH), 0);
        let (head, rest) = around_times(&value);
        let [idle, absolute, latest] = [idle, absolute, MAX_MILLIS].map(|millis| millis.to_string());
        let arguments =
            [place.member.as_bytes(), head, idle.as_bytes(), absolute.as_bytes(), latest.as_bytes(), rest];
        let begun: String = self.connection.run(&CREATE, &[place.record, place.index], &arguments).await?;
        if begun == "taken" {
            return Err(RedisStoreError::ID_IN_USE);
        }
        let begun = begun.parse().ok().and_then(from_millis).ok_or(Corrupt)?;
        Ok(session.begin(begun))
    }

    async fn read_at(&self, place: Place<'_>) -> Result<(Option<Vec<u8>>, SystemTime), RedisStoreError> {
        let keys = [place.record, place.index];
        let keys = if self.connection.is_cluster() { &keys[..1] } else { &keys };
        let (seconds, micros, value): (u64, u32, Option<Vec<u8>>) =
            self.connection.run(&READ, keys, &[]).await?;
        Ok((value, time(seconds, micros)))
    }

    /// Replaces a record of a cluster, whose feed is in another slot.
    async fn replace_and_announce(
        &self,
        record: &SessionRecord,
        stamps: Stamps,
    ) -> Result<Update, RedisStoreError> {
        let outcome = self.replace(record, stamps, false).await?;
        if let Some((tag, member)) = parts(&record.id).filter(|_| outcome.is_done()) {
            self.announce(tag, &[member.as_bytes()]).await?;
        }
        Ok(outcome)
    }

    async fn replace(
        &self,
        record: &SessionRecord,
        stamps: Stamps,
        is_announced: bool,
    ) -> Result<Update, RedisStoreError> {
        let Some(place) = self.keys.place(&record.id) else {
            return Ok(Update::Gone);
        };
        // No stored version is the last one there is, so what comes after it does not matter.
        let next = record.version.wrapping_add(1);
        let value = encode(record, next);
        let version = version_bytes(record.version);
        let now = [
            (stamps.confirmed_at, 'c'),
            (stamps.rotated_at, 'r'),
            (stamps.issued_at, 'i'),
            (stamps.last_seen_at, 's'),
        ];
        let now: String = now.into_iter().filter_map(|(stamped, letter)| stamped.then_some(letter)).collect();
        let idle = stamps.idle.map(|idle| whole_millis(idle).to_string()).unwrap_or_default();
        let latest = MAX_MILLIS.to_string();
        let announced: &[u8] = if is_announced { b"a" } else { b"" };
        let arguments = [
            place.member.as_bytes(),
            &version,
            &value,
            now.as_bytes(),
            idle.as_bytes(),
            latest.as_bytes(),
            announced,
        ];
        let keys = vec![place.record, place.index];
        let outcome: Vec<u8> =
            self.connection.run_across(&UPDATE, keys, self.keys.feed(), &arguments).await?;
        match outcome.as_slice() {
            b"conflict" => Ok(Update::Conflict),
            b"gone" => Ok(Update::Gone),
            times => {
                let written = SessionRecord { version: next, ..record.clone() };
                Ok(Update::Done(Box::new(with_times(written, times)?)))
            }
        }
    }
}

impl RefreshStore for RedisStore {
    type Error = RedisStoreError;

    fn new_id(&self, subject: &str) -> SessionId {
        self.keys.new_id(subject)
    }

    async fn create(&self, session: NewRecord) -> Result<Created, RedisStoreError> {
        self.within(self.begin_session(session)).await.map(Created::Done)
    }

    async fn read(&self, id: &SessionId) -> Result<Snapshot, RedisStoreError> {
        // The current time is needed even if the id cannot belong to a record.
        let place = self.keys.place(id).unwrap_or_else(|| self.keys.nowhere());
        let (value, now) = self.within(self.read_at(place)).await?;
        let record = value.map(|value| decode(id, &value)).transpose()?;
        Ok(Snapshot { record, now })
    }

    async fn update(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, RedisStoreError> {
        self.within(self.replace(record, stamps, false)).await
    }

    async fn changes(&self, cursor: Option<&Cursor>) -> Result<Changes, RedisStoreError> {
        self.within(self.poll(cursor)).await
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.next_push()
    }

    async fn update_announced(
        &self,
        record: &SessionRecord,
        stamps: Stamps,
    ) -> Result<Update, RedisStoreError> {
        if !self.connection.is_cluster() {
            return self.within(self.replace(record, stamps, true)).await;
        }
        let (store, record) = (self.clone(), record.clone());
        let replacing = async move { store.within(store.replace_and_announce(&record, stamps)).await };
        whole(replacing).await.unwrap_or(Err(RedisStoreError::TIMED_OUT))
    }

    async fn remove(&self, id: &SessionId) -> Result<bool, RedisStoreError> {
        let Some((tag, member)) = parts(id) else {
            return Ok(false);
        };
        Ok(self.remove_members(tag, &[member.to_owned()]).await? > 0)
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, RedisStoreError> {
        self.list_all(subject).await
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, RedisStoreError> {
        self.remove_others(subject, keep).await
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("cluster", &self.connection.is_cluster())
            .field("key_prefix", &self.keys.prefix())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

fn time(seconds: u64, micros: u32) -> SystemTime {
    from_epoch(Duration::from_secs(seconds) + Duration::from_micros(micros.into()))
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
