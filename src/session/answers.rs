use std::{fmt, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Serialize, Serializer};

use super::device::{self, DeviceOffer};
use crate::{
    clock::unix_seconds,
    cookies,
    store::{SessionId, SessionRecord},
};

/// The result of signing a user in, with the cookies to set on the response.
///
/// With the `axum` feature it is a response part; otherwise call [`append_to`](Self::append_to). The XSRF token is
/// for the page's script; send it in the response body.
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// # let sessions = Sessions::<()>::builder(keys, MemoryStore::new()).with_audience("shop").build()?;
/// let (request, ()) = Request::post("https://shop.example/login").body(())?.into_parts();
/// let signed_in = sessions.sign_in(&request, "ada", ()).await?;
/// let mut response = Response::new(format!(r#"{{"xsrfToken":"{}"}}"#, signed_in.xsrf_token()));
/// signed_in.append_to(response.headers_mut());
/// assert_eq!(response.headers().get_all("set-cookie").iter().count(), 3);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "the user is signed in once the cookies are on the response"]
pub struct SignedIn {
    pub(super) cookies: Vec<HeaderValue>,
    pub(super) xsrf_token: Box<str>,
    pub(super) expires_at: SystemTime,
    pub(super) session_id: SessionId,
    pub(super) offer: Option<DeviceOffer>,
}

impl SignedIn {
    /// Returns the XSRF token, which unsafe requests must send in the `X-XSRF-TOKEN` header.
    pub fn xsrf_token(&self) -> &str {
        &self.xsrf_token
    }

    /// Returns when the access token expires.
    pub const fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Returns when the access token expires, in whole seconds since the epoch, for use in a JSON body.
    pub fn expires_at_unix(&self) -> u64 {
        unix_seconds(self.expires_at)
    }

    /// Returns the ID of the new session.
    pub const fn session_id(&self) -> &SessionId {
        &self.session_id
    }

    /// Adds the cookies to the headers of a response and marks it as not to be stored by any cache. With
    /// [`with_device_binding`](super::SessionsBuilder::with_device_binding), also offers to bind the session.
    ///
    /// Call it after other headers have been set: outside the layers, a later `Cache-Control` would permit storing again.
    pub fn append_to(&self, headers: &mut HeaderMap) {
        cookies::append(headers, self.cookies.iter().cloned());
        if let Some(offer) = &self.offer {
            offer.append_to(headers);
        }
    }
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn").field("session_id", &self.session_id).finish_non_exhaustive()
    }
}

/// The result of changing a session's claims: clears the access cookie, which carries the previous ones.
///
/// On the next request the session is refreshed, and the response sets an access cookie with the new claims.
///
/// # Examples
///
/// ```
/// use http::{HeaderMap, Request};
/// use serde::{Deserialize, Serialize};
/// use tower_cookie_jwt::{Claims, Sessions, session::SessionError};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct User { name: String }
///
/// /// Responds with the headers of a renamed user.
/// async fn rename<B>(sessions: &Sessions<User>, request: &Request<B>, name: &str) -> Result<HeaderMap, SessionError> {
///     let claims = request.extensions().get::<Claims<User>>().expect("the layer requires claims");
///     let updated = sessions.update_claims(claims, &User { name: name.into() }).await?;
///     let mut headers = HeaderMap::new();
///     updated.append_to(&mut headers);
///     Ok(headers)
/// }
/// ```
#[derive(Clone)]
#[must_use = "the browser keeps its former claims until its access token has expired"]
pub struct UpdatedClaims {
    pub(super) cookies: Vec<HeaderValue>,
    pub(super) xsrf_token: Box<str>,
}

impl UpdatedClaims {
    /// Returns the XSRF token of the session, which is a new one after `update_privileges`.
    ///
    /// Send it to the page's script in the response body. The readable cookie is set only with the next response, and
    /// until then an unsafe request with the previous value is refused.
    pub fn xsrf_token(&self) -> &str {
        &self.xsrf_token
    }

    /// Adds the header that clears the access cookie to a response and marks it as not to be stored by any cache.
    ///
    /// Call it after other headers have been set: outside the layers, a later `Cache-Control` would permit storing again.
    pub fn append_to(&self, headers: &mut HeaderMap) {
        cookies::append(headers, self.cookies.iter().cloned());
    }
}

impl fmt::Debug for UpdatedClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpdatedClaims")
    }
}

