use std::{error::Error as StdError, fmt, time::Duration};

/// Why a token was refused.
///
/// Says what was wrong, never what would have been right, and carries nothing of the token.
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
    /// Not a compact JWS of a JSON object, or a registered claim or header parameter of a wrong
    /// type or given twice.
    Malformed,
    /// Longer than [`MAX_TOKEN_LEN`](super::MAX_TOKEN_LEN); refused before any cryptography.
    TooLarge,
    /// No accepted key has the token's `kid` and `alg`.
    UnknownKey,
    /// A key fits, but the signature is not its.
    BadSignature,
    /// `typ` names another kind of token (RFC 8725 §3.11).
    WrongType,
    /// `exp` has passed.
    Expired,
    /// `nbf` is still ahead.
    NotYetValid,
    /// `iss` is absent or another's.
    WrongIssuer,
    /// `aud` is absent or names others.
    WrongAudience,
    /// Everything is in order, but the application's own claims are not of its type `C`.
    ClaimsMismatch,
    /// Several cookies of one name verify and belong to different sessions.
    Ambiguous,
    /// The keys of the issuer have not been learnt yet, or not for too long: nobody can tell.
    KeysUnavailable,
    /// The session was signed out, revoked or has ended, as its store says.
    Revoked,
}

impl TokenError {
    /// What was wrong.
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
            TokenErrorKind::UnknownKey => "no accepted key fits the token",
            TokenErrorKind::BadSignature => "the token's signature does not verify",
            TokenErrorKind::WrongType => "the token is of another type",
            TokenErrorKind::Expired => "the token has expired",
            TokenErrorKind::NotYetValid => "the token is not valid yet",
            TokenErrorKind::WrongIssuer => "the token is of another issuer",
            TokenErrorKind::WrongAudience => "the token is for another audience",
            TokenErrorKind::ClaimsMismatch => "the token's claims are not those of this application",
            TokenErrorKind::Ambiguous => "the request carries tokens of different sessions",
            TokenErrorKind::KeysUnavailable => "the keys of the issuer are not known just now",
            TokenErrorKind::Revoked => "the session has ended",
        })
    }
}

impl StdError for TokenError {}

/// Why a token could not be issued: a mistake of the application, not of a request.
#[derive(Debug)]
pub struct IssueError {
    kind: IssueErrorKind,
    source: Option<serde_json::Error>,
}

/// The kinds of [`IssueError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssueErrorKind {
    /// The key ring has no active key, or the provider failed to sign.
    CannotSign,
    /// The application's claims cannot be serialized, or not as a JSON object.
    ClaimsNotAnObject,
    /// A field of the application's claims has the name of a registered claim.
    Collision(String),
    /// The token would not verify: the application's claims serialize to something from which they
    /// do not deserialize, or the key ring does not accept its own signature.
    NotReadable,
    /// The expiry is not after the present time, or beyond the year 9999.
    InvalidExpiry,
    /// Name and value of the cookie are over 4096 bytes, so browsers would drop it (RFC 6265bis §5.6).
    CookieTooLarge {
        /// Length of name plus value in bytes.
        len: usize,
    },
}

impl IssueError {
    /// What was wrong.
    pub const fn kind(&self) -> &IssueErrorKind {
        &self.kind
    }

    pub(crate) const fn new(kind: IssueErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(crate) const fn not_an_object(source: Option<serde_json::Error>) -> Self {
        Self { kind: IssueErrorKind::ClaimsNotAnObject, source }
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
                "the token could not be read again: the application's claims do not deserialize from what they \
                 serialize to",
            ),
            IssueErrorKind::InvalidExpiry => {
                f.write_str("the expiry must lie ahead, and before the year 10000")
            }
            IssueErrorKind::CookieTooLarge { len } => write!(
                f,
                "the cookie would have {len} bytes, but browsers drop those over 4096; put less into the claims"
            ),
        }
    }
}

impl StdError for IssueError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

/// The user signed in too long ago for what was asked (RFC 9470).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleSignIn {
    max_age: Duration,
}

impl StaleSignIn {
    pub(crate) const fn new(max_age: Duration) -> Self {
        Self { max_age }
    }

    /// How long ago the user may have signed in.
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
