use std::net::IpAddr;

use crate::error::ConfigError;

/// Which origins count as the application's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OriginPolicy {
    pub(super) public: Option<Box<str>>,
    pub(super) trusted: Vec<Box<str>>,
    pub(super) handshakes_without_origin: bool,
}

impl OriginPolicy {
    pub(crate) fn set_public(&mut self, origin: &str) -> Result<(), ConfigError> {
        self.public = Some(normalize(origin)?);
        Ok(())
    }

    pub(crate) fn trust(&mut self, origin: &str) -> Result<(), ConfigError> {
        self.trusted.push(normalize(origin)?);
        Ok(())
    }

    pub(crate) const fn allow_handshakes_without_origin(&mut self) {
        self.handshakes_without_origin = true;
    }
}

/// An origin as browsers serialize it: lower case, without the scheme's default port (RFC 6454 §6.2).
pub(crate) fn normalize(origin: &str) -> Result<Box<str>, ConfigError> {
    let invalid = || {
        ConfigError::new(format!(
            "`{}` is no origin: give scheme, host and port alone, such as `https://shop.example`",
            origin.escape_debug()
        ))
    };
    let lower = origin.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://").ok_or_else(invalid)?;
    let scheme_ok =
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !scheme_ok || !is_host_and_port(authority) {
        return Err(invalid());
    }
    Ok(format!("{scheme}://{}", without_default_port(scheme, authority)).into_boxed_str())
}

/// Whether browsers could write this: no user info, no wildcard, no port that is none.
fn is_host_and_port(authority: &str) -> bool {
    let Ok(parsed) = authority.parse::<http::uri::Authority>() else {
        return false;
    };
    let host = parsed.host();
    let host_ok = host.starts_with('[')
        || (!host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)));
    let port_ok = match authority.strip_prefix(host) {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == port)),
        None => false, // user info
    };
    host_ok && port_ok
}

/// Whether the host of `authority` is this machine.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<http::uri::Authority>() else {
        return false;
    };
    let host = authority.host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The authority without `:443` or `:80` where that is the scheme's own.
pub(crate) fn without_default_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let port = match scheme {
        "https" | "wss" => ":443",
        "http" | "ws" => ":80",
        _ => return authority,
    };
    authority.strip_suffix(port).unwrap_or(authority)
}
