use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use crate::keys::{Algorithm, Key, crypto::sha256};

/// The public key of a device: P-256 for ES256, or RSA of 2048 to 4096 bits for RS256.
///
/// These are the two algorithms that browsers offer; `none`, a session without a key, is not supported.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PublicKey(Numbers);

/// The numbers of a key in their only form: coordinates of 32 bytes each, RSA numbers without zeros in front.
#[derive(Clone, PartialEq, Eq)]
enum Numbers {
    /// An uncompressed point, `04 || x || y` (SEC 1 §2.3.3).
    P256([u8; 65]),
    Rsa {
        modulus: Box<[u8]>,
        exponent: Box<[u8]>,
    },
}

/// The key is not one to which a session can be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnusableKey;

impl PublicKey {
    /// Reads a JSON Web Key (RFC 7517), which must be public and in the only form that the key has.
    ///
    /// A browser that sends a private key has lost it, so such a key is refused, whatever else it is.
    pub(crate) fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, UnusableKey> {
        if PRIVATE.iter().any(|name| jwk.contains_key(*name)) {
            return Err(UnusableKey);
        }
        // Checks the purpose, the curve and the point, or the numbers of an RSA key.
        let key = Key::from_jwk(Value::Object(jwk.clone()).to_string()).map_err(|_| UnusableKey)?;
        let number = |name: &str| {
            let text = jwk.get(name).and_then(Value::as_str).ok_or(UnusableKey)?;
            URL_SAFE_NO_PAD.decode(text).map_err(|_| UnusableKey)
        };
        match key.algorithm() {
            Algorithm::ES256 => Self::from_coordinates(&number("x")?, &number("y")?),
            Algorithm::RS256 => Self::from_rsa(&number("n")?, &number("e")?),
            _ => Err(UnusableKey),
        }
    }

    fn from_coordinates(x: &[u8], y: &[u8]) -> Result<Self, UnusableKey> {
        if x.len() != 32 || y.len() != 32 {
            return Err(UnusableKey); // RFC 7518 §6.2.1.2
        }
        Self::from_point(&[&[UNCOMPRESSED], x, y].concat())
    }

    /// Takes an uncompressed point, without checking that it is on the curve: [`verifies`](Self::verifies) does.
    pub(super) fn from_point(point: &[u8]) -> Result<Self, UnusableKey> {
        let point: [u8; 65] = point.try_into().map_err(|_| UnusableKey)?;
        if point[0] == UNCOMPRESSED { Ok(Self(Numbers::P256(point))) } else { Err(UnusableKey) }
    }

    /// Takes the numbers of an RSA key, checking only their lengths: [`verifies`](Self::verifies) checks the rest.
    pub(super) fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, UnusableKey> {
        // A zero in front is another text of the same number (RFC 7518 §2), and would give it another thumbprint.
        let is_number = |bytes: &[u8]| bytes.first().is_some_and(|first| *first != 0);
        let is_bounded = MODULUS_LEN.contains(&modulus.len()) && exponent.len() <= MAX_EXPONENT_LEN;
        if !is_bounded || !is_number(modulus) || !is_number(exponent) {
            return Err(UnusableKey);
        }
        Ok(Self(Numbers::Rsa { modulus: modulus.into(), exponent: exponent.into() }))
    }

    /// Returns the only algorithm with which the key verifies.
    pub(crate) const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Numbers::P256(_) => Algorithm::ES256,
            Numbers::Rsa { .. } => Algorithm::RS256,
        }
    }

    /// Returns the uncompressed point of a P-256 key.
    pub(super) const fn point(&self) -> Option<&[u8; 65]> {
        match &self.0 {
            Numbers::P256(point) => Some(point),
            Numbers::Rsa { .. } => None,
        }
    }

    /// Returns the modulus and the exponent of an RSA key.
    pub(super) fn rsa(&self) -> Option<(&[u8], &[u8])> {
        match &self.0 {
            Numbers::P256(_) => None,
            Numbers::Rsa { modulus, exponent } => Some((modulus, exponent)),
        }
    }

    /// Returns the members of the key's JWK, exactly those that the thumbprint is about.
    pub(crate) fn to_jwk(&self) -> Value {
        match &self.0 {
            Numbers::P256(point) => {
                let (x, y) = (text(&point[1..33]), text(&point[33..]));
                json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
            }
            Numbers::Rsa { modulus, exponent } => {
                json!({ "kty": "RSA", "n": text(modulus), "e": text(exponent) })
            }
        }
    }

    /// Returns the SHA-256 thumbprint of the key (RFC 7638).
    pub(crate) fn thumbprint(&self) -> [u8; 32] {
        // The members in the order of their names (RFC 7638 §3.2), which a JSON library may not keep.
        let canonical = match &self.0 {
            Numbers::P256(point) => {
                let (x, y) = (text(&point[1..33]), text(&point[33..]));
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Numbers::Rsa { modulus, exponent } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(exponent), text(modulus))
            }
        };
        sha256(canonical.as_bytes())
    }

    /// Returns `true` if `signature` is a valid signature of `message` under this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &Vec<u8>) -> bool {
        let key = match &self.0 {
            Numbers::P256(point) => Key::from_public_bytes(Algorithm::ES256, point),
            Numbers::Rsa { modulus, exponent } => {
                Key::from_rsa_components(Algorithm::RS256, modulus, exponent)
            }
        };
        key.is_ok_and(|key| key.verifies(message, signature))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.algorithm())
    }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The private members of EC and RSA keys, and the shared secret (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// The first byte of an uncompressed point (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;
/// 2048 to 4096 bits. The crypto providers disagree about longer keys, and nodes with either must read the same record.
const MODULUS_LEN: std::ops::RangeInclusive<usize> = 256..=512;
/// Both providers reject exponents of more than 33 bits.
const MAX_EXPONENT_LEN: usize = 5;
