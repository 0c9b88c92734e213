mod connection;
mod error;
mod keys;
mod record;
mod subject;

pub use self::error::RedisStoreError;

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
    millis::{MAX_MILLIS, from_millis, whole_millis},
    record::{NewRecord, SessionId, SessionRecord, Stamps},
};
use crate::{
    clock::from_epoch,
    error::ConfigError,
    store::redis::connection::{CREATE, READ, UPDATE},
};

/// Sessions in Redis or Valkey, on one server or on a Redis Cluster: for applications on several
/// machines.
///
/// Clones share their connections. The store's time is the server's. Ended sessions go by themselves.
/// Each call takes at most 5 seconds, then it fails, and so do calls while the server is away; the
/// store goes on by itself when it is back. Needs Redis 6 or later with Lua scripts, and a Tokio
/// runtime with time and I/O.
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
/// let sessions = Sessions::<()>::builder(keys, store).build()?;
/// # Ok(())
/// # }
/// ```
///
/// On a cluster, and beside other data:
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
/// All sessions of a subject are in one slot of a cluster, together with the index that lists them, so
/// that each change is one step. The slot follows from the subject's *tag*, which is also the first part
/// of the session's id: 96 bits of HMAC-SHA-256 of the subject under the tag key. Without a secret key,
/// anybody who can choose user names could choose ones that all fall into one slot, and overload one node.
///
/// The key has at least 16 bytes and is the same on all nodes: [`list`](RefreshStore::list) and
/// [`remove_all`](RefreshStore::remove_all) look where it leads them. With another key, sessions that
/// exist still serve requests, are rotated and can be signed out, because their ids say where they
/// are; but `list`, `sign_out_everywhere` and `sign_out_others` do not see them any more. Change it
/// only if it has become known, and then wait for the sessions' absolute lifetime or sign everybody
/// out. Whoever knows it can tell which ids belong to which subject, but cannot forge anything.
///
/// # What is stored
///
/// * `sessions:{tag}:random`, a string for each session, which expires with it,
/// * `sessions:{tag}`, a sorted set for each subject: the random parts, by their expiry. It expires with
///   the last session, and loses ended ones whenever the subject is written.
///
/// A session with 60 bytes of claims takes about 670 bytes of the server's memory, or 550 where a subject
/// has several (Redis 7). A user with these permissions suffices on one server; a cluster's needs
/// `+ping` and `+cluster|slots` as well:
///
/// ```text
/// ~sessions:* +evalsha +eval +get +getrange +mget +set +unlink +pexpireat +time
/// +zadd +zrange +zrangebyscore +zrem +zrevrange +zscan
/// ```
///
/// # Setting up the server
///
/// * `maxmemory-policy noeviction`. Every other policy, `volatile-ttl` and its like included, evicts
///   sessions and so signs users out. A full server refuses new sessions and rotations with an error;
///   reading, listing and signing out go on.
/// * `appendonly yes`. With `appendfsync always`, what was answered survives a power failure; with
///   `everysec`, the last second or two may be lost; with snapshots alone, minutes. The end of the process
///   itself loses nothing that was answered with either of the first two.
/// * Replicas may stand by, but all calls go to the master: a replica may call live sessions gone. A
///   server that has become one, or does not answer, is left, and the address asked again. So with
///   Sentinel or a managed service, give an address that leads to the present master: a DNS name or a proxy.
/// * TLS: enable a TLS feature of the `redis` crate in your own `Cargo.toml`, such as
///   `tokio-rustls-comp`, and write `rediss://`.
///
/// # What a failover can lose
///
/// Replication is asynchronous: a master that fails can take its last writes with it, as can a power
/// failure or a backup that is restored. What that means:
///
/// * a rotation or a confirmation is lost: the client presents a newer token than the record knows, which
///   has the right secret, and the record is moved on to it. **Nobody is signed out.**
/// * a new session is lost: that user signs in again. This is the only exception.
/// * a sign-out or revocation is lost: **the session lives again**, until it is signed out again or expires.
///   After a restored backup, all sessions that were revoked since are back. Shorter idle and absolute
///   lifetimes bound that; so do `min-replicas-to-write 1` and a small `min-replicas-max-lag`, which let a
///   master without a replica refuse writes. The store does not send `WAIT`: it cannot undo what
///   no replica has taken over. If a revocation must never be lost, use `PostgresStore` with
///   synchronous replication.
#[derive(Clone)]
pub struct RedisStore {
    connection: Connection,
    keys: Keys,
    timeout: Duration,
}

impl RedisStore {
    /// Connects to the server at `url`, such as `redis://user:password@10.0.0.1:6379/0`.
    ///
    /// All nodes need the same `tag_key`, of at least 16 secret bytes: see [the tag key](Self#the-tag-key).
    /// A lost connection is made anew when it is needed.
    ///
    /// # Errors
    ///
    /// When the key is too short, the URL is unusable, or the server cannot be reached, does not
    /// let us in, is no master or does not let us run scripts.
    pub async fn connect(url: &str, tag_key: impl AsRef<[u8]>) -> Result<Self, RedisStoreError> {
        let keys = Keys::new(tag_key.as_ref())?;
        Self::begin(keys, Connection::single(url)).await
    }

