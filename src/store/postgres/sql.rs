//! The statements, built once for the configured names.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::names::Names;
use crate::store::millis::MAX_MILLIS;

pub(super) struct Statements {
    pub(super) insert: SqlStr,
    pub(super) read: SqlStr,
    pub(super) update: SqlStr,
    pub(super) exists: SqlStr,
    pub(super) list: SqlStr,
    pub(super) list_ids: SqlStr,
    pub(super) read_page: SqlStr,
    pub(super) delete: SqlStr,
    pub(super) delete_all: SqlStr,
    pub(super) sweep: SqlStr,
    pub(super) update_announced: SqlStr,
    pub(super) changes: SqlStr,
    pub(super) begin_epoch: SqlStr,
    pub(super) sweep_changes: SqlStr,
    /// Where nodes listen, in this database.
    pub(super) channel: Arc<str>,
}

impl Statements {
    pub(super) fn new(names: &Names) -> Self {
        let table = names.table();
        let (changes, epoch) = (names.changes(), names.epoch());
        Self {
            insert: safe(insert(&table)),
            read: safe(read(&table)),
            update: safe(update(&table, "")),
            exists: safe(format!("SELECT 1 FROM {table} WHERE id = $1")),
            list: safe(list(&table)),
            list_ids: safe(list_ids(&table)),
            read_page: safe(read_page(&table)),
            delete: safe(format!("DELETE FROM {table} WHERE id = $1 RETURNING 1")),
            delete_all: safe(delete_all(&table)),
            sweep: safe(sweep(&table)),
            update_announced: safe(update(&table, &announced(&changes))),
            changes: safe(since(&changes, &epoch)),
            begin_epoch: safe(format!("INSERT INTO {epoch} (epoch) VALUES ($1) ON CONFLICT DO NOTHING")),
            sweep_changes: safe(sweep_changes(&changes)),
            channel: format!("{}_changes", names.plain_table()).into(),
        }
    }
}

/// Marks a statement as safe. The only external input in it must be names checked by [`Names`].
pub(super) fn safe(statement: String) -> SqlStr {
    // An `Arc` makes clones cheap.
    AssertSqlSafe(Arc::<str>::from(statement)).into_sql_str()
}

/// The current time is rounded up, like every time at which a period begins.
fn insert(table: &str) -> String {
    format!(
        "INSERT INTO {table} (
            id, subject, secret_hash, generation, parent, seen, confirmed_at, rotated_at, issued_at, claims_at,
            created_at, last_seen_at, idle_expires_at, absolute_expires_at, scope, claims, xsrf_token, label,
            extension, version
        )
        SELECT $1, $2, $3, 0, 0, NULL, NULL, now, now, now, now, now,
            LEAST(now + $4, now + $5, {MAX_MILLIS}), LEAST(now + $5, {MAX_MILLIS}), $6, $7, $8, $9, $10, 0
        FROM (SELECT ceil({MILLIS})::bigint AS now) AS clock
        RETURNING created_at"
    )
}

fn read(table: &str) -> String {
    format!(
        "SELECT {COLUMNS} FROM {CLOCK}
        LEFT JOIN {table} AS session ON session.id = $1"
    )
}

/// The comparison of `left(subject, 256)` matches the expression of the index by subject.
fn list(table: &str) -> String {
    format!(
        "SELECT {COLUMNS} FROM {CLOCK}
        LEFT JOIN {table} AS session
            ON left(session.subject, 256) = left($1, 256) AND session.subject = $1
            AND LEAST(session.idle_expires_at, session.absolute_expires_at) > clock.now
        ORDER BY session.created_at, session.id LIMIT $2"
    )
}

/// The ids alone, as an array: of half a million sessions, these take a fraction of a second.
fn list_ids(table: &str) -> String {
    format!(
        "SELECT array_agg(id ORDER BY created_at, id) FROM {table}
        WHERE left(subject, 256) = left($1, 256) AND subject = $1"
    )
}

fn read_page(table: &str) -> String {
    format!(
        "SELECT {COLUMNS} FROM {CLOCK}
        LEFT JOIN {table} AS session ON session.id = ANY($1)
            AND LEAST(session.idle_expires_at, session.absolute_expires_at) > clock.now
        ORDER BY session.created_at, session.id"
    )
}

