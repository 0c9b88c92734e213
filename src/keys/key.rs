use std::fmt;

use jsonwebtoken::{DecodingKey, DecodingKeyKind, EncodingKey, jwk::EllipticCurve};
use zeroize::Zeroizing;

use super::{
    algorithm::{Algorithm, Family},
    crypto::{self, KeyId, provider, random},
    public::{MIN_RSA_BITS, RsaNumbers, is_on_curve, is_on_edwards25519},
};
use crate::error::ConfigError;

/// A key for exactly one algorithm, with an optional id.
///
/// Private keys and shared secrets sign and verify; public keys only verify. The `Debug` output contains the
/// algorithm and the id, never key material. Secrets are overwritten when the last clone of the key is dropped, except
/// in threads that have verified with it: these drop theirs the next time they verify a token, or when they end.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::keys::{Algorithm, Key};
///
/// let key = Key::generate(Algorithm::EdDSA)?.with_id("2026-11");
/// assert_eq!(key.id(), Some("2026-11"));
/// assert!(key.can_sign());
/// assert!(!format!("{key:?}").contains("private"));
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Key {
    identity: KeyId,
    algorithm: Algorithm,
    id: Option<Box<str>>,
    signing: Option<EncodingKey>,
    verifying: DecodingKey,
}

impl Key {
    /// Creates an HS256 key from a shared secret of at least 32 random bytes. Do not use a password.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the secret is shorter than 32 bytes (RFC 7518 §3.2).
    pub fn hs256(secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::hmac(Algorithm::HS256, secret)
    }

    /// Creates a key for one of the HMAC algorithms from a shared secret.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `algorithm` is not an HMAC algorithm, or if the secret is shorter than the hash
    /// output: 32, 48 or 64 bytes for HS256, HS384 or HS512 (RFC 7518 §3.2).
    pub fn hmac(algorithm: Algorithm, secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let secret = secret.as_ref();
        require_family(algorithm, Family::Hmac, "HS256, HS384 or HS512")?;
        if secret.len() < algorithm.min_secret_len() {
            return Err(ConfigError::new(format!(
                "the {algorithm} secret has {} bytes, but needs at least {} bytes of randomness \
                 (RFC 7518, section 3.2); generate one with `openssl rand -base64 48`",
                secret.len(),
                algorithm.min_secret_len(),
            )));
        }
        Ok(Self::from_parts(
            algorithm,
            Some(EncodingKey::from_secret(secret)),
            DecodingKey::from_secret(secret),
        ))
    }

    /// Loads a private key from PEM, in PKCS#8 form or, for RSA, also in PKCS#1 form.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the PEM is not a private key for `algorithm`, or if it is an RSA key of fewer
    /// than 2048 bits.
    pub fn from_private_pem(algorithm: Algorithm, pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let pem = pem.as_ref();
        let signing = match algorithm.family() {
            Family::Hmac => return Err(secret_is_not_a_key_pair(algorithm)),
            Family::Rsa => EncodingKey::from_rsa_pem(pem),
            Family::Ec => EncodingKey::from_ec_pem(pem),
            Family::Ed => EncodingKey::from_ed_pem(pem),
        };
        Self::from_signing(algorithm, signing.map_err(|_| not_a_private_key(algorithm))?)
    }

    /// Loads a private key from DER: PKCS#8 for ECDSA and EdDSA, PKCS#1 for RSA.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the DER is not a private key for `algorithm`, or if it is an RSA key of fewer
    /// than 2048 bits.
    pub fn from_private_der(algorithm: Algorithm, der: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let der = der.as_ref();
        let signing = match algorithm.family() {
            Family::Hmac => return Err(secret_is_not_a_key_pair(algorithm)),
            Family::Rsa => EncodingKey::from_rsa_der(der),
            Family::Ec => EncodingKey::from_ec_der(der),
            Family::Ed => EncodingKey::from_ed_der(der),
        };
        Self::from_signing(algorithm, signing)
    }

