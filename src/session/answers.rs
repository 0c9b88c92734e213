use std::{fmt, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Serialize, Serializer};

use crate::{
    clock::unix_seconds,
    cookies,
    store::{SessionId, SessionRecord},
};

/// A user has signed in: the cookies that say so, for the response.
///
/// Give the XSRF token to the page's script in the body. With the `axum` feature it is a response
/// part; without, call [`append_to`](Self::append_to).
#[derive(Clone)]
#[must_use = "the user is signed in once the cookies are on the response"]
pub struct SignedIn {
    pub(super) cookies: Vec<HeaderValue>,
    pub(super) xsrf_token: Box<str>,
    pub(super) expires_at: SystemTime,
    pub(super) session_id: SessionId,
}

impl SignedIn {
    /// The XSRF token, to be sent back in the `X-XSRF-TOKEN` header of unsafe requests.
    pub fn xsrf_token(&self) -> &str {
        &self.xsrf_token
    }

    /// Returns when the access token expires.
    pub const fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Returns when the access token expires, in whole seconds since the epoch: for the JSON body.
    pub fn expires_at_unix(&self) -> u64 {
        unix_seconds(self.expires_at)
    }

    /// The session.
    pub const fn session_id(&self) -> &SessionId {
        &self.session_id
    }

    /// Sets the cookies on a response, which is then not to be stored by any cache.
    pub fn append_to(&self, headers: &mut HeaderMap) {
        cookies::append(headers, self.cookies.iter().cloned());
    }
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn").field("session_id", &self.session_id).finish_non_exhaustive()
    }
}

/// The session has new claims: clears the access cookie, which carries the former ones.
///
/// The next request is refreshed, and brings a cookie with the new ones.
#[derive(Clone)]
#[must_use = "the browser keeps its former claims until its access token has expired"]
pub struct UpdatedClaims {
    pub(super) cookies: Vec<HeaderValue>,
    pub(super) xsrf_token: Box<str>,
}

impl UpdatedClaims {
    /// The XSRF token from now on: another one after `update_privileges`. Give it to the page's script in
    /// the body: the readable cookie follows with the next answer, and an unsafe request before that
    /// with the former value is refused.
    pub fn xsrf_token(&self) -> &str {
        &self.xsrf_token
    }

    /// Clears the access cookie on a response, which is then not to be stored by any cache.
    pub fn append_to(&self, headers: &mut HeaderMap) {
        cookies::append(headers, self.cookies.iter().cloned());
    }
}

impl fmt::Debug for UpdatedClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpdatedClaims")
    }
}

/// The session has ended: clears the cookies.
///
/// Access tokens of the session live until they expire, unless `with_session_check` is on or the
/// handler asks `Sessions::is_live`.
#[derive(Clone, Debug)]
#[must_use = "the browser keeps its cookies until they are cleared on the response"]
pub struct SignedOut {
    pub(super) cookies: Vec<HeaderValue>,
    pub(super) clear_site_data: bool,
}

impl SignedOut {
    /// Also has the browser drop what the site's pages have stored and cached (`Clear-Site-Data`): for
    /// shared computers. Cookies are cleared one by one, so that other applications of the domain keep
    /// theirs.
    ///
    /// Defaults to leaving it.
    pub const fn with_clear_site_data(mut self) -> Self {
        self.clear_site_data = true;
        self
    }

    /// Clears the cookies on a response, which is then not to be stored by any cache.
    pub fn append_to(&self, headers: &mut HeaderMap) {
        cookies::append(headers, self.cookies.iter().cloned());
        if self.clear_site_data {
            headers.insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cache\", \"storage\""));
        }
    }
}

/// A session as its user may see it.
///
/// Serializes as an object of `id`, `createdAt`, `lastSeenAt`, `expiresAt` and `label`, with times in whole seconds
/// since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session's id; compare it with `Claims::session_id` to find the present one.
    pub id: SessionId,
    /// When the user signed in.
    #[serde(serialize_with = "as_unix_seconds")]
    pub created_at: SystemTime,
    /// When the session was last rotated or confirmed; between the two it may have been used.
    #[serde(serialize_with = "as_unix_seconds")]
    pub last_seen_at: SystemTime,
    /// When the session ends unless it is used.
    #[serde(serialize_with = "as_unix_seconds")]
    pub expires_at: SystemTime,
    /// What the user recognizes the device by.
    pub label: Box<str>,
}

impl From<SessionRecord> for SessionInfo {
    fn from(record: SessionRecord) -> Self {
        Self {
            expires_at: record.expires_at(),
            id: record.id,
            created_at: record.created_at,
            last_seen_at: record.last_seen_at,
            label: record.label,
        }
    }
}

fn as_unix_seconds<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(unix_seconds(*time))
}

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
