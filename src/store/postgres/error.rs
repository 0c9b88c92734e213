use std::{error::Error as StdError, fmt};

/// Why a [`PostgresStore`](super::PostgresStore) could not answer or could not be opened.
///
/// `source()` is what the server or sqlx reports, if the failure began there. Neither it nor
/// `Debug` has a stored value or the password of the URL.
pub struct PostgresStoreError {
    reason: Reason,
}

pub(super) enum Reason {
    /// A name that cannot be used: what it names, and the most bytes that it may have.
    Name {
        what: &'static str,
        max: usize,
    },
    Url(sqlx::Error),
    NoAnswer,
    Encoding(String),
    /// A schema of a later version of this crate; its version.
    Newer(i32),
    Standby,
    /// A stored number, blob or text that no record can have; the column.
    Corrupt(&'static str),
    Server(Reported),
    /// The same where the tables are to be made or brought up to date, which the role may not.
    Forbidden(Reported),
    /// What sqlx reports of the connection, or of an answer that it cannot make sense of.
    Driver(sqlx::Error),
}

/// What the server reports, without the details: they may have the values of the row.
#[derive(Debug)]
pub(super) struct Reported {
    code: String,
    message: String,
}

impl PostgresStoreError {
    pub(super) fn corrupt(column: &'static str) -> Self {
        Reason::Corrupt(column).into()
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
            sqlx::Error::Database(error) => Reason::Server(Reported {
                code: error.code().unwrap_or_default().into_owned(),
                message: error.message().to_owned(),
            }),
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
                "the name of the {what} is unusable: choose one of 1 to {max} ASCII letters, digits, `_` and `-`"
            ),
            Reason::Url(_) => f.write_str("the URL of the session database is unusable"),
            Reason::NoAnswer => f.write_str("the session database did not answer in time"),
            Reason::Encoding(encoding) => write!(
                f,
                "the session database is encoded in {encoding}: create one with ENCODING 'UTF8' for the sessions"
            ),
            Reason::Newer(version) => write!(
                f,
                "the sessions have schema version {version}, which a later version of tower-cookie-jwt has made: use that"
            ),
            Reason::Standby => f.write_str(
                "the session database is a standby, whose sessions may be old: connect to the primary",
            ),
            Reason::Corrupt(column) => write!(f, "a stored session is corrupt in column {column}"),
            Reason::Server(reported) => f.write_str(reported.meaning()),
            Reason::Forbidden(_) => f.write_str(
                "the tables of sessions are missing or of an earlier version, and the role lacks the privilege to \
                 change that: run what `PostgresStoreOptions::schema_sql` gives as their owner",
            ),
            Reason::Driver(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed) => {
                f.write_str("the connection to the session database failed")
            }
            Reason::Driver(_) => f.write_str("the session database gave an unexpected answer"),
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
    /// What an operator should know at first sight, by the SQLSTATE.
    fn meaning(&self) -> &'static str {
        match self.code.as_str() {
            "25006" => "the session database is read-only",
            NO_PRIVILEGE => "the session database does not permit it: the role lacks a privilege",
            "42P07" => "the schema has another table of this name: choose a name with `with_table`",
            "42P01" | "42703" => "the table of sessions is missing or has another shape",
            "53300" => "the session database has no room for another connection",
            "55P03" | "57014" => "the session database took too long",
            _ => "the session database failed",
        }
    }
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code)
    }
}

impl StdError for Reported {}

const NO_PRIVILEGE: &str = "42501";
