//! Hearing of changes at once, over a connection that waits for them.
//!
//! Beside the feed there is a stream of one entry, which is replaced whenever something is announced: it says nothing
//! but that. The feed itself is a sorted set, for which no command waits without taking from it.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, ServerErrorKind, aio::MultiplexedConnection,
};
use tokio::time::sleep;

use super::{
    RedisStore,
    connection::{CONNECT_TIMEOUT, Connection, Single},
    scripts::LISTEN,
    transport::RESPONSE_TIMEOUT,
};
use crate::store::push::News;

impl RedisStore {
    /// Waits for the next push. There is none in a cluster, nor over a connection of the application's own.
    pub(super) fn next_push(&self) -> impl Future<Output = ()> + Send {
        let single = match &self.connection {
            Connection::Single(single) if single.can_connect() => Some(single.clone()),
            Connection::Single(_) | Connection::Cluster(_) => None,
        };
        let key = self.keys.push();
        let arrived = single
            .map(|single| self.pushes.next(move |news| async move { listen(&single, &key, &news).await }));
        async move {
            match arrived {
                Some(arrived) => arrived.await,
                None => std::future::pending().await,
            }
        }
    }
}

/// Listens for as long as the store lives.
async fn listen(single: &Single, key: &str, news: &News) {
    loop {
        let pause = match hear(single, key, news).await.kind() {
            // The user may not, or the server is too old.
            ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::ResponseError) => WHILE_DENIED,
            _ => AGAIN,
        };
        sleep(pause).await;
    }
}

/// Wakes the followers with each announcement, and returns why it cannot any more.
async fn hear(single: &Single, key: &str, news: &News) -> RedisError {
    let mut connection = match connect(single).await {
        Ok(connection) => connection,
        Err(error) => return error,
    };
    let mut last = String::from("$");
    loop {
        match next(&mut connection, key, &last).await {
            Ok(entry) => last = entry.unwrap_or(last),
            Err(error) => return error,
        }
        // Also after a while without an announcement, in case one came just before.
        news.arrived();
    }
}

async fn connect(single: &Single) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(LONGEST + RESPONSE_TIMEOUT));
    single.client().await?.get_multiplexed_async_connection_with_config(&config).await
}

/// Waits for an announcement after `last`, and returns which it is.
async fn next(connection: &mut MultiplexedConnection, key: &str, last: &str) -> RedisResult<Option<String>> {
    redis::cmd("EVAL").arg(LISTEN.code).arg(1).arg(key).query_async::<()>(connection).await?;
    let longest = u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX);
    let mut reading = redis::cmd("XREAD");
    reading.arg("BLOCK").arg(longest).arg("STREAMS").arg(key).arg(last);
    let read: Option<Streams> = reading.query_async(connection).await?;
    let mut entries = read.into_iter().flatten().flat_map(|(_, entries)| entries);
    Ok(entries.next_back().map(|(id, _)| id))
}

/// Streams by their keys, with entries by their ids.
type Streams = Vec<(String, Vec<(String, Vec<String>)>)>;

/// How long to wait for an announcement before the stream is kept for longer.
const LONGEST: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(1);
const WHILE_DENIED: Duration = Duration::from_secs(60);
