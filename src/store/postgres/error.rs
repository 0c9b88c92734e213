use std::{error::Error as StdError, fmt, io};

use sqlx::error::DatabaseError;

/// An error of a [`PostgresStore`](super::PostgresStore), from opening it or from an operation.
///
/// If the failure originates in the server or sqlx, `source()` returns their error. Neither the source nor the
/// `Debug` output contains stored values or the password in the URL.
pub struct PostgresStoreError {
    reason: Reason,
}

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Reads,
    Writes,
}

pub(super) enum Reason {
    /// An invalid name: what it names, and its maximum length in bytes.
    Name {
        what: &'static str,
        max: usize,
    },
    Url(sqlx::Error),
    /// The URL names several hosts.
    SeveralHosts,
    /// The URL asks for a standby.
    Target,
    NoAnswer,
    Encoding(String),
    /// A schema created by a later version of this crate, with the version of the schema.
    Newer(i32),
    Standby,
    /// The table of sessions is there, but not the one that holds its version, with its name, and the version that this
    /// crate has.
    NoVersionTable(String, &'static str),
    /// The table that holds the schema version, its number of rows, which should be one, and the version that this crate
    /// has.
    VersionRows(String, usize, &'static str),
    /// A stored number, blob or text that is invalid in a record, with its column.
    Corrupt(&'static str),
    Server(Reported),
    /// The same where the tables are to be made or brought up to date, which the role may not.
    Forbidden(Reported),
    /// What sqlx reports of the connection, or of an answer that it cannot make sense of.
    Driver(sqlx::Error),
}

/// An error reported by the server, without its details, which may contain values of the row.
#[derive(Clone, Debug)]
pub(super) struct Reported {
    code: String,
    message: String,
}

impl PostgresStoreError {
    pub(super) fn corrupt(column: &'static str) -> Self {
        Reason::Corrupt(column).into()
    }

    pub(super) const fn is_timeout(&self) -> bool {
        matches!(self.reason, Reason::NoAnswer)
    }

    /// Whether the backend has, or lacks, a prepared statement that is another connection's.
    pub(super) fn is_mix_up(&self) -> bool {
        matches!(&self.reason, Reason::Server(reported) if matches!(&*reported.code, "42P05" | "26000"))
    }

    /// Whether the statement may be sent again: the server has ended the connection before it carried out anything, or
    /// the connection has broken under a statement that only reads.
    pub(super) fn is_repeatable(&self, effect: Effect) -> bool {
        match &self.reason {
            Reason::Server(reported) => matches!(reported.code.as_str(), "57P01" | "57P02"),
            Reason::Driver(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) => effect == Effect::Reads,
            _ => false,
        }
    }

    /// What it is if a migration has failed with it.
    pub(super) fn of_migration(self) -> Self {
        match self.reason {
            Reason::Server(reported) if reported.code == NO_PRIVILEGE => Reason::Forbidden(reported).into(),
            _ => self,
        }
    }
}

impl From<Reason> for PostgresStoreError {
    fn from(reason: Reason) -> Self {
        Self { reason }
    }
}

impl From<sqlx::Error> for PostgresStoreError {
    fn from(error: sqlx::Error) -> Self {
        let reason = match error {
            sqlx::Error::Database(error) => Reason::Server(Reported::of(&*error)),
            sqlx::Error::PoolTimedOut => Reason::NoAnswer,
            sqlx::Error::Configuration(_) => Reason::Url(error),
            error => Reason::Driver(error),
        };
        Self { reason }
    }
}

impl fmt::Display for PostgresStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Name { what, max } => write!(
                f,
                "the name of the {what} is invalid: use 1 to {max} ASCII letters, digits, `_` and `-`"
            ),
            Reason::Url(_) => f.write_str("the URL of the session database is invalid"),
            Reason::SeveralHosts => f.write_str(
                "the URL of the session database names several hosts: name one that always leads to the primary, such as a \
                 DNS name or a proxy",
            ),
            Reason::Target => f.write_str(
                "`target_session_attrs` in the URL of the session database asks for a standby, whose sessions may be \
                 outdated: use `read-write`",
            ),
            Reason::NoAnswer => f.write_str("the session database did not respond in time"),
            Reason::Encoding(encoding) => write!(
                f,
                "the session database uses the encoding {encoding}: use a database with ENCODING 'UTF8'"
            ),
            Reason::Newer(version) => write!(
                f,
                "the session tables have schema version {version}, which is unknown to this version of \
                 tower-cookie-jwt: upgrade it"
            ),
            Reason::Standby => f.write_str(
                "the session database is a standby, whose sessions may be outdated: connect to the primary",
            ),
            Reason::NoVersionTable(table, version) => write!(
                f,
                "the table {table} is missing, which holds the version of the table of sessions: restore it from a backup, or, \
                 if this version of tower-cookie-jwt made the sessions, run `CREATE TABLE {table} (version integer NOT NULL, \
                 compatible_from integer NOT NULL DEFAULT 1); INSERT INTO {table} VALUES ({version})`"
            ),
            Reason::VersionRows(table, rows, version) => write!(
                f,
                "the table {table} has {rows} rows instead of one, which holds the version of the table of sessions: restore it \
                 from a backup, or, if this version of tower-cookie-jwt made the sessions, run `DELETE FROM {table}; INSERT INTO \
                 {table} (version, compatible_from) VALUES ({version})`"
            ),
            Reason::Corrupt(column) => write!(f, "a stored session is corrupt in column {column}"),
            Reason::Server(reported) => f.write_str(reported.meaning()),
            Reason::Forbidden(_) => f.write_str(
                "the tables of sessions are missing or of an earlier version, and the role lacks the privilege to \
                 change that: run what `PostgresStoreOptions::schema_sql` gives as their owner",
            ),
            Reason::Driver(sqlx::Error::Io(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                f.write_str("the session database refuses connections: is it running, and at this address?")
            }
            Reason::Driver(sqlx::Error::Protocol(words)) if words.contains("SSLRequest: 0x00") => {
                f.write_str(
                    "the address of the session database closes connections: is there a primary behind its proxy?",
                )
            }
            Reason::Driver(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed) => {
                f.write_str("the connection to the session database failed")
            }
            Reason::Driver(_) => f.write_str("the session database sent an unexpected response"),
        }
    }
}

impl StdError for PostgresStoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.reason {
            Reason::Server(reported) | Reason::Forbidden(reported) => Some(reported),
            Reason::Url(error) | Reason::Driver(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Debug for PostgresStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("PostgresStoreError");
        debug.field("message", &self.to_string());
        match &self.reason {
            Reason::Server(reported) | Reason::Forbidden(reported) => debug.field("reported", reported),
            // Not its `Debug`, whose contents are up to another crate.
            Reason::Url(error) | Reason::Driver(error) => debug.field("reported", &error.to_string()),
            _ => &mut debug,
        };
        debug.finish()
    }
}

impl Reported {
    pub(super) fn of(error: &dyn DatabaseError) -> Self {
        let code = error.code().unwrap_or_default().into_owned();
        Self { code, message: error.message().to_owned() }
    }

