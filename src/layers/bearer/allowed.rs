use http::Uri;

use crate::{
    error::ConfigError,
    request::{is_loopback, normalize, without_default_port},
};

/// The origins that may receive a token.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    origins: Vec<Box<str>>,
    /// The destination of requests whose URI has no authority.
    fixed: Option<Box<str>>,
}

impl Allowed {
    pub(super) fn new<T: AsRef<str>>(origins: impl IntoIterator<Item = T>) -> Result<Self, ConfigError> {
        let origins: Vec<_> =
            origins.into_iter().map(|origin| checked(origin.as_ref())).collect::<Result<_, _>>()?;
        if origins.is_empty() {
            return Err(ConfigError::new(
                "the list of origins that may receive a token is empty; add at least one",
            ));
        }
        Ok(Self { origins, fixed: None })
    }

    pub(super) fn fix(&mut self, origin: &str) -> Result<(), ConfigError> {
        let origin = checked(origin)?;
        if !self.origins.contains(&origin) {
            return Err(ConfigError::new(
                "the fixed origin is not in the list of origins that may receive a token; add it to the list",
            ));
        }
        self.fixed = Some(origin);
        Ok(())
    }

    pub(super) fn holds(&self, uri: &Uri) -> bool {
        let (scheme, authority) = match (uri.scheme_str(), uri.authority()) {
            (Some(scheme), Some(authority)) => (scheme, authority),
            (None, None) => return self.fixed.is_some(),
            // Without a scheme (CONNECT), the URI does not determine the origin.
            _ => return false,
        };
        // `https://allowed.example@evil.example` goes to evil.example.
        if authority.as_str().contains('@') {
            return false;
        }
        let authority = authority.as_str().to_ascii_lowercase();
        let origin = format!("{scheme}://{}", without_default_port(scheme, &authority));
        self.origins.iter().any(|allowed| **allowed == *origin)
    }
}

/// Normalizes an origin, and accepts it only if it uses https or is on loopback.
fn checked(origin: &str) -> Result<Box<str>, ConfigError> {
    let origin = normalize(origin)?;
    let (scheme, authority) = origin.split_once("://").unwrap_or_default();
    match scheme {
        "https" => Ok(origin),
        "http" if is_loopback(authority) => Ok(origin),
        _ => Err(ConfigError::new(format!(
            "`{origin}` would receive tokens unencrypted; use https (http is accepted for loopback only)"
        ))),
    }
}
