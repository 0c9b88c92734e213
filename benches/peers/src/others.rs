//! The peers, set up for HS256 as their documentation recommends.

use std::{convert::Infallible, hint::black_box, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, Request},
    response::Response,
    routing::get,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jwt_authorizer::{IntoLayer, JwtAuthorizer, layer::JwtSource};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::csrf::CsrfLayer;
use tower_oauth2_resource_server::{
    server::OAuth2ResourceServer, tenant::TenantConfiguration, validation::ClaimsValidationSpec,
};

use crate::{
    drive::inner,
    fixture::{AUDIENCE, COOKIE, Claims, ISSUER, KEY_ID, SECRET},
};

/// Returns the inner service of jwt-authorizer, which is built for axum 0.7.
pub(crate) fn axum07() -> impl Service<Request, Response = Response, Error = Infallible> {
    inner07().map_response(|response: axum07::response::Response| response.map(Body::new))
}

/// Returns jwt-authorizer, reading the cookie.
pub(crate) fn jwt_authorizer() -> impl Service<Request, Response = Response, Error = Infallible> {
    let validation = jwt_authorizer::Validation::new().iss(&[ISSUER]).aud(&[AUDIENCE]);
    let authorizer = JwtAuthorizer::<Claims>::from_secret(SECRET)
        .jwt_source(JwtSource::Cookie(COOKIE.into()))
        .validation(validation)
        .build();
    let authorizer = runtime().block_on(authorizer).expect("a valid configuration");
    let service = authorizer.into_layer().layer(inner07());
    service.map_response(|response: axum07::response::Response| response.map(Body::new))
}

fn inner07()
-> impl Service<Request, Response = axum07::response::Response, Error = Infallible, Future: Send> + Clone + Send
{
    service_fn(|request: Request| async move {
        black_box(request.extensions().len());
        Ok(axum07::response::Response::new(axum07::body::Body::empty()))
    })
}

/// Returns a router with one route, which the extractors of axum-jwt-auth require.
pub(crate) fn router() -> Router {
    Router::new().route("/", get(|| async { "" }))
}

/// Returns axum-jwt-auth, reading the cookie.
pub(crate) fn axum_jwt_auth() -> Router {
    async fn handler(user: SignedIn) -> &'static str {
        black_box(&user.claims);
        ""
    }
    let mut validation = jsonwebtoken10::Validation::new(jsonwebtoken10::Algorithm::HS256);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    let key = jsonwebtoken10::DecodingKey::from_secret(SECRET.as_bytes());
    let decoder = axum_jwt_auth::LocalDecoder::builder().keys(vec![key]).validation(validation).build();
    let decoder: Decoder = Arc::new(decoder.expect("a valid configuration"));
    Router::new().route("/", get(handler)).with_state(AppState { decoder })
}

axum_jwt_auth::define_cookie_extractor!(AccessCookie, "__Host-access");

type SignedIn = axum_jwt_auth::Claims<Claims, axum_jwt_auth::CookieTokenExtractor<AccessCookie>>;
type Decoder = axum_jwt_auth::Decoder<Claims>;

#[derive(Clone)]
struct AppState {
    decoder: Decoder,
}

impl FromRef<AppState> for Decoder {
    fn from_ref(state: &AppState) -> Self {
        state.decoder.clone()
    }
}

/// Returns tower-oauth2-resource-server, which reads `Authorization: Bearer` and requires a key with an id.
pub(crate) fn oauth2_resource_server() -> impl Service<Request, Response = Response, Error = Infallible> {
    let secret = URL_SAFE_NO_PAD.encode(SECRET);
    let keys = format!(r#"{{"keys":[{{"kty":"oct","kid":"{KEY_ID}","alg":"HS256","k":"{secret}"}}]}}"#);
    let checks = ClaimsValidationSpec::new().iss(ISSUER).aud(&vec![AUDIENCE.into()]).exp(true);
    let tenant = TenantConfiguration::static_builder(keys)
        .claims_validation(checks)
        .allowed_algorithms(&[jsonwebtoken::Algorithm::HS256])
        .build()
        .expect("a valid tenant");
    let server = OAuth2ResourceServer::<Claims>::builder().add_tenant(tenant).build();
    let server = runtime().block_on(server).expect("a valid configuration");
    server.into_layer().layer(inner())
}

/// Returns tower-http's CSRF layer, which checks the origin but no token.
pub(crate) fn csrf() -> impl Service<Request, Response = Response, Error = Infallible> {
    CsrfLayer::new().layer(inner()).map_response(|response| response.map(Body::new))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}
