//! The authorization server: it alone has the private keys, the sessions and the passwords.

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
        // A real server loads its key with `Key::from_private_pem`; this one is lost when the process exits.
        let first_key = generate_key("2026-10")?;
        let keys = KeyRing::new(first_key.clone())?;
        let sessions = Sessions::<User>::builder(keys.clone(), MemoryStore::new())
            .with_issuer(own_origin)
            .with_audience(AUDIENCE)
            // Another port is another origin, from which pages can sign in only if it is trusted.
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
            // Outside the CORS layer: the key set is for servers, and no page needs to read it.
            .route_service("/.well-known/jwks.json", self.keys.jwks_service())
            .with_state(self.sessions.clone()))
    }

    /// Publishes `next` without signing with it, so that websites can learn the key before it is used.
    pub(crate) fn announce(&self, next: &Key) -> Result<(), ConfigError> {
        self.keys.replace(KeyRing::new(self.first_key.clone())?.with_accepted(next.clone())?);
        Ok(())
    }

    /// Signs with `next` from now on. The first key is still accepted, for the tokens that have not expired yet.
    pub(crate) fn sign_with(&self, next: Key) -> Result<(), ConfigError> {
        self.keys.replace(KeyRing::new(next)?.with_accepted(self.first_key.clone())?);
        Ok(())
    }
}

pub(crate) fn generate_key(id: &str) -> Result<Key, ConfigError> {
    Ok(Key::generate(Algorithm::EdDSA)?.with_id(id))
}

/// Allows only the website's page to send cookies to this server and to read the responses. Never allow every origin,
/// neither by mirroring it nor with `*`: with credentials, that would open the session to every site.
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
    // A real server verifies a password hash; see the example `spa`.
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
