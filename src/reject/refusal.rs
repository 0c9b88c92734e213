use std::{error::Error as StdError, fmt, time::Duration};

use http::{
    HeaderMap, HeaderValue, StatusCode, Uri,
    header::{LOCATION, RETRY_AFTER, WWW_AUTHENTICATE},
};

use crate::{
    cookies,
    request::OriginError,
    token::{InsufficientScope, Scopes, StaleSignIn, TokenError, TokenErrorKind, XsrfError, XsrfErrorKind},
};

/// Why a layer refused a request.
///
/// All layers use this type, so one [`Reject`](super::Reject) hook serves them all. The refusal is inserted into the
/// extensions of the response, where outer layers can read it.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::{reject::Refusal, token::TokenErrorKind};
///
/// let refusal = Refusal::Token(TokenErrorKind::Expired.into());
/// assert_eq!((refusal.status().as_u16(), refusal.code()), (401, "token_expired"));
/// assert_eq!(Refusal::AccessDenied.code(), "access_denied");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The request has no valid token. Answered with 401.
    Token(TokenError),
    /// The XSRF token is missing or wrong; answered with 403.
    Xsrf(XsrfError),
    /// The request came from another origin; answered with 403.
    Origin(OriginError),
    /// The token is valid but was not granted what the request requires; answered with 403.
    Scope(InsufficientScope),
    /// The token is valid, but a predicate of the application has refused its claims; answered with 403.
    AccessDenied,
    /// The token is valid, but the user must sign in again because the sign-in is too old; answered with 401.
    StepUp(StaleSignIn),
    /// The route demands a session that is bound to a device, and this one is not; answered with 403.
    DeviceBinding,
    /// The device must prove itself anew before this request; answered with 307 to the same URL, which clears the access
    /// cookie.
    ProveAgain(ProveAgain),
    /// The session store, the claims source or the issuer's key set cannot be reached; answered with 503.
    Unavailable,
}

impl Refusal {
    /// Returns the status of the response.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Token(_) | Self::StepUp(_) => StatusCode::UNAUTHORIZED,
            Self::Xsrf(_) | Self::Origin(_) | Self::Scope(_) | Self::AccessDenied | Self::DeviceBinding => {
                StatusCode::FORBIDDEN
            }
            Self::ProveAgain(_) => StatusCode::TEMPORARY_REDIRECT,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns a stable, machine-readable code: the `code` member of [`ProblemJson`](super::ProblemJson).
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Token(error) => match error.kind() {
                TokenErrorKind::Missing => "token_missing",
                TokenErrorKind::Expired => "token_expired",
                TokenErrorKind::Ambiguous => "token_ambiguous",
                TokenErrorKind::Revoked => "session_revoked",
                TokenErrorKind::ProofRequired => "device_proof_required",
                _ => "token_invalid",
            },
            Self::Xsrf(error) => match error.kind() {
                XsrfErrorKind::Missing | XsrfErrorKind::LayerMissing => "xsrf_missing",
                XsrfErrorKind::Mismatch | XsrfErrorKind::NoClaim => "xsrf_mismatch",
            },
            Self::Origin(_) => "origin_refused",
            Self::Scope(_) => "insufficient_scope",
            Self::AccessDenied => "access_denied",
            Self::DeviceBinding => "device_binding_required",
            Self::ProveAgain(_) => "device_proof_required",
            Self::StepUp(_) => "insufficient_user_authentication",
            Self::Unavailable => "unavailable",
        }
    }

    /// Returns how long the client should wait before it retries, or `None` if a retry cannot help.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable => Some(RETRY),
            _ => None,
        }
    }

    /// Returns the `WWW-Authenticate` challenge, without an `error` if the request has no token (RFC 6750 §3.1).
    pub(crate) fn challenge(&self) -> Option<HeaderValue> {
        match self {
            Self::Token(error) if error.kind() == TokenErrorKind::Missing => {
                Some(HeaderValue::from_static("Bearer"))
            }
            Self::Token(_) => Some(HeaderValue::from_static("Bearer error=\"invalid_token\"")),
            Self::Scope(error) => Some(scope_challenge(Some(error.scope()))),
            // RFC 6750 §3.1 has no other code for higher privileges than the token provides.
            Self::AccessDenied => Some(scope_challenge(None)),
            Self::StepUp(error) => Some(step_up_challenge(error)),
            Self::Xsrf(_)
            | Self::Origin(_)
            | Self::DeviceBinding
            | Self::ProveAgain(_)
            | Self::Unavailable => None,
        }
    }

    /// Writes the headers that belong to the status: `WWW-Authenticate` (RFC 6750 §3), `Retry-After`, and those of a
    /// redirection.
    ///
    /// For custom hooks, whose responses would not have them otherwise.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        if let Self::ProveAgain(again) = self {
            headers.insert(LOCATION, again.location.clone());
            cookies::append(headers, [again.clear.clone()]);
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(error) => error.fmt(f),
            Self::Xsrf(error) => error.fmt(f),
            Self::Origin(error) => error.fmt(f),
            Self::Scope(error) => error.fmt(f),
            Self::AccessDenied => f.write_str("the user may not do this"),
            Self::StepUp(error) => error.fmt(f),
            Self::DeviceBinding => f.write_str("the session is not bound to a device"),
            Self::ProveAgain(_) => f.write_str("the device has not proven itself recently enough"),
            Self::Unavailable => f.write_str("authentication is temporarily unavailable"),
        }
    }
}

