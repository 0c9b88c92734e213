//! Two builds of an application on one store, as during a deployment: an earlier one, which knows nothing of what this
//! one keeps in the extension of a record, and the present one. The schema is that of a later one. All restart again and
//! again.

mod bound;

use std::time::Duration;

use http::StatusCode;
use tower_cookie_jwt::store::{
    Created, NewRecord, PostgresStore, RedisStore, RefreshStore, SessionId, SessionRecord, Snapshot,
    SqliteStore, Stamps, Update,
};

use crate::{
    clients::{GRACE, LegitimateClient, Nodes},
    servers::{Postgres, Redis, RedisCluster},
};

/// What an earlier build makes of a store: it does not look into the extension of a record, and writes it as it was.
struct Earlier<S>(S);

impl<S: RefreshStore> RefreshStore for Earlier<S> {
    type Error = S::Error;

    fn new_id(&self, subject: &str) -> SessionId {
        self.0.new_id(subject)
    }

    async fn create(&self, session: NewRecord) -> Result<Created, S::Error> {
        self.0.create(session).await
    }

    async fn read(&self, id: &SessionId) -> Result<Snapshot, S::Error> {
        let Snapshot { record, now } = self.0.read(id).await?;
        Ok(Snapshot { record: record.map(unseen), now })
    }

    async fn update(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, S::Error> {
        let mut record = record.clone();
        // If it has changed meanwhile, so has the version.
        if let Some(stored) = self.0.read(&record.id).await?.record {
            record.extension = stored.extension;
        }
        Ok(match self.0.update(&record, stamps).await? {
            Update::Done(written) => Update::Done(Box::new(unseen(*written))),
            outcome => outcome,
        })
    }

    async fn remove(&self, id: &SessionId) -> Result<bool, S::Error> {
        self.0.remove(id).await
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, S::Error> {
        Ok(self.0.list(subject).await?.into_iter().map(unseen).collect())
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, S::Error> {
        self.0.remove_all(subject, keep).await
    }
}

fn unseen(mut record: SessionRecord) -> SessionRecord {
    record.extension = Box::default();
    record
}

/// Signs users in with either build, and lets both rotate their sessions by turns.
async fn two_builds_share_a_store<S: RefreshStore>(open: impl AsyncFn() -> S) {
    let mut users = Vec::new();
    let mut nodes = both(&open).await;
    for (user, build) in [("ada", EARLIER), ("eve", PRESENT)] {
        let client = LegitimateClient::new(&nodes);
        client.sign_in_at(build, user).await;
        users.push(client);
    }
    for round in 0..ROUNDS {
        // Both builds restart, and the users' next requests go to the other one first.
        nodes = both(&open).await;
        for client in &mut users {
            *client = client.moved_to(&nodes);
            for build in [round % 2, (round + 1) % 2] {
                client.forget_access();
                assert_eq!(client.step_at(build).await, StatusCode::OK, "round {round}, build {build}");
                assert_eq!(client.step_at(1 - build).await, StatusCode::OK, "round {round}, confirmed");
            }
        }
        assert_eq!(nodes.ledger().complaints(), [""; 0], "round {round}");
        tokio::time::sleep(GRACE + Duration::from_millis(100)).await;
    }
    for client in &users {
        assert!(client.generation() + 1 >= ROUNDS as u32, "a rotation a round: {}", client.generation());
    }
    bound::only_the_present_build_serves_it(&open).await;
    bound::the_present_build_refuses_what_a_later_one_has_added(&open).await;
}

async fn both<S: RefreshStore>(open: &impl AsyncFn() -> S) -> Nodes {
    let mut nodes = Nodes::new();
    nodes.add(Earlier(open().await));
    nodes.add(open().await);
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_and_a_new_build_share_postgres() {
    let server = Postgres::start();
    let open = async || PostgresStore::connect(&server.url()).await.expect("it opens");
    open().await;
    server.run(
        "ALTER TABLE sessions ADD COLUMN added text, ADD COLUMN counted bigint NOT NULL DEFAULT 7;
        UPDATE sessions_version SET version = 4, compatible_from = 3",
    );
    two_builds_share_a_store(open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_and_a_new_build_share_sqlite() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sessions.sqlite");
    let open = async || SqliteStore::open(&path).await.expect("it opens");
    open().await;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display())).await.expect("it opens");
    let later = "ALTER TABLE sessions ADD COLUMN added TEXT; UPDATE sessions_version SET version = 4, compatible_from = 3";
    sqlx::raw_sql(later).execute(&pool).await.expect("it is changed");
    two_builds_share_a_store(open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_and_a_new_build_share_redis() {
    let server = Redis::start();
    two_builds_share_a_store(async || RedisStore::connect(&server.url(), [7; 16]).await.expect("it opens"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_and_a_new_build_share_a_cluster() {
    let cluster = RedisCluster::start();
    let open = async || RedisStore::connect_cluster(cluster.urls(), [7; 16]).await.expect("it opens");
    two_builds_share_a_store(open).await;
}

/// The extension of a later version begins with a byte that this one does not know.
const ADDED: &[u8] = b"\x09what a later version has added\0";
const EARLIER: usize = 0;
const PRESENT: usize = 1;
const ROUNDS: usize = 4;
