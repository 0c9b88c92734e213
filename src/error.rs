//! The error for invalid configuration.

use std::{borrow::Cow, error::Error as StdError, fmt};

/// A mistake in the configuration, reported at construction.
///
/// The message says what is wrong and how to fix it. It never contains key material.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::KeyRing;
///
/// let error = KeyRing::hs256("too short").unwrap_err();
/// assert!(error.to_string().contains("at least 32 bytes"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    message: Cow<'static, str>,
}

impl ConfigError {
    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for ConfigError {}

/// Returns enough of a text to recognize it in a message, escaped, since someone else may have chosen it.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}
