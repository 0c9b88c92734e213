//! Tests against published vectors: the JWS and JWK files of Wycheproof and the examples of RFC 7515 and RFC 7520.
//!
//! The vectors are read from the directory in the environment variable `VECTORS_DIR`. Only signatures are checked,
//! not claims, because most payloads are not JSON objects. `tests/run vectors` runs the tests.

use std::{collections::BTreeMap, fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::verifier::Verifier;
use crate::keys::{Algorithm, Key, KeyRing};

fn read(path: &str) -> Value {
    let folder = std::env::var_os("VECTORS_DIR").expect("VECTORS_DIR names the directory of the vectors");
    let path = PathBuf::from(folder).join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("vectors are JSON")
}

fn field(jwk: &Value, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(jwk[name].as_str()?).ok()
}

/// Creates the verifying key with this crate's constructors; `None` if they reject or do not support it.
fn key(jwk: &Value, algorithm: Option<&str>) -> Option<Key> {
    let verifies = jwk["key_ops"].as_array().is_none_or(|operations| {
        operations.iter().any(|operation| operation == "verify" || operation == "sign")
    });
    if jwk["use"] == "enc" || !verifies {
        return None;
    }
    let algorithm = Algorithm::from_name(jwk["alg"].as_str().or(algorithm)?)?;
    let key = match jwk["kty"].as_str()? {
        "oct" => Key::hmac(algorithm, field(jwk, "k")?),
        "RSA" => Key::from_rsa_components(algorithm, field(jwk, "n")?, field(jwk, "e")?),
        "EC" if jwk["crv"] != curve(algorithm) => return None,
        "EC" => Key::from_public_bytes(algorithm, [&[4][..], &field(jwk, "x")?, &field(jwk, "y")?].concat()),
        "OKP" => Key::from_public_bytes(algorithm, field(jwk, "x")?),
        _ => return None,
    };
    let key = key.ok()?;
    Some(match jwk["kid"].as_str() {
        Some(id) => key.with_id(id),
        None => key,
    })
}

fn curve(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::ES256 => "P-256",
        Algorithm::ES384 => "P-384",
        _ => "",
    }
}

fn accepts(keys: impl IntoIterator<Item = Key>, jws: &str) -> bool {
    KeyRing::verify_only(keys).is_ok_and(|ring| Verifier::<()>::new(ring).check_jws(jws).is_ok())
}

/// Returns the results of a strict verifier for the cases whose published result is debatable.
fn overrides(file: &str) -> BTreeMap<u64, bool> {
    let all = read("wycheproof/overrides.json");
    let cases = all["cases"].as_array().expect("cases");
    let of_file = cases.iter().filter(|case| case["file"] == file);
    of_file
        .map(|case| (case["tcId"].as_u64().expect("an id"), case["strict_python_check"] == "valid"))
        .collect()
}

fn wycheproof(file: &str, keys_of: impl Fn(&Value) -> Vec<Key>) -> (usize, Vec<String>) {
    let overrides = overrides(file);
    let vectors = read(&format!("wycheproof/{file}.json"));
    let (mut seen, mut failed) = (0, Vec::new());
    for group in vectors["testGroups"].as_array().expect("groups") {
        let jwk = if group["public"].is_null() { &group["private"] } else { &group["public"] };
        for test in group["tests"].as_array().expect("tests") {
            let id = test["tcId"].as_u64().expect("an id");
            let accepted = test["jws"].as_str().is_some_and(|jws| accepts(keys_of(jwk), jws));
            let published = test["result"] == "valid";
            // Where a bare signature check differs from the published result, either outcome is acceptable:
            // this crate's constructors reject most of the weak keys, which such a check does not look at.
            let expected =
                overrides.get(&id).is_some_and(|strict| accepted == *strict) || accepted == published;
            seen += 1;
            if !expected {
                failed.push(format!("{id} {} {}: accepted {accepted}", group["comment"], test["comment"]));
            }
        }
    }
    (seen, failed)
}

#[test]
#[ignore = "needs VECTORS_DIR; tests/run vectors"]
fn published_vectors_of_wycheproof_for_signatures() {
    let (seen, failed) = wycheproof("json_web_signature_test", |jwk| key(jwk, None).into_iter().collect());
    assert_eq!(seen, 401);
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
#[ignore = "needs VECTORS_DIR; tests/run vectors"]
fn published_vectors_of_wycheproof_for_keys() {
    let keys_of =
        |set: &Value| set["keys"].as_array().into_iter().flatten().filter_map(|jwk| key(jwk, None)).collect();
    let (seen, failed) = wycheproof("json_web_key_test", keys_of);
    assert!(seen > 20, "{seen}");
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
#[ignore = "needs VECTORS_DIR; tests/run vectors"]
fn published_vectors_of_rfc_7515() {
    let mut accepted_count = 0;
    for case in read("rfc/rfc7515_appendix_a.json")["cases"].as_array().expect("cases") {
        let (Some(compact), Some(algorithm)) = (case["compact"].as_str(), case["alg"].as_str()) else {
            continue;
        };
        let known = Algorithm::from_name(algorithm).is_some();
        let expected = known && case["expected_signature"] == "valid";
        let keys = key(&case["jwk"], Some(algorithm));
        assert_eq!(accepts(keys, compact), expected, "{}", case["id"]);
        accepted_count += usize::from(expected);
    }
    assert!(accepted_count >= 3, "A.1 to A.3");
}

#[test]
#[ignore = "needs VECTORS_DIR; tests/run vectors"]
fn published_vectors_of_rfc_7520() {
    for (file, supported) in [
        ("jws/4_1.rsa_v15_signature", true),
        ("jws/4_2.rsa-pss_signature", true),
        ("jws/4_3.ecdsa_signature", false), // ES512 is not supported
        ("jws/4_4.hmac-sha2_integrity_protection", true),
        ("curve25519/jws", true),
    ] {
        let vector = read(&format!("rfc/rfc7520/{file}.json"));
        let compact = vector["output"]["compact"].as_str().expect("a compact serialization");
        let mut jwk = vector["input"]["key"].clone();
        jwk["alg"] = vector["input"]["alg"].clone();
        assert_eq!(accepts(key(&jwk, None), compact), supported, "{file}");
        if supported {
            let mut forged = compact.to_owned();
            let at = forged.rfind('.').expect("a signature") + 5;
            let other = if &forged[at..=at] == "A" { "B" } else { "A" };
            forged.replace_range(at..=at, other);
            assert!(!accepts(key(&jwk, None), &forged), "{file}, one character of the signature changed");
        }
    }
}
