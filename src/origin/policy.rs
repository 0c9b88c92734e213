use crate::ConfigError;

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
fn normalize(origin: &str) -> Result<Box<str>, ConfigError> {
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
    let host_ok = authority.parse::<http::uri::Authority>().is_ok() && !authority.contains('@');
    if !scheme_ok || !host_ok {
        return Err(invalid());
    }
    Ok(format!("{scheme}://{}", without_default_port(scheme, authority)).into_boxed_str())
}

/// The authority without `:443` or `:80` where that is the scheme's own.
pub(super) fn without_default_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let port = match scheme {
        "https" | "wss" => ":443",
        "http" | "ws" => ":80",
        _ => return authority,
    };
    authority.strip_suffix(port).unwrap_or(authority)
}
