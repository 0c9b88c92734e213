use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderMap;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::cookies::cookie_values;
use crate::{
    keys::{
        MAX_SIGNATURE_CHECKS,
        crypto::{random, sha256},
    },
    token::{Budget, Registered, Seen, Source, TokenErrorKind, Verifier},
};

/// The `typ` of refresh tokens. It keeps access tokens from being accepted as refresh tokens, and vice versa.
pub(crate) const REFRESH_TYPE: &str = "refresh+jwt";

/// The 128-bit secret of a session. Only the refresh token carries it; the store holds its hash.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub(crate) struct SessionSecret([u8; 16]);

impl SessionSecret {
    pub(crate) fn generate() -> Self {
        Self(random())
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        sha256(&self.0)
    }

    /// Returns the hash of the secret and the thumbprint of the key to which the session is bound: SHA-256 of both, one
    /// after the other. Both have a fixed length, so no other pair has the same input.
    pub(crate) fn hash_with(&self, thumbprint: &[u8; 32]) -> [u8; 32] {
        let mut input = Zeroizing::new([0; 48]);
        input[..16].copy_from_slice(&self.0);
        input[16..].copy_from_slice(thumbprint);
        sha256(&*input)
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret")
    }
}

/// The content of a refresh token whose signature and expiry have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    pub(crate) session_id: Box<str>,
    pub(crate) generation: u32,
    pub(crate) secret: SessionSecret,
}

impl RefreshToken {
    /// Returns the `jti` claim, which consists of the generation and the secret.
    pub(crate) fn token_id(&self) -> String {
        format!("{}.{}", self.generation, URL_SAFE_NO_PAD.encode(self.secret.0))
    }

    fn from_claims(registered: &Registered) -> Option<Self> {
        let (generation, secret) = registered.token_id()?.split_once('.')?;
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?;
        Some(Self {
            session_id: registered.session_id()?.into(),
            generation: generation.parse().ok()?,
            secret: SessionSecret(secret),
        })
    }
}

/// The refresh token that a request presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RefreshCookie {
    /// There is no cookie, or none that this crate has signed.
    Absent,
    /// This crate has signed the token, but it has expired.
    Expired,
    /// There are valid tokens of different sessions, one of each. Which sessions are live, only the store knows.
    Several(Vec<RefreshToken>),
    /// There are more cookies than the budget allows to verify, a sign of cookie tossing; these were valid.
    TooMany(Vec<RefreshToken>),
    Valid(RefreshToken),
}

/// Reads and verifies refresh cookies, so that forged and expired ones never reach the store.
#[derive(Clone, Debug)]
pub(crate) struct RefreshCookieReader {
    verifier: Verifier<()>,
    cookie: Arc<str>,
}

impl RefreshCookieReader {
    /// Creates a reader from a verifier of refresh tokens and the name of their cookie.
    pub(crate) fn new(verifier: Verifier<()>, cookie: &str) -> Self {
        Self { verifier, cookie: cookie.into() }
    }

    /// Returns the refresh token of the request; if there are several of one session, that of the highest generation.
    pub(crate) fn read(&self, headers: &HeaderMap, budget: &mut Budget) -> RefreshCookie {
        let mut tokens: Vec<RefreshToken> = Vec::new();
        let (mut expired, mut other) = (false, false);
        budget.take_overdrawn();
        let mut seen = Seen::new();
        for value in cookie_values(headers, &self.cookie) {
            let outcome = seen.first_time(value, budget, |budget| {
                self.verifier.verify_within(value, Source::Cookie, budget)
            });
            match outcome {
                Some(Ok(claims)) => {
                    if let Some(token) = RefreshToken::from_claims(claims.registered()) {
                        add(&mut tokens, token);
                    }
                }
                // The signature is checked first, so this crate has signed the expired token.
                Some(Err(TokenErrorKind::Expired)) => expired = true,
                Some(Err(_)) => other = true,
                None => {}
            }
        }
        let several = || cookie_values(headers, &self.cookie).nth(1).is_some();
        // Remembered tokens cost no check, but the store would be asked about each session.
        if budget.take_overdrawn() && several() || tokens.len() > MAX_SIGNATURE_CHECKS {
            tokens.truncate(MAX_SIGNATURE_CHECKS);
            return RefreshCookie::TooMany(tokens);
        }
        match tokens.len() {
            0 if expired && !other => RefreshCookie::Expired,
            0 => RefreshCookie::Absent,
            1 => RefreshCookie::Valid(tokens.remove(0)),
            _ => RefreshCookie::Several(tokens),
        }
    }
}

/// Adds a token, keeping only that of the highest generation for each session.
fn add(tokens: &mut Vec<RefreshToken>, token: RefreshToken) {
    match tokens.iter_mut().find(|other| other.session_id == token.session_id) {
        Some(other) if token.generation > other.generation => *other = token,
        Some(_) => {}
        None => tokens.push(token),
    }
}