    /// Loads a public key, which only verifies, from PEM: SubjectPublicKeyInfo or, for RSA, also PKCS#1.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the PEM is not a public key for `algorithm`, or if it is an RSA key of fewer than
    /// 2048 bits. A private key is rejected too: a service that only verifies should not hold one.
    pub fn from_public_pem(algorithm: Algorithm, pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let pem = pem.as_ref();
        let holds_private = pem.windows(PRIVATE_LABEL.len()).any(|window| window == PRIVATE_LABEL);
        if holds_private {
            return Err(not_a_public_key(algorithm));
        }
        let verifying = match algorithm.family() {
            Family::Hmac => return Err(secret_is_not_a_key_pair(algorithm)),
            Family::Rsa => DecodingKey::from_rsa_pem(pem),
            Family::Ec => DecodingKey::from_ec_pem(pem),
            Family::Ed => DecodingKey::from_ed_pem(pem),
        };
        Self::from_verifying(algorithm, verifying.map_err(|_| not_a_public_key(algorithm))?)
    }

    /// Creates a public key, which only verifies, from its raw bytes.
    ///
    /// These are PKCS#1 DER for RSA, an uncompressed point (`04 || x || y`) for ECDSA, and the 32 bytes of the key
    /// for Ed25519.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the bytes are not a public key for `algorithm`, such as a point that is not on the
    /// curve, or if it is an RSA key that [`from_rsa_components`](Self::from_rsa_components) would reject.
    pub fn from_public_bytes(algorithm: Algorithm, bytes: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let bytes = bytes.as_ref();
        let verifying = match algorithm.family() {
            Family::Hmac => return Err(secret_is_not_a_key_pair(algorithm)),
            Family::Rsa => DecodingKey::from_rsa_der(bytes),
            Family::Ec => DecodingKey::from_ec_der(bytes),
            Family::Ed => DecodingKey::from_ed_der(bytes),
        };
        Self::from_verifying(algorithm, verifying)
    }

    /// Creates an RSA public key, which only verifies, from its modulus and exponent, both big-endian.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `algorithm` is not an RSA algorithm, if the modulus is even, has fewer than 2048 bits
    /// or more than the crypto provider supports (8192 with `aws-lc-rs`, 4096 with `rust-crypto`), or if the exponent is
    /// even, 1, or longer than 33 bits.
    pub fn from_rsa_components(
        algorithm: Algorithm,
        modulus: impl AsRef<[u8]>,
        exponent: impl AsRef<[u8]>,
    ) -> Result<Self, ConfigError> {
        require_family(algorithm, Family::Rsa, "an RS or PS algorithm")?;
        let RsaNumbers { modulus, exponent } = RsaNumbers::checked(modulus.as_ref(), exponent.as_ref())?;
        let verifying = DecodingKey::from_rsa_raw_components(modulus, exponent);
        Ok(Self::from_parts(algorithm, None, verifying))
    }

    /// Generates a random key, for tests and for applications whose tokens need not outlive the process.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for the RSA algorithms; generate RSA keys with `openssl genpkey`.
    pub fn generate(algorithm: Algorithm) -> Result<Self, ConfigError> {
        match algorithm.family() {
            Family::Hmac => Self::hmac(algorithm, Zeroizing::new(random::<64>()).as_slice()),
            Family::Ed => Self::from_ed25519_seed(Zeroizing::new(random::<32>()).as_slice()),
            Family::Ec => generate_ec(algorithm),
            Family::Rsa => Err(ConfigError::new(format!(
                "generating {algorithm} keys is not supported; generate one with `openssl genpkey \
                 -algorithm RSA -pkeyopt rsa_keygen_bits:2048` and load it with `Key::from_private_pem`"
            ))),
        }
    }