    /// Describes the error for operators, according to the SQLSTATE.
    fn meaning(&self) -> &'static str {
        match self.code.as_str() {
            "08P01" => self.meaning_of_pooler(),
            "25006" => {
                "the session database is read-only: connect to the primary, or reset `default_transaction_read_only`"
            }
            "28000" | "28P01" => REJECTED,
            "3D000" => "the session database does not exist: create it, or correct its name in the URL",
            "42P05" | "26000" => {
                "a pooler mixes up prepared statements: set PgBouncer's `max_prepared_statements` above 0 (version 1.21 \
                 or later), or use session mode"
            }
            "53100" => {
                "the disk of the session database is full: no user can sign in or out until there is room"
            }
            "53200" => "the session database has run out of memory",
            NO_PRIVILEGE => "the session database does not permit it: the role lacks a privilege",
            "42P07" => "the schema has another table of this name: choose a name with `with_table`",
            "42P01" | "42703" => {
                "the table of sessions is missing or has other columns: restore it, or, if no session is to be kept, drop it and \
                 the table with `_version` after its name, so that both are created"
            }
            "53300" => {
                "the session database has no room for another connection: raise its `max_connections`, or lower \
                 `with_max_connections`"
            }
            "55P03" | "57014" => "the session database took too long",
            "57P01" | "57P02" | "57P03" => "the session database is starting up or shutting down",
            _ => FAILED,
        }
    }

    /// PgBouncer reports almost everything as a violation of the protocol.
    fn meaning_of_pooler(&self) -> &'static str {
        POOLER.iter().find(|(words, _)| self.message.contains(words)).map_or(FAILED, |(_, meaning)| meaning)
    }
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code)
    }
}

impl StdError for Reported {}

/// Words of PgBouncer's messages, and what they mean.
const POOLER: &[(&str, &str)] = &[
    (
        "startup parameter",
        "the pooler refuses a start-up parameter: add it to PgBouncer's `ignore_startup_parameters`, or use \
         `PostgresStore::from_pool`",
    ),
    (
        "query_wait_timeout",
        "the pooler had no connection to the session database in time: is it running, and PgBouncer's \
         `default_pool_size` no less than `with_max_connections` of all nodes?",
    ),
    (
        "no more connections",
        "the pooler has no room for another connection: raise PgBouncer's `max_client_conn`, or lower \
         `with_max_connections`",
    ),
    (
        "no such database",
        "the pooler does not know the session database: add it to PgBouncer's `[databases]`, or correct its name in \
         the URL",
    ),
    ("authentication failed", REJECTED),
    ("no such user", REJECTED),
    (
        "server_login_retry",
        "the pooler cannot connect to the session database: is it running, and accepts its user?",
    ),
];

const REJECTED: &str =
    "the session database rejected the user or the password: correct the URL, or `pg_hba.conf`";
const FAILED: &str = "the session database failed";
const NO_PRIVILEGE: &str = "42501";
