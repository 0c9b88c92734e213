//! The statements of each store through its bare driver: no records, no decisions, no time limits.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::{IntoConnectionInfo, aio::ConnectionManager};
use sqlx::{
    AssertSqlSafe, PgPool, Row, SqlSafeStr, SqlStr, SqlitePool,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};
use tower_cookie_jwt::store::{PostgresStore, SessionRecord};

use crate::{IDLE, read, servers, write};

/// A driver, and what it needs to send a store's statements.
#[derive(Clone)]
pub(crate) enum Bare {
    Postgres { pool: PgPool, read: SqlStr, update: SqlStr },
    Sqlite { reader: SqlitePool, writer: SqlitePool },
    Redis { manager: ConnectionManager, read: Arc<str>, update: Arc<str> },
}

/// What a rotation needs to know of a session.
pub(crate) struct Session {
    id: String,
    version: Mutex<i64>,
    /// The value in Redis.
    value: Mutex<Vec<u8>>,
}

impl Session {
    pub(crate) fn of(record: &SessionRecord) -> Self {
        Self { id: record.id.as_str().to_owned(), version: Mutex::new(0), value: Mutex::default() }
    }

    /// Where Redis keeps it.
    fn keys(&self) -> [String; 2] {
        let (tag, member) = self.id.split_at(16);
        [format!("sessions:{{{tag}}}:{member}"), format!("sessions:{{{tag}}}")]
    }
}

impl Bare {
    /// The statements are those that the store has prepared; the pool is as large, and does not test its connections.
    pub(crate) async fn postgres(
        server: &servers::Postgres,
        store: &PostgresStore,
        record: &SessionRecord,
    ) -> Self {
        read(store, record).await;
        write(store, record, false).await;
        // Until the store has returned its connection to the pool.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (mut statements, mut held) = (Vec::new(), Vec::new());
        for _ in 0..store.pool().size() {
            let mut connection = store.pool().acquire().await.expect("one is free");
            let prepared = sqlx::query_scalar::<_, String>("SELECT statement FROM pg_prepared_statements");
            statements.extend(prepared.fetch_all(&mut *connection).await.expect("the server knows them"));
            held.push(connection);
        }
        let find = |part: &str| {
            let found = statements.iter().find(|statement| statement.contains(part));
            AssertSqlSafe(Arc::<str>::from(found.expect("it is prepared").as_str())).into_sql_str()
        };
        let pool = PgPoolOptions::new().max_connections(10).test_before_acquire(false);
        Self::Postgres {
            pool: pool.connect(&server.url()).await.expect("it connects"),
            read: find("session.id = $1"),
            update: find("WITH held"),
        }
    }

    pub(crate) async fn sqlite(file: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(file).synchronous(SqliteSynchronous::Full);
        let pool =
            |connections| SqlitePoolOptions::new().max_connections(connections).connect_with(options.clone());
        Self::Sqlite { reader: pool(4).await.expect("it opens"), writer: pool(1).await.expect("it opens") }
    }

    pub(crate) async fn redis(server: &servers::Redis) -> Self {
        // Small packets leave at once, as those of the store.
        let settings = redis::io::tcp::TcpSettings::default().set_nodelay(true);
        let info = server.url().into_connection_info().expect("a plain URL").set_tcp_settings(settings);
        let client = redis::Client::open(info).expect("a plain URL");
        let manager = client.get_connection_manager().await.expect("it connects");
        // The store has made the server cache them.
        let hash = |script: &str| redis::Script::new(script).get_hash().into();
        Self::Redis { manager, read: hash(READ), update: hash(UPDATE) }
    }

    pub(crate) async fn read(&self, session: &Session) {
        match self {
            Self::Postgres { pool, read, .. } => {
                let row =
                    sqlx::query(read.clone()).bind(&session.id).fetch_one(pool).await.expect("it reads");
                *session.version.lock().expect("no panic") = row.get("version");
            }
            Self::Sqlite { reader, .. } => {
                let row = sqlx::query("SELECT * FROM sessions WHERE id = ?").bind(&session.id);
                let row = row.fetch_one(reader).await.expect("it reads");
                *session.version.lock().expect("no panic") = row.get("version");
            }
            Self::Redis { manager, read, .. } => {
                let mut evaluate = redis::cmd("EVALSHA");
                evaluate.arg(&**read).arg(2).arg(&session.keys());
                let (_, _, value): (u64, u64, Vec<u8>) =
                    evaluate.query_async(&mut manager.clone()).await.expect("it reads");
                *session.value.lock().expect("no panic") = value;
            }
        }
    }

