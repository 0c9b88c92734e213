//! JSON Web Keys: read one by one and in sets, and published.

use std::{collections::BTreeSet, time::Duration};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_cookie_jwt::{
    KeyRing, Verifier,
    keys::{Algorithm, Key},
    token::{Issuer, NewToken},
};

use crate::keys::{
    ED25519, ED25519_PUBLIC, P256, P256_PUBLIC, P384, P384_PUBLIC, RSA, RSA_1024_PUBLIC, RSA_2048,
    RSA_2048_PUBLIC,
};

pub(crate) fn der(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(text).expect("PEM holds base64")
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The key pairs of the PEM files, as JWKs built by hand.
pub(crate) fn rsa() -> Value {
    let pkcs1 = der(RSA_2048_PUBLIC).split_off(24);
    json!({ "kty": "RSA", "n": text(&pkcs1[9..265]), "e": "AQAB" })
}

fn weak_rsa() -> Value {
    let pkcs1 = der(RSA_1024_PUBLIC).split_off(22);
    json!({ "kty": "RSA", "n": text(&pkcs1[7..135]), "e": "AQAB" })
}

pub(crate) fn p256() -> Value {
    let point = der(P256_PUBLIC).split_off(27);
    json!({ "kty": "EC", "crv": "P-256", "x": text(&point[..32]), "y": text(&point[32..]) })
}

pub(crate) fn p384() -> Value {
    let point = der(P384_PUBLIC).split_off(24);
    json!({ "kty": "EC", "crv": "P-384", "x": text(&point[..48]), "y": text(&point[48..]) })
}

pub(crate) fn ed25519() -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": text(&der(ED25519_PUBLIC).split_off(12)) })
}

fn oct(algorithm: &str, len: usize) -> Value {
    json!({ "kty": "oct", "alg": algorithm, "k": text(&vec![7; len]) })
}

/// The private scalars, out of PKCS#8 as OpenSSL writes it.
fn p256_scalar() -> String {
    text(&der(P256)[36..68])
}

fn p384_scalar() -> String {
    text(&der(P384)[35..83])
}

fn ed25519_seed() -> String {
    text(&der(ED25519)[16..48])
}

/// The JWK with some members changed; `null` removes one.
pub(crate) fn with(mut jwk: Value, members: Value) -> Value {
    let (Some(object), Value::Object(members)) = (jwk.as_object_mut(), members) else {
        panic!("a JWK and its members are objects");
    };
    for (name, value) in members {
        match value {
            Value::Null => object.remove(&name),
            value => object.insert(name, value),
        };
    }
    jwk
}

fn key(jwk: &Value) -> Key {
    Key::from_jwk(jwk.to_string()).unwrap_or_else(|error| panic!("{error}: {jwk}"))
}

fn pem(algorithm: Algorithm) -> Key {
    let pem = match algorithm {
        Algorithm::ES256 => P256,
        Algorithm::ES384 => P384,
        Algorithm::EdDSA => ED25519,
        _ => RSA_2048,
    };
    Key::from_private_pem(algorithm, pem).expect("a private key")
}

fn signed_by(key: &Key) -> String {
    let ring = KeyRing::new(key.clone()).expect("the key signs");
    Issuer::new(ring).issue(&NewToken::access("ada", Duration::from_secs(60)), &()).expect("the key signs")
}

