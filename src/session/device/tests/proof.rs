use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    super::proof::{Algorithms, ProofError, refresh, registration},
    Device, text,
};
use crate::keys::{Algorithm, Key};

const BOTH: Algorithms = Algorithms::Es256AndRs256;

fn refused(jwt: &str) -> ProofError {
    registration(jwt, BOTH).expect_err("it is refused")
}

/// A registration whose header and payload are these.
fn signed(device: &Device, header: &Value, payload: &Value) -> String {
    device.sign(&header.to_string(), &payload.to_string())
}

fn with_jwk(device: &Device) -> Value {
    let mut header = device.header();
    header["jwk"] = device.jwk.clone();
    header
}

/// The texts that differ from this one in one bit, as bytes of a header value that reach the parser.
fn one_bit_off(jwt: &str) -> impl Iterator<Item = String> {
    (0..8 * jwt.len()).filter_map(move |bit| {
        let mut bytes = jwt.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        String::from_utf8(bytes).ok()
    })
}

#[test]
fn a_registration_is_signed_with_the_key_that_it_names() {
    for device in [Device::es256(), Device::rs256()] {
        let read = registration(&device.registration("c.h.a"), BOTH).expect("it is good");
        assert!(read.key == device.public());
        assert_eq!(read.challenge, "c.h.a");
    }
    let rsa = Device::rs256().registration("c");
    assert_eq!(registration(&rsa, Algorithms::Es256).err(), Some(ProofError::WrongAlgorithm));
    assert!(registration(&Device::es256().registration("c"), Algorithms::Es256).is_ok());
}

#[test]
fn a_proof_is_signed_with_the_key_of_the_session() {
    for device in [Device::es256(), Device::rs256()] {
        assert_eq!(refresh(&device.proof("c.h.a"), &device.public()), Ok("c.h.a".into()));
    }
}

#[test]
fn a_registration_with_one_bit_changed_is_refused() {
    let jwt = Device::es256().registration("challenge");
    for changed in one_bit_off(&jwt) {
        refused(&changed);
    }
    let jwt = Device::rs256().registration("challenge");
    for changed in one_bit_off(&jwt) {
        refused(&changed);
    }
}

#[test]
fn a_proof_with_one_bit_changed_is_refused() {
    for device in [Device::es256(), Device::rs256()] {
        let key = device.public();
        for changed in one_bit_off(&device.proof("challenge")) {
            assert!(refresh(&changed, &key).is_err(), "{changed}");
        }
    }
}

/// `registration_wrong_typ`
#[test]
fn the_type_is_compared_as_a_media_type() {
    let device = Device::es256();
    let payload = json!({ "jti": "c" });
    for typ in [json!("JWT"), json!("at+jwt"), json!("refresh+jwt"), json!(""), json!(1), Value::Null] {
        let mut header = with_jwk(&device);
        header["typ"] = typ;
        assert_eq!(refused(&signed(&device, &header, &payload)), ProofError::WrongType);
    }
    let mut header = with_jwk(&device);
    header.as_object_mut().expect("an object").remove("typ");
    assert_eq!(refused(&signed(&device, &header, &payload)), ProofError::WrongType);
    for typ in ["DBSC+JWT", "application/dbsc+jwt"] {
        header["typ"] = typ.into();
        assert!(registration(&signed(&device, &header, &payload), BOTH).is_ok(), "{typ}");
    }
}

