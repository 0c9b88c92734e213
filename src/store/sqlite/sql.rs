//! The statements.

pub(super) const WAL: &str = "PRAGMA journal_mode = WAL";

pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT NOT NULL PRIMARY KEY,
    subject TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    generation INTEGER NOT NULL,
    confirmed_at INTEGER,
    rotated_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    idle_expires_at INTEGER NOT NULL,
    absolute_expires_at INTEGER NOT NULL,
    scope TEXT NOT NULL,
    claims TEXT NOT NULL,
    xsrf_token TEXT NOT NULL,
    label TEXT NOT NULL,
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS sessions_by_subject ON sessions (subject);
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (min(idle_expires_at, absolute_expires_at));
";

pub(super) const INSERT: &str = "
INSERT INTO sessions (
    id, subject, secret_hash, generation, confirmed_at, rotated_at, created_at, last_seen_at,
    idle_expires_at, absolute_expires_at, scope, claims, xsrf_token, label, version
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

pub(super) const UPDATE: &str = "
UPDATE sessions SET
    subject = ?, secret_hash = ?, generation = ?, confirmed_at = ?, rotated_at = ?, created_at = ?,
    last_seen_at = ?, idle_expires_at = ?, absolute_expires_at = ?, scope = ?, claims = ?,
    xsrf_token = ?, label = ?, version = version + 1
WHERE id = ? AND version = ?";

pub(super) const SELECT: &str = "SELECT * FROM sessions WHERE id = ?";

pub(super) const EXISTS: &str = "SELECT 1 FROM sessions WHERE id = ?";

pub(super) const LIST: &str = "
SELECT * FROM sessions
WHERE subject = ? AND min(idle_expires_at, absolute_expires_at) > ?
ORDER BY created_at, id";

pub(super) const DELETE: &str = "DELETE FROM sessions WHERE id = ?";

// `IS NOT NULL` holds for every id: without one to keep, all go.
pub(super) const DELETE_ALL: &str = "DELETE FROM sessions WHERE subject = ? AND id IS NOT ?";

pub(super) const SWEEP: &str = "
DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions
    WHERE min(idle_expires_at, absolute_expires_at) <= ?
    ORDER BY min(idle_expires_at, absolute_expires_at)
    LIMIT ?
)";
