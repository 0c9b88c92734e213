//! `RedisStore` on one server and on a cluster.

mod answers;
mod cluster;
mod faults;
mod feed;
mod full;
mod gate;
mod keys;
mod opening;
mod outages;
mod sentinel;
mod server;

use std::{error::Error as StdError, time::Duration};

use ::redis::{FromRedisValue, aio::MultiplexedConnection};
use tower_cookie_jwt::store::{Created, NewRecord, RedisStore, RefreshStore, SessionRecord};

use crate::servers::Redis;

const TAG_KEY: [u8; 16] = [7; 16];
/// Each call is bounded by 5 seconds; the rest is for a busy machine.
const BOUND: Duration = Duration::from_secs(15);
const MINUTE: Duration = Duration::from_secs(60);

async fn open(redis: &Redis) -> RedisStore {
    open_url(&redis.url()).await
}

async fn open_url(url: &str) -> RedisStore {
    RedisStore::connect(url, TAG_KEY).await.expect("the server answers")
}

fn new_session(store: &RedisStore, subject: &str) -> NewRecord {
    NewRecord::new(store.new_id(subject), subject, [7; 32])
}

async fn create(store: &RedisStore, session: NewRecord) -> SessionRecord {
    match store.create(session).await.expect("the store answers") {
        Created::Done(record) => record,
        Created::Full => panic!("this store is never full without an error"),
    }
}

async fn sign_in(store: &RedisStore, subject: &str) -> SessionRecord {
    create(store, new_session(store, subject)).await
}

async fn read(store: &RedisStore, record: &SessionRecord) -> Option<SessionRecord> {
    store.read(&record.id).await.expect("the store answers").record
}

/// A connection of the test's own.
async fn admin(url: &str) -> MultiplexedConnection {
    let client = ::redis::Client::open(url).expect("a plain URL");
    // On a busy machine, some commands take longer than the half second that is usual.
    let patient = ::redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(30)));
    client.get_multiplexed_async_connection_with_config(&patient).await.expect("the server answers")
}

/// Runs a command whose words are separated by spaces.
async fn run<T: FromRedisValue>(admin: &mut MultiplexedConnection, command: &str) -> T {
    let mut words = command.split(' ');
    let mut command = ::redis::cmd(words.next().expect("a command"));
    command.arg(words.collect::<Vec<_>>());
    command.query_async(admin).await.expect("the command is right")
}

/// Returns everything that an error shows to users and in the log.
fn all_words(error: &dyn StdError) -> String {
    let mut words = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        words += &format!(" {cause} {cause:?}");
        source = cause.source();
    }
    words
}
