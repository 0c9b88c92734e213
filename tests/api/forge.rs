//! Tokens that no honest issuer makes, and a service that tells who it was called by.

use std::convert::Infallible;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Request, Response};
#[cfg(feature = "aws-lc-rs")]
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
#[cfg(not(feature = "aws-lc-rs"))]
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tower::{Service, service_fn};
use tower_cookie_jwt::{Claims, KeyRing, reject::Refusal};

pub(crate) const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

/// The ring of [`SECRET`].
pub(crate) fn ring() -> KeyRing {
    KeyRing::hs256(SECRET).expect("a secret of 32 bytes")
}

/// A token of this header and payload, whatever they are, signed as told.
pub(crate) fn sign_with(
    algorithm: Algorithm,
    key: &EncodingKey,
    header: impl AsRef<[u8]>,
    payload: impl AsRef<[u8]>,
) -> String {
    sign_text(
        algorithm,
        key,
        &format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload)),
    )
}

/// A token whose first two parts are this text, correctly signed.
pub(crate) fn sign_text(algorithm: Algorithm, key: &EncodingKey, message: &str) -> String {
    let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, key).expect("the key fits the algorithm");
    let signature = signer.try_sign(message.as_bytes()).expect("the key signs");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A token of this header and payload, correctly signed with HS256 and `secret`.
pub(crate) fn hs256(secret: &[u8], header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    sign_with(Algorithm::HS256, &EncodingKey::from_secret(secret), header, payload)
}

/// A token of this payload, correctly signed with [`SECRET`].
pub(crate) fn token(payload: impl AsRef<[u8]>) -> String {
    hs256(SECRET, r#"{"alg":"HS256"}"#, payload)
}

/// As [`token`], with claims that make it valid until 2100 where `claims` does not say otherwise.
pub(crate) fn valid_with(claims: Value) -> String {
    let mut all = json!({ "sub": "ada", "iat": 1_700_000_000, "exp": 4_102_444_800_u64 });
    for (name, value) in claims.as_object().expect("claims are an object") {
        all[name] = value.clone();
    }
    token(all.to_string())
}

/// Answers with the subject of the `Claims<()>` that it finds.
pub(crate) fn whoami()
-> impl Service<Request<()>, Response = Response<String>, Error = Infallible, Future: Send> + Clone {
    service_fn(|request: Request<()>| async move {
        let claims = request.extensions().get::<Claims<()>>();
        let name = claims.and_then(Claims::subject).unwrap_or("nobody");
        Ok::<_, Infallible>(Response::new(name.to_owned()))
    })
}

/// The code of a refusal, or what the service answered.
pub(crate) fn outcome(response: &Response<String>) -> String {
    match response.extensions().get::<Refusal>() {
        Some(refusal) => refusal.code().to_owned(),
        None => response.body().clone(),
    }
}