    /// Sets the key's id, which becomes the `kid` header parameter of the tokens it signs (RFC 7515 §4.1.4).
    ///
    /// Defaults to none; such a key is tried for every token with its algorithm.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into().into_boxed_str());
        self
    }

    /// Returns the only algorithm with which this key signs and verifies.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the key's id, if it has one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns `true` if this key can sign, that is, if it is a shared secret or a private key.
    pub const fn can_sign(&self) -> bool {
        self.signing.is_some()
    }

    /// Signs `message`. Returns `None` if this key only verifies or the provider fails.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signing = self.signing.as_ref()?;
        let signer = (provider().signer_factory)(&self.algorithm.to_jsonwebtoken(), signing).ok()?;
        signer.try_sign(message).ok()
    }

    /// Returns `true` if `signature` is a valid signature of `message` under this key. Takes constant time for HMAC.
    pub(crate) fn verifies(&self, message: &[u8], signature: &Vec<u8>) -> bool {
        crypto::verify(&self.identity, self.algorithm, &self.verifying, message, signature)
    }

    /// Creates a private ECDSA key from its scalar.
    pub(super) fn from_ec_scalar(algorithm: Algorithm, scalar: &[u8]) -> Result<Self, ConfigError> {
        let (wrapper, len) = match algorithm {
            Algorithm::ES384 => (P384_PKCS8, 48),
            _ => (P256_PKCS8, 32),
        };
        if scalar.len() != len {
            return Err(not_a_private_key(algorithm));
        }
        Self::from_private_der(algorithm, Zeroizing::new([wrapper, scalar].concat()))
    }

    /// Creates a private Ed25519 key from its seed.
    pub(super) fn from_ed25519_seed(seed: &[u8]) -> Result<Self, ConfigError> {
        if seed.len() != ED25519_SEED_LEN {
            return Err(not_a_private_key(Algorithm::EdDSA));
        }
        Self::from_private_der(Algorithm::EdDSA, Zeroizing::new([ED25519_PKCS8, seed].concat()))
    }

    /// Returns the raw public key of an ECDSA or EdDSA key.
    pub(super) fn public_bytes(&self) -> Option<&[u8]> {
        self.verifying.try_get_as_bytes().ok()
    }

    /// Returns `true` if both keys verify the same tokens: the id, the algorithm and the public key are the same.
    pub(super) fn is_copy_of(&self, other: &Self) -> bool {
        self.id == other.id
            && self.algorithm == other.algorithm
            && match self.algorithm.family() {
                Family::Hmac => false,
                Family::Rsa => {
                    let (one, other) = (self.rsa_components(), other.rsa_components());
                    one.is_some() && one == other
                }
                Family::Ec | Family::Ed => {
                    self.public_bytes().is_some() && self.public_bytes() == other.public_bytes()
                }
            }
    }

    /// Returns the modulus and the exponent of an RSA key.
    pub(super) fn rsa_components(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        match self.verifying.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => Some((n.clone(), e.clone())),
            DecodingKeyKind::SecretOrDer(der) => {
                (provider().key_utils.rsa_pub_components_from_public_key)(der).ok()
            }
        }
    }

    fn from_signing(algorithm: Algorithm, signing: EncodingKey) -> Result<Self, ConfigError> {
        let invalid = |_| not_a_private_key(algorithm);
        let der = signing.as_bytes();
        // One of the providers takes no notice of what comes after the key.
        if algorithm.family() != Family::Hmac && !is_one_sequence(der) {
            return Err(not_a_private_key(algorithm));
        }
        let utils = &provider().key_utils;
        let verifying = match algorithm.family() {
            Family::Hmac => return Err(secret_is_not_a_key_pair(algorithm)),
            Family::Rsa => {
                let (n, e) = (utils.rsa_pub_components_from_private_key)(der).map_err(invalid)?;
                let RsaNumbers { modulus, exponent } = RsaNumbers::checked(&n, &e)?;
                DecodingKey::from_rsa_raw_components(modulus, exponent)
            }
            Family::Ec => {
                let (_, x, y) = (utils.ec_pub_components_from_private_key)(der, algorithm.to_jsonwebtoken())
                    .map_err(invalid)?;
                DecodingKey::from_ec_der(&[&[UNCOMPRESSED], &x[..], &y[..]].concat())
            }
            Family::Ed => {
                let curve = EllipticCurve::Ed25519;
                let x = (utils.ed_pub_components_from_private_key)(der, &curve).map_err(invalid)?;
                DecodingKey::from_ed_der(&x)
            }
        };
        let key = Self::from_parts(algorithm, Some(signing), verifying);
        // Some invalid keys fail only when they sign: report them at start-up, not at the first sign-in.
        if key.sign(b"self-test").is_none() {
            return Err(not_a_private_key(algorithm));
        }
        Ok(key)
    }

    fn from_verifying(algorithm: Algorithm, verifying: DecodingKey) -> Result<Self, ConfigError> {
        let bytes = verifying.try_get_as_bytes().map_err(|_| not_a_public_key(algorithm))?;
        let well_formed = match algorithm.family() {
            Family::Hmac => false,
            Family::Rsa => {
                let (n, e) = (provider().key_utils.rsa_pub_components_from_public_key)(bytes)
                    .map_err(|_| not_a_public_key(algorithm))?;
                // From the numbers, so that it does not depend on the provider how they were encoded.
                return Self::from_rsa_components(algorithm, n, e);
            }
            Family::Ec => {
                bytes.len() == algorithm.point_len()
                    && bytes[0] == UNCOMPRESSED
                    && is_on_curve(algorithm, &bytes[1..])
            }
            // One of the providers slices these bytes without a length check, so no other length may reach it.
            Family::Ed => bytes.len() == ED25519_PUBLIC_LEN && is_on_edwards25519(bytes),
        };
        let usable =
            well_formed && (provider().verifier_factory)(&algorithm.to_jsonwebtoken(), &verifying).is_ok();
        if !usable {
            return Err(not_a_public_key(algorithm));
        }
        Ok(Self::from_parts(algorithm, None, verifying))
    }

    fn from_parts(algorithm: Algorithm, signing: Option<EncodingKey>, verifying: DecodingKey) -> Self {
        Self { identity: KeyId::new(), algorithm, id: None, signing, verifying }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("algorithm", &self.algorithm)
            .field("id", &self.id)
            .field("can_sign", &self.can_sign())
            .finish_non_exhaustive()
    }
}

