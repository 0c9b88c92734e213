use std::{error::Error as StdError, fmt};

use super::records::Unavailable;
use crate::{
    reject::Refusal,
    request::OriginError,
    token::{IssueError, TokenError, TokenErrorKind},
};

/// Why something could not be done with a session.
#[derive(Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// The request came from elsewhere: 403.
    Origin(OriginError),
    /// The session has ended, or the claims belong to none: 401.
    Token(TokenError),
    /// The store, or the reloading of claims, failed: 503. The cause is in the log.
    Unavailable,
    /// The store has no room for another session: 503.
    Full,
    /// A token could not be issued, a mistake of the application: 500.
    Issue(IssueError),
}

impl SessionError {
    pub(super) fn ended() -> Self {
        Self::Token(TokenError::new(TokenErrorKind::Revoked))
    }

    /// The refusal that it amounts to; `None` where the application itself is at fault.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Origin(error) => Some(Refusal::Origin(error.clone())),
            Self::Token(error) => Some(Refusal::Token(error.clone())),
            Self::Unavailable | Self::Full => Some(Refusal::Unavailable),
            Self::Issue(_) => None,
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin(error) => error.fmt(f),
            Self::Token(error) => error.fmt(f),
            Self::Unavailable => f.write_str("sessions cannot be looked up just now"),
            Self::Full => f.write_str("the session store is full"),
            Self::Issue(_) => f.write_str("a token could not be issued"),
        }
    }
}

impl StdError for SessionError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Issue(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Unavailable> for SessionError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl From<OriginError> for SessionError {
    fn from(error: OriginError) -> Self {
        Self::Origin(error)
    }
}

impl From<IssueError> for SessionError {
    fn from(error: IssueError) -> Self {
        Self::Issue(error)
    }
}