/// `registration_alg_none`, `registration_alg_not_of_the_key`
#[test]
fn the_algorithm_is_that_of_the_key() {
    let device = Device::es256();
    let (header, payload) = (text(r#"{"alg":"none","typ":"dbsc+jwt"}"#), text(r#"{"jti":"c"}"#));
    assert_eq!(refused(&format!("{header}.{payload}.")), ProofError::WrongAlgorithm);
    for alg in [json!("none"), json!("HS256"), json!("ES384"), json!("es256"), json!("EdDSA"), Value::Null] {
        let mut header = with_jwk(&device);
        header["alg"] = alg;
        let jwt = signed(&device, &header, &json!({ "jti": "c" }));
        assert_eq!(refused(&jwt), ProofError::WrongAlgorithm);
    }
    let mut header = with_jwk(&device);
    header["alg"] = "RS256".into();
    assert_eq!(refused(&signed(&device, &header, &json!({ "jti": "c" }))), ProofError::WrongAlgorithm);
    let rsa = Device::rs256();
    let proof = refresh(&device.proof("c"), &rsa.public());
    assert_eq!(proof, Err(ProofError::WrongAlgorithm));
    assert_eq!(refresh(&rsa.proof("c"), &device.public()), Err(ProofError::WrongAlgorithm));
    // What the key says of its own algorithm counts, too.
    let mut header = with_jwk(&rsa);
    header["jwk"]["alg"] = "PS256".into();
    assert_eq!(refused(&signed(&rsa, &header, &json!({ "jti": "c" }))), ProofError::UnusableKey);
}

/// `registration_jwk_private`
#[test]
fn a_private_key_is_refused() {
    for device in [Device::es256(), Device::rs256()] {
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            for value in [json!("c2VjcmV0"), json!(""), Value::Null, json!([])] {
                let mut header = with_jwk(&device);
                header["jwk"][name] = value;
                let error = refused(&signed(&device, &header, &json!({ "jti": "c" })));
                assert_eq!(error, ProofError::UnusableKey, "{name}");
                assert!(
                    !error.to_string().contains("c2VjcmV0") && !format!("{error:?}").contains("c2VjcmV0")
                );
            }
        }
    }
}

/// `registration_jwk_weak_or_off_curve`
#[test]
fn a_weak_or_malformed_key_is_refused() {
    let device = Device::es256();
    let [x, y] = ["x", "y"].map(|name| device.jwk[name].as_str().expect("text").to_owned());
    let ec = |x: &str, y: &str| json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
    let rsa = |n: &[u8], e: &[u8]| json!({ "kty": "RSA", "n": text(n), "e": text(e) });
    let (zero, odd) = (text([0; 32]), [0xff; 256]);
    let p256_prime = "_____wAAAAEAAAAAAAAAAAAAAAD_______________8";
    let ed = Device::with(Key::generate(Algorithm::EdDSA).expect("a key"));
    let p384 = Device::with(Key::generate(Algorithm::ES384).expect("a key"));
    for jwk in [
        ec(&y, &x),
        ec(&x, &x),
        ec(&zero, &zero),
        ec(p256_prime, &y),
        ec(&text([1; 31]), &y),
        ec(&text([0; 33]), &y),
        ec("", ""),
        ec(&format!("{x}="), &y),
        ec(&format!("{x}AAAA"), &y),
        json!({ "kty": "EC", "crv": "P-256", "x": x }),
        json!({ "kty": "EC", "crv": "P-384", "x": x, "y": y }),
        json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "enc" }),
        json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "key_ops": ["deriveKey"] }),
        json!({ "kty": "EC", "crv": "P-256", "x": 1, "y": y }),
        json!({ "kty": "oct" }),
        json!({}),
        json!("jwk"),
        json!([]),
        Value::Null,
        rsa(&odd[..128], &[1, 0, 1]),
        rsa(&odd[..255], &[1, 0, 1]),
        rsa(&[0xff; 513], &[1, 0, 1]),
        rsa(&[&[0x7f], &odd[1..]].concat(), &[1, 0, 1]),
        rsa(&[&odd[1..], &[0xfe]].concat(), &[1, 0, 1]),
        rsa(&[&[0], &odd[..]].concat(), &[1, 0, 1]),
        rsa(&odd, &[1]),
        rsa(&odd, &[2]),
        rsa(&odd, &[]),
        rsa(&odd, &[0, 1, 0, 1]),
        rsa(&odd, &[1, 1, 1, 1, 1, 1]),
        ed.jwk.clone(),
        p384.jwk.clone(),
    ] {
        for signer in [&device, &Device::rs256()] {
            let mut header = signer.header();
            header["jwk"] = jwk.clone();
            let error = refused(&signed(signer, &header, &json!({ "jti": "c" })));
            assert_eq!(error, ProofError::UnusableKey, "{jwk}");
        }
    }
}

