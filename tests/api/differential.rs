//! Both providers of cryptography give the same answer to every key and every token.
//!
//! The answers are in `verdicts.txt`. This test runs once with each provider, and both must give exactly these. After a
//! deliberate change, `VERDICTS=write cargo test --test api differential` writes the file anew; then run it with the other
//! provider.

use std::{fmt::Write as _, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm as Jwa, EncodingKey};
use serde_json::{Value, json};
use tower_cookie_jwt::{
    KeyRing, Verifier,
    keys::{Algorithm, Key},
};

use crate::{
    attacks, forge,
    jwk::{der, ed25519, p256, p384, rsa, with},
    keys::{ED25519, ED25519_PUBLIC, P256, P256_PUBLIC, P384, P384_PUBLIC, RSA_2048, RSA_2048_PUBLIC},
};

const VERDICTS: &str = include_str!("verdicts.txt");

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decoded(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(value.as_str().expect("text")).expect("base64url")
}

/// The shapes in which a number, a key or a signature may come.
fn shapes(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let changed = |index: usize, bits: u8| {
        let mut bytes = bytes.to_vec();
        bytes[index] ^= bits;
        bytes
    };
    vec![
        ("as it is", bytes.to_vec()),
        ("a zero in front", [&[0], bytes].concat()),
        ("four zeros in front", [&[0; 4], bytes].concat()),
        ("a one in front", [&[1], bytes].concat()),
        ("without the first byte", bytes[1..].to_vec()),
        ("without the last byte", bytes[..bytes.len() - 1].to_vec()),
        ("a zero behind", [bytes, &[0]].concat()),
        ("half of it", bytes[..bytes.len() / 2].to_vec()),
        ("twice", [bytes, bytes].concat()),
        ("nothing", Vec::new()),
        ("zeros", vec![0; bytes.len()]),
        ("ones", vec![0xff; bytes.len()]),
        ("the first bit changed", changed(0, 0x80)),
        ("the last bit changed", changed(bytes.len() - 1, 1)),
        ("a bit in the middle changed", changed(bytes.len() / 2, 0x10)),
        ("reversed", bytes.iter().rev().copied().collect()),
    ]
}

struct Pair {
    algorithm: Algorithm,
    jwa: Jwa,
    signing: EncodingKey,
    jwk: Value,
    private_pem: &'static str,
    public_pem: &'static str,
    /// The public key as `Key::from_public_bytes` takes it.
    raw: Vec<u8>,
}

fn pairs() -> Vec<Pair> {
    let rsa_key = || EncodingKey::from_rsa_pem(RSA_2048.as_bytes()).expect("a key");
    let ec_key = |pem: &str| EncodingKey::from_ec_pem(pem.as_bytes()).expect("a key");
    let point = |jwk: &Value| [&[4][..], &decoded(&jwk["x"]), &decoded(&jwk["y"])].concat();
    let pkcs1 = der(RSA_2048_PUBLIC).split_off(24);
    let mut pairs: Vec<Pair> = [
        (Algorithm::RS256, Jwa::RS256),
        (Algorithm::RS384, Jwa::RS384),
        (Algorithm::RS512, Jwa::RS512),
        (Algorithm::PS256, Jwa::PS256),
        (Algorithm::PS384, Jwa::PS384),
        (Algorithm::PS512, Jwa::PS512),
    ]
    .into_iter()
    .map(|(algorithm, jwa)| Pair {
        algorithm,
        jwa,
        signing: rsa_key(),
        jwk: with(rsa(), json!({ "alg": algorithm.as_str() })),
        private_pem: RSA_2048,
        public_pem: RSA_2048_PUBLIC,
        raw: pkcs1.clone(),
    })
    .collect();
    pairs.push(Pair {
        algorithm: Algorithm::ES256,
        jwa: Jwa::ES256,
        signing: ec_key(P256),
        jwk: p256(),
        private_pem: P256,
        public_pem: P256_PUBLIC,
        raw: point(&p256()),
    });
    pairs.push(Pair {
        algorithm: Algorithm::ES384,
        jwa: Jwa::ES384,
        signing: ec_key(P384),
        jwk: p384(),
        private_pem: P384,
        public_pem: P384_PUBLIC,
        raw: point(&p384()),
    });
    pairs.push(Pair {
        algorithm: Algorithm::EdDSA,
        jwa: Jwa::EdDSA,
        signing: EncodingKey::from_ed_pem(ED25519.as_bytes()).expect("a key"),
        jwk: ed25519(),
        private_pem: ED25519,
        public_pem: ED25519_PUBLIC,
        raw: decoded(&ed25519()["x"]),
    });
    pairs
}