fn accepts(ring: &KeyRing, token: &str) -> bool {
    Verifier::<()>::new(ring.clone()).verify(token).is_ok()
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

#[test]
fn a_public_jwk_verifies_what_its_private_key_has_signed() {
    let mut table = vec![
        ("P-256", p256(), Algorithm::ES256),
        ("P-256 with alg", with(p256(), json!({ "alg": "ES256" })), Algorithm::ES256),
        ("P-384", p384(), Algorithm::ES384),
        ("P-384 with alg", with(p384(), json!({ "alg": "ES384" })), Algorithm::ES384),
        ("Ed25519", ed25519(), Algorithm::EdDSA),
        ("Ed25519 with alg", with(ed25519(), json!({ "alg": "EdDSA" })), Algorithm::EdDSA),
        ("RSA without alg", rsa(), Algorithm::RS256),
        ("for signatures", with(rsa(), json!({ "use": "sig" })), Algorithm::RS256),
        ("to verify", with(p256(), json!({ "key_ops": ["verify"] })), Algorithm::ES256),
        ("to verify and more", with(p256(), json!({ "key_ops": ["encrypt", "verify"] })), Algorithm::ES256),
        (
            "with a certificate and unknown members",
            with(rsa(), json!({ "x5c": ["MIIB"], "x5t": "AAAA", "https://shop.example/made": 5 })),
            Algorithm::RS256,
        ),
    ];
    for algorithm in RSA {
        table.push(("RSA with alg", with(rsa(), json!({ "alg": algorithm.as_str() })), algorithm));
    }
    for (name, jwk, algorithm) in table {
        let key = key(&with(jwk, json!({ "kid": "2026-11" })));
        assert_eq!(key.algorithm(), algorithm, "{name}");
        assert_eq!(key.id(), Some("2026-11"), "{name}");
        assert!(!key.can_sign(), "{name}");
        let ring = KeyRing::verify_only([key]).expect("a ring");
        assert!(accepts(&ring, &signed_by(&pem(algorithm).with_id("2026-11"))), "{name}");
        let other = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => {
                Key::generate(algorithm).expect("a key").with_id("2026-11")
            }
            // No other RSA key is at hand: the same one under another algorithm.
            Algorithm::RS256 => pem(Algorithm::PS256).with_id("2026-11"),
            _ => pem(Algorithm::RS256).with_id("2026-11"),
        };
        assert!(!accepts(&ring, &signed_by(&other)), "{name}: another key");
    }
    assert_eq!(key(&p256()).id(), None, "no kid, no id");
}

#[test]
fn a_private_jwk_signs_and_verifies() {
    let table = [
        ("P-256", with(p256(), json!({ "d": p256_scalar() })), Algorithm::ES256),
        ("P-384", with(p384(), json!({ "d": p384_scalar() })), Algorithm::ES384),
        ("Ed25519", with(ed25519(), json!({ "d": ed25519_seed() })), Algorithm::EdDSA),
        ("to sign", with(ed25519(), json!({ "d": ed25519_seed(), "key_ops": ["sign"] })), Algorithm::EdDSA),
    ];
    for (name, jwk, algorithm) in table {
        let private = key(&jwk);
        assert_eq!(private.algorithm(), algorithm, "{name}");
        assert!(private.can_sign(), "{name}");
        let public = key(&with(jwk, json!({ "d": null, "key_ops": null })));
        for verifying in [private.clone(), public, pem(algorithm)] {
            let ring = KeyRing::verify_only([verifying]).expect("a ring");
            assert!(accepts(&ring, &signed_by(&private)), "{name}");
        }
        let own = KeyRing::verify_only([private]).expect("a ring");
        assert!(accepts(&own, &signed_by(&pem(algorithm))), "{name} is the key of the PEM");
    }
}

#[test]
fn a_shared_secret_needs_an_algorithm_and_enough_bytes() {
    for (name, len) in [("HS256", 32), ("HS384", 48), ("HS512", 64)] {
        let secret = key(&oct(name, len));
        assert_eq!(secret.algorithm().as_str(), name);
        assert!(secret.can_sign(), "{name}");
        let same = Key::hmac(secret.algorithm(), vec![7; len]).expect("a secret");
        assert!(accepts(&KeyRing::new(same).expect("it signs"), &signed_by(&secret)), "{name}");
        let error = Key::from_jwk(oct(name, len - 1).to_string()).expect_err("too short").to_string();
        assert!(error.contains(&format!("at least {len} bytes")), "{name}: {error}");
    }
}

