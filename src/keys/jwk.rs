//! JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037 §2).

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{
    algorithm::{Algorithm, Family},
    key::Key,
    ring::{KeyRing, MAX_SIGNATURE_CHECKS},
};
use crate::error::{ConfigError, excerpt};

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
    /// The numbers of RSA and EC keys may have zero bytes in front, or lack them, as some issuers write them.
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
        from_jwk(&jwk, Algorithm::RS256)
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
    /// Unusable keys are left out, and the log says so (RFC 7517 §5): those for other purposes (`use=enc`), of
    /// unsupported types, too weak or incomplete. Shared secrets and private keys are left out as well, since
    /// publishing them has made them worthless. Copies of a key count once. If different keys share an id and an
    /// algorithm, the first four are used. Of a very long set, the first 256 keys are read.
    ///
    /// An RSA key without `alg` is used for `RS256`; see [`from_jwks_with_rsa`](Self::from_jwks_with_rsa).
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `set` is not a JWK Set, if it contains no usable key, or if it has so many keys of
    /// one algorithm without an id that some would never be tried.
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
        Self::from_jwks_with_rsa(set, Algorithm::RS256)
    }

    /// Creates a key ring of a JWK Set whose RSA keys without `alg` are used for `algorithm`.
    ///
    /// A key has one algorithm (RFC 8725 §3.1), so an issuer that signs with, say, `PS256` and does not say so in its
    /// set needs this.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] in the same cases as [`from_jwks`](Self::from_jwks), and if `algorithm` is not an RSA
    /// algorithm.
    pub fn from_jwks_with_rsa(set: impl AsRef<[u8]>, algorithm: Algorithm) -> Result<Self, ConfigError> {
        let KeySet { keys, left_out } = KeySet::parse(set.as_ref(), algorithm)?;
        for key in &left_out {
            crate::trace::key_left_out(key);
        }
        if keys.is_empty() {
            return Err(nothing_usable(&left_out));
        }
        Self::of_published(keys)
    }

    /// Returns the JWK Set of the public keys as JSON.
    ///
    /// Shared secrets are left out.
    pub fn public_jwks(&self) -> String {
        let keys: Vec<_> = self.keys().iter().filter_map(Key::public_jwk).collect();
        json!({ "keys": keys }).to_string()
    }
}

/// The keys of a published set that this crate can use, and the others.
pub(crate) struct KeySet {
    pub(crate) keys: Vec<Key>,
    pub(crate) left_out: Vec<LeftOut>,
}

/// A key of a published set that is not used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LeftOut {
    /// Escaped and short, since someone else has chosen it.
    id: Option<Box<str>>,
    reason: Box<str>,
}

impl LeftOut {
    fn new(id: Option<&str>, reason: impl fmt::Display) -> Self {
        Self { id: id.map(|id| excerpt(id).into()), reason: reason.to_string().into() }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "`{id}`: {}", self.reason),
            None => write!(f, "a key without an id: {}", self.reason),
        }
    }
}

impl KeySet {
    pub(crate) fn check_rsa(algorithm: Algorithm) -> Result<(), ConfigError> {
        if algorithm.family() == Family::Rsa {
            return Ok(());
        }
        Err(ConfigError::new(format!(
            "{algorithm} is not an algorithm of RSA keys; name one of the RS and PS algorithms"
        )))
    }

    pub(crate) fn parse(set: &[u8], rsa: Algorithm) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        Self::check_rsa(rsa)?;
        let set: Set = serde_json::from_slice(set).map_err(|_| {
            ConfigError::new("not a valid JSON Web Key Set; pass a JSON object with an array `keys`")
        })?;
        let (mut keys, mut left_out) = (Vec::<Key>::new(), Vec::new());
        let (read, ignored) = set.keys.split_at(set.keys.len().min(MAX_KEYS));
        if !ignored.is_empty() {
            left_out.push(LeftOut::new(
                None,
                format!("the set has more than {MAX_KEYS} keys, so the rest is not read"),
            ));
        }
        for value in read {
            let id = value.get("kid").and_then(Value::as_str);
            // The members of an unknown key type may have any JSON type.
            let key = match Jwk::deserialize(value) {
                Ok(jwk) => from_jwk(&jwk, rsa),
                Err(_) => Err(ConfigError::new("its members are not those of a key that is supported")),
            };
            let reason = match key {
                Ok(key) if key.can_sign() => "it is not public".to_owned(),
                Ok(key) if keys.iter().any(|other| other.is_copy_of(&key)) => continue,
                Ok(key) => {
                    let is_rival =
                        |other: &&Key| other.id() == key.id() && other.algorithm() == key.algorithm();
                    if key.id().is_none() || keys.iter().filter(is_rival).count() < MAX_SIGNATURE_CHECKS {
                        keys.push(key);
                        continue;
                    }
                    format!("a token is checked against at most {MAX_SIGNATURE_CHECKS} keys of one id")
                }
                Err(error) => error.to_string(),
            };
            if left_out.len() < MAX_LEFT_OUT {
                left_out.push(LeftOut::new(id, reason));
            }
        }
        Ok(Self { keys, left_out })
    }
}

