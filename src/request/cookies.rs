use http::{HeaderMap, header::COOKIE};
use memchr::memchr;

use super::head::{Found, Values};

/// Returns the values of all cookies with this name.
///
/// Values are not decoded, but quotes around a value are removed (RFC 6265 §4.1.1).
pub(crate) fn cookie_values<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    cookie_values_in(Found::of(headers, &COOKIE), headers, name)
}

/// Returns the values of all cookies with this name, given the `Cookie` headers. See [`cookie_values`].
pub(crate) fn cookie_values_in<'h>(
    cookies: Found<'h>,
    headers: &'h HeaderMap,
    name: &'h str,
) -> impl Iterator<Item = &'h [u8]> {
    pieces(cookies.values(headers, &COOKIE)).filter_map(move |piece| value_of(piece, name.as_bytes()))
}

/// Returns the pieces between semicolons.
///
/// HTTP/2 splits cookies over several headers (RFC 9113 §8.2.3). A malformed piece does not hide any other.
pub(super) fn pieces(headers: Values<'_>) -> Pieces<'_> {
    Pieces { headers, rest: None }
}

pub(super) struct Pieces<'h> {
    headers: Values<'h>,
    rest: Option<&'h [u8]>,
}

impl<'h> Iterator for Pieces<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        let rest = match self.rest {
            Some(rest) => rest,
            None => self.headers.next()?.as_bytes(),
        };
        let end = memchr(b';', rest);
        self.rest = end.map(|end| &rest[end + 1..]);
        Some(&rest[..end.unwrap_or(rest.len())])
    }
}

/// Returns the value if this is the cookie with that name. A cookie's name cannot contain `=`.
fn value_of<'h>(piece: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    let value = trim_start(trim_start(piece).strip_prefix(name)?).strip_prefix(b"=")?;
    Some(unquote(trim_end(trim_start(value))))
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    text
}

fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn unquote(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        _ => value,
    }
}
