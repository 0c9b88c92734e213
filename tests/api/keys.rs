//! Keys: one algorithm each, strong enough, and distinguished by their ids.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tower_cookie_jwt::{
    ConfigError, KeyRing, Verifier,
    keys::{Algorithm, Key},
    token::{Issuer, NewToken, TokenErrorKind},
};

pub(crate) const RSA_2048: &str = include_str!("keys/rsa2048.pem");
pub(crate) const RSA_2048_PUBLIC: &str = include_str!("keys/rsa2048.pub.pem");
const RSA_1024: &str = include_str!("keys/rsa1024.pem");
pub(crate) const RSA_1024_PUBLIC: &str = include_str!("keys/rsa1024.pub.pem");
pub(crate) const P256: &str = include_str!("keys/p256.pem");
pub(crate) const P256_PUBLIC: &str = include_str!("keys/p256.pub.pem");
pub(crate) const P384: &str = include_str!("keys/p384.pem");
pub(crate) const P384_PUBLIC: &str = include_str!("keys/p384.pub.pem");
const P521: &str = include_str!("keys/p521.pem");
pub(crate) const ED25519: &str = include_str!("keys/ed25519.pem");
pub(crate) const ED25519_PUBLIC: &str = include_str!("keys/ed25519.pub.pem");

pub(crate) const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
const HMAC: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

/// Private and public PEM of the right kind; HMAC has none.
fn pems(algorithm: Algorithm) -> Option<(&'static str, &'static str)> {
    match algorithm {
        Algorithm::ES256 => Some((P256, P256_PUBLIC)),
        Algorithm::ES384 => Some((P384, P384_PUBLIC)),
        Algorithm::EdDSA => Some((ED25519, ED25519_PUBLIC)),
        rsa if RSA.contains(&rsa) => Some((RSA_2048, RSA_2048_PUBLIC)),
        _ => None,
    }
}

fn signed_by(key: &Key) -> String {
    let ring = KeyRing::new(key.clone()).expect("the key signs");
    let token = NewToken::access("ada", Duration::from_secs(60));
    Issuer::new(ring).issue(&token, &()).expect("the key signs")
}

fn verifier(keys: impl IntoIterator<Item = Key>) -> Verifier<()> {
    Verifier::new(KeyRing::verify_only(keys).expect("a ring"))
}

fn der(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD.decode(text).expect("PEM holds base64")
}

#[test]
fn every_algorithm_signs_and_verifies() {
    let mut named = Vec::new();
    for algorithm in Algorithm::ALL {
        let mut pairs: Vec<(&str, Key, Key)> = Vec::new();
        if let Some((private, public)) = pems(algorithm) {
            let private = Key::from_private_pem(algorithm, private).expect("a private PEM");
            let public = Key::from_public_pem(algorithm, public).expect("a public PEM");
            assert!(private.can_sign() && !public.can_sign(), "{algorithm}");
            pairs.push(("PEM", private, public));
        }
        if !RSA.contains(&algorithm) {
            let generated = Key::generate(algorithm).expect("it can be generated");
            pairs.push(("generated", generated.clone(), generated));
        }
        for (how, private, public) in pairs {
            let token = signed_by(&private);
            let header =
                URL_SAFE_NO_PAD.decode(token.split('.').next().expect("a header")).expect("base64url");
            let header: serde_json::Value = serde_json::from_slice(&header).expect("JSON");
            assert_eq!(header["alg"], algorithm.as_str(), "{algorithm}, {how}");
            assert_eq!(private.algorithm(), algorithm, "{algorithm}, {how}");
            let (start, _) = token.rsplit_once('.').expect("a signature");
            for key in [private, public] {
                assert!(verifier([key.clone()]).verify(&format!("{start}.")).is_err(), "{algorithm}, {how}");
                let claims = verifier([key]).verify(&token);
                assert_eq!(claims.expect("it verifies").subject(), Some("ada"), "{algorithm}, {how}");
            }
        }
        named.push(algorithm.to_string());
    }
    let all = "HS256 HS384 HS512 RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 EdDSA";
    assert_eq!(named.join(" "), all);
}

#[test]
fn a_key_accepts_only_its_own_algorithm() {
    // The same RSA key, and the same secret, for each of the algorithms of their family.
    let rsa = RSA.map(|algorithm| Key::from_private_pem(algorithm, RSA_2048).expect("a key"));
    let hmac = HMAC.map(|algorithm| Key::hmac(algorithm, [7; 64]).expect("a secret"));
    for family in [&rsa[..], &hmac[..]] {
        for signing in family {
            let token = signed_by(signing);
            for verifying in family {
                let name = format!("{} for {}", signing.algorithm(), verifying.algorithm());
                let verdict = verifier([verifying.clone()]).verify(&token).map_err(|error| error.kind());
                match signing.algorithm() == verifying.algorithm() {
                    true => assert!(verdict.is_ok(), "{name}"),
                    false => assert_eq!(verdict.unwrap_err(), TokenErrorKind::UnknownKey, "{name}"),
                }
            }
        }
    }
}

