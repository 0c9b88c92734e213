//! JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037 §2).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{
    algorithm::{Algorithm, Family},
    key::Key,
    ring::KeyRing,
};
use crate::error::ConfigError;

/// The relevant members of a JWK. Does not implement `Debug`, because they may be private.
#[derive(Deserialize, ZeroizeOnDrop)]
struct Jwk {
    kty: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    kid: Option<String>,
    crv: Option<String>,
    k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<String>,
}

impl Key {
    /// Parses a JSON Web Key (RFC 7517). Its `kid` becomes the key's id.
    ///
    /// Without `alg`, the curve determines the algorithm (`ES256`, `ES384` or `EdDSA`), and an RSA key is used for
    /// `RS256`. Supports public keys, shared secrets, and private EC and Ed25519 keys. Load private RSA keys from PEM
    /// with [`from_private_pem`](Self::from_private_pem).
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the key is not meant for signatures (`use`, `key_ops`), is of an unsupported
    /// type, is too weak, or is incomplete.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_cookie_jwt::keys::{Algorithm, Key};
    ///
    /// let jwk = r#"{"kty":"OKP","crv":"Ed25519","kid":"2026-11","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    /// let key = Key::from_jwk(jwk)?;
    /// assert_eq!((key.algorithm(), key.id()), (Algorithm::EdDSA, Some("2026-11")));
    /// # Ok::<(), tower_cookie_jwt::ConfigError>(())
    /// ```
    pub fn from_jwk(jwk: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let jwk = serde_json::from_slice(jwk.as_ref()).map_err(|_| {
            ConfigError::new("not a valid JSON Web Key; pass one JSON object with at least `kty`")
        })?;
        from_jwk(&jwk)
    }

    /// Returns the public part as a JWK, or `None` for a shared secret, which has no public part.
    pub(super) fn public_jwk(&self) -> Option<Value> {
        let mut jwk = self.public_parameters()?;
        jwk.insert("alg".into(), self.algorithm().as_str().into());
        jwk.insert("use".into(), "sig".into());
        if let Some(id) = self.id() {
            jwk.insert("kid".into(), id.into());
        }
        Some(Value::Object(jwk))
    }

    fn public_parameters(&self) -> Option<Map<String, Value>> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let parameters = match self.algorithm().family() {
            Family::Hmac => return None,
            Family::Rsa => {
                let (n, e) = self.rsa_components()?;
                json!({ "kty": "RSA", "n": text(&n), "e": text(&e) })
            }
            Family::Ec => {
                let point = self.public_bytes()?.get(1..)?;
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if self.algorithm() == Algorithm::ES384 { "P-384" } else { "P-256" };
                json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) })
            }
            Family::Ed => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(self.public_bytes()?) }),
        };
        match parameters {
            Value::Object(parameters) => Some(parameters),
            _ => None,
        }
    }
}

impl KeyRing {
    /// Creates a key ring that verifies with the keys of a JWK Set, such as an authorization server publishes.
    ///
    /// Unusable keys are ignored (RFC 7517 §5): those for other purposes (`use=enc`), of unsupported types, too weak
    /// or incomplete. Shared secrets and private keys are ignored as well, since a secret in a published set is no
    /// longer secret.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `set` is not a JWK Set, if two of its keys have the same id and algorithm, if it
    /// contains no usable key, or if it has so many keys of one algorithm without an id that some would never be tried.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_cookie_jwt::KeyRing;
    ///
    /// let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    /// assert!(!KeyRing::from_jwks(set)?.can_sign());
    /// # Ok::<(), tower_cookie_jwt::ConfigError>(())
    /// ```
    pub fn from_jwks(set: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::verify_only(usable_keys(set.as_ref())?)
    }

    /// Creates a ring of the set of an authorization server, which decides alone how many of its keys have ids.
    #[cfg(feature = "jwks-remote")]
    pub(crate) fn from_remote_jwks(set: &[u8]) -> Result<Self, ConfigError> {
        Self::from_set(usable_keys(set)?)
    }

    /// Returns the JWK Set of the public keys as JSON.
    ///
    /// Shared secrets are left out.
    pub fn public_jwks(&self) -> String {
        let keys: Vec<_> = self.keys().iter().filter_map(Key::public_jwk).collect();
        json!({ "keys": keys }).to_string()
    }
}