/// Returns `true` if the DER is one SEQUENCE with nothing after it (X.690 §8.1.3, §10.1).
fn is_one_sequence(der: &[u8]) -> bool {
    let Some(([0x30, first], rest)) = der.split_first_chunk::<2>() else {
        return false;
    };
    match *first {
        len @ ..=0x7f => rest.len() == usize::from(len),
        long if (0x81..=0x84).contains(&long) => {
            let Some((len, rest)) = rest.split_at_checked(usize::from(long & 0x7f)) else {
                return false;
            };
            len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)) == rest.len()
        }
        _ => false,
    }
}

fn generate_ec(algorithm: Algorithm) -> Result<Key, ConfigError> {
    // About one in 2^32 random scalars is out of range for P-256, and the provider rejects it.
    for _ in 0..8 {
        let scalar = Zeroizing::new(random::<48>());
        let scalar = if algorithm == Algorithm::ES384 { &scalar[..] } else { &scalar[..32] };
        if let Ok(key) = Key::from_ec_scalar(algorithm, scalar) {
            return Ok(key);
        }
    }
    Err(ConfigError::new(format!(
        "failed to generate an {algorithm} key; load one with `Key::from_private_pem`"
    )))
}

fn require_family(algorithm: Algorithm, family: Family, wanted: &str) -> Result<(), ConfigError> {
    if algorithm.family() == family {
        return Ok(());
    }
    Err(ConfigError::new(format!("{algorithm} does not match this type of key; use {wanted}")))
}

fn secret_is_not_a_key_pair(algorithm: Algorithm) -> ConfigError {
    ConfigError::new(format!("{algorithm} uses a shared secret; create the key with `Key::hmac`"))
}

fn not_a_private_key(algorithm: Algorithm) -> ConfigError {
    ConfigError::new(format!(
        "not a private key for {algorithm}: the key must have the type and curve of the algorithm, in PKCS#8 \
         (`openssl pkcs8 -topk8 -nocrypt`) or, for RSA, PKCS#1; RSA keys need at least {MIN_RSA_BITS} bits"
    ))
}

fn not_a_public_key(algorithm: Algorithm) -> ConfigError {
    ConfigError::new(format!(
        "not a public key for {algorithm}: pass the output of `openssl pkey -pubout`, or load a private key with \
         `Key::from_private_pem`"
    ))
}

const ED25519_PUBLIC_LEN: usize = 32;
const ED25519_SEED_LEN: usize = 32;
/// The first byte of an uncompressed point (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;
const PRIVATE_LABEL: &[u8] = b"PRIVATE KEY";

/// The PKCS#8 v1 prefix of an Ed25519 seed (RFC 8410 §7).
const ED25519_PKCS8: &[u8] =
    &[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// The PKCS#8 prefix of an ECPrivateKey (RFC 5915) that contains only a P-256 scalar.
const P256_PKCS8: &[u8] = &[
    0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
    0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01, 0x01, 0x04,
    0x20,
];
/// The PKCS#8 prefix of an ECPrivateKey (RFC 5915) that contains only a P-384 scalar.
const P384_PKCS8: &[u8] = &[
    0x30, 0x4e, 0x02, 0x01, 0x00, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
    0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x04, 0x37, 0x30, 0x35, 0x02, 0x01, 0x01, 0x04, 0x30,
];
