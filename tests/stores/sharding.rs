//! The example `sharding` over two PostgreSQL servers.

#[path = "../../examples/sharding.rs"]
#[expect(dead_code, unreachable_pub, reason = "a program of its own, which a page includes")]
mod example;

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tower_cookie_jwt::{
    store::{Created, NewRecord, PostgresStore, RefreshStore, SessionId, SessionRecord, Stamps, Update},
    testing::{store_contract, store_contract_at_size},
};

use self::example::Sharded;
use crate::servers::Postgres;

const SHARDS: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_on_two_servers_keep_the_contract() {
    let servers = [Postgres::start(), Postgres::start()];
    let store = over(&servers, |shard| shard % 2).await;
    store_contract(&store).await;
    store_contract_at_size(&store, 1_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_on_one_server_where_each_process_finds_it() {
    let servers = [Postgres::start(), Postgres::start()];
    let store = over(&servers, |shard| shard % 2).await;
    let another_process = over(&servers, |shard| shard % 2).await;
    let alone = [open(&servers[0]).await, open(&servers[1]).await];
    let mut on_the_first = 0;
    for subject in subjects() {
        let record = sign_in(&store, &subject).await;
        let read = another_process.read(&record.id).await.expect("it reads").record;
        assert_eq!(read.as_ref(), Some(&record), "{subject}");
        let mut listed = Vec::new();
        for server in &alone {
            listed.push(server.list(&subject).await.expect("it lists").len());
        }
        assert_eq!(listed.iter().sum::<usize>(), 1, "{subject}");
        on_the_first += listed[0];
    }
    assert!((8..=56).contains(&on_the_first), "{on_the_first} of 64 on one server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_of_no_shard_is_of_no_session() {
    let servers = [Postgres::start(), Postgres::start()];
    let store = over(&servers, |shard| shard % 2).await;
    let record = sign_in(&store, "ada").await;
    let (number, rest) = record.id.as_str().split_once('-').expect("the number of a shard");
    let other = (number.parse::<usize>().expect("a number") + 1) % SHARDS;
    for id in [
        String::new(),
        "-".to_owned(),
        rest.to_owned(),
        format!("-{rest}"),
        format!("{other}-{rest}"),
        format!("{SHARDS}-{rest}"),
        format!("-1-{rest}"),
        format!("+{number}-{rest}"),
        format!("{number}--{rest}"),
        format!("99999999999999999999-{rest}"),
        format!("\u{e9}\0-{rest}"),
    ] {
        let id = SessionId::new(id);
        let snapshot = store.read(&id).await.expect("it reads");
        assert_eq!(snapshot.record, None, "{id:?}");
        let age = snapshot.now.duration_since(record.created_at).unwrap_or_default();
        assert!(age < Duration::from_secs(60), "{id:?}: {age:?}");
        let forged = NewRecord::new(id.clone(), "ada", [7; 32]).begin(snapshot.now);
        let outcome = store.update(&forged, Stamps::default()).await.expect("it answers");
        assert_eq!(outcome, Update::Gone, "{id:?}");
        assert!(!store.remove(&id).await.expect("it answers"), "{id:?}");
    }
    assert_eq!(store.list("ada").await.expect("it lists"), [record]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_down_fails_the_subjects_of_its_shards_only() {
    let mut servers = [Postgres::start(), Postgres::start()];
    let store = over(&servers, |shard| shard % 2).await;
    let mut signed_in = Vec::new();
    for subject in subjects().take(8) {
        signed_in.push(sign_in(&store, &subject).await);
    }
    servers[1].stop();
    for record in &signed_in {
        let is_up = shard_of(record).is_multiple_of(2);
        assert_eq!(store.read(&record.id).await.is_ok(), is_up, "{record:?}");
        assert_eq!(store.list(&record.subject).await.is_ok(), is_up, "{record:?}");
    }
    servers[1].restart();
    for record in signed_in {
        assert_eq!(store.read(&record.id).await.expect("it reads again").record, Some(record));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_takes_its_sessions_to_another_server() {
    let servers = [Postgres::start(), Postgres::start()];
    let before = over(&servers, |_| 0).await;
    let mut signed_in = Vec::new();
    for subject in subjects() {
        signed_in.push(sign_in(&before, &subject).await);
    }
    let moving = |shard| shard >= SHARDS / 2;
    let after = over(&servers, |shard| usize::from(moving(shard))).await;
    for shard in (0..SHARDS).filter(|shard| moving(*shard)) {
        copy(shard, &servers[0], &servers[1]).await;
    }
    let first = open(&servers[0]).await;
    for record in signed_in {
        // Whatever is left behind is no longer read.
        if moving(shard_of(&record)) {
            assert_eq!(first.remove_all(&record.subject, None).await.expect("it removes"), 1);
        }
        assert_eq!(after.read(&record.id).await.expect("it reads").record.as_ref(), Some(&record));
        assert_eq!(after.list(&record.subject).await.expect("it lists"), std::slice::from_ref(&record));
        assert!(after.update(&record, Stamps::default()).await.expect("it writes").is_done());
        assert_eq!(after.remove_all(&record.subject, None).await.expect("it removes"), 1);
    }
}

async fn over(servers: &[Postgres; 2], place: impl Fn(usize) -> usize) -> Sharded<PostgresStore> {
    let stores = [open(&servers[0]).await, open(&servers[1]).await];
    Sharded::new((0..SHARDS).map(|shard| stores[place(shard)].clone()))
}

async fn open(server: &Postgres) -> PostgresStore {
    PostgresStore::connect(&server.url()).await.expect("it opens")
}

async fn sign_in(store: &Sharded<PostgresStore>, subject: &str) -> SessionRecord {
    let session = NewRecord::new(store.new_id(subject), subject, [7; 32]);
    match store.create(session).await.expect("it signs in") {
        Created::Done(record) => record,
        Created::Full => panic!("there is room"),
    }
}

fn subjects() -> impl Iterator<Item = String> {
    (0..64).map(|number| format!("user {number}"))
}

fn shard_of(record: &SessionRecord) -> usize {
    let (shard, _) = record.id.as_str().split_once('-').expect("the number of a shard");
    shard.parse().expect("a number")
}

/// Copies the rows of a shard, which are those whose ids begin with its number.
async fn copy(shard: usize, from: &Postgres, to: &Postgres) {
    let mut from = PgConnection::connect(&from.url()).await.expect("it connects");
    let mut to = PgConnection::connect(&to.url()).await.expect("it connects");
    let columns = "SELECT string_agg(column_name, ', ') FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = 'sessions' AND is_generated = 'NEVER'";
    let columns: String = sqlx::query_scalar(columns).fetch_one(&mut from).await.expect("a table");
    let rows =
        "SELECT coalesce(json_agg(session), '[]')::text FROM sessions AS session WHERE id LIKE $1 || '-%'";
    let rows: String =
        sqlx::query_scalar(rows).bind(shard.to_string()).fetch_one(&mut from).await.expect("rows");
    let insert = format!(
        "INSERT INTO sessions ({columns})
        SELECT {columns} FROM json_populate_recordset(NULL::sessions, $1::json)"
    );
    sqlx::query(AssertSqlSafe(insert)).bind(rows).execute(&mut to).await.expect("it inserts");
}
