use std::{error::Error as StdError, fmt};

use redis::{ErrorKind, RedisError};

use crate::error::ConfigError;

/// An error of a [`RedisStore`](super::RedisStore).
///
/// If the server could not be reached or rejected the credentials, `source()` returns the error of the `redis` crate.
/// No message contains a password, a key or a value.
pub struct RedisStoreError {
    reason: Reason,
}

enum Reason {
    Config(ConfigError),
    Url(String),
    Unreachable(RedisError),
    /// An error reported by the server: its code and its message.
    Refused(String, String),
    TimedOut,
    IdInUse,
    ForeignId,
    Corrupt,
    /// The commands that the user may not run, and the prefix of the keys.
    Denied(Vec<String>, String),
    /// The user may not run scripts, or not on keys with this prefix, as the server says.
    DeniedScripts(String, String),
    /// What the server does when its memory is full.
    Evicts(String),
}

/// A stored value that is not a valid record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Corrupt;

impl RedisStoreError {
    pub(super) const TIMED_OUT: Self = Self { reason: Reason::TimedOut };
    pub(super) const ID_IN_USE: Self = Self { reason: Reason::IdInUse };
    pub(super) const FOREIGN_ID: Self = Self { reason: Reason::ForeignId };

    pub(super) fn denied(commands: Vec<String>, prefix: &str) -> Self {
        Self { reason: Reason::Denied(commands, prefix.to_owned()) }
    }

    /// What it is if the first script has failed with it.
    pub(super) fn of_first_script(self, prefix: &str) -> Self {
        match self.reason {
            Reason::Refused(code, words) if code == "NOPERM" => {
                Self { reason: Reason::DeniedScripts(words, prefix.to_owned()) }
            }
            _ => self,
        }
    }

    pub(super) const fn evicts(policy: String) -> Self {
        Self { reason: Reason::Evicts(policy) }
    }
}

impl From<ConfigError> for RedisStoreError {
    fn from(error: ConfigError) -> Self {
        Self { reason: Reason::Config(error) }
    }
}

impl From<Corrupt> for RedisStoreError {
    fn from(_: Corrupt) -> Self {
        Self { reason: Reason::Corrupt }
    }
}

impl From<RedisError> for RedisStoreError {
    fn from(error: RedisError) -> Self {
        let reason = match error.kind() {
            ErrorKind::InvalidClientConfig => Reason::Url(without_detail(&error)),
            ErrorKind::UnexpectedReturnType | ErrorKind::Parse => Reason::Corrupt,
            _ if error.is_timeout() => Reason::TimedOut,
            _ => match error.code() {
                Some(code) => Reason::Refused(code.to_owned(), without_arguments(error.detail())),
                None => Reason::Unreachable(error),
            },
        };
        Self { reason }
    }
}

impl fmt::Display for RedisStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Config(error) => error.fmt(f),
            Reason::Url(words) => write!(f, "the URL of the session server is invalid: {words}"),
            Reason::Unreachable(error) if error.kind() == ErrorKind::AuthenticationFailed => {
                f.write_str("the session server rejected the user or the password")
            }
            Reason::Unreachable(_) => f.write_str("the session server cannot be reached"),
            Reason::Refused(code, words) => write!(f, "{}: {code} {words}", meaning(code)),
            Reason::TimedOut => f.write_str("the session server did not respond in time"),
            Reason::IdInUse => f.write_str("the id of the new session is already in use"),
            Reason::ForeignId => f.write_str(
                "the id of the new session is invalid: create it with `new_id` for the same subject",
            ),
            Reason::Denied(commands, prefix) => write!(
                f,
                "the session server's user may not run {} on keys that begin with `{prefix}`: permit it, or set another \
                 prefix with `RedisStore::options`",
                commands.join(", ")
            ),
            Reason::DeniedScripts(words, prefix) => write!(
                f,
                "the session server's user may not run scripts on keys that begin with `{prefix}` ({words}): permit it, or set \
                 another prefix with `RedisStore::options`"
            ),
            Reason::Evicts(policy) => write!(
                f,
                "the session server evicts sessions when its memory is full (`maxmemory-policy {policy}`), which signs users \
                 out, and hides sessions from `sign_out_everywhere`: set `maxmemory-policy noeviction`, or accept that with \
                 `RedisStoreOptions::with_eviction_allowed`"
            ),
            Reason::Corrupt => f.write_str(
                "a stored session is corrupt or was written by a later version of tower-cookie-jwt",
            ),
        }
    }
}

impl StdError for RedisStoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.reason {
            Reason::Unreachable(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Debug for RedisStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The `Debug` output of the source is left out, since another crate decides what it reveals.
        f.debug_struct("RedisStoreError").field("message", &self.to_string()).finish_non_exhaustive()
    }
}

/// Describes an error that the server reports, for operators, according to its code.
fn meaning(code: &str) -> &'static str {
    match code {
        "CLUSTERDOWN" => {
            "the cluster does not serve all its slots: bring the missing master back, or set \
             `cluster-require-full-coverage no` so that the others go on"
        }
        "LOADING" => "the session server is still loading its data",
        "MISCONF" => "the session server cannot write to its disk, and therefore refuses writes",
        "NOAUTH" | "WRONGPASS" => "the session server rejected the user or the password: correct the URL",
        "NOPERM" => {
            "the session server's user lacks a permission: `RedisStore` lists those that it needs, and its options set the \
             prefix of the keys"
        }
        "NOREPLICAS" => "the session server has too few replicas, and therefore refuses writes",
        "OOM" => "the session server is full",
        "READONLY" => "the session server is a replica: connect to the master",
        _ => "the session server returned an error",
    }
}

/// Returns the server's message without the arguments that it repeats for an unknown command.
fn without_arguments(detail: Option<&str>) -> String {
    let words = detail.unwrap_or_default();
    words.split(", with args beginning with").next().unwrap_or_default().trim_end().to_owned()
}

/// Returns the `redis` crate's message about a URL without the parts that it quotes from the URL.
fn without_detail(error: &RedisError) -> String {
    error.to_string().split(" - InvalidClientConfig").next().unwrap_or_default().to_owned()
}
