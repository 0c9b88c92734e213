//! What the log says of a refused request: why, what was found, and what to do about it.

use std::{borrow::Cow, fmt};

use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, COOKIE, HOST, ORIGIN},
    request::Parts,
};

use super::refusal::Refusal;
use crate::{
    request::{AuthState, OriginErrorKind},
    token::{TokenErrorKind, XsrfErrorKind},
};

/// The target of these events, which the documentation names.
const TARGET: &str = "tower_cookie_jwt::refused";

/// Logs a refusal at `DEBUG`.
pub(super) fn explain(refusal: &Refusal, request: &Parts) {
    if !tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
        return;
    }
    let headers = &request.headers;
    let state = request.extensions.get::<AuthState>();
    let user = state.and_then(|state| state.user().ok()).map(|claims| &claims.registered);
    tracing::debug!(
        target: TARGET,
        code = refusal.code(),
        reason = %refusal,
        method = %request.method,
        path = %Short(request.uri.path()),
        host = host(request).map(tracing::field::display),
        origin = shown(headers, &ORIGIN).map(tracing::field::display),
        sec_fetch_site = shown(headers, &SEC_FETCH_SITE).map(tracing::field::display),
        subject = user.and_then(|user| user.subject()).map(|subject| tracing::field::display(Short(subject))),
        session = user.and_then(|user| user.session_id()).map(|session| tracing::field::display(Short(session))),
        help = %help(refusal, request, state),
        "request refused",
    );
}

/// Returns what the developer can do about a refusal that should not have been.
fn help<'a>(refusal: &Refusal, request: &Parts, state: Option<&'a AuthState>) -> Cow<'a, str> {
    match refusal {
        Refusal::Token(_) if state.is_none() => {
            "no layer has looked for a token: put `sessions.layer()` or a `CookieJwtLayer` around this one; in axum, add it \
             later"
                .into()
        }
        Refusal::Token(error) => {
            token_help(error.kind(), &request.headers, state.and_then(AuthState::cookie_name))
        }
        Refusal::Origin(error) => match (error.kind(), shown(&request.headers, &ORIGIN)) {
            (OriginErrorKind::Missing, _) => {
                "browsers send `Origin` with a handshake; for other clients, add `with_handshakes_without_origin`".into()
            }
            (_, Some(origin)) => format!(
                "if the page at that origin is yours, add `with_trusted_origin(\"{origin}\")`; behind a proxy that \
                 rewrites the host, add `with_public_origin`"
            )
            .into(),
            (_, None) => "the browser says that a page of another origin made the request, but not of which".into(),
        },
        Refusal::Xsrf(error) => match error.kind() {
            XsrfErrorKind::Missing => {
                "send the XSRF token, which the sign-in response and the readable cookie have, in the header \
                 `X-XSRF-TOKEN`, or as `with_xsrf_header` names it"
            }
            XsrfErrorKind::Mismatch => {
                "the value is not that of this session: take it from the latest sign-in or refresh response; a stale \
                 `XSRF-TOKEN` cookie with another path or domain may come before the valid one"
            }
            XsrfErrorKind::NoClaim => {
                "the token has no XSRF claim: issue it with `NewToken::with_xsrf_token`, or name the claim with \
                 `with_xsrf_claim`"
            }
            XsrfErrorKind::LayerMissing => {
                "put `sessions.layer()` or a `CookieJwtLayer` around the `XsrfLayer`; in axum, add it later"
            },
        }
        .into(),
        Refusal::Scope(_) => "grant the scope, with `SignIn::with_scope` or at the issuer".into(),
        Refusal::AccessDenied => "the predicate of a `RequireLayer` has refused the claims".into(),
        Refusal::DeviceBinding => {
            "the session is not bound to a device: the browser has no support, or did not answer the offer at sign-in".into()
        }
        Refusal::ProveAgain(_) => "the browser proves itself, and sends the request again by itself".into(),
        Refusal::StepUp(_) => "have the user sign in again, and return to this request afterwards".into(),
        Refusal::Unavailable => "an event before this one says what is unavailable; the client may try again".into(),
    }
}

fn token_help<'a>(kind: TokenErrorKind, headers: &HeaderMap, cookie: Option<&'a str>) -> Cow<'a, str> {
    match kind {
        TokenErrorKind::Missing if headers.contains_key(AUTHORIZATION) => {
            "the `Authorization` header has no bearer token, and no cookie has a token".into()
        }
        TokenErrorKind::Missing if !headers.contains_key(COOKIE) => {
            "no cookie came with the request: is the user signed in? A browser sends cookies only to the host, path and \
             scheme that they are for, and not with `fetch` to another origin unless asked"
                .into()
        }
        TokenErrorKind::Missing => match cookie {
            Some(name) => format!("of the cookies, none is named `{name}`, or it is of another session").into(),
            None => "none of the cookies has the name of the access cookie".into(),
        },
        TokenErrorKind::Expired => {
            "refresh it: add `RefreshLayer`, or call the refresh service; or the clocks of the servers differ".into()
        }
        TokenErrorKind::NotYetValid => "the clocks of issuer and server differ; see `with_leeway`".into(),
        TokenErrorKind::UnknownKey => {
            "the key ring has no key for the token's `alg` and `kid`: is it the issuer's ring, on every server?".into()
        }
        TokenErrorKind::BadSignature => {
            "the token was signed with another key of that id, or changed on the way: do all servers have the same keys?"
                .into()
        }
        TokenErrorKind::WrongType => "name the token's `typ` with `with_types`; an ID token is not accepted".into(),
        TokenErrorKind::WrongIssuer => "compare `iss` with `with_issuer`, character by character".into(),
        TokenErrorKind::WrongAudience => {
            "compare `aud` with `with_audience`; the audience is the API, not the client".into()
        }
        TokenErrorKind::MissingClaim => "have the issuer add the claims that `with_required_claims` names".into(),
        TokenErrorKind::LifetimeTooLong => "have the issuer shorten it, or raise `with_max_lifetime`".into(),
        TokenErrorKind::ClaimsMismatch => "a warning before this event says which field does not fit".into(),
        TokenErrorKind::Ambiguous => {
            "two live sessions under one cookie name: declare a former cookie policy with `with_former`, or find out which \
             other host sets the cookie"
                .into()
        }
        TokenErrorKind::KeysUnavailable => "the issuer's keys have not been fetched; the log says why".into(),
        TokenErrorKind::ProofRequired => {
            "the browser renews a bound session by a proof: is `sessions.device_service()` mounted at the path of \
             `DeviceBinding::at`, and does a proxy pass its statuses and headers on? Otherwise the cookies have been copied"
                .into()
        }
        TokenErrorKind::Revoked => "the session has ended: the user signs in again".into(),
        TokenErrorKind::Malformed | TokenErrorKind::TooLarge => {
            "it is not a token that this crate reads; an opaque token must be exchanged for a JWT".into()
        }
    }
}

/// The host that the request is addressed to, which HTTP/2 names in the URI.
fn host(request: &Parts) -> Option<String> {
    let authority = request.uri.authority().map(|authority| Short(authority.as_str()).to_string());
    authority.or_else(|| shown(&request.headers, &HOST))
}

/// A header's first value, escaped and short.
fn shown(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    Some(Short(&String::from_utf8_lossy(value.as_bytes())).to_string())
}

/// A text that someone else has chosen: escaped, and cut off where it is long.
struct Short<'a>(&'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut escaped = self.0.escape_debug();
        for char in escaped.by_ref().take(MAX_SHOWN) {
            fmt::Write::write_char(f, char)?;
        }
        if escaped.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

const MAX_SHOWN: usize = 200;
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
