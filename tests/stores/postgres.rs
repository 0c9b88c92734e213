//! `PostgresStore` on a real server.

mod faults;
mod feed;
mod opening;
mod operating;
pub(crate) mod sessions;
mod vacuum;

use tower_cookie_jwt::{
    store::{Created, NewRecord, PostgresStore, PostgresStoreError, RefreshStore, SessionRecord},
    testing::{store_contract, store_contract_at_size},
};

use crate::servers::Postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_keeps_the_contract() {
    let server = Postgres::start();
    let store = open(&server).await;
    store_contract(&store).await;
    store_contract_at_size(&store, 10_000).await;
    let pool = sqlx::PgPool::connect(&server.url()).await.expect("it connects");
    store_contract(&PostgresStore::from_pool(pool).await.expect("it opens")).await;
}

async fn open(server: &Postgres) -> PostgresStore {
    PostgresStore::connect(&server.url()).await.expect("it opens")
}

async fn sign_in(store: &PostgresStore, subject: &str) -> Result<SessionRecord, PostgresStoreError> {
    match store.create(NewRecord::new(store.new_id(subject), subject, [7; 32])).await? {
        Created::Done(record) => Ok(record),
        Created::Full => panic!("there is room"),
    }
}