    /// Writes what a rotation writes, at the version that was read last.
    pub(crate) async fn update(&self, session: &Session) {
        match self {
            Self::Postgres { pool, update, .. } => {
                let version = *session.version.lock().expect("no panic");
                let row = sqlx::query(update.clone())
                    .bind(&session.id)
                    .bind(version)
                    .bind([7_u8; 32].as_slice())
                    .bind(version + 1)
                    .bind(version)
                    .bind(None::<i64>)
                    .bind(false)
                    .bind(None::<i64>)
                    .bind(true)
                    .bind(0_i64)
                    .bind(true)
                    .bind(0_i64)
                    .bind(0_i64)
                    .bind(true)
                    .bind(0_i64)
                    .bind(IDLE.as_millis() as i64)
                    .bind(0_i64)
                    .bind(4_102_444_800_000_i64)
                    .bind("orders:read orders:write")
                    .bind(r#"{"name":"Ada","roles":["customer"],"tenant":"shop.example"}"#)
                    .bind("MTIzNDU2Nzg5MDEyMzQ1Njc4")
                    .bind("Firefox on Linux")
                    .bind([].as_slice() as &[u8])
                    .fetch_one(pool)
                    .await
                    .expect("it writes");
                row.get::<Option<i64>, _>("now").expect("the version is the present one");
            }
            Self::Sqlite { writer, .. } => {
                let version = *session.version.lock().expect("no panic");
                let mut writing = writer.begin_with("BEGIN IMMEDIATE").await.expect("it is our turn");
                let written = sqlx::query(SQLITE_UPDATE)
                    .bind(version + 1)
                    .bind(version)
                    .bind(1_800_000_000_000_i64)
                    .bind(1_800_000_000_000_i64)
                    .bind(1_800_000_000_000_i64)
                    .bind(4_102_444_800_000_i64)
                    .bind(&session.id)
                    .bind(version)
                    .execute(&mut *writing)
                    .await
                    .expect("it writes");
                assert_eq!(written.rows_affected(), 1, "the version is the present one");
                writing.commit().await.expect("it writes");
            }
            Self::Redis { manager, update, .. } => {
                let mut value = session.value.lock().expect("no panic").clone();
                let version = value[8..16].to_vec();
                let next = u64::from_be_bytes(version.as_slice().try_into().expect("8 bytes")) + 1;
                // The first bytes are those of this write.
                value[..8].copy_from_slice(&next.rotate_left(32).to_be_bytes());
                value[8..16].copy_from_slice(&next.to_be_bytes());
                let mut evaluate = redis::cmd("EVALSHA");
                evaluate.arg(&**update).arg(2).arg(&session.keys());
                evaluate.arg(&session.id[16..]).arg(version).arg(value).arg("ris");
                evaluate.arg(IDLE.as_millis().to_string()).arg(253_402_300_799_000_i64);
                let times: Vec<u8> = evaluate.query_async(&mut manager.clone()).await.expect("it writes");
                assert_eq!(times.len(), 64, "the version is the present one");
            }
        }
    }
}

const READ: &str = concat!(
    include_str!("../../src/store/redis/lua/shared.lua"),
    include_str!("../../src/store/redis/lua/read.lua")
);
const UPDATE: &str = concat!(
    include_str!("../../src/store/redis/lua/shared.lua"),
    include_str!("../../src/store/redis/lua/update.lua")
);

const SQLITE_UPDATE: &str = "
UPDATE sessions SET
    generation = ?, parent = ?, rotated_at = ?, issued_at = ?, last_seen_at = ?, idle_expires_at = ?,
    version = version + 1
WHERE id = ? AND version = ?";
