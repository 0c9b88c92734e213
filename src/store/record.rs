use std::{
    cmp::Ordering,
    convert::Infallible,
    fmt,
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer};

/// The id of a session, which its tokens carry in the `sid` claim.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// Creates an id from its text.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into().into())
    }

    /// Returns the id as a string slice.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({})", self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for SessionId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<String> for SessionId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl FromStr for SessionId {
    type Err = Infallible;

    fn from_str(id: &str) -> Result<Self, Infallible> {
        Ok(id.into())
    }
}

impl AsRef<str> for SessionId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for SessionId {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for SessionId {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

/// Serializes the id as a string.
impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Everything that is stored about one session. A session is one sign-in on one device.
///
/// The `Debug` output contains neither the hash of the secret, nor the claims, nor the XSRF token.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionRecord {
    /// The session's id.
    pub id: SessionId,
    /// The user the session belongs to.
    pub subject: Box<str>,
    /// The SHA-256 of the session's 128-bit secret, which only its refresh tokens contain.
    pub secret_hash: [u8; 32],
    /// The current generation: how often the session has been advanced.
    pub generation: u32,
    /// The oldest generation that a legitimate client may still hold.
    pub parent: u32,
    /// The highest generation, at most the current one, of which a token has been seen from the client; none right
    /// after sign-in.
    pub seen: Option<u32>,
    /// When `seen` was last raised.
    pub confirmed_at: Option<SystemTime>,
    /// The time at which the current generation began.
    pub rotated_at: SystemTime,
    /// No refresh cookie of the current generation is sent later than a grace period after this.
    pub issued_at: SystemTime,
    /// When the claims were last reloaded.
    pub claims_at: SystemTime,
    /// When the user signed in.
    pub created_at: SystemTime,
    /// When the client was last seen.
    pub last_seen_at: SystemTime,
    /// The time at which the session ends unless it is used before.
    pub idle_expires_at: SystemTime,
    /// The time at which the session ends even if it is used.
    pub absolute_expires_at: SystemTime,
    /// The granted scopes, separated by spaces.
    pub scope: Box<str>,
    /// The application's claims as JSON.
    pub claims: Box<str>,
    /// The XSRF token, which stays the same for the whole session.
    pub xsrf_token: Box<str>,
    /// A label by which the user can recognize the device, derived from the user agent.
    pub label: Box<str>,
    /// What later versions of this crate add, behind a byte that says which version: a store keeps it as it is.
    pub extension: Box<[u8]>,
    /// Incremented by each write.
    pub version: u64,
}

/// Which times of a record a store takes from its own clock, in the same atomic step in which it writes the record.
///
/// A time that was read before the write could be too early: a session could then settle before its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// [`SessionRecord::confirmed_at`] becomes the time of the write.
    pub confirmed_at: bool,
    /// [`SessionRecord::rotated_at`] becomes the time of the write.
    pub rotated_at: bool,
    /// [`SessionRecord::issued_at`] becomes the time of the write.
    pub issued_at: bool,
    /// [`SessionRecord::last_seen_at`] becomes the time of the write, unless it is later already.
    pub last_seen_at: bool,
    /// [`SessionRecord::idle_expires_at`] becomes this much later than the write, at most the absolute expiry, unless
    /// it is later already.
    pub idle: Option<Duration>,
}

/// What a new session begins with; the rest follows from it.
#[derive(Clone)]
#[non_exhaustive]
pub struct NewRecord {
    /// The session's id.
    pub id: SessionId,
    /// The user the session belongs to.
    pub subject: Box<str>,
    /// The SHA-256 of the session's secret.
    pub secret_hash: [u8; 32],
    /// The granted scopes, separated by spaces.
    pub scope: Box<str>,
    /// The application's claims as JSON.
    pub claims: Box<str>,
    /// The XSRF token.
    pub xsrf_token: Box<str>,
    /// A label by which the user can recognize the device.
    pub label: Box<str>,
    /// What later versions of this crate add: a store keeps it as it is.
    pub extension: Box<[u8]>,
    /// How long the session lives without being used.
    pub idle: Duration,
    /// How long the session lives in total.
    pub absolute: Duration,
}

impl NewRecord {
    /// Creates the values of a new session from those that have no default.
    ///
    /// The scope, the XSRF token and the label default to the empty string, the claims to an empty JSON object, and
    /// the idle and absolute lifetimes to 14 and 90 days.
    pub fn new(id: SessionId, subject: impl Into<String>, secret_hash: [u8; 32]) -> Self {
        Self {
            id,
            subject: subject.into().into_boxed_str(),
            secret_hash,
            scope: "".into(),
            claims: "{}".into(),
            xsrf_token: "".into(),
            label: "".into(),
            extension: Box::default(),
            idle: DEFAULT_IDLE,
            absolute: DEFAULT_ABSOLUTE,
        }
    }

    /// Returns the record of the session if it begins at `now`, by the store's clock.
    pub fn begin(self, now: SystemTime) -> SessionRecord {
        let absolute_expires_at = crate::clock::later(now, self.absolute);
        SessionRecord {
            id: self.id,
            subject: self.subject,
            secret_hash: self.secret_hash,
            generation: 0,
            parent: 0,
            seen: None,
            confirmed_at: None,
            rotated_at: now,
            issued_at: now,
            claims_at: now,
            created_at: now,
            last_seen_at: now,
            idle_expires_at: crate::clock::later(now, self.idle).min(absolute_expires_at),
            absolute_expires_at,
            scope: self.scope,
            claims: self.claims,
            xsrf_token: self.xsrf_token,
            label: self.label,
            extension: self.extension,
            version: 0,
        }
    }
}

