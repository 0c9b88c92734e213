use std::{error::Error as StdError, fmt, time::Duration};

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
};

use crate::{
    request::OriginError,
    token::{InsufficientScope, Scopes, StaleSignIn, TokenError, TokenErrorKind, XsrfError, XsrfErrorKind},
};

/// Why a layer refused a request.
///
/// One type for all the layers, so one [`Reject`](super::Reject) hook serves all. It is left in
/// the extensions of the response, for layers further out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No token, or none that verifies: 401.
    Token(TokenError),
    /// The XSRF token was missing or wrong: 403.
    Xsrf(XsrfError),
    /// The request came from elsewhere: 403.
    Origin(OriginError),
    /// The token verifies but was not granted enough: 403.
    Scope(InsufficientScope),
    /// The token verifies, but the user signed in too long ago: 401, to sign in again.
    StepUp(StaleSignIn),
    /// The session store, or the keys of the issuer, cannot be asked just now: 503.
    Unavailable,
}

impl Refusal {
    /// The status of the answer.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Token(_) | Self::StepUp(_) => StatusCode::UNAUTHORIZED,
            Self::Xsrf(_) | Self::Origin(_) | Self::Scope(_) => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A stable code for programs, the `code` member of [`ProblemJson`](super::ProblemJson).
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Token(error) => match error.kind() {
                TokenErrorKind::Missing => "token_missing",
                TokenErrorKind::Expired => "token_expired",
                TokenErrorKind::Ambiguous => "token_ambiguous",
                TokenErrorKind::Revoked => "session_revoked",
                _ => "token_invalid",
            },
            Self::Xsrf(error) => match error.kind() {
                XsrfErrorKind::Missing | XsrfErrorKind::LayerMissing => "xsrf_missing",
                XsrfErrorKind::Mismatch | XsrfErrorKind::NoClaim => "xsrf_mismatch",
            },
            Self::Origin(_) => "origin_refused",
            Self::Scope(_) => "insufficient_scope",
            Self::StepUp(_) => "insufficient_user_authentication",
            Self::Unavailable => "unavailable",
        }
    }

    /// How long a client should wait before it tries again, where trying again can help.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable => Some(RETRY),
            _ => None,
        }
    }

    /// The `WWW-Authenticate` challenge; without an `error` when no token came (RFC 6750 §3.1).
    pub(crate) fn challenge(&self) -> Option<HeaderValue> {
        match self {
            Self::Token(error) if error.kind() == TokenErrorKind::Missing => {
                Some(HeaderValue::from_static("Bearer"))
            }
            Self::Token(_) => Some(HeaderValue::from_static("Bearer error=\"invalid_token\"")),
            Self::Scope(error) => Some(scope_challenge(error.scope())),
            Self::StepUp(error) => Some(step_up_challenge(error)),
            Self::Xsrf(_) | Self::Origin(_) | Self::Unavailable => None,
        }
    }

    /// Writes the headers that belong to the status.
    pub(crate) fn write_headers(&self, headers: &mut HeaderMap) {
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
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
            Self::StepUp(error) => error.fmt(f),
            Self::Unavailable => f.write_str("authentication is temporarily unavailable"),
        }
    }
}

impl StdError for Refusal {}

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

/// Names the scope that would do (RFC 6750 §3), where it can stand in a quoted string.
fn scope_challenge(scope: Option<&str>) -> HeaderValue {
    let plain = HeaderValue::from_static("Bearer error=\"insufficient_scope\"");
    let Some(scope) = scope.and_then(|scope| Scopes::new(scope).ok()).filter(|scope| !scope.is_empty())
    else {
        return plain;
    };
    HeaderValue::try_from(format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"")).unwrap_or(plain)
}

/// RFC 9470 §3.
fn step_up_challenge(error: &StaleSignIn) -> HeaderValue {
    let max_age = error.max_age().as_secs();
    HeaderValue::try_from(format!("Bearer error=\"insufficient_user_authentication\", max_age=\"{max_age}\""))
        .expect("a number in quotes is a header value")
}

const RETRY: Duration = Duration::from_secs(5);
