//! Sharding: a store over several others, each of which keeps the sessions of its share of the subjects.

use sha2::{Digest, Sha256};
use std::sync::Arc;
use tower_cookie_jwt::{
    store::{
        Created, MemoryStore, NewRecord, RefreshStore, SessionId, SessionRecord, Snapshot, Stamps, Update,
    },
    testing::store_contract,
};

/// The shards, whose number never changes. Several may be on one server.
#[derive(Clone, Debug)]
pub struct Sharded<S>(Arc<[S]>);

impl<S: RefreshStore> Sharded<S> {
    /// Creates a store over `shards`, of which there must be at least one.
    pub fn new(shards: impl IntoIterator<Item = S>) -> Self {
        let shards: Arc<[S]> = shards.into_iter().collect();
        assert!(!shards.is_empty(), "a store needs a shard");
        Self(shards)
    }

    /// The number of a subject's shard: the same in each process, and in each version of it.
    fn number_of(&self, subject: &str) -> usize {
        let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(subject));
        u32::from_be_bytes([a, b, c, d]) as usize % self.0.len()
    }

    fn of_subject(&self, subject: &str) -> &S {
        &self.0[self.number_of(subject)]
    }

    /// No session has an id without a shard's number, and any shard says so.
    fn of_id(&self, id: &SessionId) -> &S {
        let number = id.as_str().split_once('-').and_then(|(number, _)| number.parse::<usize>().ok());
        number.and_then(|number| self.0.get(number)).unwrap_or(&self.0[0])
    }
}

impl<S: RefreshStore> RefreshStore for Sharded<S> {
    type Error = S::Error;

    fn new_id(&self, subject: &str) -> SessionId {
        let (number, id) = (self.number_of(subject), self.of_subject(subject).new_id(subject));
        SessionId::new(format!("{number}-{id}"))
    }

    async fn create(&self, session: NewRecord) -> Result<Created, S::Error> {
        self.of_id(&session.id).create(session).await
    }

    async fn read(&self, id: &SessionId) -> Result<Snapshot, S::Error> {
        self.of_id(id).read(id).await
    }

    async fn update(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, S::Error> {
        self.of_id(&record.id).update(record, stamps).await
    }

    async fn remove(&self, id: &SessionId) -> Result<bool, S::Error> {
        self.of_id(id).remove(id).await
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, S::Error> {
        self.of_subject(subject).list(subject).await
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, S::Error> {
        self.of_subject(subject).remove_all(subject, keep).await
    }
}

#[tokio::main]
async fn main() {
    let servers = [MemoryStore::new(), MemoryStore::new()];
    // 256 shards: 0 to 127 on the first server, the others on the second.
    let sharded = Sharded::new((0..256).map(|shard| servers[shard / 128].clone()));
    store_contract(&sharded).await;
}
