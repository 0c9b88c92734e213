//! The library, set up as in an application.

use std::time::Duration;

use futures_util::FutureExt;
use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};
use tower_cookie_jwt::{
    CookieJwtLayer, KeyRing, MemoryStore, Sessions, Verifier,
    keys::{Algorithm as OurAlgorithm, Key},
    store::{Created, NewRecord, RefreshStore, SessionId},
    token::VerifierBuilder,
};

use crate::fixture::{
    AUDIENCE, ISSUER, KEY_ID, MANY, SCOPE, SECRET, SUBJECT, XSRF_TOKEN, public_pem, session_id,
};

/// The custom claims of the application.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) roles: Vec<String>,
}

/// The configuration of the cache of verified tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    /// No cache: every request verifies its token.
    Off,
    /// The default cache.
    On,
    /// A cache so small that each of many tokens is evicted before it is used again.
    Full,
    /// As large as an application sets it that has many users at a time.
    Large,
}

impl Cache {
    /// Returns the capacity to set, or `None` to measure the library's default.
    const fn bytes(self) -> Option<usize> {
        match self {
            Self::Off => Some(0),
            Self::On => None,
            Self::Full => Some(128 * 1024),
            Self::Large => Some(512 << 20),
        }
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Off => "uncached token",
            Self::On | Self::Large => "cached token",
            Self::Full => "uncached token, full cache",
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
    let builder = Verifier::builder(keys(algorithm)).with_issuer(ISSUER).with_audience(AUDIENCE);
    caching(builder, cache)
}

/// Builds a verifier with this cache.
pub(crate) fn caching<C: for<'de> serde::Deserialize<'de>>(
    builder: VerifierBuilder<C>,
    cache: Cache,
) -> Verifier<C> {
    let builder = match cache.bytes() {
        None => builder,
        Some(bytes) => builder.with_cache_bytes(bytes),
    };
    builder.build().expect("the settings agree")
}

/// Returns only the layer that verifies tokens.
pub(crate) fn cookie_jwt(algorithm: Algorithm, cache: Cache) -> CookieJwtLayer<User> {
    CookieJwtLayer::new(verifier(algorithm, cache))
}

/// Sessions that follow the feed of their store.
pub(crate) struct Following {
    pub(crate) sessions: Sessions<User>,
    /// The access token of a session, and its XSRF token.
    pub(crate) token: String,
    pub(crate) xsrf_token: String,
}

/// Returns sessions of which so many others have ended.
pub(crate) fn following(ended: usize) -> Following {
    let store = MemoryStore::new();
    let sessions = Sessions::builder(keys(Algorithm::HS256), store.clone())
        .with_issuer(ISSUER)
        .with_audience(AUDIENCE)
        .with_sign_out_within(Duration::from_secs(1))
        .build()
        .expect("a valid configuration");
    let following = sessions.follow();
    let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    std::thread::spawn(move || runtime().block_on(following));
    runtime().block_on(async {
        sessions.caught_up().await;
        for number in 0..ended {
            let record = NewRecord::new(SessionId::new(format!("ended-{number}")), SUBJECT, [7; 32]);
            let id = record.id.clone();
            drop(store.create(record).await);
            store.remove(&id).await.expect("memory");
        }
        let is_heard = || sessions.view().is_some_and(|view| view.entries >= ended && view.is_fresh);
        while !is_heard() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let user =
            User { roles: ["customer", "editor", "billing", "beta-testers"].map(str::to_owned).into() };
        let (parts, ()) = http::Request::get("https://shop.example/").body(()).expect("plain").into_parts();
        let signed_in = sessions.sign_in(&parts, SUBJECT, user).await.expect("it signs in");
        let mut response = http::Response::new(());
        signed_in.append_to(response.headers_mut());
        let lines = response.headers().get_all("set-cookie").iter().filter_map(|line| line.to_str().ok());
        let access = lines.filter_map(|line| line.strip_prefix("__Host-access=")).next().expect("a cookie");
        Following {
            sessions: sessions.clone(),
            token: access.split(';').next().expect("a value").to_owned(),
            xsrf_token: signed_in.xsrf_token().to_owned(),
        }
    })
}

/// Returns sessions whose store contains the sessions of all tokens, as after that many sign-ins.
pub(crate) fn sessions(cache: Cache) -> Sessions<User> {
    sessions_of(cache, MANY)
}

pub(crate) fn sessions_of(cache: Cache, users: usize) -> Sessions<User> {
    let store = MemoryStore::new();
    for session in 0..users {
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
