use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, COOKIE},
};

use crate::{cookies, token::Source};

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

    /// The first candidate.
    pub(crate) fn candidate<'h>(&self, headers: &'h HeaderMap) -> Option<Candidate<'h>> {
        self.order.iter().find_map(|source| match source {
            Source::Bearer => bearer(headers).map(Candidate::Bearer),
            Source::AccessTokenHeader => {
                single(headers.get_all(ACCESS_TOKEN).iter().map(|value| value.as_bytes()))
                    .map(Candidate::AccessTokenHeader)
            }
            Source::Cookie => (headers.contains_key(COOKIE)
                && cookies::values(headers, &self.cookie).next().is_some())
            .then_some(Candidate::Cookie),
        })
    }
}

/// A token that was found, or in the case of cookies the fact that there are some.
pub(crate) enum Candidate<'h> {
    Bearer(&'h [u8]),
    AccessTokenHeader(&'h [u8]),
    Cookie,
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