/// Returns the public keys of a JWK Set that this crate can use.
fn usable_keys(set: &[u8]) -> Result<Vec<Key>, ConfigError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(set).map_err(|_| {
        ConfigError::new("not a valid JSON Web Key Set; pass a JSON object with an array `keys`")
    })?;
    let mut keys = Vec::new();
    for value in &set.keys {
        // The members of an unknown key type may have any JSON type.
        let Ok(jwk) = Jwk::deserialize(value) else {
            continue;
        };
        match from_jwk(&jwk) {
            Ok(key) if !key.can_sign() => keys.push(key),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(keys)
}

fn from_jwk(jwk: &Jwk) -> Result<Key, ConfigError> {
    if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Err(ConfigError::new("the key's `use` is not `sig`; choose a key for signatures"));
    }
    let verifies = |operation: &String| operation == "verify" || operation == "sign";
    if jwk.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(verifies)) {
        return Err(ConfigError::new(
            "the key's `key_ops` include neither `sign` nor `verify`; choose a key for signatures",
        ));
    }
    let algorithm = algorithm(jwk)?;
    let key = match algorithm.family() {
        Family::Hmac => Key::hmac(algorithm, member(&jwk.k)?),
        Family::Rsa if jwk.d.is_some() => {
            return Err(ConfigError::new(
                "private RSA keys are not supported as JWKs; load the key from PEM with `Key::from_private_pem`",
            ));
        }
        Family::Rsa => Key::from_rsa_components(algorithm, member(&jwk.n)?, member(&jwk.e)?),
        Family::Ec if jwk.d.is_some() => Key::from_ec_scalar(algorithm, &member(&jwk.d)?),
        Family::Ec => {
            let (x, y) = (member(&jwk.x)?, member(&jwk.y)?);
            // Each must have the full length of the field (RFC 7518 §6.2.1.2): the total length alone would accept a
            // short coordinate next to a long one.
            if x.len() != y.len() {
                return Err(incomplete());
            }
            Key::from_public_bytes(algorithm, [&[4][..], &x, &y].concat())
        }
        Family::Ed if jwk.d.is_some() => Key::from_ed25519_seed(&member(&jwk.d)?),
        Family::Ed => Key::from_public_bytes(algorithm, member(&jwk.x)?),
    };
    let key = key?;
    Ok(match &jwk.kid {
        Some(id) => key.with_id(id),
        None => key,
    })
}

/// Returns the key's algorithm, which must match its type and curve.
fn algorithm(jwk: &Jwk) -> Result<Algorithm, ConfigError> {
    let by_kind = match (&*jwk.kty, jwk.crv.as_deref()) {
        ("EC", Some("P-256")) => Some(Algorithm::ES256),
        ("EC", Some("P-384")) => Some(Algorithm::ES384),
        ("OKP", Some("Ed25519")) => Some(Algorithm::EdDSA),
        ("RSA", _) => Some(Algorithm::RS256),
        ("oct", _) => None,
        _ => {
            return Err(ConfigError::new(
                "the key type or curve is not supported; use RSA, P-256, P-384, Ed25519 or a shared secret",
            ));
        }
    };
    let Some(name) = &jwk.alg else {
        return by_kind.ok_or(ConfigError::new("a shared secret needs `alg`, such as `HS256`"));
    };
    let named = Algorithm::from_name(name).ok_or(ConfigError::new(
        "the key's `alg` is not supported; use a signature algorithm, such as `EdDSA`",
    ))?;
    let fits = match named.family() {
        Family::Hmac => jwk.kty == "oct",
        Family::Rsa => jwk.kty == "RSA",
        Family::Ec | Family::Ed => by_kind == Some(named),
    };
    if fits {
        Ok(named)
    } else {
        Err(ConfigError::new("the key's `alg` does not match its type or curve; correct or remove `alg`"))
    }
}

/// Decodes a member, which may be private: the copy is overwritten when it is dropped.
fn member(value: &Option<String>) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let bytes = value.as_ref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    bytes.map(Zeroizing::new).ok_or_else(incomplete)
}

fn incomplete() -> ConfigError {
    ConfigError::new("the JSON Web Key is incomplete, or a member is not base64url without padding")
}