#[test]
fn a_secret_shorter_than_the_hash_is_refused() {
    for (algorithm, least) in HMAC.into_iter().zip([32, 48, 64]) {
        for (len, fits) in [(0, false), (1, false), (least - 1, false), (least, true), (least + 1, true)] {
            let key = Key::hmac(algorithm, vec![7; len]);
            assert_eq!(key.is_ok(), fits, "{algorithm} with {len} bytes");
            if let Err(error) = key {
                assert!(
                    error.to_string().contains(&format!("at least {least} bytes")),
                    "{algorithm}: {error}"
                );
            }
        }
    }
    for (len, fits) in [(0, false), (31, false), (32, true)] {
        assert_eq!(KeyRing::hs256(vec![7; len]).is_ok(), fits, "a ring with {len} bytes");
        assert_eq!(Key::hs256(vec![7; len]).is_ok(), fits, "a key with {len} bytes");
    }
}

#[test]
fn rsa_under_2048_bits_is_refused() {
    let modulus = |bits: usize| {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] >>= bytes.len() * 8 - bits;
        bytes
    };
    for algorithm in RSA {
        let weak: [(&str, Result<Key, ConfigError>); 6] = [
            ("private PEM", Key::from_private_pem(algorithm, RSA_1024)),
            ("public PEM", Key::from_public_pem(algorithm, RSA_1024_PUBLIC)),
            ("components", Key::from_rsa_components(algorithm, modulus(1024), [1, 0, 1])),
            ("2047 bits", Key::from_rsa_components(algorithm, modulus(2047), [1, 0, 1])),
            (
                "1024 bits behind zeros",
                Key::from_rsa_components(algorithm, [vec![0; 128], modulus(1024)].concat(), [1, 0, 1]),
            ),
            ("no modulus", Key::from_rsa_components(algorithm, [], [1, 0, 1])),
        ];
        for (name, key) in weak {
            let error = key.expect_err(name).to_string();
            assert!(error.contains("2048"), "{algorithm}, {name}: {error}");
        }
        assert!(Key::from_rsa_components(algorithm, modulus(2048), [1, 0, 1]).is_ok(), "{algorithm}, 2048");
        assert!(Key::from_rsa_components(algorithm, modulus(2048), []).is_err(), "{algorithm}, no exponent");
        assert!(Key::generate(algorithm).is_err(), "{algorithm} is not generated");
    }
    for algorithm in [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA] {
        assert!(Key::from_rsa_components(algorithm, modulus(2048), [1, 0, 1]).is_err(), "{algorithm}");
    }
}

