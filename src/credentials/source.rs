use http::{HeaderMap, HeaderName, header::AUTHORIZATION};

use crate::token::Source;

/// Where a request's token is looked for, in order, and the name of its cookie.
///
/// The first candidate decides: when it does not verify, the request is refused, whatever the
/// others hold. `Authorization: Basic` is no candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    pub(crate) order: Vec<Source>,
    pub(crate) cookie: Box<str>,
}

impl Sources {
    pub(crate) fn new(cookie: impl Into<Box<str>>) -> Self {
        Self { order: vec![Source::Bearer, Source::AccessTokenHeader, Source::Cookie], cookie: cookie.into() }
    }

    /// The token that the header of this source carries; cookies are looked through by name.
    pub(super) fn in_header(source: Source, headers: &HeaderMap) -> Option<&[u8]> {
        match source {
            Source::Bearer => bearer(headers),
            Source::AccessTokenHeader => {
                single(headers.get_all(ACCESS_TOKEN).iter().map(|value| value.as_bytes()))
            }
            Source::Cookie => None,
        }
    }

    /// The token of the header that decides, of a request that no cookie has decided.
    pub(crate) fn header_token<'h>(&self, headers: &'h HeaderMap) -> Option<&'h [u8]> {
        self.order.iter().find_map(|source| Self::in_header(*source, headers))
    }
}

/// The token behind `Authorization: Bearer`, whose scheme is compared without case (RFC 9110 §11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    single(headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let value = value.as_bytes();
        let (scheme, rest) = value.split_at_checked(BEARER.len())?;
        match rest {
            [] => Some(rest),
            [b' ', ..] => Some(rest.trim_ascii()),
            _ => None,
        }
        .filter(|_| scheme.eq_ignore_ascii_case(BEARER))
    }))
}

/// The only value; of several different ones none, which is no token at all.
fn single<'h>(mut values: impl Iterator<Item = &'h [u8]>) -> Option<&'h [u8]> {
    let first = values.next()?;
    Some(if values.all(|other| other == first) { first } else { &[] })
}

const BEARER: &[u8] = b"bearer";
const ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-access-token");
