use std::{fmt::Write, time::Duration};

use cookie::{Cookie, time::Duration as CookieDuration};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, SET_COOKIE},
};

use crate::{
    error::{ConfigError, excerpt},
    token::{IssueError, IssueErrorKind},
};

/// The value of the `SameSite` attribute (RFC 6265bis §5.6.7).
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::{CookiePolicy, cookies::SameSite};
///
/// // Links on other sites lead to pages behind the login.
/// let cookies = CookiePolicy::new().with_same_site(SameSite::Lax);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SameSite {
    /// The cookie is sent only on requests from the same site.
    Strict,
    /// The cookie is also sent on top-level navigations from other sites.
    Lax,
    /// The cookie is sent on every request. Requires `Secure`.
    None,
}

/// The name and attributes with which one cookie is both set and cleared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CookieSpec {
    pub(crate) name: Box<str>,
    pub(crate) path: Box<str>,
    pub(crate) domain: Option<Box<str>>,
    pub(crate) secure: bool,
    pub(crate) http_only: bool,
    pub(crate) same_site: SameSite,
    pub(crate) partitioned: bool,
}

/// Cookie name prefixes (RFC 6265bis §4.1.3), which browsers compare case-insensitively.
pub(crate) struct Prefix;

impl Prefix {
    pub(crate) const HOST: &'static str = "__Host-";
    pub(crate) const SECURE: &'static str = "__Secure-";

    fn is(prefix: &str, name: &str) -> bool {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    }

    pub(crate) fn strip(name: &str) -> &str {
        match [Self::HOST, Self::SECURE].into_iter().find(|prefix| Self::is(prefix, name)) {
            Some(prefix) => &name[prefix.len()..],
            None => name,
        }
    }
}

impl CookieSpec {
    /// Returns `true` if no other host can set a cookie of this name.
    pub(crate) fn is_host_bound(&self) -> bool {
        Prefix::is(Prefix::HOST, &self.name)
    }

    /// Returns the `Set-Cookie` value that sets the cookie for `max_age`.
    pub(crate) fn set(&self, value: &str, max_age: Duration) -> Result<HeaderValue, IssueError> {
        let len = self.name.len() + value.len();
        if len > MAX_NAME_AND_VALUE {
            return Err(IssueError::new(IssueErrorKind::CookieTooLarge { len }));
        }
        Ok(self.header(value, max_age.as_secs()))
    }

    /// Returns the `Set-Cookie` value that clears the cookie.
    ///
    /// It repeats all attributes: browsers replace a cookie only with one of the same name, path and domain, and a
    /// secure cookie only with a secure one.
    pub(crate) fn clear(&self) -> HeaderValue {
        self.header("", 0)
    }

    /// Returns the attributes with which the cookie is set, except for its age, as they are in `Set-Cookie`.
    pub(crate) fn attributes(&self) -> String {
        let header = self.clear();
        let line = header.to_str().unwrap_or_default();
        let attributes: Vec<_> =
            line.split("; ").skip(1).filter(|attribute| !attribute.starts_with("Max-Age=")).collect();
        attributes.join("; ")
    }

    fn header(&self, value: &str, max_age: u64) -> HeaderValue {
        let mut cookie = Cookie::build((&*self.name, value))
            .path(&*self.path)
            .secure(self.secure)
            .http_only(self.http_only)
            .same_site(match self.same_site {
                SameSite::Strict => cookie::SameSite::Strict,
                SameSite::Lax => cookie::SameSite::Lax,
                SameSite::None => cookie::SameSite::None,
            })
            .max_age(CookieDuration::seconds(i64::try_from(max_age).unwrap_or(i64::MAX)));
        if let Some(domain) = &self.domain {
            cookie = cookie.domain(&**domain);
        }
        if self.partitioned {
            cookie = cookie.partitioned(true);
        }
        let mut line = String::with_capacity(self.name.len() + value.len() + ATTRIBUTES_ROOM);
        write!(line, "{}", cookie.build()).expect("writing to a string never fails");
        let mut header = HeaderValue::try_from(line)
            .expect("name, path and domain were checked at construction, and values are base64url and dots");
        // Keeps the value out of header logs and of the HTTP/2 compression table.
        header.set_sensitive(true);
        header
    }