    /// Connects to the Redis Cluster that some of its nodes, at `urls`, tell of.
    ///
    /// All nodes of the application need the same `tag_key`, of at least 16 secret bytes: see
    /// [the tag key](Self#the-tag-key). Slots that move are followed. While a slot is on its way, calls
    /// for its sessions may have to wait, and fail after the usual 5 seconds.
    ///
    /// # Errors
    ///
    /// When the key is too short, a URL is unusable, or no node can be reached, lets us in and lets us run
    /// scripts.
    pub async fn connect_cluster<U: Into<String>>(
        urls: impl IntoIterator<Item = U>,
        tag_key: impl AsRef<[u8]>,
    ) -> Result<Self, RedisStoreError> {
        let keys = Keys::new(tag_key.as_ref())?;
        let urls = urls.into_iter().map(Into::into).collect();
        Self::begin(keys, Connection::cluster(urls)).await
    }

    /// Uses a connection that exists, with its own timeouts and settings.
    ///
    /// The `redis` crate lets a response take half a second by default: set more with
    /// `set_response_timeout` where the server's disk is slow. With few retries
    /// (`set_number_of_retries`), calls fail fast without a server. A frozen machine is left only when
    /// TCP gives it up; [`connect`](Self::connect) leaves it after one call.
    ///
    /// # Errors
    ///
    /// When `tag_key` has less than 16 bytes.
    pub fn from_manager(manager: ConnectionManager, tag_key: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Ok(Self::new(Keys::new(tag_key.as_ref())?, Connection::given(manager)))
    }

    /// Uses a connection to a cluster that exists, with its own timeouts and settings.
    ///
    /// Its `overall_response_timeout` must leave time for a retry: by default it is as long as one
    /// response may take.
    ///
    /// # Errors
    ///
    /// When `tag_key` has less than 16 bytes.
    pub fn from_cluster(cluster: ClusterConnection, tag_key: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Ok(Self::new(Keys::new(tag_key.as_ref())?, Connection::Cluster(cluster)))
    }

    /// Begins the names of all keys with `prefix`: stores with different ones share nothing.
    ///
    /// Defaults to `sessions:`.
    ///
    /// # Errors
    ///
    /// When `prefix` has braces: Redis Cluster places keys by what is between the first two.
    pub fn with_key_prefix(self, prefix: &str) -> Result<Self, ConfigError> {
        Ok(Self { keys: self.keys.with_prefix(prefix)?, ..self })
    }

    /// Lets each call fail after `timeout`, retries included.
    ///
    /// Defaults to 5 seconds. More than that helps only with a connection of your own that allows for more.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    const fn new(keys: Keys, connection: Connection) -> Self {
        Self { connection, keys, timeout: DEFAULT_TIMEOUT }
    }

    async fn begin(
        keys: Keys,
        connecting: impl Future<Output = redis::RedisResult<Connection>>,
    ) -> Result<Self, RedisStoreError> {
        let connection = tokio::time::timeout(DEFAULT_TIMEOUT, connecting)
            .await
            .map_err(|_| RedisStoreError::TIMED_OUT)??;
        let store = Self::new(keys, connection);
        // A server that must not run our scripts, or is no master, is found here and not at the first sign-in.
        store.within(store.read_at(&store.keys.nowhere())).await?;
        Ok(store)
    }

    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, RedisStoreError>>,
    ) -> Result<T, RedisStoreError> {
        tokio::time::timeout(self.timeout, work).await.unwrap_or(Err(RedisStoreError::TIMED_OUT))
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

    async fn read_at(&self, place: &Place<'_>) -> Result<(Option<Vec<u8>>, SystemTime), RedisStoreError> {
        let mut keys = vec![place.record.clone()];
        if !self.connection.is_cluster() {
            keys.push(place.index.clone());
        }
        let (seconds, micros, value): (u64, u32, Option<Vec<u8>>) =
            self.connection.run(&READ, &keys, &[]).await?;
        Ok((value, time(seconds, micros)))
    }

    async fn replace(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, RedisStoreError> {
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
        let arguments =
            [place.member.as_bytes(), &version, &value, now.as_bytes(), idle.as_bytes(), latest.as_bytes()];
        let outcome: Vec<u8> = self.connection.run(&UPDATE, &[place.record, place.index], &arguments).await?;
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
        // The time is asked for even if there can be no record.
        let place = self.keys.place(id).unwrap_or_else(|| self.keys.nowhere());
        let (value, now) = self.within(self.read_at(&place)).await?;
        let record = value.map(|value| decode(id, &value)).transpose()?;
        Ok(Snapshot { record, now })
    }

    async fn update(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, RedisStoreError> {
        self.within(self.replace(record, stamps)).await
    }

    async fn remove(&self, id: &SessionId) -> Result<bool, RedisStoreError> {
        let Some((tag, member)) = parts(id) else {
            return Ok(false);
        };
        Ok(self.within(self.remove_members(tag, &[member.to_owned()])).await? > 0)
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, RedisStoreError> {
        self.within(self.list_all(subject)).await
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, RedisStoreError> {
        self.within(self.remove_others(subject, keep)).await
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