#[test]
fn a_key_of_the_wrong_kind_or_curve_is_refused() {
    let private = [
        ("RSA", RSA_2048),
        ("P-256", P256),
        ("P-384", P384),
        ("P-521", P521),
        ("Ed25519", ED25519),
        ("a public key", P256_PUBLIC),
        ("nothing", ""),
        ("no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
    ];
    let public = [
        ("RSA", RSA_2048_PUBLIC),
        ("P-256", P256_PUBLIC),
        ("P-384", P384_PUBLIC),
        ("Ed25519", ED25519_PUBLIC),
        ("nothing", ""),
        ("no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
    ];
    for algorithm in Algorithm::ALL {
        let own = pems(algorithm);
        for (name, pem) in private {
            let fits = own.is_some_and(|(own, _)| own == pem);
            assert_eq!(
                Key::from_private_pem(algorithm, pem).is_ok(),
                fits,
                "{algorithm} from private {name}"
            );
        }
        for (name, pem) in public {
            let fits = own.is_some_and(|(_, own)| own == pem);
            assert_eq!(Key::from_public_pem(algorithm, pem).is_ok(), fits, "{algorithm} from public {name}");
        }
    }
}

#[test]
fn a_private_key_is_refused_in_place_of_a_public_key() {
    for algorithm in Algorithm::ALL {
        let Some((private, public)) = pems(algorithm) else { continue };
        let both = format!("{public}{private}");
        for (name, pem) in [("only the private one", private), ("behind the public one", &both)] {
            let error = Key::from_public_pem(algorithm, pem).expect_err(name).to_string();
            assert!(error.contains("from_private_pem"), "{algorithm}, {name}: {error}");
        }
        assert!(Key::from_public_bytes(algorithm, der(private)).is_err(), "{algorithm} in DER");
    }
}

#[test]
fn raw_public_keys_of_the_wrong_length_neither_panic_nor_pass() {
    let ed25519 = der(ED25519_PUBLIC).split_off(12);
    let p256 = der(P256_PUBLIC).split_off(26);
    let p384 = der(P384_PUBLIC).split_off(23);
    let rsa = der(RSA_2048_PUBLIC).split_off(24);
    let own = [
        (Algorithm::EdDSA, &ed25519, 32),
        (Algorithm::ES256, &p256, 65),
        (Algorithm::ES384, &p384, 97),
        (Algorithm::RS256, &rsa, 270),
        (Algorithm::PS512, &rsa, 270),
    ];
    for (algorithm, bytes, len) in own {
        assert_eq!(bytes.len(), len, "{algorithm}");
        let key = Key::from_public_bytes(algorithm, bytes).expect("its own form");
        let (private, _) = pems(algorithm).expect("a PEM");
        let token = signed_by(&Key::from_private_pem(algorithm, private).expect("a key"));
        assert!(verifier([key]).verify(&token).is_ok(), "{algorithm}");

        let longer = [&bytes[..], &[0]].concat();
        for (name, other) in [("shorter", &bytes[..len - 1]), ("longer", &longer), ("none", &[])] {
            assert!(Key::from_public_bytes(algorithm, other).is_err(), "{algorithm}, {name}");
        }
    }
    for algorithm in Algorithm::ALL {
        for len in [0, 1, 31, 32, 33, 64, 65, 66, 97] {
            let zeros = Key::from_public_bytes(algorithm, vec![0; len]);
            let ed25519 = algorithm == Algorithm::EdDSA && len == 32;
            assert!(zeros.is_err() || ed25519, "{algorithm} from {len} zeros");
            assert!(Key::from_private_der(algorithm, vec![0; len]).is_err(), "{algorithm} from {len} zeros");
        }
    }
}

#[test]
fn a_compressed_point_and_one_off_the_curve_are_refused() {
    let point = der(P256_PUBLIC).split_off(26);
    let compressed = [&[2 | point[64] & 1], &point[1..33]].concat();
    let mut hybrid = point.clone();
    hybrid[0] = 6 | point[64] & 1;
    let mut off_the_curve = point;
    off_the_curve[64] ^= 1;
    for (name, bytes) in [("compressed", compressed), ("hybrid", hybrid)] {
        assert!(Key::from_public_bytes(Algorithm::ES256, bytes).is_err(), "{name}");
    }
    assert!(Key::from_public_bytes(Algorithm::ES256, off_the_curve).is_err());
}

/// Wraps contents in DER, with a length of up to four bytes.
fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let len = contents.len().to_be_bytes();
    let len = &len[len.iter().position(|byte| *byte != 0).unwrap_or(7)..];
    let len = if contents.len() < 128 { len.to_vec() } else { [&[0x80 | len.len() as u8], len].concat() };
    [&[tag], &len[..], contents].concat()
}

fn pkcs1(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| tlv(2, &[&[0], number].concat()[usize::from(number[0] < 0x80)..]);
    tlv(0x30, &[integer(modulus), integer(exponent)].concat())
}

/// Returns the key in SubjectPublicKeyInfo; the identifier of the algorithm is that of another key.
fn spki(like: &str, skip: usize, key: &[u8]) -> String {
    let identifier = &der(like)[skip..][..der(like)[skip + 1] as usize + 2];
    let bits = tlv(3, &[&[0], key].concat());
    let text = base64::engine::general_purpose::STANDARD.encode(tlv(0x30, &[identifier, &bits].concat()));
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

#[test]
fn rsa_numbers_with_which_nothing_can_be_verified_are_refused() {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let own = &der(RSA_2048_PUBLIC).split_off(24)[9..265];
    let even = [&own[..255], &[own[255] & 0xfe]].concat();
    let giant = |bits: usize| vec![0xff; bits / 8];
    let long = [0xff; 9];
    for (name, modulus, exponent, fine) in [
        ("65537", own.to_vec(), &[1, 0, 1][..], true),
        ("3", own.to_vec(), &[3], true),
        ("4096 bits", giant(4096), &[1, 0, 1], true),
        ("no exponent", own.to_vec(), &[0], false),
        ("exponent 1", own.to_vec(), &[1], false),
        ("exponent 2", own.to_vec(), &[2], false),
        ("even exponent", own.to_vec(), &[1, 0, 0], false),
        ("long exponent", own.to_vec(), &long, false),
        ("even modulus", even, &[1, 0, 1], false),
        ("over 8192 bits", giant(8200), &[1, 0, 1], false),
        ("over 16384 bits", giant(16392), &[1, 0, 1], false),
        ("giant", giant(1 << 20), &[1, 0, 1], false),
    ] {
        let jwk = format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, text(&modulus), text(exponent));
        let bytes = pkcs1(&modulus, exponent);
        let pem = spki(RSA_2048_PUBLIC, 4, &bytes);
        for algorithm in [Algorithm::RS256, Algorithm::PS512] {
            for (how, key) in [
                ("components", Key::from_rsa_components(algorithm, &modulus, exponent)),
                ("raw", Key::from_public_bytes(algorithm, &bytes)),
                ("PEM", Key::from_public_pem(algorithm, &pem)),
                ("JWK", Key::from_jwk(&jwk)),
            ] {
                assert_eq!(key.is_ok(), fine, "{name}, {how}: {key:?}");
            }
        }
    }
    // Zeros in front do not change a number.
    let padded =
        Key::from_rsa_components(Algorithm::RS256, [&[0, 0], own].concat(), [0, 1, 0, 1]).expect("a key");
    let token = signed_by(&Key::from_private_pem(Algorithm::RS256, RSA_2048).expect("a key"));
    assert!(verifier([padded]).verify(&token).is_ok());
}

#[test]
fn points_that_are_not_on_their_curve_are_refused() {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    for (algorithm, curve, pem, skip) in
        [(Algorithm::ES256, "P-256", P256_PUBLIC, 26), (Algorithm::ES384, "P-384", P384_PUBLIC, 23)]
    {
        let point = der(pem).split_off(skip);
        let half = (point.len() - 1) / 2;
        let changed = |index: usize| {
            let mut point = point.clone();
            point[index] ^= 1;
            point
        };
        let swapped = [&[4], &point[1 + half..], &point[1..1 + half]].concat();
        let max = [&[4][..], &vec![0xff; 2 * half]].concat();
        let zeros = [&[4][..], &vec![0; 2 * half]].concat();
        for (name, bytes, fine) in [
            ("its own", point.clone(), true),
            ("another x", changed(1), false),
            ("another y", changed(2 * half), false),
            ("swapped", swapped, false),
            ("over the prime", max, false),
            ("the origin", zeros, false),
        ] {
            let (x, y) = bytes[1..].split_at(half);
            let jwk = format!(r#"{{"kty":"EC","crv":"{curve}","x":"{}","y":"{}"}}"#, text(x), text(y));
            let raw = Key::from_public_bytes(algorithm, &bytes);
            assert_eq!(raw.is_ok(), fine, "{curve}, {name}: raw");
            assert_eq!(Key::from_jwk(&jwk).is_ok(), fine, "{curve}, {name}: JWK");
            let key = Key::from_public_pem(algorithm, spki(pem, 2, &bytes));
            assert_eq!(key.is_ok(), fine, "{curve}, {name}: PEM");
        }
    }
    let own = der(ED25519_PUBLIC).split_off(12);
    let one = |value: u8| [&[value][..], &[0; 31]].concat();
    let minus_one = [&[0xec][..], &[0xff; 30], &[0x7f]].concat();
    let order_8 = "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o";
    let order_8 = URL_SAFE_NO_PAD.decode(order_8).expect("base64url");
    for (name, bytes, fine) in [
        ("its own", own.clone(), true),
        ("its negative", [&own[..31], &[own[31] ^ 0x80]].concat(), true),
        ("off the curve", one(2), false),
        ("over the prime", vec![0xff; 32], false),
        ("order 1", one(1), false),
        ("order 2", minus_one, false),
        ("order 4", one(0), false),
        ("order 8", order_8, false),
    ] {
        let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, text(&bytes));
        let raw = Key::from_public_bytes(Algorithm::EdDSA, &bytes);
        assert_eq!((raw.is_ok(), Key::from_jwk(&jwk).is_ok()), (fine, fine), "Ed25519, {name}");
        let key = Key::from_public_pem(Algorithm::EdDSA, spki(ED25519_PUBLIC, 2, &bytes));
        assert_eq!(key.is_ok(), fine, "Ed25519, {name}: PEM");
    }
}

#[test]
fn key_error_messages_contain_no_key_material() {
    let secret = "a-secret-that-is-too-short";
    let errors = [
        Key::hs256(secret).unwrap_err(),
        Key::from_public_pem(Algorithm::ES256, P256).unwrap_err(),
        Key::from_private_pem(Algorithm::ES384, P256).unwrap_err(),
        Key::from_private_pem(Algorithm::HS256, P256).unwrap_err(),
    ];
    let material = P256.lines().nth(1).expect("base64");
    for error in errors {
        let text = format!("{error} {error:?}");
        assert!(!text.contains(secret) && !text.contains(&material[..16]), "{text}");
    }
}

#[test]
fn algorithms_are_parsed_and_serialized_by_their_exact_names() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
        assert_eq!(serde_json::to_value(algorithm).expect("JSON"), algorithm.as_str());
    }
    for name in ["", "none", "hs256", "HS256 ", "ES512"] {
        let error = name.parse::<Algorithm>().expect_err(name).to_string();
        assert!(error.contains("choose one of HS256, "), "{error}");
    }
}
