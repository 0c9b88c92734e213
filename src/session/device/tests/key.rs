use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{
        super::binding::Bound,
        extension::{ExtensionError, binding},
        key::{DeviceKey, Enforcement, folded, secret_hash},
        public_key::PublicKey,
    },
    Device, members, now, text,
};
use crate::{
    keys::{Algorithm, crypto::sha256},
    request::{RefreshToken, SessionSecret},
};

fn devices() -> [Device; 2] {
    [Device::es256(), Device::rs256()]
}

/// The key of RFC 7638 §3.1.
fn published() -> Value {
    json!({
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4\
              n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgd\
              AZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-\
              kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    })
}

#[test]
fn thumbprints_are_those_of_the_standards() {
    let key = PublicKey::from_jwk(&members(&published())).expect("it is usable");
    assert_eq!(text(key.thumbprint()), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert_eq!(key.algorithm(), Algorithm::RS256);
    // RFC 9449 §6.1.
    let jwk = json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
    });
    let key = PublicKey::from_jwk(&members(&jwk)).expect("it is usable");
    assert_eq!(text(key.thumbprint()), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

#[test]
fn a_key_is_its_members() {
    for device in devices() {
        let key = device.public();
        assert_eq!(key.to_jwk(), device.jwk);
        let mut extended = device.jwk.clone();
        extended["use"] = "sig".into();
        extended["key_ops"] = json!(["verify"]);
        extended["ext"] = true.into();
        let same = PublicKey::from_jwk(&members(&extended)).expect("it is usable");
        assert!(same == key && same.thumbprint() == key.thumbprint());
        assert_eq!(format!("{key:?}"), format!("PublicKey({})", key.algorithm()));
    }
    assert_ne!(Device::es256().public().thumbprint(), Device::es256().public().thumbprint());
}

fn again(key: &DeviceKey, now: SystemTime, enforcement: Enforcement) -> DeviceKey {
    DeviceKey::proven(Some(key), &key.public, now, enforcement)
}

#[test]
fn proofs_count_and_their_time_does_not_go_back() {
    let micro = Duration::from_micros(1);
    let key = DeviceKey::proven(None, &Device::es256().public(), now() + micro, Enforcement::Observe);
    assert_eq!((key.bound().proofs, key.bound().is_enforced), (1, false));
    assert_eq!(key.bound().bound_at, now() + Duration::from_millis(1));
    assert_eq!(key.proved_at(), key.bound().bound_at);

    let second = Duration::from_secs(1);
    let key = again(&again(&key, now() + second, Enforcement::Always), now(), Enforcement::Always);
    assert_eq!((key.bound().proofs, key.bound().is_enforced), (3, true));
    assert_eq!(key.bound().bound_at, now() + Duration::from_millis(1));
    assert_eq!(key.proved_at(), now() + second);

    let bound = Bound { proofs: u32::MAX, ..key.bound() };
    let last = DeviceKey { bound, ..key };
    assert_ne!(again(&last, now(), Enforcement::Always).bound().proofs, last.bound().proofs);
}

#[test]
fn the_thumbprint_is_folded_into_the_hash_while_the_binding_is_enforced() {
    let secret = SessionSecret::generate();
    let key = DeviceKey::proven(None, &Device::es256().public(), now(), Enforcement::Always);
    assert_eq!(secret_hash(None, &secret), secret.hash());
    assert_eq!(secret_hash(Some(&key), &secret), folded(&secret, key.thumbprint()));
    assert_ne!(secret_hash(Some(&key), &secret), secret.hash());
    let other = DeviceKey::proven(None, &Device::es256().public(), now(), Enforcement::Always);
    assert_ne!(secret_hash(Some(&key), &secret), secret_hash(Some(&other), &secret));
    let observed = again(&key, now(), Enforcement::Observe);
    assert_eq!(secret_hash(Some(&observed), &secret), secret.hash());
}

#[test]
fn folding_hashes_both_one_after_the_other() {
    let secret = SessionSecret::generate();
    let token = RefreshToken { session_id: "s".into(), generation: 0, secret: secret.clone() };
    let bytes = URL_SAFE_NO_PAD.decode(&token.token_id()[2..]).expect("it is base64url");
    let thumbprint = sha256(b"key");
    assert_eq!(folded(&secret, &thumbprint), sha256(&[&*bytes, &thumbprint].concat()));
}

#[test]
fn a_binding_comes_back_from_the_extension() {
    for device in devices() {
        for enforcement in [Enforcement::Always, Enforcement::Observe] {
            let key = DeviceKey::proven(None, &device.public(), now(), enforcement);
            let key = again(&key, now() + Duration::from_millis(1_234_567), enforcement);
            let bytes = key.to_extension();
            let read = binding(&bytes).expect("it is well-formed").expect("it is bound");
            assert!(read == key);
            assert_eq!(read.thumbprint(), &device.public().thumbprint());
            assert!(read.public == device.public());
        }
    }
    assert!(binding(&[]).expect("it is well-formed").is_none());
}

#[test]
fn the_extension_has_this_layout() {
    let key = DeviceKey::proven(
        None,
        &Device::es256().public(),
        UNIX_EPOCH + Duration::from_secs(1),
        Enforcement::Always,
    );
    let bytes = key.to_extension();
    let fields = b"\x01\x01\x01\0\0\0\0\0\0\x03\xe8\0\0\0\0\0\0\x03\xe8\0\0\0\x01\x04";
    assert_eq!((&bytes[..24], bytes.len()), (&fields[..], 88));
    let key = DeviceKey::proven(None, &Device::rs256().public(), UNIX_EPOCH, Enforcement::Observe);
    let bytes = key.to_extension();
    assert_eq!(
        (&bytes[..3], &bytes[23..25], bytes.len()),
        (&b"\x01\x02\0"[..], &b"\x01\0"[..], 23 + 2 + 256 + 4)
    );
}

#[test]
fn a_damaged_extension_never_looks_unbound() {
    for device in devices() {
        let bytes = DeviceKey::proven(None, &device.public(), now(), Enforcement::Always).to_extension();
        for len in 1..bytes.len() {
            assert_eq!(binding(&bytes[..len]).err(), Some(ExtensionError::Malformed), "{len} bytes");
        }
        assert_eq!(binding(&[&*bytes, b"\0"].concat()).err(), Some(ExtensionError::Malformed));
        for version in (0..=u8::MAX).filter(|version| *version != 1) {
            let mut bytes = bytes.clone();
            bytes[0] = version;
            assert_eq!(binding(&bytes).err(), Some(ExtensionError::UnknownVersion), "{version}");
            assert_eq!(binding(&[version]).err(), Some(ExtensionError::UnknownVersion), "{version}");
        }
        for (at, value) in [(1, 0), (1, 3), (2, 2), (2, 255), (3, 255), (3, 1), (11, 255), (23, 3)] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            assert_eq!(binding(&bytes).err(), Some(ExtensionError::Malformed), "{value} at {at}");
        }
        for bit in 8..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(binding(&bytes), Ok(None)), "bit {bit}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_binding_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 1..120), version in 0..3_u8) {
        bytes[0] = version;
        match binding(&bytes) {
            Ok(None) => prop_assert!(false, "it is not empty"),
            Ok(Some(key)) => prop_assert_eq!(&*key.to_extension(), &*bytes),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn a_binding_says_nothing_of_the_key_in_debug() {
    let key = DeviceKey::proven(None, &Device::es256().public(), now(), Enforcement::Always);
    let debug = format!("{key:?}");
    assert!(
        debug.contains("ES256") && debug.contains("proofs: 1") && !debug.contains("thumbprint"),
        "{debug}"
    );
}
