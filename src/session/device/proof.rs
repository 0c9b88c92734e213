//! The JWTs with which a browser proves that it holds a key (DBSC §2).
//!
//! This is not a [`Verifier`](crate::token::Verifier): only here is the key that a token itself names ever followed, and
//! only to learn it. What it proves is that the sender holds that key, not who the sender is.

use std::{error::Error as StdError, fmt};

use serde_json::{Map, Value};

use super::{headers::HeaderError, json, public_key::PublicKey};
use crate::{
    keys::Algorithm,
    token::{MAX_TOKEN_LEN, decode, same_media_type, split},
};

/// The algorithms with which devices may sign. A session without a key, `none`, is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithms {
    Es256,
    Es256AndRs256,
}

impl Algorithms {
    /// Returns the algorithms in the order of preference.
    pub(crate) const fn list(self) -> &'static [Algorithm] {
        match self {
            Self::Es256 => &[Algorithm::ES256],
            Self::Es256AndRs256 => &[Algorithm::ES256, Algorithm::RS256],
        }
    }
}

/// Why a proof is refused. It contains no part of the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum ProofError {
    /// The request carries several proofs.
    Several,
    /// The proof is longer than 8 KiB.
    TooLarge,
    /// It is not a compact JWS of two JSON objects, or a member occurs twice.
    Malformed,
    /// Its `typ` is not `dbsc+jwt`.
    WrongType,
    /// It names extensions that must be understood.
    Critical,
    /// Its `alg` is not among those that are accepted, or not that of the key.
    WrongAlgorithm,
    /// It answers no challenge.
    NoChallenge,
    /// It registers a key, but does not say which.
    NoKey,
    /// It registers a key that is private, weak, off its curve, or not in the only form that it has.
    UnusableKey,
    /// It names a key, although the session identifier says which key it must be.
    NamesKey,
    /// The signature does not match.
    BadSignature,
}

/// A registration: the sender holds this key. Whether the challenge is one of this crate is yet to be checked.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) key: PublicKey,
    pub(crate) challenge: String,
}

/// Checks a registration, which must be signed with the key in its own header.
pub(crate) fn registration(jwt: &str, accepted: Algorithms) -> Result<Registration, ProofError> {
    let proof = Proof::parse(jwt)?;
    if !accepted.list().contains(&proof.algorithm) {
        return Err(ProofError::WrongAlgorithm);
    }
    let key = match proof.header.get("jwk") {
        None => return Err(ProofError::NoKey),
        Some(Value::Object(jwk)) => PublicKey::from_jwk(jwk).map_err(|_| ProofError::UnusableKey)?,
        Some(_) => return Err(ProofError::UnusableKey),
    };
    proof.check_by(&key)?;
    Ok(Registration { key, challenge: proof.challenge })
}

/// Checks a proof of the key in the session identifier, and returns the challenge that it answers, which is yet to be
/// checked.
///
/// The algorithm is that of the key, whatever is accepted for new keys by now: a session whose key was accepted goes on.
pub(crate) fn refresh(jwt: &str, key: &PublicKey) -> Result<String, ProofError> {
    let proof = Proof::parse(jwt)?;
    if proof.header.contains_key("jwk") {
        return Err(ProofError::NamesKey);
    }
    proof.check_by(key)?;
    Ok(proof.challenge)
}

/// A proof that is well-formed, but whose signature has not been checked.
struct Proof<'t> {
    header: Map<String, Value>,
    algorithm: Algorithm,
    challenge: String,
    message: &'t [u8],
    signature: Vec<u8>,
}

impl<'t> Proof<'t> {
    fn parse(jwt: &'t str) -> Result<Self, ProofError> {
        if jwt.len() > MAX_TOKEN_LEN {
            return Err(ProofError::TooLarge);
        }
        let parts = split(jwt.as_bytes()).ok_or(ProofError::Malformed)?;
        let read = |part| decode(part).ok().and_then(|text| json::object(&text)).ok_or(ProofError::Malformed);
        let (header, payload) = (read(parts.header)?, read(parts.payload)?);
        let text = |name: &str| header.get(name).and_then(Value::as_str);
        if !text("typ").is_some_and(|typ| same_media_type(typ, TYPE)) {
            return Err(ProofError::WrongType);
        }
        if header.contains_key("crit") {
            return Err(ProofError::Critical);
        }
        let algorithm = match text("alg") {
            Some("ES256") => Algorithm::ES256,
            Some("RS256") => Algorithm::RS256,
            _ => return Err(ProofError::WrongAlgorithm),
        };
        let challenge = payload.get("jti").and_then(Value::as_str).filter(|text| !text.is_empty());
        Ok(Self {
            challenge: challenge.ok_or(ProofError::NoChallenge)?.to_owned(),
            algorithm,
            message: parts.message,
            signature: decode(parts.signature).map_err(|_| ProofError::Malformed)?,
            header,
        })
    }

    fn check_by(&self, key: &PublicKey) -> Result<(), ProofError> {
        if self.algorithm != key.algorithm() {
            return Err(ProofError::WrongAlgorithm);
        }
        if key.verifies(self.message, &self.signature) { Ok(()) } else { Err(ProofError::BadSignature) }
    }
}

impl ProofError {
    /// Returns the reason in a few words.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Several => "the request carries several proofs",
            Self::TooLarge => "the proof is too large",
            Self::Malformed => "the proof is malformed",
            Self::WrongType => "the proof is of another type",
            Self::Critical => "the proof names extensions that are not supported",
            Self::WrongAlgorithm => "the proof's algorithm is not accepted for its key",
            Self::NoChallenge => "the proof answers no challenge",
            Self::NoKey => "the registration names no key",
            Self::UnusableKey => "the registration names a key that is not usable",
            Self::NamesKey => "the proof names a key of its own",
            Self::BadSignature => "the proof's signature does not match",
        }
    }
}

impl From<HeaderError> for ProofError {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Several => Self::Several,
            HeaderError::TooLarge => Self::TooLarge,
            HeaderError::Malformed => Self::Malformed,
        }
    }
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl StdError for ProofError {}

/// The `typ` of proofs, compared as a media type, as elsewhere in this crate.
const TYPE: &str = "dbsc+jwt";