/// The result of signing a user out: clears the cookies.
///
/// Access tokens of the session are valid until they expire, unless `with_session_check` is set or the handler calls
/// `Sessions::is_live`.
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// # let sessions = Sessions::<()>::builder(keys, MemoryStore::new()).with_audience("shop").build()?;
/// let (request, ()) = Request::post("https://shop.example/logout").body(())?.into_parts();
/// let mut response = Response::new(());
/// sessions.sign_out(&request).await?.with_clear_site_data().append_to(response.headers_mut());
/// assert!(response.headers()["set-cookie"].to_str()?.contains("Max-Age=0"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "the browser keeps its cookies until they are cleared on the response"]
pub struct SignedOut {
    pub(super) cookies: Vec<HeaderValue>,
    pub(super) clear_site_data: bool,
}

impl SignedOut {
    /// Also tells the browser to delete what the site's pages have stored and cached, for shared computers.
    ///
    /// The `Clear-Site-Data` header is sent with `"cache"` and `"storage"`, but not with `"cookies"`: cookies are
    /// cleared one by one, so that other applications on the domain keep theirs.
    ///
    /// Defaults to not sending the header.
    pub const fn with_clear_site_data(mut self) -> Self {
        self.clear_site_data = true;
        self
    }

    /// Adds the headers that clear the cookies to a response and marks it as not to be stored by any cache.
    ///
    /// Call it after other headers have been set: outside the layers, a later `Cache-Control` would permit storing again.
    pub fn append_to(&self, headers: &mut HeaderMap) {
        cookies::append(headers, self.cookies.iter().cloned());
        if self.clear_site_data {
            headers.insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cache\", \"storage\""));
        }
    }
}

/// The part of a session that its user may see.
///
/// Serializes as an object with the members `id`, `createdAt`, `lastSeenAt`, `expiresAt` and `label`, with times in
/// whole seconds since the epoch. With a bound session there is also `device`, an object with the members `boundAt` and
/// `provedAt`.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// # let sessions = Sessions::<()>::builder(keys, MemoryStore::new()).with_audience("shop").build()?;
/// let (request, ()) = Request::post("https://shop.example/login").body(())?.into_parts();
/// let signed_in = sessions.sign_in(&request, "ada", ()).await?;
/// for session in sessions.list("ada").await? {
///     let here = if session.id == *signed_in.session_id() { " (this device)" } else { "" };
///     println!("{}{here}, last used {:?}", session.label, session.last_seen_at);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session's ID. Compare it with `Claims::session_id` to find the current session.
    pub id: SessionId,
    /// When the user signed in.
    #[serde(serialize_with = "as_unix_seconds")]
    pub created_at: SystemTime,
    /// When the session was last rotated or confirmed. It may have been used since then.
    #[serde(serialize_with = "as_unix_seconds")]
    pub last_seen_at: SystemTime,
    /// When the session ends unless it is used before then.
    #[serde(serialize_with = "as_unix_seconds")]
    pub expires_at: SystemTime,
    /// The label by which the user recognizes the device.
    ///
    /// It is shown as the client or the application wrote it, except that it has at most 80 characters and no control
    /// characters, nor invisible ones that change the direction of text. Escape it in HTML.
    pub label: Box<str>,
    /// The device to which the session is bound, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceInfo>,
}

/// The device to which a session is bound; see
/// [`with_device_binding`](super::SessionsBuilder::with_device_binding).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DeviceInfo {
    /// When the first proof bound the session.
    #[serde(serialize_with = "as_unix_seconds")]
    pub bound_at: SystemTime,
    /// When the device last proved that it holds the key.
    #[serde(serialize_with = "as_unix_seconds")]
    pub proved_at: SystemTime,
}

impl From<SessionRecord> for SessionInfo {
    fn from(record: SessionRecord) -> Self {
        Self {
            expires_at: record.expires_at(),
            id: record.id,
            created_at: record.created_at,
            last_seen_at: record.last_seen_at,
            label: shown(&record.label),
            device: device::binding(&record.extension)
                .ok()
                .flatten()
                .map(|key| DeviceInfo { bound_at: key.bound().bound_at, proved_at: key.proved_at() }),
        }
    }
}

/// Returns a label without the characters that could falsify a list of sessions on a terminal, in a log or on a page.
fn shown(label: &str) -> Box<str> {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let label: String = label.chars().filter(|c| !is_hidden(*c)).take(MAX_LABEL).collect();
    label.into()
}

fn as_unix_seconds<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(unix_seconds(*time))
}

/// The most characters of a label that are shown.
const MAX_LABEL: usize = 80;
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
