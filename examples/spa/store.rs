//! Where the sessions are kept, as `STORE` says:
//!
//! | `STORE` | for |
//! |---|---|
//! | `memory` | one process; users sign in again after a restart |
//! | `sqlite:PATH` | one machine |
//! | `postgres://USER:PASSWORD@HOST:PORT/DATABASE` | several machines |
//! | `redis://USER:PASSWORD@HOST:PORT/NUMBER` | several machines |
//! | `redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT` | several machines, any masters of a Redis Cluster |
//!
//! The last three need `SECRET`: all nodes sign with the same one.

use std::error::Error;

use tower_cookie_jwt::{
    KeyRing, MemoryStore, Sessions,
    session::SessionsBuilder,
    store::{PostgresStore, RedisStore, SqliteStore},
};

use crate::users::User;

type BoxError = Box<dyn Error + Send + Sync>;

/// Begins with the store of this address.
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
        "redis" => Sessions::builder(keys, RedisStore::connect(address, tag_key(secret)?).await?),
        "redis+cluster" => {
            let store = RedisStore::connect_cluster(cluster_urls(rest), tag_key(secret)?).await?;
            Sessions::builder(keys, store)
        }
        _ => return unknown(),
    })
}

/// Does not repeat the address: it may hold a password.
fn unknown<T>() -> Result<T, BoxError> {
    Err("STORE is `memory`, `sqlite:PATH`, `postgres://…`, `redis://…` or `redis+cluster://HOST:PORT,HOST:PORT`".into())
}

/// The secret that the nodes on a shared store have in common.
fn shared(secret: Option<&str>) -> Result<&str, BoxError> {
    secret.ok_or_else(|| {
        "SECRET is not set: nodes that share a store must sign with the same one, of at least 32 bytes".into()
    })
}

/// The key by which a Redis store places the sessions of one user together; another use of the secret,
/// so another key.
fn tag_key(secret: Option<&str>) -> Result<String, BoxError> {
    Ok(format!("places of sessions: {}", shared(secret)?))
}

/// `//USER:PASSWORD@HOST:PORT,HOST:PORT` as a URL for each host.
fn cluster_urls(rest: &str) -> Vec<String> {
    let rest = rest.trim_start_matches('/');
    let (login, hosts) =
        rest.rsplit_once('@').map_or(("", rest), |(_, hosts)| rest.split_at(rest.len() - hosts.len()));
    hosts.split(',').map(|host| format!("redis://{login}{host}")).collect()
}
