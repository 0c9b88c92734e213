use std::{error::Error as StdError, fmt};

use super::records::Unavailable;
use crate::{
    reject::Refusal,
    request::OriginError,
    token::{IssueError, TokenError, TokenErrorKind},
    trace,
};

/// The error of an operation on sessions.
///
/// # Examples
///
/// ```
/// use std::error::Error;
/// use http::StatusCode;
/// use tower_cookie_jwt::session::SessionError;
///
/// let error = SessionError::Unavailable("connection refused".into());
/// assert_eq!(error.to_string(), "sessions are temporarily unavailable"); // may be shown to the user
/// assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("connection refused")); // for the log
/// assert_eq!(error.refusal().map(|refusal| refusal.status()), Some(StatusCode::SERVICE_UNAVAILABLE));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// The request came from another origin; answered with 403.
    Origin(OriginError),
    /// The session has ended, or the claims belong to no session; answered with 401.
    Token(TokenError),
    /// The store or the reload of claims failed; answered with 503. The cause is logged, and is the
    /// [`source`](StdError::source) of this error.
    Unavailable(Box<dyn StdError + Send + Sync>),
    /// The store has no room for another session; answered with 503.
    Full,
    /// A token could not be issued, which is a mistake of the application; answered with 500.
    Issue(IssueError),
}

impl SessionError {
    pub(super) fn ended() -> Self {
        Self::Token(TokenError::new(TokenErrorKind::Revoked))
    }

    /// Returns the refusal that corresponds to this error, or `None` if the application is at fault.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Origin(error) => Some(Refusal::Origin(error.clone())),
            Self::Token(error) => Some(Refusal::Token(error.clone())),
            Self::Unavailable(_) | Self::Full => Some(Refusal::Unavailable),
            Self::Issue(_) => None,
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin(error) => error.fmt(f),
            Self::Token(error) => error.fmt(f),
            Self::Unavailable(_) => f.write_str("sessions are temporarily unavailable"),
            Self::Full => f.write_str("the session store is full"),
            Self::Issue(error) => write!(f, "a token could not be issued: {error}"),
        }
    }
}

impl StdError for SessionError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Unavailable(cause) => Some(&**cause),
            Self::Issue(error) => error.source(),
            Self::Origin(_) | Self::Token(_) | Self::Full => None,
        }
    }
}

impl From<Unavailable> for SessionError {
    fn from(Unavailable(cause): Unavailable) -> Self {
        Self::Unavailable(cause)
    }
}

impl From<OriginError> for SessionError {
    fn from(error: OriginError) -> Self {
        Self::Origin(error)
    }
}

impl From<IssueError> for SessionError {
    fn from(error: IssueError) -> Self {
        // Applications answer it with a bare 500, so the log is where the developer sees why.
        trace::cannot_issue(&error);
        Self::Issue(error)
    }
}
