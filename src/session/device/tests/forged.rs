//! Proofs by other keys, for other purposes, and in other encodings.

use serde_json::json;

use super::{
    super::{
        headers::HeaderError,
        proof::{Algorithms, ProofError, refresh, registration},
    },
    Device, text,
};

const BOTH: Algorithms = Algorithms::Es256AndRs256;

/// `refresh_proof_by_wrong_key`
#[test]
fn a_signature_by_another_key_is_refused() {
    let [device, other] = [Device::es256(), Device::es256()];
    assert_eq!(refresh(&other.proof("c"), &device.public()), Err(ProofError::BadSignature));
    let mut header = device.header();
    header["jwk"] = other.jwk.clone();
    let jwt = device.sign(&header.to_string(), r#"{"jti":"c"}"#);
    assert_eq!(registration(&jwt, BOTH).err(), Some(ProofError::BadSignature));
}

#[test]
fn a_registration_is_no_proof_and_a_proof_no_registration() {
    let device = Device::es256();
    assert_eq!(refresh(&device.registration("c"), &device.public()), Err(ProofError::NamesKey));
    assert_eq!(registration(&device.proof("c"), BOTH).err(), Some(ProofError::NoKey));
    for jwk in [json!(null), json!({}), json!("x")] {
        let mut header = device.header();
        header["jwk"] = jwk;
        let jwt = device.sign(&header.to_string(), r#"{"jti":"c"}"#);
        assert_eq!(refresh(&jwt, &device.public()), Err(ProofError::NamesKey));
    }
}

#[test]
fn other_parameters_that_name_keys_are_not_followed() {
    let device = Device::es256();
    let header = r#"{"alg":"ES256","typ":"dbsc+jwt","kid":"x","jku":"https://evil.example","x5c":["AA=="]}"#;
    let jwt = device.sign(header, r#"{"jti":"c","aud":"https://evil.example","iat":0,"exp":0,"sub":"x"}"#);
    assert_eq!(refresh(&jwt, &device.public()), Ok("c".into()));
    assert_eq!(registration(&jwt, BOTH).err(), Some(ProofError::NoKey));
}

/// `registration_crit_or_duplicates`
#[test]
fn only_compact_base64url_without_padding_is_read() {
    let device = Device::es256();
    let key = device.public();
    let good = device.proof("challenge");
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("three parts") };
    let standard = signature.replace('-', "+").replace('_', "/");
    let mut tail = signature.as_bytes().to_vec();
    let last = tail.pop().expect("a character");
    // The last of 86 characters has four bits that say nothing.
    tail.push(last + 1);
    let tail = String::from_utf8(tail).expect("text");
    for jwt in [
        format!("{header}.{payload}.{signature}=="),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{payload}.{signature}\n"),
        format!(" {header}.{payload}.{signature}"),
        format!("{header}.{payload}.{signature}.{signature}"),
        format!("{header}..{payload}.{signature}"),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{tail}"),
        format!("{header}.{payload}.{}", &signature[..85]),
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
    ] {
        assert_eq!(refresh(&jwt, &key), Err(ProofError::Malformed), "{jwt}");
    }
    let mut others = vec![
        format!("{header}.{payload}."),
        format!("{header}.{payload}.{}", text([0; 64])),
        format!("{header}.{payload}.{}", text([0; 65])),
        format!("{header}.{payload}.{}", text([0xff; 64])),
        format!("{header}.{payload}.{}", &signature[..84]),
        format!("{header}.{payload}.{signature}AAAA"),
    ];
    if standard != signature {
        others.push(format!("{header}.{payload}.{standard}"));
    }
    for jwt in others {
        assert!(refresh(&jwt, &key).is_err(), "{jwt}");
    }
}

#[test]
fn a_proof_of_more_than_8_kib_is_not_even_parsed() {
    let device = Device::es256();
    let of = |len: usize| device.proof(&"c".repeat(len));
    let room = (0..8192).rev().find(|len| of(*len).len() <= 8192).expect("it fits");
    assert!(refresh(&of(room), &device.public()).is_ok());
    assert_eq!(refresh(&of(room + 1), &device.public()), Err(ProofError::TooLarge));
    assert_eq!(registration(&"!".repeat(8193), BOTH).err(), Some(ProofError::TooLarge));
    assert_eq!(registration(&"!".repeat(8192), BOTH).err(), Some(ProofError::Malformed));
}

#[test]
fn deeply_nested_json_is_refused() {
    let device = Device::es256();
    let nested = format!(r#"{{"jti":"c","a":{}1{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let jwt = device.sign(&device.header().to_string(), &nested);
    assert_eq!(refresh(&jwt, &device.public()), Err(ProofError::Malformed));
}

#[test]
fn reasons_are_words() {
    for error in [
        ProofError::from(HeaderError::Several),
        HeaderError::TooLarge.into(),
        HeaderError::Malformed.into(),
        ProofError::WrongType,
        ProofError::Critical,
        ProofError::WrongAlgorithm,
        ProofError::NoChallenge,
        ProofError::NoKey,
        ProofError::UnusableKey,
        ProofError::NamesKey,
        ProofError::BadSignature,
    ] {
        assert!(error.reason().contains(' ') && error.to_string() == error.reason());
    }
}
