//! Us, set up as applications do.

use futures_util::FutureExt;
use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};
use tower_cookie_jwt::{
    CookieJwtLayer, KeyRing, MemoryStore, Sessions, Verifier,
    keys::{Algorithm as OurAlgorithm, Key},
    store::{Created, NewRecord, RefreshStore, SessionId},
};

use crate::fixture::{
    AUDIENCE, ISSUER, KEY_ID, MANY, SCOPE, SECRET, SUBJECT, XSRF_TOKEN, public_pem, session_id,
};

/// The application's own claims.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) roles: Vec<String>,
}

/// What is remembered of tokens that have been verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    /// Nothing: each request is the first sight of its token.
    Off,
    /// As it comes.
    On,
    /// So little that each of many tokens is forgotten before it comes again.
    Full,
}

impl Cache {
    /// The default is not set, so that it is what is measured.
    const fn bytes(self) -> Option<usize> {
        match self {
            Self::Off => Some(0),
            Self::On => None,
            Self::Full => Some(128 * 1024),
        }
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Off => "first sight, no cache",
            Self::On => "cache hit",
            Self::Full => "first sight, cache full",
        }
    }
}

pub(crate) fn keys(algorithm: Algorithm) -> KeyRing {
    let public = |ours| Key::from_public_pem(ours, public_pem(algorithm)).expect("a well-formed key");
    match algorithm {
        Algorithm::RS256 => KeyRing::verify_only([public(OurAlgorithm::RS256).with_id(KEY_ID)]),
        Algorithm::ES256 => KeyRing::verify_only([public(OurAlgorithm::ES256).with_id(KEY_ID)]),
        Algorithm::EdDSA => KeyRing::verify_only([public(OurAlgorithm::EdDSA).with_id(KEY_ID)]),
        _ => KeyRing::new(Key::hs256(SECRET).expect("a long secret").with_id(KEY_ID)),
    }
    .expect("a valid ring")
}

pub(crate) fn verifier(algorithm: Algorithm, cache: Cache) -> Verifier<User> {
    caching(Verifier::new(keys(algorithm)), cache).with_issuer(ISSUER).with_audience(AUDIENCE)
}

/// `verifier` with or without a memory of verified tokens.
pub(crate) fn caching<C>(verifier: Verifier<C>, cache: Cache) -> Verifier<C> {
    match cache.bytes() {
        None => verifier,
        Some(bytes) => verifier.with_cache_bytes(bytes),
    }
}

/// The layer that verifies tokens, alone.
pub(crate) fn cookie_jwt(algorithm: Algorithm, cache: Cache) -> CookieJwtLayer<User> {
    CookieJwtLayer::new(verifier(algorithm, cache))
}

/// Sessions whose store knows the sessions of all tokens, as after so many sign-ins.
pub(crate) fn sessions(cache: Cache) -> Sessions<User> {
    let store = MemoryStore::new();
    for session in 0..MANY {
        let mut record = NewRecord::new(SessionId::new(session_id(session)), SUBJECT, [7; 32]);
        record.scope = SCOPE.into();
        record.claims = r#"{"roles":["customer","editor","billing","beta-testers"]}"#.into();
        record.xsrf_token = XSRF_TOKEN.into();
        let created = store.create(record).now_or_never().expect("memory").expect("memory");
        assert!(matches!(created, Created::Done(_)), "there is room");
    }
    let builder =
        Sessions::builder(keys(Algorithm::HS256), store).with_issuer(ISSUER).with_audience(AUDIENCE);
    let builder = match cache.bytes() {
        None => builder,
        Some(bytes) => builder.with_cache_bytes(bytes),
    };
    builder.build().expect("a valid configuration")
}
