use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{ACCEPT, LOCATION, VARY},
    request::Parts,
};

use super::{hooks::Reject, refusal::Refusal};
use crate::error::ConfigError;

/// Sends people to the login page, and answers everybody else with another hook: for pages that the
/// server renders.
///
/// A navigation that accepts HTML and needs a sign-in gets 303 to the login page, with the page that was
/// wanted as `next`. Requests by script, unsafe ones and other refusals get the usual answer. The login
/// page itself is never redirected to itself.
///
/// With cookies that are `SameSite=Strict`, the default, somebody who follows a link on another site arrives
/// without them, and is sent to the login page though signed in. Pages that others link to want
/// [`SameSite::Lax`](crate::cookies::SameSite::Lax); the XSRF check protects them just the same.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use tower_cookie_jwt::{reject::{ProblemJson, RedirectToLogin, Refusal, Reject}, token::TokenErrorKind};
///
/// let hook = RedirectToLogin::new("/login", ProblemJson)?;
/// let (page, ()) = Request::get("/orders?open=1").header("accept", "text/html").body(())?.into_parts();
/// # let refusal = Refusal::Token(TokenErrorKind::Missing.into());
/// let response: http::Response<bytes::Bytes> = hook.reject(&refusal, &page);
/// assert_eq!(response.status(), 303);
/// assert_eq!(response.headers()["location"], "/login?next=%2Forders%3Fopen%3D1");
///
/// // The login handler goes back only to pages of its own.
/// assert_eq!(RedirectToLogin::safe_next("/orders?open=1"), Some("/orders?open=1"));
/// assert_eq!(RedirectToLogin::safe_next("//evil.example"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RedirectToLogin<R = super::ProblemJson> {
    login: Box<str>,
    mount: Box<str>,
    otherwise: R,
}

impl RedirectToLogin {
    /// `next` as it may be redirected to: a path of this site, and nothing that a browser would take for
    /// another host.
    pub fn safe_next(next: &str) -> Option<&str> {
        is_local_path(next).then_some(next)
    }
}

impl<R> RedirectToLogin<R> {
    /// Redirects to the login page at this path, and answers what is not redirected with `otherwise`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `login` is not a path of this site, without query.
    pub fn new(login: &str, otherwise: R) -> Result<Self, ConfigError> {
        if !is_plain_path(login) {
            return Err(ConfigError::new("the login page must be a path of this site, such as `/login`"));
        }
        Ok(Self { login: login.into(), mount: "".into(), otherwise })
    }

    /// Puts this before the path of requests: for a layer inside of a router that is mounted below a
    /// path and sees the rest alone (axum's `nest`).
    ///
    /// Defaults to nothing.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `mount` is not a path of this site, without query.
    pub fn with_mount(mut self, mount: &str) -> Result<Self, ConfigError> {
        if !is_plain_path(mount) {
            return Err(ConfigError::new("the mount point must be a path of this site, such as `/shop`"));
        }
        self.mount = mount.trim_end_matches('/').into();
        Ok(self)
    }

    fn location(&self, request: &Parts) -> Option<HeaderValue> {
        if request.method != Method::GET || !is_navigation(&request.headers) {
            return None;
        }
        let wanted = request.uri.path_and_query().map_or("/", |wanted| wanted.as_str());
        let wanted = format!("{}{wanted}", self.mount);
        let path = wanted.split('?').next().unwrap_or_default();
        if path.trim_end_matches('/') == self.login.trim_end_matches('/') {
            return None;
        }
        let mut location = self.login.to_string();
        if is_local_path(&wanted) {
            location.push_str("?next=");
            location.extend(form_urlencoded::byte_serialize(wanted.as_bytes()));
        }
        HeaderValue::try_from(location).ok()
    }
}

impl<R: Reject<B>, B: Default> Reject<B> for RedirectToLogin<R> {
    fn reject(&self, refusal: &Refusal, request: &Parts) -> Response<B> {
        let needs_sign_in = matches!(refusal, Refusal::Token(_) | Refusal::StepUp(_));
        let Some(location) = self.location(request).filter(|_| needs_sign_in) else {
            return self.otherwise.reject(refusal, request);
        };
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(LOCATION, location);
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept, Sec-Fetch-Mode"));
        response
    }
}

/// A page that a person opens; browsers without Fetch Metadata are known by what they accept.
fn is_navigation(headers: &HeaderMap) -> bool {
    let accepts_html =
        headers.get_all(ACCEPT).iter().any(|value| value.as_bytes().split(|byte| *byte == b',').any(is_html));
    let mode = headers.get("sec-fetch-mode");
    accepts_html && mode.is_none_or(|mode| mode == "navigate")
}

/// Whether a media range, perhaps with parameters, is that of HTML.
fn is_html(range: &[u8]) -> bool {
    let media_type = range.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"text/html")
}

/// A path of this site without query or fragment.
fn is_plain_path(path: &str) -> bool {
    is_local_path(path) && !path.contains(['?', '#'])
}

/// A path that stays on this host, whatever reads it: browsers take `//` and `/\` for another host, and
/// drop control characters first.
fn is_local_path(path: &str) -> bool {
    let mut bytes = path.bytes();
    bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}
