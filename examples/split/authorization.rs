//! The authorization server: the only one that holds private keys, sessions and passwords.

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE, request::Parts},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::json;
use tower_cookie_jwt::{
    ConfigError, KeyRing, MemoryStore, Sessions,
    keys::{Algorithm, Key},
    session::{SessionError, SignIn, SignedOut},
    token::Scopes,
};
use tower_http::cors::CorsLayer;

use crate::{AUDIENCE, BoxError, User};

pub(crate) const DEMO_PASSWORD: &str = "correct horse battery staple";

pub(crate) struct Authorization {
    first_key: Key,
    keys: KeyRing,
    sessions: Sessions<User>,
}

impl Authorization {
    pub(crate) fn new(own_origin: &str, website: &str) -> Result<Self, ConfigError> {
        // A real server loads its key with `Key::from_private_pem`: this one is gone with the process.
        let first_key = generate_key("2026-10")?;
        let keys = KeyRing::new(first_key.clone())?;
        let sessions = Sessions::<User>::builder(keys.clone(), MemoryStore::new())
            .with_issuer(own_origin)
            .with_audience(AUDIENCE)
            // Another port is another origin: without this line the website's page could not sign in.
            .with_trusted_origin(website)?
            .build()?;
        Ok(Self { first_key, keys, sessions })
    }

    pub(crate) fn routes(&self, website: &str) -> Result<Router, BoxError> {
        Ok(Router::new()
            .route("/api/login", post(login))
            .route("/api/logout", post(logout))
            .route_service("/api/refresh", self.sessions.refresh_service())
            .layer(cors(website)?)
            // The key set is for servers: no page needs to read it, so it is outside of the CORS layer.
            .route_service("/.well-known/jwks.json", self.keys.jwks_service())
            .with_state(self.sessions.clone()))
    }

    /// Publishes another key, which signs nothing yet: the websites must learn it first.
    pub(crate) fn announce(&self, next: &Key) -> Result<(), ConfigError> {
        self.keys.replace(KeyRing::new(self.first_key.clone())?.with_accepted(next.clone())?);
        Ok(())
    }

    /// Signs with the other key. The former is accepted until its last token has expired.
    pub(crate) fn sign_with(&self, next: Key) -> Result<(), ConfigError> {
        self.keys.replace(KeyRing::new(next)?.with_accepted(self.first_key.clone())?);
        Ok(())
    }
}

pub(crate) fn generate_key(id: &str) -> Result<Key, ConfigError> {
    Ok(Key::generate(Algorithm::EdDSA)?.with_id(id))
}

/// Lets the website's page, and no other, send cookies here and read the answers. Never mirror any
/// origin that asks, or `*`: with credentials that opens the session to every site.
fn cors(website: &str) -> Result<CorsLayer, BoxError> {
    Ok(CorsLayer::new()
        .allow_origin(website.parse::<HeaderValue>()?)
        .allow_credentials(true)
        .allow_methods([Method::POST])
        .allow_headers([CONTENT_TYPE]))
}

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

async fn login(
    State(sessions): State<Sessions<User>>,
    parts: Parts,
    Json(form): Json<Login>,
) -> Result<Response, SessionError> {
    // A real server compares with a password hash: see the example `spa`.
    if (&*form.username, &*form.password) != ("ada", DEMO_PASSWORD) {
        return Ok(StatusCode::UNAUTHORIZED.into_response());
    }
    let Ok(scope) = Scopes::new("orders:read orders:write") else {
        return Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response());
    };
    let ada = SignIn::new("ada", User { name: "Ada".to_owned() }).with_scope(scope);
    let signed_in = sessions.sign_in_with(&parts, ada).await?;
    let body = json!({ "xsrfToken": signed_in.xsrf_token(), "expiresAt": signed_in.expires_at_unix() });
    Ok((signed_in, Json(body)).into_response())
}

async fn logout(State(sessions): State<Sessions<User>>, parts: Parts) -> Result<SignedOut, SessionError> {
    sessions.sign_out(&parts).await
}