    /// Rejects attributes that contradict each other or that browsers would not accept.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let name = &self.name;
        check_name(name)?;
        let printable =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';' && byte != b',');
        if !self.path.starts_with('/') || !printable(&self.path) || self.path.len() > MAX_ATTRIBUTE {
            return Err(ConfigError::new(format!(
                "`{}` is not a valid cookie path: start it with `/`, leave out `;` and `,`, and use at most \
                 {MAX_ATTRIBUTE} bytes",
                excerpt(&self.path)
            )));
        }
        if let Some(domain) = &self.domain
            && (!domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
                || domain.trim_matches('.').is_empty()
                || domain.len() > MAX_ATTRIBUTE)
        {
            return Err(ConfigError::new(format!(
                "`{}` is not a valid cookie domain: use the host name alone, such as `shop.example`",
                excerpt(domain)
            )));
        }
        if Prefix::is(Prefix::HOST, name)
            && !(self.secure && self.path.as_ref() == "/" && self.domain.is_none())
        {
            return Err(ConfigError::new(format!(
                "browsers reject `{name}`: the `__Host-` prefix needs `Secure`, the path `/` and no domain; use \
                 `__Secure-` or no prefix"
            )));
        }
        if Prefix::is(Prefix::SECURE, name) && !self.secure {
            return Err(ConfigError::new(format!(
                "browsers reject `{name}`: the `__Secure-` prefix needs `Secure`; use no prefix"
            )));
        }
        if self.same_site == SameSite::None && !self.secure {
            return Err(ConfigError::new(
                "browsers reject cookies with `SameSite=None` that are not `Secure`; keep `SameSite=Strict` or `Secure`",
            ));
        }
        if self.partitioned && !self.secure {
            return Err(ConfigError::new(
                "browsers reject `Partitioned` cookies that are not `Secure`; leave out `with_partitioned`",
            ));
        }
        Ok(())
    }
}

/// Rejects invalid cookie names (RFC 6265 §4.1.1).
pub(crate) fn check_name(name: &str) -> Result<(), ConfigError> {
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(ConfigError::new(format!(
            "`{}` is not a valid cookie name: use letters, digits, `-` and `_`",
            excerpt(name)
        )));
    }
    Ok(())
}

/// Returns `true` for a `tchar` of RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Room for the attributes of a typical cookie, so that the buffer rarely reallocates.
const ATTRIBUTES_ROOM: usize = 96;

/// The longest attribute value in bytes; browsers ignore longer ones (RFC 6265bis §5.6).
const MAX_ATTRIBUTE: usize = 1024;

/// The most bytes that a cookie's name and value may have together; browsers ignore larger cookies
/// (RFC 6265bis §5.6).
pub(crate) const MAX_NAME_AND_VALUE: usize = 4096;

/// Appends the cookies to a response and keeps caches from storing it.
pub(crate) fn append(headers: &mut HeaderMap, cookies: impl IntoIterator<Item = HeaderValue>) {
    let mut any = false;
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie);
        any = true;
    }
    if any {
        forbid_storing(headers);
    }
}

/// Appends those cookies that the handler has not already set or cleared itself; see [`append`].
pub(crate) fn append_missing(headers: &mut HeaderMap, cookies: impl IntoIterator<Item = HeaderValue>) {
    let by_handler: Vec<Vec<u8>> =
        headers.get_all(SET_COOKIE).iter().map(|cookie| name(cookie).to_vec()).collect();
    append(headers, cookies.into_iter().filter(|cookie| !by_handler.iter().any(|set| set == name(cookie))));
}

/// Keeps caches from storing a response if this crate's cookies are on it, whatever has been written to its headers after
/// the cookies.
///
/// The cookies are recognized by being marked as sensitive. Other cookies that are so marked should not be stored
/// either.
///
/// Inlined, because every response passes here once for each layer, and few have cookies.
#[inline(always)]
pub(crate) fn keep_from_storing(headers: &mut HeaderMap) {
    if !headers.is_empty() && headers.contains_key(SET_COOKIE) {
        keep_sensitive_from_storing(headers);
    }
}

#[cold]
fn keep_sensitive_from_storing(headers: &mut HeaderMap) {
    if headers.get_all(SET_COOKIE).iter().any(HeaderValue::is_sensitive) {
        forbid_storing(headers);
    }
}

/// Prevents shared caches from serving one user's cookies to another (RFC 9111 §5.2.2.5, RFC 9213).
fn forbid_storing(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let overriding: Vec<_> = headers.keys().filter(|name| overrides_no_store(name)).cloned().collect();
    for name in overriding {
        headers.remove(name);
    }
}

/// Returns `true` for headers that some caches obey instead of `Cache-Control`.
///
/// `CDN-Cache-Control` (RFC 9213) exists under the names of many vendors, such as `Cloudflare-CDN-Cache-Control`.
fn overrides_no_store(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("-cache-control")
        || matches!(name, "surrogate-control" | "edge-control" | "x-accel-expires" | "expires")
}

fn name(set_cookie: &HeaderValue) -> &[u8] {
    let bytes = set_cookie.as_bytes();
    let end = bytes.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(bytes.len());
    bytes[..end].trim_ascii()
}
