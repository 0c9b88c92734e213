//! Finding the master through Sentinels.

use redis::{
    Client, ConnectionAddr, IntoConnectionInfo, RedisResult, TlsMode,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::sync::{Mutex, MutexGuard};

use super::transport::tcp_settings;
use crate::error::ConfigError;

/// The parts of `redis+sentinel://user:password@host:port,host:port/master/database`.
pub(super) struct SentinelUrl {
    /// The address of each Sentinel, with user, password and database of the server, as the `redis` crate reads it.
    nodes: Vec<String>,
    master: String,
}

impl SentinelUrl {
    /// Returns `None` for a URL of another scheme.
    pub(super) fn parse(url: &str) -> Result<Option<Self>, ConfigError> {
        let Some((scheme, rest)) = url.split_once("://") else { return Ok(None) };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "redis+sentinel" => "redis",
            "rediss+sentinel" => "rediss",
            _ => return Ok(None),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (master, database) = path.split_once('/').unwrap_or((path, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        if master.is_empty() || hosts.split(',').any(str::is_empty) {
            return Err(ConfigError::new(
                "the URL of the Sentinels is incomplete: it is `redis+sentinel://host:26379,host:26379/name`, where the name \
                 is that of the master in their configuration",
            ));
        }
        let node = |host: &str| format!("{scheme}://{user}{}/{database}", with_port(host));
        Ok(Some(Self { nodes: hosts.split(',').map(node).collect(), master: master.to_owned() }))
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(String::as_str)
    }
}

/// Adds the port of Sentinels, unless there is one. The port of an IPv6 address comes after its bracket.
fn with_port(host: &str) -> String {
    let after_address = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    if after_address.contains(':') { host.to_owned() } else { format!("{host}:26379") }
}

/// The Sentinels of one master.
pub(super) struct Sentinels(Mutex<SentinelClient>);

impl Sentinels {
    pub(super) fn new(
        url: &SentinelUrl,
        password: Option<&str>,
        root_certificate: Option<Vec<u8>>,
    ) -> RedisResult<Self> {
        let nodes = url.nodes().map(IntoConnectionInfo::into_connection_info);
        let nodes = nodes.collect::<RedisResult<Vec<_>>>()?;
        let addresses = nodes.iter().map(|node| node.addr().clone());
        let mut builder = SentinelClientBuilder::new(addresses, &url.master, SentinelServerType::Master)?
            .set_client_to_redis_tcp_settings(tcp_settings())
            .set_client_to_sentinel_tcp_settings(tcp_settings());
        if let Some(password) = password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if let Some(node) = nodes.first() {
            let server = node.redis_settings();
            builder = builder.set_client_to_redis_db(server.db());
            if let Some(username) = server.username() {
                builder = builder.set_client_to_redis_username(username);
            }
            if let Some(password) = server.password() {
                builder = builder.set_client_to_redis_password(password);
            }
            if matches!(node.addr(), ConnectionAddr::TcpTls { .. }) {
                builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
            }
        }
        Ok(Self(Mutex::new(trusting(builder, root_certificate).build()?)))
    }

    /// Begins to ask: one call at a time does.
    pub(super) async fn lock(&self) -> MutexGuard<'_, SentinelClient> {
        self.0.lock().await
    }

    /// Returns a client of the present master.
    pub(super) async fn master(&self) -> RedisResult<Client> {
        self.lock().await.async_get_client().await
    }
}

fn trusting(builder: SentinelClientBuilder, root_certificate: Option<Vec<u8>>) -> SentinelClientBuilder {
    #[cfg(feature = "tls")]
    if let Some(root) = root_certificate {
        use super::transport::authority;
        return builder
            .set_client_to_redis_certificates(authority(root.clone()))
            .set_client_to_sentinel_certificates(authority(root));
    }
    #[cfg(not(feature = "tls"))]
    let _ = root_certificate;
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_names_sentinels_and_their_master() {
        for (url, nodes, master) in [
            ("redis+sentinel://a/shop", &["redis://a:26379/"][..], "shop"),
            ("redis+sentinel://a:1,b:2/shop", &["redis://a:1/", "redis://b:2/"], "shop"),
            (
                "REDISS+Sentinel://ada:p%2Fw@a,b:2/shop/3",
                &["rediss://ada:p%2Fw@a:26379/3", "rediss://ada:p%2Fw@b:2/3"],
                "shop",
            ),
            (
                "redis+sentinel://:pw@[::1],[::2]:7/shop",
                &["redis://:pw@[::1]:26379/", "redis://:pw@[::2]:7/"],
                "shop",
            ),
        ] {
            let parsed = SentinelUrl::parse(url).expect(url).expect("the scheme is ours");
            assert_eq!(parsed.nodes, nodes, "{url}");
            assert_eq!(parsed.master, master, "{url}");
        }
        for other in ["redis://a/shop", "rediss://a", "", "a", "redis+cluster://a"] {
            assert!(SentinelUrl::parse(other).expect("it is not ours").is_none(), "{other}");
        }
        for incomplete in
            ["redis+sentinel://", "redis+sentinel://a", "redis+sentinel://a/", "redis+sentinel://a,/shop"]
        {
            let error = SentinelUrl::parse(incomplete).map(drop).expect_err(incomplete).to_string();
            assert!(error.contains("redis+sentinel://host:26379"), "{error}");
        }
    }
}
