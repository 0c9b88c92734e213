//! Hearing of changes at once, over a connection that listens for notifications.

use std::time::Duration;

use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::time::sleep;

use super::{PostgresStore, error::Effect};
use crate::store::push::News;

impl PostgresStore {
    pub(super) fn next_push(&self) -> impl Future<Output = ()> + Send {
        let (pool, channel) = (self.source.pool.clone(), self.sql.channel.clone());
        self.pushes.next(move |news| async move { listen(&pool, &channel, &news).await })
    }

    /// Tells the nodes that listen, once this call is over, that there is something new.
    ///
    /// Not in the transaction that makes the change: notifying orders all such transactions one after the other until
    /// they are on the disk, and a full queue would make them fail. What is lost is found by the next poll.
    pub(super) fn tell(&self) {
        let store = self.clone();
        self.pushes.tell(move || async move {
            let telling = || sqlx::query(NOTIFY).bind(&*store.sql.channel);
            let _ = store.rows(Effect::Reads, telling).await;
        });
    }
}

/// Why a connection is listened to no more.
enum End {
    Lost,
    /// Nothing comes through: most likely a pooler is between.
    Deaf,
    Closed,
}

/// Listens until the store is closed, over a connection of its own: one that waits for notifications serves no calls.
async fn listen(pool: &PgPool, channel: &str, news: &News) {
    loop {
        // Asked each time, as the password may have been changed.
        let options = pool.connect_options();
        let own = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECTING);
        let own = own.idle_timeout(None).max_lifetime(None).connect_lazy_with((*options).clone());
        let pause = match hear(&own, channel, news).await {
            Ok(End::Lost) | Err(_) => AGAIN,
            Ok(End::Deaf) => WHILE_DEAF,
            Ok(End::Closed) => return own.close().await,
        };
        own.close().await;
        tokio::select! {
            () = sleep(pause) => {}
            () = news.closed() => return,
        }
    }
}

/// Wakes the followers with each notification.
async fn hear(own: &PgPool, channel: &str, news: &News) -> Result<End, sqlx::Error> {
    let mut listener = PgListener::connect_with(own).await?;
    listener.eager_reconnect(false);
    listener.listen(channel).await?;
    // What was sent before is lost.
    news.arrived();
    loop {
        tokio::select! {
            notification = listener.try_recv() => match notification? {
                Some(_) => news.arrived(),
                None => return Ok(End::Lost),
            },
            () = news.nothing_arrives() => return Ok(End::Deaf),
            () = news.closed() => return Ok(End::Closed),
        }
    }
}

/// Its transaction takes a number, but nobody waits until that is on the disk or at a standby.
const NOTIFY: &str = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '')";
/// How long to wait before trying again to connect.
const AGAIN: Duration = Duration::from_secs(1);
const WHILE_DEAF: Duration = Duration::from_secs(60);
const CONNECTING: Duration = Duration::from_secs(5);