impl Pair {
    fn token(&self) -> String {
        let header = json!({ "alg": self.algorithm.as_str() }).to_string();
        forge::sign_with(self.jwa, &self.signing, header, r#"{"sub":"ada","exp":4102444800}"#)
    }
}

/// The one difference that remains: rust-crypto computes the last of an RSA key's numbers itself, and takes no notice of
/// the one that the key comes with. The signatures are valid nevertheless.
fn is_explained(line: &str) -> bool {
    line.contains("private PEM the last bit changed") && (line.starts_with("RS") || line.starts_with("PS"))
}

/// What a verifier with this key says of the token.
fn verdict(key: &Key, token: &str) -> String {
    let ring = match key.can_sign() {
        true => KeyRing::new(key.clone()),
        false => KeyRing::verify_only([key.clone()]),
    };
    match Verifier::<()>::new(ring.expect("a ring")).verify(token) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

fn key_verdict(key: Result<Key, impl std::fmt::Display>, token: &str) -> String {
    key.map_or_else(|_| "no key".to_owned(), |key| verdict(&key, token))
}

fn verdicts() -> String {
    let mut lines = String::new();
    let mut note = |what: String, verdict: &str| writeln!(lines, "{what}: {verdict}").expect("a string");
    for pair in pairs() {
        let (algorithm, token) = (pair.algorithm, pair.token());
        for member in ["n", "e", "x", "y"].into_iter().filter(|member| pair.jwk.get(member).is_some()) {
            for (shape, bytes) in shapes(&decoded(&pair.jwk[member])) {
                let jwk = with(pair.jwk.clone(), json!({ member: text(&bytes) }));
                note(
                    format!("{algorithm} JWK {member} {shape}"),
                    &key_verdict(Key::from_jwk(jwk.to_string()), &token),
                );
            }
        }
        if algorithm.as_str().starts_with("RS") || algorithm.as_str().starts_with("PS") {
            let [n, e] = ["n", "e"].map(|member| decoded(&pair.jwk[member]));
            for (shape, bytes) in shapes(&n) {
                let key = Key::from_rsa_components(algorithm, &bytes, &e);
                note(format!("{algorithm} modulus {shape}"), &key_verdict(key, &token));
            }
            for (shape, bytes) in shapes(&e) {
                let key = Key::from_rsa_components(algorithm, &n, &bytes);
                note(format!("{algorithm} exponent {shape}"), &key_verdict(key, &token));
            }
        }
        for (shape, bytes) in shapes(&pair.raw) {
            let key = Key::from_public_bytes(algorithm, &bytes);
            note(format!("{algorithm} public bytes {shape}"), &key_verdict(key, &token));
        }
        for (form, pem) in [("private", pair.private_pem), ("public", pair.public_pem)] {
            for (shape, bytes) in shapes(&der(pem)) {
                let label = if form == "private" { "PRIVATE KEY" } else { "PUBLIC KEY" };
                let body = base64::engine::general_purpose::STANDARD.encode(&bytes);
                let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
                let key = match form {
                    "private" => Key::from_private_pem(algorithm, text),
                    _ => Key::from_public_pem(algorithm, text),
                };
                note(format!("{algorithm} {form} PEM {shape}"), &key_verdict(key, &token));
            }
        }
        let key = Key::from_jwk(pair.jwk.to_string()).expect("a key");
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        for (shape, bytes) in shapes(&signature) {
            let token = format!("{message}.{}", text(&bytes));
            note(format!("{algorithm} signature {shape}"), &verdict(&key, &token));
        }
        if let Some(half) = algorithm.as_str().starts_with("ES").then_some(signature.len() / 2) {
            let zero = vec![0; half];
            let (r, s) = signature.split_at(half);
            for (shape, bytes) in [
                ("r of zero", [&zero, s].concat()),
                ("s of zero", [r, &zero].concat()),
                ("s before r", [s, r].concat()),
                ("as DER", [&[0x30, 2 * half as u8 + 4, 2, half as u8], r, &[2, half as u8], s].concat()),
            ] {
                let token = format!("{message}.{}", text(&bytes));
                note(format!("{algorithm} signature {shape}"), &verdict(&key, &token));
            }
        }
    }
    let vectors = attacks::vectors();
    for case in attacks::cases(&vectors).iter().filter(|case| case["token"].is_string()) {
        let (name, token) = (case["name"].as_str().expect("text"), case["token"].as_str().expect("text"));
        for verifier in ["hs", "rs", "es"] {
            let verdict = match attacks::verifier(&vectors, verifier).verify(token) {
                Ok(_) => "accepted".to_owned(),
                Err(error) => format!("{:?}", error.kind()),
            };
            note(format!("attack {name} with {verifier}"), &verdict);
        }
    }
    lines
}

#[test]
fn both_providers_give_these_verdicts() {
    let verdicts = verdicts();
    if std::env::var("VERDICTS").is_ok_and(|what| what == "write") {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/verdicts.txt");
        std::fs::write(file, &verdicts).expect("it can be written");
        return;
    }
    let differs = |(got, expected): &(&str, &str)| got != expected && !is_explained(expected);
    let differences: Vec<_> = verdicts.lines().zip(VERDICTS.lines()).filter(differs).collect();
    assert!(differences.is_empty(), "this provider answers otherwise (got, expected): {differences:#?}");
    assert_eq!(verdicts.lines().count(), VERDICTS.lines().count(), "the file is whole");
    assert!(VERDICTS.lines().count() > 1_000, "the shapes are many");
}
