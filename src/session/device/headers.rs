//! The request headers: structured fields (RFC 9651) whose value is one string, and a flag.
//!
//! The draft specifies strings in quotes, and Chromium sends them bare (DBSC §2), so both are read. Their values are JWTs
//! of this crate or of the browser, in which no character needs an escape.

use http::{HeaderMap, HeaderName};

use crate::token::MAX_TOKEN_LEN;

/// The proof of the browser, on requests to the device service.
pub(crate) const RESPONSE: HeaderName = HeaderName::from_static("secure-session-response");
/// The session identifier, on requests to renew. Script cannot set it (DBSC §2).
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("sec-secure-session-id");
/// Why the browser sends a request without having renewed the cookie before.
pub(crate) const SKIPPED: HeaderName = HeaderName::from_static("secure-session-skipped");

/// Why a header cannot be read. It contains no part of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// There are several values, in one header or in several.
    Several,
    /// The value is longer than a token may be.
    TooLarge,
    /// The value is not one of the characters of a JWT, with or without quotes and parameters.
    Malformed,
}

/// Returns the JWT of `Secure-Session-Response`, without having verified anything; `None` if there is none.
pub(crate) fn response(headers: &HeaderMap) -> Result<Option<&str>, HeaderError> {
    only(headers, &RESPONSE)
}

/// Returns the value of `Sec-Secure-Session-Id`; `None` if there is none.
pub(crate) fn session_id(headers: &HeaderMap) -> Result<Option<&str>, HeaderError> {
    only(headers, &SESSION_ID)
}

/// Returns `true` if the browser says that it could not renew the cookie.
///
/// Anybody can send the header, so it may decide between two refusals, and nothing else (DBSC §3.2).
pub(crate) fn is_skipped(headers: &HeaderMap) -> bool {
    headers.contains_key(SKIPPED)
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, HeaderError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => text(value.as_bytes()).map(Some),
        (Some(_), Some(_)) => Err(HeaderError::Several),
    }
}

/// Reads a string, bare or in quotes. Parameters are ignored, but must be parameters.
fn text(value: &[u8]) -> Result<&str, HeaderError> {
    if value.len() > MAX_TOKEN_LEN {
        return Err(HeaderError::TooLarge);
    }
    let value = value.trim_ascii();
    let (text, rest) = match value.strip_prefix(b"\"") {
        Some(quoted) => {
            let (text, rest) = quoted.split_at(end_of(quoted, is_of_jwt));
            (text, rest.strip_prefix(b"\"").ok_or(HeaderError::Malformed)?)
        }
        None => value.split_at(end_of(value, is_of_jwt)),
    };
    match after_parameters(rest) {
        Some([]) if !text.is_empty() => str::from_utf8(text).map_err(|_| HeaderError::Malformed),
        Some(rest) if rest.trim_ascii_start().starts_with(b",") => Err(HeaderError::Several),
        _ => Err(HeaderError::Malformed),
    }
}

/// Returns what follows the parameters of an item (RFC 9651 §3.1.2), or `None` if one of them is malformed.
fn after_parameters(mut rest: &[u8]) -> Option<&[u8]> {
    while let Some(parameter) = rest.strip_prefix(b";") {
        let parameter = parameter.trim_ascii_start();
        if !parameter.first().is_some_and(|first| first.is_ascii_lowercase() || *first == b'*') {
            return None;
        }
        rest = &parameter[end_of(parameter, is_of_key)..];
        if let Some(value) = rest.strip_prefix(b"=") {
            rest = match value.strip_prefix(b"\"") {
                Some(quoted) => after_string(quoted)?,
                None => match value.split_at(end_of(value, is_of_bare_item)) {
                    ([], _) => return None,
                    (_, rest) => rest,
                },
            };
        }
    }
    Some(rest)
}

/// Returns what follows the closing quote of a string with escapes (RFC 9651 §3.3.3).
fn after_string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', b'"' | b'\\', rest @ ..] => rest,
            [b'\\', ..] => return None,
            [b' '..=b'~', rest @ ..] => rest,
            _ => return None,
        };
    }
}

fn end_of(text: &[u8], belongs: fn(u8) -> bool) -> usize {
    text.iter().position(|byte| !belongs(*byte)).unwrap_or(text.len())
}

/// The characters of base64url and the dot.
const fn is_of_jwt(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

const fn is_of_key(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.' | b'*')
}

/// The characters of tokens, numbers, booleans, dates and byte sequences.
const fn is_of_bare_item(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b';' | b',' | b'"' | b'\\' | b'(' | b')')
}
