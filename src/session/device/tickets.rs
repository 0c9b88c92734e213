//! The session identifier and the challenges, which the key ring signs (DBSC §3.1).
//!
//! The browser brings them back, so neither registration nor a challenge needs a place in the store, and nothing that is
//! forged reaches it. Their `typ` keeps them apart from each other and from all other tokens (RFC 8725 §3.11).
//!
//! They are JWTs, so they consist of characters that a structured field has in quotes without escapes.

use std::{
    error::Error as StdError,
    fmt,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::public_key::PublicKey;
use crate::{
    clock::{SharedClock, from_epoch, later, unix_seconds},
    error::ConfigError,
    keys::KeyRing,
    store::SessionId,
    token::{Budget, Claims, Expiry, IssueError, Issuer, NewToken, Source, TokenErrorKind, Verifier},
};

/// Signs and verifies identifiers and challenges.
#[derive(Clone, Debug)]
pub(crate) struct Tickets {
    issuer: Issuer,
    identifiers: Verifier<Key>,
    challenges: Verifier<Purpose>,
    clock: SharedClock,
}

/// By whom, for whom and by which clock tickets are issued: the same as the other tokens of the sessions.
pub(crate) struct Rules<'r> {
    pub(crate) issuer: Option<&'r str>,
    pub(crate) audience: Option<&'r str>,
    pub(crate) leeway: Duration,
    pub(crate) clock: SharedClock,
}

/// What the browser calls its session: the session of the cookies, and the key that it has registered for it.
#[derive(Debug)]
pub(crate) struct Identifier {
    pub(crate) session: SessionId,
    pub(crate) key: PublicKey,
}

/// A challenge for registering a key.
#[derive(Debug)]
pub(crate) struct RegistrationChallenge {
    pub(crate) session: SessionId,
    /// In whole seconds. The identifier is good until then, and no record needs to be read for it.
    pub(crate) absolute_expires_at: SystemTime,
}

/// A challenge for a proof.
#[derive(Debug)]
pub(crate) struct RefreshChallenge {
    session: SessionId,
    thumbprint: [u8; 32],
    proofs: u32,
}

impl RefreshChallenge {
    /// Returns `true` if the challenge is for this session and key, and has not been used up: a proof counts only if the
    /// number of proofs accepted so far is still the one for which the challenge was made.
    pub(crate) fn is_for(&self, session: &SessionId, thumbprint: &[u8; 32], proofs: u32) -> bool {
        self.session == *session && self.thumbprint == *thumbprint && self.proofs == proofs
    }
}

/// Why an identifier or a challenge is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TicketError {
    /// It was one of these, but has expired.
    Expired,
    /// It is not one that a key of the ring has signed for this purpose.
    Refused,
}

/// The claims of an identifier, apart from `sid` and `exp`.
#[derive(Serialize, Deserialize)]
struct Key {
    jwk: Map<String, Value>,
}

/// The claims of a challenge, apart from `sid` and `exp`: what it may be used for.
#[derive(Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "lowercase")]
enum Purpose {
    Registration { end: u64 },
    Refresh { jkt: String, n: u32 },
}

impl Tickets {
    /// Creates the issuer and the verifiers. The XSRF claim has its default name here, which no ticket has a use for.
    pub(crate) fn new(keys: &KeyRing, rules: Rules<'_>) -> Result<Self, ConfigError> {
        let Rules { issuer: name, audience, leeway, clock } = rules;
        let mut issuer = Issuer::new(keys.clone()).with_clock(clock.clone());
        if let Some(name) = name {
            issuer = issuer.with_issuer(name);
        }
        if let Some(audience) = audience {
            issuer = issuer.with_audience(audience);
        }
        let rules = Rules { issuer: name, audience, leeway, clock };
        let identifiers = verifier(keys, IDENTIFIER_TYPE, &rules)?;
        let challenges = verifier(keys, CHALLENGE_TYPE, &rules)?;
        Ok(Self { issuer, identifiers, challenges, clock: rules.clock })
    }

