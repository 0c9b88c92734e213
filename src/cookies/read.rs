use http::{HeaderMap, header::COOKIE};
use memchr::memchr;

/// All cookies of a request in order, undecoded: HTTP/2 splits them over several headers
/// (RFC 9113 §8.2.3), and a malformed one hides no other.
pub(crate) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers
        .get_all(COOKIE)
        .into_iter()
        .flat_map(|header| Pieces { rest: Some(header.as_bytes()) })
        .filter_map(|pair| {
            let equals = memchr(b'=', pair)?;
            Some((trim(&pair[..equals]), trim(&pair[equals + 1..])))
        })
}

/// What stands between the semicolons of one header.
struct Pieces<'h> {
    rest: Option<&'h [u8]>,
}

impl<'h> Iterator for Pieces<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        let rest = self.rest?;
        let end = memchr(b';', rest);
        self.rest = end.map(|end| &rest[end + 1..]);
        Some(&rest[..end.unwrap_or(rest.len())])
    }
}

/// The values of all cookies of this name; quotes around a value are taken off (RFC 6265 §4.1.1).
pub(crate) fn values<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    pairs(headers).filter(move |(found, _)| *found == name.as_bytes()).map(|(_, value)| unquote(value))
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
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
