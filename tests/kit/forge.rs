//! Tokens that no issuer would make, and a service that answers with who has called it.

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

/// Returns a token of any header and payload, signed with this algorithm and key.
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

/// Like [`token`], with claims that make it valid until 2100 unless `claims` says otherwise.
pub(crate) fn valid_with(claims: Value) -> String {
    let mut all = json!({ "sub": "ada", "iat": 1_700_000_000, "exp": 4_102_444_800_u64 });
    for (name, value) in claims.as_object().expect("claims are an object") {
        all[name] = value.clone();
    }
    token(all.to_string())
}

/// Returns the claims of a token, without any check.
pub(crate) fn payload(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a token has three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}

/// The token with another payload, signed with [`SECRET`].
pub(crate) fn resign(token: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = payload(token);
    change(&mut claims);
    let header = token.split('.').next().expect("a token has a header");
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    sign_text(Algorithm::HS256, &EncodingKey::from_secret(SECRET), &message)
}

/// The token with another signature.
pub(crate) fn forged(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    bytes[0] ^= 1;
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Answers with the subject of the `Claims<()>` that it finds.
pub(crate) fn whoami()
-> impl Service<Request<()>, Response = Response<String>, Error = Infallible, Future: Send> + Clone {
    service_fn(|request: Request<()>| async move {
        let claims = request.extensions().get::<Claims<()>>();
        let name = claims.and_then(Claims::subject).unwrap_or("anonymous");
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