    /// Issues a session identifier, which is good until the session's absolute expiry.
    ///
    /// # Errors
    ///
    /// Returns an [`IssueError`] if the session has ended by then, or if the ring cannot sign.
    pub(crate) fn identifier(
        &self,
        session: &SessionId,
        key: &PublicKey,
        absolute_expires_at: SystemTime,
    ) -> Result<String, IssueError> {
        let jwk = match key.to_jwk() {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        self.issue(IDENTIFIER_TYPE, session, absolute_expires_at, &Key { jwk })
    }

    /// Issues a challenge for registering a key, which is good for five minutes.
    pub(crate) fn registration_challenge(
        &self,
        session: &SessionId,
        absolute_expires_at: SystemTime,
    ) -> Result<String, IssueError> {
        let expires_at = later(self.clock.now(), REGISTRATION_LIFETIME).min(absolute_expires_at);
        let end = unix_seconds(absolute_expires_at);
        self.issue(CHALLENGE_TYPE, session, expires_at, &Purpose::Registration { end })
    }

    /// Issues a challenge for the next proof of a key of which `proofs` have been accepted.
    pub(crate) fn refresh_challenge(
        &self,
        session: &SessionId,
        thumbprint: &[u8; 32],
        proofs: u32,
        lifetime: Duration,
    ) -> Result<String, IssueError> {
        let expires_at = later(self.clock.now(), lifetime);
        let purpose = Purpose::Refresh { jkt: URL_SAFE_NO_PAD.encode(thumbprint), n: proofs };
        self.issue(CHALLENGE_TYPE, session, expires_at, &purpose)
    }

    fn issue(
        &self,
        typ: &'static str,
        session: &SessionId,
        expires_at: SystemTime,
        claims: &impl Serialize,
    ) -> Result<String, IssueError> {
        let token = NewToken::of_type(typ, Expiry::At(expires_at)).with_session_id(session.as_str());
        self.issuer.issue(&token, claims)
    }

    /// Verifies a session identifier.
    pub(crate) fn read_identifier(&self, token: &str) -> Result<Identifier, TicketError> {
        let claims = verify(&self.identifiers, token)?;
        let key = PublicKey::from_jwk(&claims.custom().jwk).map_err(|_| TicketError::Refused)?;
        Ok(Identifier { session: session(&claims)?, key })
    }

    /// Verifies a challenge for registering a key.
    pub(crate) fn read_registration(&self, token: &str) -> Result<RegistrationChallenge, TicketError> {
        let claims = verify(&self.challenges, token)?;
        let Purpose::Registration { end } = *claims.custom() else { return Err(TicketError::Refused) };
        let absolute_expires_at = from_epoch(Duration::from_secs(end));
        Ok(RegistrationChallenge { session: session(&claims)?, absolute_expires_at })
    }

    /// Verifies a challenge for a proof, except for what [`RefreshChallenge::is_for`] compares.
    pub(crate) fn read_refresh(&self, token: &str) -> Result<RefreshChallenge, TicketError> {
        let claims = verify(&self.challenges, token)?;
        let Purpose::Refresh { jkt, n } = claims.custom() else { return Err(TicketError::Refused) };
        let thumbprint = URL_SAFE_NO_PAD.decode(jkt).ok().and_then(|bytes| bytes.try_into().ok());
        let thumbprint = thumbprint.ok_or(TicketError::Refused)?;
        Ok(RefreshChallenge { session: session(&claims)?, thumbprint, proofs: *n })
    }
}

fn verifier<C: DeserializeOwned>(
    keys: &KeyRing,
    typ: &str,
    rules: &Rules<'_>,
) -> Result<Verifier<C>, ConfigError> {
    let mut verifier = Verifier::builder(keys.clone())
        .with_types([typ])
        .of_sessions()
        .with_leeway(rules.leeway)
        .with_clock(rules.clock.clone())
        // Each challenge is verified once, and an identifier once in the lifetime of an access token.
        .with_cache_bytes(0);
    if let Some(name) = rules.issuer {
        verifier = verifier.with_issuer(name);
    }
    if let Some(audience) = rules.audience {
        verifier = verifier.with_audience(audience);
    }
    verifier.build()
}

fn verify<C: DeserializeOwned>(verifier: &Verifier<C>, token: &str) -> Result<Claims<C>, TicketError> {
    // The signature is checked first, so this crate has signed a ticket that has expired.
    verifier.verify_within(token.as_bytes(), Source::Bearer, &mut Budget::default()).map_err(
        |kind| match kind {
            TokenErrorKind::Expired => TicketError::Expired,
            _ => TicketError::Refused,
        },
    )
}

fn session<C>(claims: &Claims<C>) -> Result<SessionId, TicketError> {
    claims.registered().session_id().map(SessionId::from).ok_or(TicketError::Refused)
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the session identifier or challenge has expired",
            Self::Refused => "the session identifier or challenge is not one of this application",
        })
    }
}

impl StdError for TicketError {}

const IDENTIFIER_TYPE: &str = "dbsc-session+jwt";
const CHALLENGE_TYPE: &str = "dbsc-challenge+jwt";
/// How long a browser may take to make a key and register it (DBSC §6).
const REGISTRATION_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// How long a challenge for a proof is good unless configured otherwise (DBSC §6).
pub(crate) const DEFAULT_CHALLENGE_LIFETIME: Duration = Duration::from_secs(2 * 60);