#[test]
fn an_unsupported_jwk_is_refused_with_the_reason() {
    let short = |jwk: Value, name: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("a member")).expect("base64url");
        let shorter = text(&bytes[..bytes.len() - 1]);
        with(jwk, json!({ name: shorter }))
    };
    let x = p256()["x"].as_str().expect("x").to_owned();
    let y = p256()["y"].as_str().expect("y").to_owned();
    let (x, y) = (URL_SAFE_NO_PAD.decode(x).expect("x"), URL_SAFE_NO_PAD.decode(y).expect("y"));
    let shifted = json!({ "x": text(&x[..31]), "y": text(&[&x[31..], &y[..]].concat()) });
    let table = [
        ("private RSA", with(rsa(), json!({ "d": "AQAB" })), "Key::from_private_pem"),
        ("for encryption", with(rsa(), json!({ "use": "enc" })), "`use`"),
        ("for an unknown use", with(p256(), json!({ "use": "SIG" })), "`use`"),
        ("to encrypt", with(rsa(), json!({ "key_ops": ["encrypt", "wrapKey"] })), "`key_ops`"),
        ("for nothing", with(rsa(), json!({ "key_ops": [] })), "`key_ops`"),
        ("an unknown kind", with(rsa(), json!({ "kty": "AKP" })), "key type or curve"),
        ("the kind in other letters", with(rsa(), json!({ "kty": "rsa" })), "key type or curve"),
        ("P-521", with(p256(), json!({ "crv": "P-521" })), "key type or curve"),
        ("secp256k1", with(p256(), json!({ "crv": "secp256k1" })), "key type or curve"),
        ("X25519", with(ed25519(), json!({ "crv": "X25519" })), "key type or curve"),
        ("Ed448", with(ed25519(), json!({ "crv": "Ed448" })), "key type or curve"),
        ("no curve", with(p256(), json!({ "crv": null })), "key type or curve"),
        ("none", with(rsa(), json!({ "alg": "none" })), "`alg` is not supported"),
        ("an algorithm for encryption", with(rsa(), json!({ "alg": "RSA-OAEP" })), "`alg` is not supported"),
        ("RSA for ES256", with(rsa(), json!({ "alg": "ES256" })), "does not match"),
        ("RSA for HS256", with(rsa(), json!({ "alg": "HS256" })), "does not match"),
        ("P-256 for ES384", with(p256(), json!({ "alg": "ES384" })), "does not match"),
        ("P-256 for EdDSA", with(p256(), json!({ "alg": "EdDSA" })), "does not match"),
        ("Ed25519 for RS256", with(ed25519(), json!({ "alg": "RS256" })), "does not match"),
        ("a secret for RS256", with(oct("HS256", 64), json!({ "alg": "RS256" })), "does not match"),
        ("a secret without alg", with(oct("HS256", 64), json!({ "alg": null })), "needs `alg`"),
        ("a secret without k", with(oct("HS256", 64), json!({ "k": null })), "incomplete"),
        ("weak RSA", weak_rsa(), "2048"),
        ("no modulus", with(rsa(), json!({ "n": null })), "incomplete"),
        ("an empty modulus", with(rsa(), json!({ "n": "" })), "2048"),
        ("no exponent", with(rsa(), json!({ "e": null })), "incomplete"),
        ("an empty exponent", with(rsa(), json!({ "e": "" })), "must be odd"),
        ("no x", with(p256(), json!({ "x": null })), "incomplete"),
        ("no y", with(p256(), json!({ "y": null })), "incomplete"),
        ("a short x", short(p256(), "x"), "not a public key"),
        ("a short y", short(p384(), "y"), "not a public key"),
        ("a long x", with(p256(), json!({ "x": text(&[9; 33]) })), "incomplete"),
        ("one byte of x in y", with(p256(), shifted), "incomplete"),
        (
            "a point of another curve",
            with(p256(), json!({ "x": p384()["x"], "y": p384()["y"] })),
            "incomplete",
        ),
        ("a short Ed25519 key", short(ed25519(), "x"), "not a public key"),
        ("no Ed25519 key", with(ed25519(), json!({ "x": null })), "incomplete"),
        (
            "a short scalar",
            short(with(p256(), json!({ "d": p256_scalar() })), "d"),
            "not that of its public part",
        ),
        (
            "the scalar of another key",
            with(p256(), json!({ "d": text(&[7; 32]) })),
            "not that of its public part",
        ),
        ("a short seed", short(with(ed25519(), json!({ "d": ed25519_seed() })), "d"), "not a private key"),
        ("padding", with(ed25519(), json!({ "x": format!("{}=", text(&[9; 32])) })), "base64url"),
        ("plain base64", with(ed25519(), json!({ "x": STANDARD.encode([255; 32]) })), "base64url"),
        ("a number for a member", with(rsa(), json!({ "n": 5 })), "not a valid JSON Web Key"),
        ("a set", json!({ "keys": [rsa()] }), "not a valid JSON Web Key"),
        ("a list", json!([]), "not a valid JSON Web Key"),
        ("nothing", json!({}), "not a valid JSON Web Key"),
    ];
    for (name, jwk, reason) in table {
        let error = Key::from_jwk(jwk.to_string()).expect_err(name).to_string();
        assert!(error.contains(reason), "{name}: {error}");
        let material = [p256_scalar(), ed25519_seed(), text(&[7; 12])];
        assert!(material.iter().all(|secret| !error.contains(secret)), "{name}: {error}");
    }
    for (name, bytes) in
        [("no JSON", &b"-----BEGIN PUBLIC KEY-----"[..]), ("bytes", &[0xff, 0]), ("none", b"")]
    {
        assert!(Key::from_jwk(bytes).is_err(), "{name}");
    }
}

