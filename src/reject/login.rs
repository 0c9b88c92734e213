use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{ACCEPT, LOCATION, VARY},
    request::Parts,
};

use super::{hooks::Reject, refusal::Refusal};
use crate::error::ConfigError;

/// Redirects page navigations to the login page, and answers all other requests with another hook.
///
/// This hook is for server-rendered pages. A `GET` navigation that accepts HTML and requires a sign-in is answered
/// with 303 to the login page, with the requested page in the query parameter `next`. Requests by script, unsafe
/// requests and other refusals are answered by the other hook. The login page is never redirected to itself.
///
/// With `SameSite=Strict` cookies, which are the default, a user who follows a link on another site arrives without
/// them and is sent to the login page even if signed in. For pages that other sites link to, use
/// [`SameSite::Lax`](crate::cookies::SameSite::Lax); the XSRF check protects them equally well.
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
/// // The login handler redirects only to pages of this site.
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
    /// Returns `next` if it is safe to redirect to: a path on this site that no browser would interpret as another
    /// host.
    pub fn safe_next(next: &str) -> Option<&str> {
        is_local_path(next).then_some(next)
    }
}

impl<R> RedirectToLogin<R> {
    /// Creates a hook that redirects to the login page at the path `login`, and answers what is not redirected with
    /// `otherwise`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `login` is not a path on this site without a query or fragment.
    pub fn new(login: &str, otherwise: R) -> Result<Self, ConfigError> {
        if !is_plain_path(login) {
            return Err(ConfigError::new(
                "the login page must be a path on this site, such as `/login`, without a query or fragment",
            ));
        }
        Ok(Self { login: login.into(), mount: "".into(), otherwise })
    }

    /// Sets the path below which the router is mounted, which is prepended to the path of requests.
    ///
    /// This is for layers inside a router mounted with axum's `nest`, where they see only the rest of the path.
    ///
    /// Defaults to nothing.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `mount` is not a path on this site without a query or fragment.
    pub fn with_mount(mut self, mount: &str) -> Result<Self, ConfigError> {
        if !is_plain_path(mount) {
            return Err(ConfigError::new(
                "the mount point must be a path on this site, such as `/shop`, without a query or fragment",
            ));
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

/// Returns `true` if the user is opening a page. Without Fetch Metadata, the `Accept` header alone decides.
fn is_navigation(headers: &HeaderMap) -> bool {
    let accepts_html =
        headers.get_all(ACCEPT).iter().any(|value| value.as_bytes().split(|byte| *byte == b',').any(is_html));
    let mode = headers.get("sec-fetch-mode");
    accepts_html && mode.is_none_or(|mode| mode == "navigate")
}

/// Returns `true` if a media range, which may have parameters, is that of HTML.
fn is_html(range: &[u8]) -> bool {
    let media_type = range.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"text/html")
}

/// Returns `true` if `path` is a path on this site without a query or fragment.
fn is_plain_path(path: &str) -> bool {
    is_local_path(path) && !path.contains(['?', '#'])
}

/// Returns `true` if `path` stays on this host.
///
/// Browsers interpret `//` and `/\` as the beginning of another host, after removing control characters.
fn is_local_path(path: &str) -> bool {
    let mut bytes = path.bytes();
    bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}
