use std::{fmt, time::Duration};

use redis::{aio::ConnectionManager, cluster_async::ClusterConnection};
use zeroize::Zeroizing;

use super::{
    DEFAULT_TIMEOUT, RedisStore,
    connection::Connection,
    error::RedisStoreError,
    keys::{Keys, check_prefix},
    sentinel::SentinelUrl,
};
use crate::error::ConfigError;

/// Options for opening a [`RedisStore`], created by [`RedisStore::options`].
///
/// # Examples
///
/// For a user of the server who may use only keys that begin with `shop:`:
///
/// ```no_run
/// use tower_cookie_jwt::store::RedisStore;
///
/// # async fn open(tag_key: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::options()
///     .with_key_prefix("shop:")?
///     .connect("redis://shop:secret@10.0.0.1", tag_key)
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until the store is opened"]
pub struct RedisStoreOptions {
    prefix: Option<Box<str>>,
    pub(super) timeout: Duration,
    root_certificate: Option<Vec<u8>>,
    sentinel_password: Option<Zeroizing<String>>,
    pub(super) allows_eviction: bool,
}

impl RedisStore {
    /// Returns options for opening a store with another prefix or timeout, or with a certificate authority of your own.
    pub const fn options() -> RedisStoreOptions {
        RedisStoreOptions {
            prefix: None,
            timeout: DEFAULT_TIMEOUT,
            root_certificate: None,
            sentinel_password: None,
            allows_eviction: false,
        }
    }
}

impl RedisStoreOptions {
    /// Sets the prefix of all key names. Stores with different prefixes share nothing.
    ///
    /// Defaults to `sessions:`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `prefix` contains braces: Redis Cluster determines the slot of a key from the
    /// text in the first pair of braces.
    pub fn with_key_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        check_prefix(prefix)?;
        self.prefix = Some(prefix.into());
        Ok(self)
    }

    /// Sets the time after which a call fails, including its retries.
    ///
    /// Defaults to 5 seconds. A longer timeout has an effect only with a connection of the application's own that has
    /// longer timeouts as well.
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Accepts a server that evicts keys when its memory is full.
    ///
    /// Users are then signed out at random, and `list`, `sign_out_others` and `sign_out_everywhere` miss sessions whose
    /// entry in the index has been evicted: **a session may stay live after the user has ended all of them**. By default,
    /// opening a store on such a server fails.
    pub const fn with_eviction_allowed(mut self) -> Self {
        self.allows_eviction = true;
        self
    }

    /// Sets the password of the Sentinels (`requirepass` in their configuration).
    ///
    /// Defaults to none. The password in the URL is the server's.
    pub fn with_sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_password = Some(password.into().into());
        self
    }

    /// Trusts only servers whose certificate is signed by this authority: its certificate in PEM format.
    ///
    /// Defaults to the authorities of the operating system.
    #[cfg(feature = "tls")]
    pub fn with_root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificate = Some(pem.into());
        self
    }

    /// Connects to the server at `url`, such as `redis://user:password@10.0.0.1:6379/0`, or `rediss://` with TLS, or to the
    /// master that Sentinels watch: `redis+sentinel://user:password@10.0.0.1:26379,10.0.0.2:26379/mymaster`, or
    /// `rediss+sentinel://`.
    ///
    /// All nodes need the same `tag_key` of at least 16 secret bytes: see [the tag key](RedisStore#the-tag-key). A lost
    /// connection is reopened when it is next needed.
    ///
    /// # Errors
    ///
    /// Returns an error if the key is too short, if the URL is invalid, if the server cannot be reached, rejects
    /// the credentials or is not a master, if its user may not run a command that is needed, or if it evicts keys.
    pub async fn connect(self, url: &str, tag_key: impl AsRef<[u8]>) -> Result<RedisStore, RedisStoreError> {
        let keys = self.keys(tag_key.as_ref())?;
        if let Some(sentinels) = SentinelUrl::parse(url)? {
            sentinels.nodes().try_for_each(|node| self.check_tls(node))?;
            let connecting = Connection::through_sentinels(
                sentinels,
                self.sentinel_password.as_ref().map(|password| password.as_str()),
                self.root_certificate.clone(),
            );
            return RedisStore::begin(keys, &self, connecting).await;
        }
        self.check_tls(url)?;
        let connecting = Connection::single(url, self.root_certificate.clone());
        RedisStore::begin(keys, &self, connecting).await
    }

    /// Connects to the Redis Cluster that the nodes at `urls` belong to.
    ///
    /// Some of the cluster's nodes suffice; the others are discovered. All nodes of the application need the same
    /// `tag_key` of at least 16 secret bytes: see [the tag key](RedisStore#the-tag-key). The store follows slots that are
    /// moved. While a slot is being migrated, calls for its sessions may have to wait, and fail after the usual 5
    /// seconds.
    ///
    /// # Errors
    ///
    /// Returns an error if the key is too short, if a URL is invalid, if no node can be reached and accepts the credentials,
    /// if the user may not run a command that is needed, or if a master evicts keys.
    pub async fn connect_cluster<U: Into<String>>(
        self,
        urls: impl IntoIterator<Item = U>,
        tag_key: impl AsRef<[u8]>,
    ) -> Result<RedisStore, RedisStoreError> {
        let keys = self.keys(tag_key.as_ref())?;
        let urls: Vec<String> = urls.into_iter().map(Into::into).collect();
        urls.iter().try_for_each(|url| self.check_tls(url))?;
        let connecting = Connection::cluster(urls, self.root_certificate.clone());
        RedisStore::begin(keys, &self, connecting).await
    }

    /// Creates a store over an existing connection. See [`RedisStore::from_manager`].
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `tag_key` has fewer than 16 bytes.
    pub fn from_manager(
        self,
        manager: ConnectionManager,
        tag_key: impl AsRef<[u8]>,
    ) -> Result<RedisStore, ConfigError> {
        let keys = self.keys(tag_key.as_ref())?;
        Ok(RedisStore::new(keys, self.timeout, Connection::given(manager)))
    }

    /// Creates a store over an existing connection to a cluster. See [`RedisStore::from_cluster`].
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `tag_key` has fewer than 16 bytes.
    pub fn from_cluster(
        self,
        cluster: ClusterConnection,
        tag_key: impl AsRef<[u8]>,
    ) -> Result<RedisStore, ConfigError> {
        let keys = self.keys(tag_key.as_ref())?;
        Ok(RedisStore::new(keys, self.timeout, Connection::given_cluster(cluster)))
    }

    /// Prepares for TLS if the URL asks for it.
    fn check_tls(&self, url: &str) -> Result<(), ConfigError> {
        match asks_for_tls(url) {
            true => prepare_tls(),
            false if self.root_certificate.is_some() => Err(ConfigError::new(
                "a root certificate has been given, but the URL of the session server does not ask for TLS: begin it with \
                 `rediss://`",
            )),
            false => Ok(()),
        }
    }

    fn keys(&self, tag_key: &[u8]) -> Result<Keys, ConfigError> {
        let keys = Keys::new(tag_key)?;
        match &self.prefix {
            Some(prefix) => keys.with_prefix(prefix),
            None => Ok(keys),
        }
    }
}