#[test]
fn a_set_verifies_with_each_of_its_keys() {
    let keys = [
        with(rsa(), json!({ "kid": "rsa", "alg": "PS256" })),
        with(p256(), json!({ "kid": "p256" })),
        with(ed25519(), json!({ "kid": "ed" })),
    ];
    let ring = KeyRing::from_jwks(set(&keys)).expect("a set");
    assert!(!ring.can_sign());
    let signers = [(Algorithm::PS256, "rsa"), (Algorithm::ES256, "p256"), (Algorithm::EdDSA, "ed")];
    for (algorithm, id) in signers {
        assert!(accepts(&ring, &signed_by(&pem(algorithm).with_id(id))), "{algorithm}");
        assert!(!accepts(&ring, &signed_by(&pem(algorithm).with_id("other"))), "{algorithm}, unknown kid");
    }
    assert!(!accepts(&ring, &signed_by(&pem(Algorithm::RS256).with_id("rsa"))), "the key is for PS256");
}

#[test]
fn a_set_omits_unusable_keys_and_shared_secrets() {
    let good = with(ed25519(), json!({ "kid": "ed" }));
    let foreign = [
        ("a shared secret", with(oct("HS256", 64), json!({ "kid": "oct" }))),
        ("a weak shared secret without alg", json!({ "kty": "oct", "k": "AAAA" })),
        ("for encryption", with(p256(), json!({ "use": "enc" }))),
        ("broken, for encryption", with(weak_rsa(), json!({ "use": "enc" }))),
        ("to encrypt", with(p256(), json!({ "key_ops": ["deriveKey"] }))),
        ("an unknown kind", json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" })),
        ("an unknown kind with members of other types", json!({ "kty": "LWE", "n": 512, "x": [1] })),
        ("an unknown curve", with(p256(), json!({ "crv": "P-521" }))),
        ("X25519", with(ed25519(), json!({ "crv": "X25519", "use": "enc" }))),
        ("an unknown algorithm", with(rsa(), json!({ "alg": "RSA-OAEP-256" }))),
        ("a weak key", weak_rsa()),
        ("an incomplete key", with(p256(), json!({ "y": null }))),
        ("an alg that does not fit", with(p256(), json!({ "alg": "RS256" }))),
        ("a private RSA key", with(rsa(), json!({ "d": "AQAB" }))),
        ("no kind", json!({ "x": "AAAA" })),
        ("no object", json!(5)),
    ];
    let secret = Key::hmac(Algorithm::HS256, [7; 64]).expect("a secret").with_id("oct");
    for (name, jwk) in &foreign {
        let ring = KeyRing::from_jwks(set(&[jwk.clone(), good.clone()])).expect(name);
        assert!(accepts(&ring, &signed_by(&pem(Algorithm::EdDSA).with_id("ed"))), "{name}");
        assert!(!accepts(&ring, &signed_by(&secret)), "{name}");
        let published: Value = serde_json::from_str(&ring.public_jwks()).expect("JSON");
        assert_eq!(published["keys"].as_array().map(Vec::len), Some(1), "{name}: the good one alone");

        let error = KeyRing::from_jwks(set(std::slice::from_ref(jwk))).expect_err(name).to_string();
        assert!(error.contains("at least one key"), "{name}: {error}");
    }
}

#[test]
fn a_malformed_set_is_refused() {
    let sets = [
        ("an empty set", set(&[]), "at least one key"),
        ("one key", ed25519().to_string(), "not a valid JSON Web Key Set"),
        ("keys of another type", json!({ "keys": {} }).to_string(), "not a valid JSON Web Key Set"),
        ("a list", json!([ed25519()]).to_string(), "not a valid JSON Web Key Set"),
        ("cut off", set(&[ed25519()])[..40].to_owned(), "not a valid JSON Web Key Set"),
        ("a page", "<!doctype html><title>shop.example</title>".to_owned(), "not a valid JSON Web Key Set"),
        ("nothing", String::new(), "not a valid JSON Web Key Set"),
    ];
    for (name, set, reason) in sets {
        let error = KeyRing::from_jwks(set).expect_err(name).to_string();
        assert!(error.contains(reason), "{name}: {error}");
    }
    assert!(KeyRing::from_jwks([0xff, 0xfe]).is_err(), "bytes");
    // Keys without an id may be several.
    assert!(KeyRing::from_jwks(set(&[ed25519(), p256(), p384()])).is_ok());
}

#[test]
fn copies_of_a_key_count_once_and_different_keys_of_one_id_are_tried_in_turn() {
    let key = || Key::generate(Algorithm::EdDSA).expect("a key").with_id("same");
    let jwk = |key: &Key| published(&KeyRing::verify_only([key.clone()]).expect("a ring"))[0].clone();
    let keys: Vec<Key> = (0..5).map(|_| key()).collect();
    let jwks: Vec<Value> = keys.iter().map(jwk).collect();

    let copies = KeyRing::from_jwks(set(&vec![jwks[0].clone(); 20])).expect("a key is in it");
    assert_eq!(published(&copies).len(), 1, "copies are one");
    assert!(KeyRing::from_jwks(set(&vec![ed25519(); 20])).is_ok(), "without an id, too");

    let ring = KeyRing::from_jwks(set(&jwks)).expect("keys are in it");
    for (index, key) in keys.iter().enumerate() {
        assert_eq!(
            accepts(&ring, &signed_by(key)),
            index < 4,
            "key {index}: at most four of one id are tried"
        );
    }
    // Keys that the application names itself are its own mistake.
    let error = KeyRing::verify_only([key(), key()]).expect_err("two keys of one id").to_string();
    assert!(error.contains("same id"), "{error}");
}

fn published(ring: &KeyRing) -> Vec<Value> {
    let set: Value = serde_json::from_str(&ring.public_jwks()).expect("JSON");
    set["keys"].as_array().expect("keys").clone()
}

#[test]
fn a_set_without_a_usable_key_says_what_was_there() {
    let keys = [
        with(ed25519(), json!({ "kid": "for-encryption", "use": "enc" })),
        with(weak_rsa(), json!({ "kid": "weak\n\u{1b}[31m" })),
        json!({ "kty": "AKP", "pub": "AAAA" }),
    ];
    let error = KeyRing::from_jwks(set(&keys)).expect_err("nothing usable").to_string();
    let parts = [
        "`for-encryption`: the key's `use` is not `sig`",
        "`weak\\n\\u{1b}[31m`: the RSA key has",
        "a key without an id",
    ];
    for part in parts {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn hostile_sets_stay_bounded() {
    let number = |index: usize| text(&[&[0x80 | (index >> 8) as u8, index as u8][..], &[0x5b; 254]].concat());
    let many: Vec<Value> = (0..5_000)
        .map(|index| json!({ "kty": "RSA", "kid": index.to_string(), "n": number(index), "e": "AQAB" }))
        .collect();
    let ring = KeyRing::from_jwks(set(&many)).expect("keys are in it");
    assert_eq!(published(&ring).len(), 256, "the first are read");
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (name, set) in [
        ("deep", deep(100_000)),
        ("a deep key", format!(r#"{{"keys":[{}]}}"#, deep(100_000))),
        ("a long id", json!({ "keys": [{ "kty": "AKP", "kid": "x".repeat(200_000) }] }).to_string()),
        (
            "a long member",
            json!({ "keys": [{ "kty": "RSA", "n": "A".repeat(200_000), "e": "AQAB" }] }).to_string(),
        ),
    ] {
        let error = KeyRing::from_jwks(set).expect_err(name).to_string();
        assert!(error.len() < 1_000, "{name}: an error of {} bytes", error.len());
    }
}

#[cfg(feature = "tracing")]
#[test]
fn keys_that_are_left_out_are_logged_with_id_and_reason() {
    let keys =
        [with(ed25519(), json!({ "kid": "mine" })), with(rsa(), json!({ "kid": "enc-1", "use": "enc" }))];
    let log = crate::kit::log::Log::default();
    let capture = log.capture();
    KeyRing::from_jwks(set(&keys)).expect("a key is in it");
    drop(capture);
    let log = log.text();
    assert!(log.contains("`enc-1`: the key's `use` is not `sig`") && !log.contains("mine"), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[test]
fn numbers_may_have_zeros_in_front_or_lack_them() {
    let decode = |value: &Value| URL_SAFE_NO_PAD.decode(value.as_str().expect("text")).expect("base64url");
    let padded = |jwk: Value, name: &str| {
        let number = text(&[&[0, 0][..], &decode(&jwk[name])].concat());
        with(jwk, json!({ name: number }))
    };
    for (jwk, name, algorithm) in [
        (rsa(), "n", Algorithm::RS256),
        (rsa(), "e", Algorithm::RS256),
        (p256(), "x", Algorithm::ES256),
        (p256(), "y", Algorithm::ES256),
    ] {
        let ring = KeyRing::from_jwks(set(&[padded(jwk, name)])).expect("a key");
        assert!(accepts(&ring, &signed_by(&pem(algorithm))), "zeros in front of {name}");
    }
    // One key in 256 has a coordinate that begins with a zero byte, which some issuers leave out.
    let mut seen = [false; 2];
    while seen != [true, true] {
        let key = Key::generate(Algorithm::ES256).expect("a key");
        let jwk = published(&KeyRing::new(key.clone()).expect("it signs"))[0].clone();
        for (index, name) in ["x", "y"].into_iter().enumerate() {
            let number = decode(&jwk[name]);
            if number[0] == 0 {
                seen[index] = true;
                let short = with(jwk.clone(), json!({ name: text(&number[1..]) }));
                let ring = KeyRing::from_jwks(set(&[short])).expect("a key");
                assert!(accepts(&ring, &signed_by(&key)), "{name} without its zero");
            }
        }
    }
}

#[test]
fn algorithms_go_by_their_fully_specified_names_too() {
    let ring = KeyRing::from_jwks(set(&[with(ed25519(), json!({ "alg": "Ed25519" }))])).expect("a key");
    assert!(accepts(&ring, &signed_by(&pem(Algorithm::EdDSA))));
    assert_eq!("Ed25519".parse::<Algorithm>().expect("a name"), Algorithm::EdDSA);
    let error = "Ed448".parse::<Algorithm>().expect_err("another curve").to_string();
    assert!(error.contains("not a supported algorithm"), "{error}");
}

#[test]
fn rsa_keys_without_an_algorithm_are_for_the_one_that_the_application_names() {
    let set = set(&[with(rsa(), json!({ "kid": "rsa" }))]);
    let signers = [Algorithm::RS256, Algorithm::PS256, Algorithm::RS512];
    for named in signers {
        let ring = KeyRing::from_jwks_with_rsa(&set, named).expect("a set");
        for algorithm in signers {
            let token = signed_by(&pem(algorithm).with_id("rsa"));
            assert_eq!(accepts(&ring, &token), algorithm == named, "{algorithm} where {named} is named");
        }
    }
    let error = KeyRing::from_jwks_with_rsa(&set, Algorithm::ES256).expect_err("no RSA").to_string();
    assert!(error.contains("not an algorithm of RSA keys"), "{error}");
}

/// A ring that signs with `active` and holds a key of every algorithm, shared secrets included.
fn full_ring(active: Algorithm) -> KeyRing {
    let key = |algorithm: Algorithm| {
        let key = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                Key::hmac(algorithm, [7; 64]).expect("a secret")
            }
            _ => pem(algorithm),
        };
        key.with_id(algorithm.as_str())
    };
    let others = Algorithm::ALL.into_iter().filter(|other| *other != active);
    others.fold(KeyRing::new(key(active)).expect("it signs"), |ring, other| {
        ring.with_accepted(key(other)).expect("ids differ")
    })
}

#[test]
fn a_published_set_verifies_what_its_ring_signs() {
    for active in Algorithm::ALL {
        let ring = full_ring(active);
        let token = Issuer::new(ring.clone())
            .issue(&NewToken::access("ada", Duration::from_secs(60)), &())
            .expect("it signs");
        assert!(accepts(&ring, &token), "{active}");
        let published = KeyRing::from_jwks(ring.public_jwks()).expect("the set parses");
        let shared = matches!(active, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
        assert_eq!(accepts(&published, &token), !shared, "{active}");
        assert_eq!(published.public_jwks(), ring.public_jwks(), "{active}: published again, unchanged");
    }
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
        for _ in 0..32 {
            let ring = KeyRing::new(Key::generate(algorithm).expect("a key")).expect("it signs");
            let published = KeyRing::from_jwks(ring.public_jwks()).expect("the set parses");
            let token = Issuer::new(ring)
                .issue(&NewToken::access("ada", Duration::from_secs(60)), &())
                .expect("it signs");
            assert!(accepts(&published, &token), "{algorithm}, generated");
        }
    }
}

#[test]
fn a_published_set_only_holds_public_members_and_no_shared_secret() {
    let text_of_set = full_ring(Algorithm::EdDSA).public_jwks();
    let published: Value = serde_json::from_str(&text_of_set).expect("JSON");
    let keys = published["keys"].as_array().expect("keys");
    let mut names = BTreeSet::new();
    for key in keys {
        let members: BTreeSet<&str> =
            key.as_object().expect("an object").keys().map(String::as_str).collect();
        let own: &[&str] = match key["kty"].as_str() {
            Some("RSA") => &["n", "e"],
            Some("EC") => &["crv", "x", "y"],
            Some("OKP") => &["crv", "x"],
            other => panic!("a key of kind {other:?} is published"),
        };
        let expected = own.iter().chain(&["kty", "alg", "use", "kid"]).copied().collect();
        assert_eq!(members, expected, "{key}");
        assert_eq!(key["use"], "sig", "{key}");
        assert_eq!(key["kid"], key["alg"], "the ids of this ring are its algorithms");
        names.insert(key["alg"].as_str().expect("alg"));
    }
    let asymmetric = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str());
    assert_eq!(names, asymmetric.filter(|name| !name.starts_with("HS")).collect());
    for (name, secret) in [
        ("P-256", p256_scalar()),
        ("P-384", p384_scalar()),
        ("Ed25519", ed25519_seed()),
        ("HMAC", text(&[7; 12])),
    ] {
        assert!(!text_of_set.contains(&secret), "{name}");
    }
    // The public halves are the ones that OpenSSL has written.
    for (algorithm, jwk) in [("ES256", p256()), ("ES384", p384()), ("EdDSA", ed25519()), ("RS256", rsa())] {
        let key = keys.iter().find(|key| key["alg"] == algorithm).expect(algorithm);
        for (member, value) in jwk.as_object().expect("an object") {
            assert_eq!(&key[member], value, "{algorithm}, {member}");
        }
    }
    let secrets = KeyRing::hs256([7; 32]).expect("a secret").public_jwks();
    assert_eq!(secrets, r#"{"keys":[]}"#, "a ring of secrets publishes nothing");
}

async fn ask(ring: &KeyRing, method: Method, tags: &[&str]) -> (Response<()>, String) {
    let mut request = Request::builder().method(method).uri("/.well-known/jwks.json");
    for tag in tags {
        request = request.header(header::IF_NONE_MATCH, *tag);
    }
    let Ok(response) = ring.jwks_service().oneshot(request.body(()).expect("a request")).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    (Response::from_parts(parts, ()), String::from_utf8(body.to_vec()).expect("text"))
}

fn tag_of(response: &Response<()>) -> String {
    response.headers()["etag"].to_str().expect("text").to_owned()
}

#[tokio::test]
async fn the_key_set_service_answers_with_the_set_and_may_be_cached() {
    let ring = full_ring(Algorithm::EdDSA);
    let (response, body) = ask(&ring, Method::GET, &[]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/jwk-set+json");
    assert_eq!(response.headers()["cache-control"], "public, max-age=300");
    assert_eq!(body, ring.public_jwks());
    let tag = tag_of(&response);
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "a strong tag: {tag}");

    let (head, body) = ask(&ring, Method::HEAD, &[]).await;
    assert_eq!((head.status(), &*body), (http::StatusCode::OK, ""));
    for name in ["content-type", "cache-control", "etag"] {
        assert_eq!(head.headers()[name], response.headers()[name], "HEAD, {name}");
    }
}

#[tokio::test]
async fn the_key_set_service_sends_no_body_if_the_client_has_it() {
    let ring = full_ring(Algorithm::EdDSA);
    let tag = tag_of(&ask(&ring, Method::GET, &[]).await.0);
    let bare = tag.trim_matches('"');
    let table: [(&str, Vec<String>, bool); 12] = [
        ("the tag", vec![tag.clone()], true),
        ("the weak tag", vec![format!("W/{tag}")], true),
        ("any", vec!["*".to_owned()], true),
        ("a list", vec![format!("\"other\", {tag}")], true),
        ("a list without spaces", vec![format!("\"other\",W/{tag},\"third\"")], true),
        ("two lines", vec!["\"other\"".to_owned(), tag.clone()], true),
        ("another tag", vec!["\"other\"".to_owned()], false),
        ("a list of others", vec!["\"a\", W/\"b\"".to_owned()], false),
        ("without quotes", vec![bare.to_owned()], false),
        ("a part of it", vec![format!("\"{}\"", &bare[1..])], false),
        ("w in lower case", vec![format!("w/{tag}")], false),
        ("empty", vec![String::new()], false),
    ];
    for (name, tags, known) in table {
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        for method in [Method::GET, Method::HEAD] {
            let (response, body) = ask(&ring, method.clone(), &tags).await;
            assert_eq!(response.status(), if known { 304 } else { 200 }, "{method} with {name}");
            assert_eq!(body.is_empty(), known || method == Method::HEAD, "{method} with {name}");
            assert_eq!(response.headers().contains_key("content-type"), !known, "{method} with {name}");
            // RFC 9110 §15.4.5: what a 200 would have said about caching.
            assert_eq!(tag_of(&response), tag, "{method} with {name}");
            assert_eq!(response.headers()["cache-control"], "public, max-age=300", "{method} with {name}");
        }
    }
}

#[tokio::test]
async fn the_key_set_service_refuses_other_methods() {
    let ring = full_ring(Algorithm::EdDSA);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        let (response, body) = ask(&ring, method.clone(), &["*"]).await;
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()["allow"], "GET, HEAD", "{method}");
        assert_eq!(body, "", "{method}");
    }
}

#[tokio::test]
async fn the_key_set_service_follows_the_ring() {
    let old = pem(Algorithm::ES256).with_id("2026-10");
    let new = pem(Algorithm::EdDSA).with_id("2026-11");
    let ring = KeyRing::new(old.clone()).expect("it signs");
    let service = ring.jwks_service();
    let (response, _) = ask(&ring, Method::GET, &[]).await;
    let tag = tag_of(&response);

    let both = KeyRing::new(old).expect("it signs").with_accepted(new).expect("ids differ");
    ring.replace(both.clone());
    let request = Request::get("/").header(header::IF_NONE_MATCH, &tag).body(()).expect("a request");
    let Ok(response) = service.oneshot(request).await;
    assert_eq!(response.status(), 200, "the set has changed: the previous tag no longer matches");
    assert_ne!(response.headers()["etag"], *tag);
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(body, both.public_jwks(), "a key that is accepted only is published too");
    assert!(both.public_jwks().contains("2026-11"));
}
