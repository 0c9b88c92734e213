//! What the browser is told: the offer of a registration, challenges, and the session's instructions.

use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::proof::Algorithms;
use crate::{
    cookies::CookieSpec,
    error::{ConfigError, excerpt},
};

/// Offers a registration, on the response to a sign-in.
pub(crate) const REGISTRATION: HeaderName = HeaderName::from_static("secure-session-registration");
/// Asks for a proof: now on a 403, with the next refresh on a 200.
pub(crate) const CHALLENGE: HeaderName = HeaderName::from_static("secure-session-challenge");

/// The settings from which browsers are instructed.
#[derive(Clone, Debug)]
pub(crate) struct Instructions {
    /// Where the device service is mounted.
    pub(crate) path: Box<str>,
    pub(crate) algorithms: Algorithms,
    /// The paths that need no proof, and what is below them.
    pub(crate) excluded: Vec<Box<str>>,
    /// The hosts whose pages may make the browser renew the cookie.
    pub(crate) initiators: Vec<Box<str>>,
}

impl Instructions {
    /// Creates the default settings for a device service at this path.
    pub(crate) fn at(path: impl Into<String>) -> Self {
        Self {
            path: path.into().into_boxed_str(),
            algorithms: Algorithms::Es256,
            excluded: Vec::new(),
            initiators: Vec::new(),
        }
    }

    /// Rejects settings that browsers would not follow.
    ///
    /// A session has the scope of one origin, so its cookie must have no domain (DBSC §6).
    pub(crate) fn check(&self, access: &CookieSpec) -> Result<(), ConfigError> {
        if !access.secure || access.partitioned || access.domain.is_some() {
            return Err(ConfigError::new(
                "browsers bind only cookies with `Secure`, without `Partitioned`, and here without a domain; leave out \
                 `for_local_http_development`, `with_partitioned` and `with_domain`, or the device binding",
            ));
        }
        if let Some(path) = [&self.path].into_iter().chain(&self.excluded).find(|path| !is_path(path)) {
            return Err(ConfigError::new(format!(
                "`{}` is not a path for the device binding: start it with one `/`, and leave out spaces, quotes, \
                 backslashes, `?` and `#`",
                excerpt(path)
            )));
        }
        if let Some(host) = self.initiators.iter().find(|host| !is_host_pattern(host)) {
            return Err(ConfigError::new(format!(
                "`{}` is not a refresh initiator: name a host, such as `shop.example`, `*.shop.example`, or `*` for all",
                excerpt(host)
            )));
        }
        Ok(())
    }

    /// Rejects a path that browsers do not send the refresh cookie to: only together with it does a proof bind.
    pub(crate) fn check_reached_by(&self, refresh: &CookieSpec) -> Result<(), ConfigError> {
        let rest = self.path.strip_prefix(&*refresh.path); // RFC 6265bis §5.1.4
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || refresh.path.ends_with('/')) {
            return Ok(());
        }
        Err(ConfigError::new(format!(
            "browsers send the refresh cookie to `{}` and what is below it, so no proof at `{}` can bind a session; change \
             `with_refresh_path`, or the path of the device binding",
            excerpt(&refresh.path),
            excerpt(&self.path)
        )))
    }

    /// Returns the value of `Secure-Session-Registration` that offers to register a key.
    pub(crate) fn offer(&self, challenge: &str) -> HeaderValue {
        let algorithms: Vec<_> = self.algorithms.list().iter().map(|algorithm| algorithm.as_str()).collect();
        let (path, challenge) = (string(&self.path), string(challenge));
        value(format!("({});path={path};challenge={challenge}", algorithms.join(" ")))
    }

    /// Returns the instructions, which answer a registration and each refresh.
    ///
    /// The browser compares the attributes with those of the cookie exactly, so they are those that the cookie is set
    /// with (DBSC §2). Without `origin`, the scope is the origin to which the request went.
    pub(crate) fn to_json(&self, identifier: &str, origin: Option<&str>, access: &CookieSpec) -> Value {
        let excluded = [&self.path].into_iter().chain(&self.excluded);
        let rules: Vec<_> =
            excluded.map(|path| json!({ "type": "exclude", "domain": "*", "path": path })).collect();
        let mut scope = json!({ "include_site": false, "scope_specification": rules });
        if let Some(origin) = origin {
            scope["origin"] = origin.into();
        }
        let mut instructions = json!({
            "session_identifier": identifier,
            "refresh_url": self.path,
            "scope": scope,
            "credentials": [{ "type": "cookie", "name": access.name, "attributes": access.attributes() }],
        });
        if !self.initiators.is_empty() {
            instructions["allowed_refresh_initiators"] = json!(self.initiators);
        }
        instructions
    }
}

/// Returns the value of `Secure-Session-Challenge` for the session of this identifier.
pub(crate) fn challenge(challenge: &str, identifier: &str) -> HeaderValue {
    value(format!("{};id={}", string(challenge), string(identifier)))
}

fn value(text: String) -> HeaderValue {
    let mut value = HeaderValue::try_from(text).expect("strings are serialized as printable ASCII");
    // Keeps identifiers and challenges out of header logs and of the HTTP/2 compression table.
    value.set_sensitive(true);
    value
}

/// Serializes a string (RFC 9651 §4.1.6). What a string cannot contain becomes `?`, so that no value ends it early.
fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns `true` for an absolute path without a query, of characters that need no escape.
fn is_path(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'?' | b'#');
    path.starts_with('/') && !path.starts_with("//") && path.bytes().all(is_plain)
}

fn is_host_pattern(host: &str) -> bool {
    !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'*'))
}
