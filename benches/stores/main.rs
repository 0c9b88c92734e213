//! Measures the operations per second of each store: `cargo bench --all-features --bench stores`.
//!
//! With `-- bare [sqlite|postgres|redis]`, compares them with the same statements through the bare drivers instead.
//!
//! The servers are started on loopback and share the machine's cores with the clients. The relevant results are the
//! ratios, and how many writes per second one server can do.

mod bare;
#[path = "../../tests/stores/servers/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of the stores use all of it")]
mod servers;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tower_cookie_jwt::{
    MemoryStore,
    store::{
        Created, NewRecord, PostgresStore, RedisStore, RefreshStore, SessionRecord, SqliteStore, Stamps,
    },
};

use self::{
    bare::{Bare, Session},
    servers::{Postgres, Redis, RedisCluster},
};

/// The number of concurrent requests, as on a busy node.
const AT_ONCE: usize = 64;
/// The number of sessions that the requests cycle through.
const SESSIONS: usize = 4096;
const LASTS: Duration = Duration::from_secs(3);
/// How long each of two that are compared has its turn, and how often.
const SLICE: Duration = Duration::from_millis(500);
const SLICES: usize = 11;
const IDLE: Duration = Duration::from_secs(14 * 24 * 60 * 60);
const TAG_KEY: &[u8] = b"sixteen bytes or more";

#[derive(Clone, Copy)]
enum Operation {
    /// The cost that `with_session_check` and `Sessions::is_live` add to a request.
    Read,
    /// A read and a write.
    Confirmation,
    /// A read, a write, and another read before the cookies are sent.
    Rotation,
    /// The list of a user's devices.
    List,
    /// The creation and the removal of a session.
    SignInAndOut,
}

const OPERATIONS: [Operation; 5] =
    [Operation::Read, Operation::Confirmation, Operation::Rotation, Operation::List, Operation::SignInAndOut];

#[tokio::main]
async fn main() {
    if std::env::args().any(|argument| argument == "bare") {
        compare_with_bare_drivers().await;
        return;
    }
    println!("operations per second, {AT_ONCE} concurrent clients on {SESSIONS} sessions");
    println!("| store | reads | confirmations | rotations | lists | sign-in and sign-out |");
    println!("|---|---|---|---|---|---|");
    measure("memory", MemoryStore::new()).await;

    let folder = tempfile::tempdir().expect("a temporary folder");
    measure("SQLite", SqliteStore::open(folder.path().join("bench.sqlite")).await.expect("it opens")).await;

    let postgres = Postgres::start();
    measure("PostgreSQL", PostgresStore::connect(&postgres.url()).await.expect("it connects")).await;
    postgres.run("ALTER SYSTEM SET synchronous_commit = off");
    postgres.run("SELECT pg_reload_conf()");
    measure(
        "PostgreSQL, `synchronous_commit = off`",
        PostgresStore::connect(&postgres.url()).await.expect("it connects"),
    )
    .await;
    drop(postgres);

    let redis = Redis::start();
    let store = RedisStore::connect(&redis.url(), TAG_KEY).await.expect("it connects");
    measure("Redis, `appendfsync always`", store).await;
    drop(redis);
    let redis = Redis::start_with(&["--appendfsync", "everysec"]);
    let store = RedisStore::connect(&redis.url(), TAG_KEY).await.expect("it connects");
    measure("Redis, `appendfsync everysec`", store).await;
    drop(redis);

    let cluster = RedisCluster::start();
    let store = RedisStore::connect_cluster(cluster.urls(), TAG_KEY).await.expect("it connects");
    measure("Redis Cluster, three masters, `appendfsync always`", store).await;
}

/// What is sent to the server.
#[derive(Clone, Copy)]
enum Statements {
    Read,
    /// A read, a write and a read, as a rotation.
    ThreeOfRotation,
    /// What it would be without the first read.
    TwoOfRotation,
}

async fn compare_with_bare_drivers() {
    println!(
        "throughput relative to the statements of the store through its bare driver, {AT_ONCE} concurrent clients:"
    );
    println!("the median of {SLICES} pairs of {SLICE:?} each, interleaved\n");
    println!(
        "| store | reads | rotations | rotations per second | two statements instead of three, through the driver |"
    );
    println!("|---|---|---|---|---|");
    let only = std::env::args().skip_while(|argument| argument != "bare").nth(1);
    let is_wanted = |name: &str| only.as_deref().is_none_or(|only| only == name || only == "--bench");
    if is_wanted("sqlite") {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("bench.sqlite");
        let store = SqliteStore::open(&file).await.expect("it opens");
        let records = fill(&store).await;
        compare("SQLite", store, Bare::sqlite(&file).await, records).await;
    }
    for commit in ["on", "off"].into_iter().filter(|_| is_wanted("postgres")) {
        let server = Postgres::start();
        server.run(&format!("ALTER SYSTEM SET synchronous_commit = {commit}"));
        server.run("SELECT pg_reload_conf()");
        let store = PostgresStore::connect(&server.url()).await.expect("it connects");
        let records = fill(&store).await;
        let bare = Bare::postgres(&server, &store, &records[0]).await;
        compare(&format!("PostgreSQL, `synchronous_commit = {commit}`"), store, bare, records).await;
    }
    for sync in ["always", "everysec"].into_iter().filter(|_| is_wanted("redis")) {
        let server = Redis::start_with(&["--appendfsync", sync]);
        let store = RedisStore::connect(&server.url(), TAG_KEY).await.expect("it connects");
        let records = fill(&store).await;
        write(&store, &records[0], false).await;
        let bare = Bare::redis(&server).await;
        compare(&format!("Redis, `appendfsync {sync}`"), store, bare, records).await;
    }
}