impl fmt::Debug for RedisStoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreOptions")
            .field("key_prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("allows_eviction", &self.allows_eviction)
            .finish_non_exhaustive()
    }
}

/// Installs a provider of cryptography for rustls, unless the process has one.
///
/// The `redis` crate uses that of the process, and panics if there is none.
#[cfg(feature = "tls")]
fn prepare_tls() -> Result<(), ConfigError> {
    if rustls::crypto::CryptoProvider::get_default().is_some() {
        return Ok(());
    }
    #[cfg(not(feature = "aws-lc-rs"))]
    return Err(ConfigError::new(
        "TLS needs a provider of cryptography: call `rustls::crypto::CryptoProvider::install_default` with one at the \
         beginning of `main`, or enable the feature `aws-lc-rs`",
    ));
    #[cfg(feature = "aws-lc-rs")]
    {
        // An error means that another thread was faster, with a provider that is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Ok(())
    }
}

#[cfg(not(feature = "tls"))]
fn prepare_tls() -> Result<(), ConfigError> {
    Err(ConfigError::new(
        "the URL of the session server asks for TLS: enable the feature `tls` of tower-cookie-jwt, or give a connection of \
         your own with `RedisStore::from_manager`",
    ))
}

/// Whether the URL asks for TLS, as the `redis` crate reads it. Of what is no URL, that crate says so.
fn asks_for_tls(url: &str) -> bool {
    redis::parse_redis_url(url).is_some_and(|url| matches!(url.scheme(), "rediss" | "valkeys"))
}