/// Writes, and says at which time, and which version was there when the statement began.
///
/// The time is taken once the row is locked, which is why that comes first: an update that took it
/// next to the values to write would be taken before the wait for the lock.
///
/// All parts of a statement see the database as it was at its beginning, whatever it waited for: a
/// version that equals the expected one although nothing was written has changed since.
fn update(table: &str, and_then: &str) -> String {
    format!(
        "WITH held AS MATERIALIZED (
            SELECT id FROM {table} WHERE id = $1 AND version = $2 FOR NO KEY UPDATE
        ), clock AS MATERIALIZED (
            SELECT id, ceil({MILLIS})::bigint AS now FROM held
        ), written AS (
            UPDATE {table} AS session SET
                secret_hash = $3, generation = $4, parent = $5, seen = $6,
                confirmed_at = CASE WHEN $7 THEN clock.now ELSE $8 END,
                rotated_at = CASE WHEN $9 THEN clock.now ELSE $10 END,
                issued_at = CASE WHEN $11 THEN clock.now ELSE $12 END,
                claims_at = $13,
                last_seen_at = CASE WHEN $14 THEN GREATEST(clock.now, $15) ELSE $15 END,
                idle_expires_at = CASE WHEN $16::bigint IS NULL THEN $17
                    ELSE LEAST(GREATEST(clock.now + $16, $17), $18, {MAX_MILLIS}) END,
                absolute_expires_at = $18, scope = $19, claims = $20, xsrf_token = $21, label = $22,
                extension = $23, version = version + 1
            FROM clock WHERE session.id = clock.id
            RETURNING clock.now
        ){and_then}
        SELECT (SELECT now FROM written) AS now, (SELECT version FROM {table} WHERE id = $1) AS version"
    )
}

/// Announces a session that has been written.
fn announced(changes: &str) -> String {
    format!(", announced AS (INSERT INTO {changes} (at, id) SELECT now, $1 FROM written)")
}

/// What the former snapshot ($1) did not see: the transactions that had not begun, and those that were running.
fn since(changes: &str, epoch: &str) -> String {
    format!(
        "SELECT
            (SELECT system_identifier::text || '.' || epoch FROM {epoch}, pg_control_system()) AS epoch,
            pg_is_in_recovery() AS standby, txid_current_snapshot()::text AS snapshot,
            floor({MILLIS})::bigint AS now,
            ARRAY(
                SELECT id FROM {changes}
                WHERE txid >= txid_snapshot_xmax($1::text::txid_snapshot)
                    OR txid = ANY(ARRAY(SELECT txid_snapshot_xip($1::text::txid_snapshot)))
                LIMIT {MOST} + 1
            ) AS ids"
    )
}

/// Removes a batch, and says how many rows were picked for it: concurrent calls may pick, and one of them remove, the
/// same rows.
///
/// Rows are locked in the order of their ids, so that concurrent calls cannot deadlock.
fn delete_all(table: &str) -> String {
    format!(
        "WITH picked AS MATERIALIZED (
            SELECT id FROM {table}
            WHERE left(subject, 256) = left($1, 256) AND subject = $1 AND id IS DISTINCT FROM $2
            LIMIT $3
        ), doomed AS MATERIALIZED (
            SELECT id FROM {table} WHERE id IN (SELECT id FROM picked) ORDER BY id FOR UPDATE
        ), gone AS (
            DELETE FROM {table} AS session USING doomed WHERE session.id = doomed.id RETURNING 1
        )
        SELECT (SELECT count(*) FROM picked) AS picked, (SELECT count(*) FROM gone) AS gone"
    )
}

/// Removes entries of transactions before `$1`, and says which transaction may still run now.
///
/// Not by the time of the entry: its transaction may commit long after.
fn sweep_changes(changes: &str) -> String {
    format!(
        "WITH gone AS (
            DELETE FROM {changes}
            WHERE ctid = ANY(ARRAY(SELECT ctid FROM {changes} WHERE txid < $1 LIMIT {MOST})) RETURNING 1
        )
        SELECT (SELECT count(*) FROM gone) AS gone, txid_snapshot_xmin(txid_current_snapshot()) AS running"
    )
}

/// Rows locked by another transaction are left to the next sweep.
fn sweep(table: &str) -> String {
    format!(
        "WITH doomed AS MATERIALIZED (
            SELECT id FROM {table}
            WHERE expiry_hour < (SELECT floor({MILLIS} / 3600000)::bigint)
            ORDER BY expiry_hour LIMIT $1 FOR UPDATE SKIP LOCKED
        ), gone AS (
            DELETE FROM {table} AS session USING doomed WHERE session.id = doomed.id RETURNING 1
        )
        SELECT count(*) FROM gone"
    )
}

/// So many changes at once are a gap.
pub(super) const MOST: usize = 10_000;
/// The entry of a table that has been emptied.
pub(super) const EVERYBODY: &str = "*";
/// Not `now()`, which returns the start time of the transaction.
const MILLIS: &str = "extract(epoch FROM clock_timestamp()) * 1000";

/// A single row that sessions are joined to, so that the time is returned even if no session matches.
const CLOCK: &str = "(
            SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now,
            pg_is_in_recovery() AS standby
        ) AS clock";

// Listed by name, because a later version may add columns while this one runs.
const COLUMNS: &str =
    "clock.now, clock.standby, session.id, session.subject, session.secret_hash, session.generation,
        session.parent, session.seen, session.confirmed_at, session.rotated_at, session.issued_at,
        session.claims_at, session.created_at, session.last_seen_at, session.idle_expires_at,
        session.absolute_expires_at, session.scope, session.claims, session.xsrf_token, session.label,
        session.extension, session.version";