impl StdError for Refusal {}

/// How the client gets to prove itself: what [`Refusal::ProveAgain`] is answered with.
#[derive(Clone, PartialEq, Eq)]
pub struct ProveAgain {
    location: HeaderValue,
    clear: HeaderValue,
}

impl ProveAgain {
    /// Redirects the request to itself. The browser renews the access cookie, which `clear` removes, before it goes on.
    pub(crate) fn at(uri: &Uri, clear: HeaderValue) -> Self {
        // Relative to the directory of the request, so that it leads nowhere else, whatever the path, and so that a router
        // may have removed the beginning of the path.
        let name = uri.path().rsplit('/').next().unwrap_or_default();
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let location = HeaderValue::try_from(format!("./{name}{query}"));
        Self { location: location.unwrap_or(HeaderValue::from_static("./")), clear }
    }
}

impl fmt::Debug for ProveAgain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProveAgain")
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

impl From<XsrfError> for Refusal {
    fn from(error: XsrfError) -> Self {
        Self::Xsrf(error)
    }
}

impl From<OriginError> for Refusal {
    fn from(error: OriginError) -> Self {
        Self::Origin(error)
    }
}

impl From<InsufficientScope> for Refusal {
    fn from(error: InsufficientScope) -> Self {
        Self::Scope(error)
    }
}

impl From<StaleSignIn> for Refusal {
    fn from(error: StaleSignIn) -> Self {
        Self::StepUp(error)
    }
}

/// Returns the challenge for insufficient scope, which names the required scope if that is valid (RFC 6750 §3).
fn scope_challenge(scope: Option<&str>) -> HeaderValue {
    let plain = HeaderValue::from_static("Bearer error=\"insufficient_scope\"");
    let Some(scope) = scope.and_then(|scope| Scopes::new(scope).ok()).filter(|scope| !scope.is_empty())
    else {
        return plain;
    };
    HeaderValue::try_from(format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"")).unwrap_or(plain)
}

/// Returns the challenge that asks for a recent sign-in (RFC 9470 §3).
fn step_up_challenge(error: &StaleSignIn) -> HeaderValue {
    let max_age = error.max_age().as_secs();
    HeaderValue::try_from(format!("Bearer error=\"insufficient_user_authentication\", max_age=\"{max_age}\""))
        .expect("ASCII text is a header value")
}

const RETRY: Duration = Duration::from_secs(5);