async fn compare<S: RefreshStore + Clone>(name: &str, store: S, bare: Bare, records: Vec<SessionRecord>) {
    let sessions: Arc<Vec<Session>> = Arc::new(records.iter().map(Session::of).collect());
    let records = Arc::new(records);
    let ours = |operation| {
        let (store, records) = (store.clone(), records.clone());
        rate(move |turn| {
            let (store, records) = (store.clone(), records.clone());
            async move { perform(operation, &store, &records[turn]).await }
        })
    };
    let driver = |statements| {
        let (bare, sessions) = (bare.clone(), sessions.clone());
        rate(move |turn| {
            let (bare, sessions) = (bare.clone(), sessions.clone());
            async move { send(statements, &bare, &sessions[turn]).await }
        })
    };
    let (mut reads, mut rotations, mut rates, mut fewer) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SLICES {
        reads.push(ours(Operation::Read).await / driver(Statements::Read).await);
        let (rotated, three) = (ours(Operation::Rotation).await, driver(Statements::ThreeOfRotation).await);
        rates.push(rotated);
        rotations.push(rotated / three);
        // Which version each session has by now.
        futures_util::future::join_all(sessions.iter().map(|session| bare.read(session))).await;
        fewer.push(driver(Statements::TwoOfRotation).await / three);
    }
    let [reads, rotations, rates, fewer] = [reads, rotations, rates, fewer].map(median);
    println!("| {name} | {reads:.2} | {rotations:.2} | {rates:.0} | {fewer:.2} |");
}

async fn send(statements: Statements, bare: &Bare, session: &Session) {
    match statements {
        Statements::Read => bare.read(session).await,
        Statements::ThreeOfRotation => {
            bare.read(session).await;
            bare.update(session).await;
            bare.read(session).await;
        }
        // The version is known from the read before.
        Statements::TwoOfRotation => {
            bare.update(session).await;
            bare.read(session).await;
        }
    }
}

/// Returns how often a second an operation is done on a session, by concurrent clients with sessions of their own.
async fn rate<F: Future<Output = ()> + Send>(operation: impl Fn(usize) -> F + Clone + Send + 'static) -> f64 {
    let done = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let workers = (0..AT_ONCE).map(|worker| {
        let (operation, done) = (operation.clone(), done.clone());
        tokio::spawn(async move {
            let mut turn = worker;
            while began.elapsed() < SLICE {
                operation(turn % SESSIONS).await;
                turn += AT_ONCE;
                done.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.expect("no operation fails");
    }
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn measure<S: RefreshStore + Clone>(name: &str, store: S) {
    let records = Arc::new(fill(&store).await);
    let mut row = format!("| {name} |");
    for operation in OPERATIONS {
        let done = Arc::new(AtomicU64::new(0));
        let began = Instant::now();
        let workers = (0..AT_ONCE).map(|worker| {
            let (store, records, done) = (store.clone(), records.clone(), done.clone());
            tokio::spawn(async move {
                let mut turn = worker;
                while began.elapsed() < LASTS {
                    // Workers use disjoint sessions, so that no compare-and-set conflicts.
                    perform(operation, &store, &records[turn % SESSIONS]).await;
                    turn += AT_ONCE;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        for worker in workers.collect::<Vec<_>>() {
            worker.await.expect("no operation fails");
        }
        let rate = done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
        row += &format!(" {} |", rate.round());
    }
    println!("{row}");
}

async fn fill<S: RefreshStore>(store: &S) -> Vec<SessionRecord> {
    let mut records = Vec::with_capacity(SESSIONS);
    for session in 0..SESSIONS {
        let subject = format!("user-{session}");
        records.push(create(store, &subject).await);
    }
    records
}

async fn create<S: RefreshStore>(store: &S, subject: &str) -> SessionRecord {
    let mut new = NewRecord::new(store.new_id(subject), subject, [7; 32]);
    new.scope = "orders:read orders:write".into();
    new.claims = r#"{"name":"Ada","roles":["customer"],"tenant":"shop.example"}"#.into();
    new.xsrf_token = "MTIzNDU2Nzg5MDEyMzQ1Njc4".into();
    new.label = "Firefox on Linux".into();
    match store.create(new).await.expect("it writes") {
        Created::Done(record) => record,
        Created::Full => panic!("there is room"),
    }
}

async fn perform<S: RefreshStore>(operation: Operation, store: &S, record: &SessionRecord) {
    match operation {
        Operation::Read => drop(read(store, record).await),
        Operation::Confirmation => write(store, record, false).await,
        Operation::Rotation => {
            write(store, record, true).await;
            read(store, record).await;
        }
        Operation::List => drop(store.list(&record.subject).await.expect("it lists")),
        Operation::SignInAndOut => {
            let new = create(store, &record.subject).await;
            assert!(store.remove(&new.id).await.expect("it removes"), "the session is there");
        }
    }
}

async fn write<S: RefreshStore>(store: &S, record: &SessionRecord, rotates: bool) {
    let mut record = read(store, record).await;
    let used = Stamps { last_seen_at: true, idle: Some(IDLE), ..Stamps::default() };
    let stamps = if rotates {
        record.parent = record.generation;
        record.generation += 1;
        Stamps { rotated_at: true, issued_at: true, ..used }
    } else {
        record.seen = Some(record.generation);
        Stamps { confirmed_at: true, ..used }
    };
    assert!(store.update(&record, stamps).await.expect("it writes").is_done());
}

async fn read<S: RefreshStore>(store: &S, record: &SessionRecord) -> SessionRecord {
    store.read(&record.id).await.expect("it reads").record.expect("the session lives")
}
