use std::{error::Error as StdError, fmt};

/// Why the origin of a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginError {
    kind: OriginErrorKind,
}

/// The kinds of [`OriginError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OriginErrorKind {
    /// The browser says that another site, or another origin of the site, made the request.
    CrossSite,
    /// `Origin` is neither trusted nor the application's own.
    Foreign,
    /// A WebSocket handshake without `Origin`.
    Missing,
}

impl OriginError {
    /// What was wrong.
    pub const fn kind(&self) -> OriginErrorKind {
        self.kind
    }

    pub(crate) const fn new(kind: OriginErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            OriginErrorKind::CrossSite => "the request was made by another site or origin",
            OriginErrorKind::Foreign => "the request's origin is not the application's",
            OriginErrorKind::Missing => "the handshake has no origin",
        })
    }
}

impl StdError for OriginError {}
