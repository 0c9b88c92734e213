//! Hearing of changes that other processes write to the file.

use std::time::Duration;

use sqlx::{ConnectOptions, Connection, SqlitePool, sqlite::SqliteConnection};
use tokio::time::sleep;

use super::SqliteStore;
use crate::store::push::News;

impl SqliteStore {
    pub(super) fn next_push(&self) -> impl Future<Output = ()> + Send {
        let pool = self.reader.clone();
        self.pushes.next(move |news| async move { watch(&pool, &news).await })
    }
}

/// Looks at the file's number of commits until the store is closed.
///
/// Over a connection that does nothing else: its own commits would not count.
async fn watch(pool: &SqlitePool, news: &News) {
    loop {
        if let Ok(mut own) = pool.connect_options().as_ref().clone().connect().await {
            tokio::select! {
                _lost = compare(&mut own, news) => {}
                () = news.closed() => return drop(own.close().await),
            }
        }
        tokio::select! {
            () = sleep(AGAIN) => {}
            () = news.closed() => return,
        }
    }
}

async fn compare(own: &mut SqliteConnection, news: &News) -> Result<(), sqlx::Error> {
    let mut former = 0;
    loop {
        let version: i64 = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *own).await?;
        if version != std::mem::replace(&mut former, version) {
            news.arrived();
        }
        sleep(OFTEN).await;
    }
}

/// It takes a few microseconds.
const OFTEN: Duration = Duration::from_millis(20);
const AGAIN: Duration = Duration::from_secs(1);
