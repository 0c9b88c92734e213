use std::{error::Error as StdError, fmt, time::Duration};

/// The error returned when a token is not accepted.
///
/// It says what is wrong, never what would be accepted, and contains no part of the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    kind: TokenErrorKind,
}

/// The kinds of [`TokenError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// The request carries no token.
    Missing,
    /// The token is not a compact JWS of a JSON object, or a registered claim or header parameter has the wrong type
    /// or occurs twice.
    Malformed,
    /// The token is longer than [`MAX_TOKEN_LEN`](super::MAX_TOKEN_LEN). It is rejected before any cryptography.
    TooLarge,
    /// No accepted key matches the token's `kid` and `alg`.
    UnknownKey,
    /// A key matches the token's `kid` and `alg`, but the signature does not match.
    BadSignature,
    /// The token's `typ` is not one of the accepted types (RFC 8725 §3.11).
    WrongType,
    /// The time in `exp` has passed.
    Expired,
    /// The time in `nbf`, or if it is checked that in `iat`, is in the future.
    NotYetValid,
    /// The `iss` claim is absent or names another issuer.
    WrongIssuer,
    /// The `aud` claim is absent or does not contain the expected audience.
    WrongAudience,
    /// A claim that [`with_required_claims`](super::VerifierBuilder::with_required_claims) names is absent.
    MissingClaim,
    /// The token is valid for longer than [`with_max_lifetime`](super::VerifierBuilder::with_max_lifetime) allows, or has
    /// no `iat`.
    LifetimeTooLong,
    /// The token is otherwise valid, but the application's custom claims do not deserialize to its type `C`.
    ClaimsMismatch,
    /// Several cookies with the same name are valid but belong to different sessions.
    Ambiguous,
    /// The issuer's keys have not been fetched yet, or not recently enough, so the token cannot be checked.
    KeysUnavailable,
    /// According to the store, the session was signed out, was revoked, or has ended.
    Revoked,
    /// The session is bound to a device, and the request came without the device's proof: its cookies alone do not renew
    /// it. See [`with_device_binding`](crate::session::SessionsBuilder::with_device_binding).
    ProofRequired,
}

impl TokenError {
    /// Returns the kind of the error.
    pub const fn kind(&self) -> TokenErrorKind {
        self.kind
    }

    pub(crate) const fn new(kind: TokenErrorKind) -> Self {
        Self { kind }
    }
}

impl From<TokenErrorKind> for TokenError {
    fn from(kind: TokenErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TokenErrorKind::Missing => "the request carries no token",
            TokenErrorKind::Malformed => "the token is malformed",
            TokenErrorKind::TooLarge => "the token is too large",
            TokenErrorKind::UnknownKey => "no accepted key matches the token",
            TokenErrorKind::BadSignature => "the token's signature does not match",
            TokenErrorKind::WrongType => "the token is of a type that is not accepted",
            TokenErrorKind::Expired => "the token has expired",
            TokenErrorKind::NotYetValid => "the token is not valid yet",
            TokenErrorKind::WrongIssuer => "the token is from another issuer",
            TokenErrorKind::WrongAudience => "the token is for another audience",
            TokenErrorKind::MissingClaim => "the token lacks a claim that is required",
            TokenErrorKind::LifetimeTooLong => "the token is valid for too long",
            TokenErrorKind::ClaimsMismatch => "the token's claims do not match those of this application",
            TokenErrorKind::Ambiguous => "the request carries tokens from different sessions",
            TokenErrorKind::KeysUnavailable => "the issuer's keys are currently unavailable",
            TokenErrorKind::Revoked => "the session has ended",
            TokenErrorKind::ProofRequired => "the session is bound to a device, which has not proven itself",
        })
    }
}

impl StdError for TokenError {}

/// The error returned when a token cannot be issued.
///
/// The cause is a mistake in the application, not in a request.
#[derive(Debug)]
pub struct IssueError {
    kind: IssueErrorKind,
    /// Which field it is about, in words.
    detail: Option<Box<str>>,
    source: Option<serde_json::Error>,
}

/// The kinds of [`IssueError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssueErrorKind {
    /// The key ring has no active key, or the provider failed to sign.
    CannotSign,
    /// The application's claims do not serialize to a JSON object.
    ClaimsNotAnObject,
    /// A field of the application's claims has the name of a registered claim.
    Collision(String),
    /// The token would not be accepted: the application's claims do not deserialize from their serialized form, or
    /// the key ring rejects its own signature.
    NotReadable,
    /// The expiry is not in the future, or it is after the year 9999.
    InvalidExpiry,
    /// The cookie's name and value exceed 4096 bytes, so browsers would reject it (RFC 6265bis §5.6).
    CookieTooLarge {
        /// The length of name and value together, in bytes.
        len: usize,
    },
}

impl IssueError {
    /// Returns the kind of the error.
    pub const fn kind(&self) -> &IssueErrorKind {
        &self.kind
    }

    pub(crate) const fn new(kind: IssueErrorKind) -> Self {
        Self { kind, detail: None, source: None }
    }

    pub(crate) const fn not_an_object(source: Option<serde_json::Error>) -> Self {
        Self { kind: IssueErrorKind::ClaimsNotAnObject, detail: None, source }
    }

    /// Adds which field it is about, in words that follow a colon.
    pub(crate) fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string().into());
        self
    }
}

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            IssueErrorKind::CannotSign => f.write_str("the key ring cannot sign"),
            IssueErrorKind::ClaimsNotAnObject => {
                f.write_str("the application's claims do not serialize to a JSON object")
            }
            IssueErrorKind::Collision(name) => {
                write!(
                    f,
                    "the application's claim `{name}` has the name of a registered claim; rename the field"
                )
            }
            IssueErrorKind::NotReadable => f.write_str(
                "the application's claims do not deserialize from what they serialize to, so the token could not be \
                 read",
            ),
            IssueErrorKind::InvalidExpiry => {
                f.write_str("the expiry must be in the future and before the year 10000")
            }
            IssueErrorKind::CookieTooLarge { len } => write!(
                f,
                "the cookie has {len} bytes, but browsers reject cookies over 4096 bytes; put less into the claims"
            ),
        }?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

impl StdError for IssueError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

/// The error returned when a request requires a more recent sign-in (RFC 9470).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleSignIn {
    max_age: Duration,
}

impl StaleSignIn {
    pub(crate) const fn new(max_age: Duration) -> Self {
        Self { max_age }
    }

    /// Returns the maximum time that may have passed since the sign-in.
    pub const fn max_age(&self) -> Duration {
        self.max_age
    }
}

impl fmt::Display for StaleSignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the user signed in too long ago")
    }
}

impl StdError for StaleSignIn {}
