use std::{error::Error as StdError, fmt};

/// An error of a [`PostgresStore`](super::PostgresStore), from opening it or from an operation.
///
/// If the failure originates in the server or sqlx, `source()` returns their error. Neither the source nor the
/// `Debug` output contains stored values or the password in the URL.
pub struct PostgresStoreError {
    reason: Reason,
}

pub(super) enum Reason {
    /// An invalid name: what it names, and its maximum length in bytes.
    Name {
        what: &'static str,
        max: usize,
    },
    Url(sqlx::Error),
    NoAnswer,
    Encoding(String),
    /// A schema created by a later version of this crate, with the version of the schema.
    Newer(i32),
    Standby,
    /// A stored number, blob or text that is invalid in a record, with its column.
    Corrupt(&'static str),
    Server(Reported),
    /// An error of sqlx about the connection or about an unexpected response.
    Driver(sqlx::Error),
}

/// An error reported by the server, without its details, which may contain values of the row.
#[derive(Debug)]
pub(super) struct Reported {
    code: String,
    message: String,
}

impl PostgresStoreError {
    pub(super) fn corrupt(column: &'static str) -> Self {
        Reason::Corrupt(column).into()
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
                "the name of the {what} is invalid: use 1 to {max} ASCII letters, digits, `_` and `-`"
            ),
            Reason::Url(_) => f.write_str("the URL of the session database is invalid"),
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
            Reason::Corrupt(column) => write!(f, "a stored session is corrupt in column {column}"),
            Reason::Server(reported) => f.write_str(reported.meaning()),
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
            Reason::Server(reported) => Some(reported),
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
            Reason::Server(reported) => debug.field("reported", reported),
            // Not the `Debug` output of the error, since another crate decides what it reveals.
            Reason::Url(error) | Reason::Driver(error) => debug.field("reported", &error.to_string()),
            _ => &mut debug,
        };
        debug.finish()
    }
}

impl Reported {
    /// Describes the error for operators, according to the SQLSTATE.
    fn meaning(&self) -> &'static str {
        match self.code.as_str() {
            "25006" => "the session database is read-only",
            "42501" => "the session database denied access: grant the missing privilege to the role",
            "42P07" => "the schema already has a table with this name: choose another with `with_table`",
            "42P01" | "42703" => "the table of sessions is missing or has other columns",
            "53300" => "the session database accepts no more connections",
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