#[test]
fn a_coordinate_with_zeros_in_front_has_32_bytes_all_the_same() {
    let begins_with_zero = |device: &Device| {
        let x = URL_SAFE_NO_PAD.decode(device.jwk["x"].as_str().expect("text")).expect("base64url");
        x.len() == 32 && x[0] == 0
    };
    let device = std::iter::repeat_with(Device::es256).find(begins_with_zero).expect("one in 256");
    assert!(registration(&device.registration("c"), BOTH).is_ok());
    let [x, y] = ["x", "y"]
        .map(|name| URL_SAFE_NO_PAD.decode(device.jwk[name].as_str().expect("text")).expect("base64url"));
    let mut header = with_jwk(&device);
    for other_y in [y.clone(), [&[0], &*y].concat()] {
        header["jwk"]["x"] = text(&x[1..]).into();
        header["jwk"]["y"] = text(other_y).into();
        assert_eq!(refused(&signed(&device, &header, &json!({ "jti": "c" }))), ProofError::UnusableKey);
    }
}

/// `registration_crit_or_duplicates`
#[test]
fn extensions_and_duplicates_are_refused() {
    let device = Device::es256();
    let jwk = device.jwk.to_string();
    let (alg, payload) = (r#""alg":"ES256","typ":"dbsc+jwt""#, r#"{"jti":"c"}"#);
    assert!(registration(&device.sign(&format!(r#"{{{alg},"jwk":{jwk}}}"#), payload), BOTH).is_ok());
    for crit in [r#"["b64"]"#, "[]", "null", r#""exp""#] {
        let header = format!(r#"{{{alg},"crit":{crit},"jwk":{jwk}}}"#);
        assert_eq!(refused(&device.sign(&header, payload)), ProofError::Critical, "{crit}");
    }
    let twice = jwk.replace(r#""kty":"#, r#""kty":"EC","kty":"#);
    let good = format!(r#"{{{alg},"jwk":{jwk}}}"#);
    for (header, payload) in [
        (format!(r#"{{{alg},"alg":"ES256","jwk":{jwk}}}"#), payload),
        (format!(r#"{{{alg},"\u0061lg":"ES256","jwk":{jwk}}}"#), payload),
        (format!(r#"{{{alg},"jwk":{jwk},"jwk":{jwk}}}"#), payload),
        (format!(r#"{{{alg},"jwk":{twice}}}"#), payload),
        (format!(r#"{{{alg},"other":1,"other":1,"jwk":{jwk}}}"#), payload),
        (format!(r#"{{{alg},"jwk":{jwk}}} 1"#), payload),
        (format!(r#"[{{{alg},"jwk":{jwk}}}]"#), payload),
        (good.clone(), r#"{"jti":"c","jti":"c"}"#),
        (good.clone(), r#"{"jti":"c","jti":null}"#),
        (good.clone(), r#"{"jti":"c","a":1,"a":1}"#),
        (good.clone(), r#"{"jti":"c","a":[{"b":1,"b":1}]}"#),
        (good.clone(), r#"["c"]"#),
        (good.clone(), "c"),
        (good.clone(), ""),
    ] {
        assert_eq!(refused(&device.sign(&header, payload)), ProofError::Malformed, "{header} {payload}");
    }
    for payload in ["{}", r#"{"jti":""}"#, r#"{"jti":1}"#, r#"{"jti":null}"#, r#"{"jti":["c"]}"#] {
        assert_eq!(refused(&device.sign(&good, payload)), ProofError::NoChallenge, "{payload}");
    }
}