impl SessionRecord {
    /// Returns `true` if the session has not ended by `now`.
    pub fn is_live(&self, now: SystemTime) -> bool {
        now < self.expires_at()
    }

    /// Returns the record as a store writes it at `now`, the store's present time: with the times that `stamps` asks
    /// for, and the next version.
    ///
    /// A clock that has been set back moves neither last-seen nor the idle expiry back.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use tower_cookie_jwt::store::{NewRecord, Stamps};
    ///
    /// let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    /// let record = NewRecord::new("id".into(), "ada", [0; 32]).begin(begun);
    /// let now = begun + Duration::from_secs(60);
    ///
    /// let stamps = Stamps { issued_at: true, last_seen_at: true, ..Stamps::default() };
    /// let written = record.clone().stamped(stamps, now);
    /// assert_eq!((written.issued_at, written.last_seen_at, written.version), (now, now, 1));
    /// assert_eq!(written.rotated_at, record.rotated_at);
    /// ```
    #[must_use]
    pub fn stamped(mut self, stamps: Stamps, now: SystemTime) -> Self {
        if stamps.confirmed_at {
            self.confirmed_at = Some(now);
        }
        if stamps.rotated_at {
            self.rotated_at = now;
        }
        if stamps.issued_at {
            self.issued_at = now;
        }
        if stamps.last_seen_at {
            self.last_seen_at = self.last_seen_at.max(now);
        }
        if let Some(idle) = stamps.idle {
            let ends = crate::clock::later(now, idle).min(self.absolute_expires_at);
            self.idle_expires_at = self.idle_expires_at.max(ends).min(self.absolute_expires_at);
        }
        self.version = self.version.saturating_add(1);
        self
    }

    /// The record with other claims, as JSON.
    pub(crate) fn with_claims(mut self, claims: String) -> Self {
        self.claims = claims.into_boxed_str();
        self
    }

    /// The record with what it lacks if it was written before there was a parent. Such a session has been seen in the
    /// current generation if it is confirmed, else in the one before, which counts as seen long ago.
    #[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
    pub(super) fn of_first_version(mut self) -> Self {
        let before = self.generation.checked_sub(1);
        self.parent = before.unwrap_or_default();
        self.seen = if self.confirmed_at.is_some() { Some(self.generation) } else { before };
        self.confirmed_at = self.confirmed_at.or_else(|| before.map(|_| SystemTime::UNIX_EPOCH));
        self.issued_at = self.rotated_at;
        self.claims_at = self.rotated_at;
        self
    }

    /// Returns the version for a `bigint` column. One that does not fit is `None`, which SQL takes for NULL: it equals no
    /// stored version, so the update ends in [`Update::Conflict`](super::Update::Conflict).
    pub fn signed_version(&self) -> Option<i64> {
        self.version.try_into().ok()
    }

    /// Orders sessions from oldest to newest, with the id as the tie-breaker.
    pub(super) fn by_sign_in(&self, other: &Self) -> Ordering {
        (self.created_at, &self.id).cmp(&(other.created_at, &other.id))
    }

    /// Returns the time at which the session ends unless it is used before: the earlier of the idle and the absolute
    /// expiry.
    pub fn expires_at(&self) -> SystemTime {
        self.idle_expires_at.min(self.absolute_expires_at)
    }
}

impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("id", &self.id)
            .field("subject", &self.subject)
            .field("generation", &self.generation)
            .field("confirmed_at", &self.confirmed_at)
            .field("expires_at", &self.expires_at())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NewRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRecord")
            .field("id", &self.id)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

const DAY: u64 = 24 * 60 * 60;
pub(crate) const DEFAULT_IDLE: Duration = Duration::from_secs(14 * DAY);
pub(crate) const DEFAULT_ABSOLUTE: Duration = Duration::from_secs(90 * DAY);

#[cfg(all(test, any(feature = "postgres", feature = "redis", feature = "sqlite")))]
mod tests {
    use super::*;

    #[test]
    fn record_of_the_first_version_gets_what_it_lacks() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let long_ago = Some(SystemTime::UNIX_EPOCH);
        for (name, generation, confirmed_at, parent, seen, seen_at) in [
            ("new", 0, None, 0, None, None),
            ("new and confirmed", 0, Some(at(9)), 0, Some(0), Some(at(9))),
            ("rotated once", 1, None, 0, Some(0), long_ago),
            ("rotated", 7, None, 6, Some(6), long_ago),
            ("rotated and confirmed", 7, Some(at(9)), 6, Some(7), Some(at(9))),
        ] {
            let mut record = NewRecord::new("id".into(), "ada", [0; 32]).begin(at(1));
            record.generation = generation;
            record.confirmed_at = confirmed_at;
            record.rotated_at = at(8);
            let record = record.of_first_version();
            assert_eq!((record.parent, record.seen, record.confirmed_at), (parent, seen, seen_at), "{name}");
            assert_eq!((record.issued_at, record.claims_at), (at(8), at(8)), "{name}");
        }
    }
}
