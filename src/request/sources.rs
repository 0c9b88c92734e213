use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};

use super::{
    cookies::cookie_values_in,
    head::Found,
    report::{ErasedRejection, RefusalListener},
};
use crate::token::Source;

/// The places to look for a request's token, in order, the name of its cookie, and who hears of refusals and answers
/// them.
///
/// The first candidate decides: if it does not verify, the request is refused, whatever the other places hold.
/// `Authorization: Basic` is not a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    pub(crate) order: Vec<Source>,
    pub(crate) cookie: Box<str>,
    /// Here rather than in each layer, because it comes with every request that has been looked at.
    pub(crate) listener: Option<RefusalListener>,
    /// Answers refused requests, where nothing more specific is configured. Here for the same reason.
    pub(crate) rejection: Option<ErasedRejection>,
    /// Clears the access cookie, where sessions are bound to devices: the browser then proves itself.
    pub(crate) clear_access: Option<HeaderValue>,
}

impl Sources {
    pub(crate) fn new(cookie: impl Into<Box<str>>) -> Self {
        Self {
            order: vec![Source::Bearer, Source::AccessTokenHeader, Source::Cookie],
            cookie: cookie.into(),
            listener: None,
            rejection: None,
            clear_access: None,
        }
    }

    /// Returns the token in the first header that has one. Call it only if the token is known not to be in a cookie.
    pub(crate) fn header_token<'h>(&self, headers: &'h HeaderMap) -> Option<&'h [u8]> {
        let token_headers = TokenHeaders::of(headers);
        self.order.iter().find_map(|source| token_headers.token(*source))
    }
}

/// The headers of a request that may carry a token.
pub(super) struct TokenHeaders<'h> {
    headers: &'h HeaderMap,
    authorization: Found<'h>,
    access_token: Found<'h>,
    cookies: Found<'h>,
}

impl<'h> TokenHeaders<'h> {
    pub(super) fn of(headers: &'h HeaderMap) -> Self {
        let none = Found::default();
        let mut found = Self { headers, authorization: none, access_token: none, cookies: none };
        for (name, value) in headers {
            if *name == COOKIE {
                found.cookies.note(value);
            } else if *name == AUTHORIZATION {
                found.authorization.note(value);
            } else if *name == ACCESS_TOKEN {
                found.access_token.note(value);
            }
        }
        found
    }

    /// Returns the values of all cookies with this name.
    pub(super) fn cookies(&self, name: &'h str) -> impl Iterator<Item = &'h [u8]> + use<'h> {
        cookie_values_in(self.cookies, self.headers, name)
    }

    /// Returns the token in the header of this source. Cookies are found by name, with [`cookies`](Self::cookies).
    pub(super) fn token(&self, source: Source) -> Option<&'h [u8]> {
        match source {
            Source::Bearer => {
                only_token(self.authorization.values(self.headers, &AUTHORIZATION).filter_map(bearer))
            }
            Source::AccessTokenHeader => {
                only_token(self.access_token.values(self.headers, &ACCESS_TOKEN).map(HeaderValue::as_bytes))
            }
            Source::Cookie => None,
        }
    }
}

/// Returns the token after `Bearer`, which is case-insensitive (RFC 9110 §11.1).
fn bearer(authorization: &HeaderValue) -> Option<&[u8]> {
    let (scheme, rest) = authorization.as_bytes().split_at_checked(BEARER.len())?;
    match rest {
        [] => Some(rest),
        [b' ', ..] => Some(rest.trim_ascii()),
        _ => None,
    }
    .filter(|_| scheme.eq_ignore_ascii_case(BEARER))
}

/// Returns the value if all are equal, or an empty value, which never verifies, if they differ.
fn only_token<'h>(mut values: impl Iterator<Item = &'h [u8]>) -> Option<&'h [u8]> {
    let first = values.next()?;
    Some(if values.all(|other| other == first) { first } else { &[] })
}

const BEARER: &[u8] = b"bearer";
const ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-access-token");