#[cfg(feature = "jwks-remote")]
impl KeySet {
    /// Leaves out keys without an id that no token would be checked against, because others come first.
    pub(crate) fn without_unreachable(self) -> Self {
        let Self { keys, mut left_out } = self;
        let mut kept = Vec::<Key>::with_capacity(keys.len());
        for key in keys {
            let is_rival = |other: &&Key| other.id().is_none() && other.algorithm() == key.algorithm();
            if key.id().is_none() && kept.iter().filter(is_rival).count() >= MAX_SIGNATURE_CHECKS {
                let reason =
                    format!("a token is checked against at most {MAX_SIGNATURE_CHECKS} keys without an id");
                left_out.push(LeftOut::new(None, reason));
            } else {
                kept.push(key);
            }
        }
        Self { keys: kept, left_out }
    }
}

/// Says what was in a set without a usable key.
pub(crate) fn nothing_usable(left_out: &[LeftOut]) -> ConfigError {
    if left_out.is_empty() {
        return ConfigError::new("the JSON Web Key Set lists no keys; a key ring needs at least one key");
    }
    let shown: Vec<_> = left_out.iter().take(MAX_SHOWN).map(LeftOut::to_string).collect();
    ConfigError::new(format!(
        "a key ring needs at least one key, but none of the JSON Web Key Set is usable: {}",
        shown.join("; ")
    ))
}

/// The most keys of a set that are read: checking each takes time, and no issuer needs as many.
const MAX_KEYS: usize = 256;
/// The most keys of a set that are remembered as left out.
const MAX_LEFT_OUT: usize = 64;
/// The most keys that an error lists.
const MAX_SHOWN: usize = 4;

fn from_jwk(jwk: &Jwk, rsa: Algorithm) -> Result<Key, ConfigError> {
    if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Err(ConfigError::new("the key's `use` is not `sig`; choose a key for signatures"));
    }
    let verifies = |operation: &String| operation == "verify" || operation == "sign";
    if jwk.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(verifies)) {
        return Err(ConfigError::new(
            "the key's `key_ops` include neither `sign` nor `verify`; choose a key for signatures",
        ));
    }
    let algorithm = algorithm(jwk, rsa)?;
    let key = match algorithm.family() {
        Family::Hmac => Key::hmac(algorithm, member(&jwk.k)?),
        Family::Rsa if jwk.d.is_some() => {
            return Err(ConfigError::new(
                "private RSA keys are not supported as JWKs; load the key from PEM with `Key::from_private_pem`",
            ));
        }
        Family::Rsa => Key::from_rsa_components(algorithm, member(&jwk.n)?, member(&jwk.e)?),
        Family::Ec => {
            let point = || {
                let (x, y) = (number(&jwk.x, algorithm)?, number(&jwk.y, algorithm)?);
                Ok::<_, ConfigError>([&[4][..], &x, &y].concat())
            };
            if jwk.d.is_none() {
                Key::from_public_bytes(algorithm, point()?)
            } else {
                let key = Key::from_ec_scalar(algorithm, &number(&jwk.d, algorithm)?)?;
                // A scalar that lacks a byte is that of another key.
                if key.public_bytes() != Some(&point()?) {
                    return Err(ConfigError::new(
                        "the private part of the JSON Web Key is not that of its public part; load the key anew",
                    ));
                }
                Ok(key)
            }
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
fn algorithm(jwk: &Jwk, rsa: Algorithm) -> Result<Algorithm, ConfigError> {
    let by_kind = match (&*jwk.kty, jwk.crv.as_deref()) {
        ("EC", Some("P-256")) => Some(Algorithm::ES256),
        ("EC", Some("P-384")) => Some(Algorithm::ES384),
        ("OKP", Some("Ed25519")) => Some(Algorithm::EdDSA),
        ("RSA", _) => Some(rsa),
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

/// Decodes a number with the length of the curve's field (RFC 7518 §6.2.1.2).
///
/// Some issuers leave zero bytes out in front, as in other encodings of numbers, or put one there.
fn number(value: &Option<String>, algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let len = algorithm.point_len() / 2;
    let bytes = member(value)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let significant = &bytes[zeros..];
    if significant.len() > len {
        return Err(incomplete());
    }
    let mut number = Zeroizing::new(vec![0; len]);
    number[len - significant.len()..].copy_from_slice(significant);
    Ok(number)
}

fn incomplete() -> ConfigError {
    ConfigError::new("the JSON Web Key is incomplete, or a member is not base64url without padding")
}
