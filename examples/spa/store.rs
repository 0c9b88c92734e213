//! The session store, selected by `STORE`:
//!
//! | `STORE` | for |
//! |---|---|
//! | `memory` | one process; users have to sign in again after a restart |
//! | `sqlite:PATH` | one machine |
//! | `postgres://USER:PASSWORD@HOST:PORT/DATABASE` | several machines |
//! | `redis://USER:PASSWORD@HOST:PORT/NUMBER` | several machines |
//! | `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/MASTER` | several machines; the hosts are the Sentinels of that master |
//! | `redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT` | several machines; the hosts are any masters of a Redis Cluster |
//!
//! All but the first two require `SECRET`, because all nodes must sign with the same one.

use std::error::Error;

use tower_cookie_jwt::{
    KeyRing, MemoryStore, Sessions,
    session::SessionsBuilder,
    store::{PostgresStore, RedisStore, SqliteStore},
};

use crate::users::User;

type BoxError = Box<dyn Error + Send + Sync>;

/// Creates a builder with the store at `address`.
pub(crate) async fn open(
    address: &str,
    keys: KeyRing,
    secret: Option<&str>,
) -> Result<SessionsBuilder<User>, BoxError> {
    let Some((scheme, rest)) = address.split_once(':') else {
        return if address == "memory" { Ok(Sessions::builder(keys, MemoryStore::new())) } else { unknown() };
    };
    Ok(match scheme {
        "sqlite" => Sessions::builder(keys, SqliteStore::open(rest).await?),
        "postgres" | "postgresql" => {
            shared(secret)?;
            Sessions::builder(keys, PostgresStore::connect(address).await?)
        }
        "redis" | "redis+sentinel" => {
            Sessions::builder(keys, RedisStore::connect(address, tag_key(secret)?).await?)
        }
        "redis+cluster" => {
            let store = RedisStore::connect_cluster(cluster_urls(rest), tag_key(secret)?).await?;
            Sessions::builder(keys, store)
        }
        _ => return unknown(),
    })
}

/// Returns an error that does not contain the address, which may include a password.
fn unknown<T>() -> Result<T, BoxError> {
    Err("STORE must be `memory`, `sqlite:PATH`, `postgres://…`, `redis://…`, `redis+sentinel://…` or `redis+cluster://HOST:PORT,HOST:PORT`".into())
}

/// Returns the secret that all nodes with a shared store have in common.
fn shared(secret: Option<&str>) -> Result<&str, BoxError> {
    secret.ok_or_else(|| {
        "SECRET is not set: nodes that share a store must sign with the same secret of at least 32 bytes"
            .into()
    })
}

/// Returns the key with which a Redis store keeps the sessions of one user together. It differs from the signing key,
/// because the two have different purposes.
fn tag_key(secret: Option<&str>) -> Result<String, BoxError> {
    Ok(format!("places of sessions: {}", shared(secret)?))
}

/// Splits `//USER:PASSWORD@HOST:PORT,HOST:PORT` into one URL per host.
fn cluster_urls(rest: &str) -> Vec<String> {
    let rest = rest.trim_start_matches('/');
    let (login, hosts) =
        rest.rsplit_once('@').map_or(("", rest), |(_, hosts)| rest.split_at(rest.len() - hosts.len()));
    hosts.split(',').map(|host| format!("redis://{login}{host}")).collect()
}
