//! Parsing of `Cookie` headers taken from the tests of other projects.

use http::{HeaderMap, HeaderValue, header::COOKIE};
use serde_json::Value;

use super::{
    cookies::{cookie_values, pieces},
    head::Found,
};

const FACTS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/cookie_header_facts.json"));

type Pairs = Vec<(String, String)>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the facts are UTF-8")
}

fn headers(fact: &Value) -> HeaderMap {
    let lines = fact["cookie_headers"].as_array().expect("a fact lists headers");
    let mut headers = HeaderMap::new();
    for line in lines {
        let line = line.as_str().expect("a header is text");
        headers.append(COOKIE, HeaderValue::from_str(line).expect("the facts are header values"));
    }
    headers
}

fn listed(expected: &Value) -> Option<Pairs> {
    let pair = |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned()));
    expected.as_array().map(|pairs| pairs.iter().map(|value| pair(value).expect("name and value")).collect())
}

/// Keeps the first pair of each name.
fn first_of_each_name(all: Pairs) -> Pairs {
    let mut firsts = Pairs::new();
    for pair in all {
        if !firsts.iter().any(|(name, _)| *name == pair.0) {
            firsts.push(pair);
        }
    }
    firsts
}

/// Splits the headers into names and values, for comparison with the values found by name.
fn pairs(headers: &HeaderMap) -> Pairs {
    let trimmed = |part: &[u8]| text(part).trim_matches([' ', '\t']).to_owned();
    let pairs = pieces(Found::of(headers, &COOKIE).values(headers, &COOKIE)).filter_map(|piece| {
        let equals = piece.iter().position(|byte| *byte == b'=')?;
        Some((trimmed(&piece[..equals]), trimmed(&piece[equals + 1..])))
    });
    pairs.collect()
}

/// Asserts that looking up each name finds the values of its pairs.
fn assert_found_by_name(headers: &HeaderMap, pairs: &Pairs) {
    for (name, _) in pairs.iter().filter(|(name, _)| !name.is_empty()) {
        let of_name = pairs.iter().filter(|(other, _)| other == name).map(|(_, value)| value);
        let unquoted = of_name.map(|value| {
            let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            inner.unwrap_or(value).to_owned()
        });
        let found: Vec<_> = cookie_values(headers, name).map(text).collect();
        assert_eq!(found, unquoted.collect::<Vec<_>>(), "{name} of {headers:?}");
    }
}

#[test]
fn cookie_headers_are_parsed_as_the_tests_of_other_projects_expect() {
    let facts: Value = serde_json::from_str(FACTS).expect("the facts are JSON");
    let facts = facts["cases"].as_array().expect("the facts are listed");
    assert_eq!(facts.len(), 40, "the file is complete");
    let mut checked = 0;
    for fact in facts {
        if fact["encoded"] == true {
            continue; // expects a parser that decodes values
        }
        checked += 1;
        let headers = headers(fact);
        let found = pairs(&headers);
        assert_found_by_name(&headers, &found);
        let Some(expected) = listed(&fact["expected"]) else {
            assert!(found.iter().all(|(name, _)| name.is_empty()), "an error is expected: {fact}\n{found:?}");
            continue;
        };
        if let Some(name) = fact["filter"].as_str() {
            let found: Pairs =
                cookie_values(&headers, name).map(|value| (name.to_owned(), text(value))).collect();
            assert_eq!(found, expected, "by name: {fact}");
        } else if let Some(raw) = listed(&fact["raw"]) {
            assert_eq!(found, raw, "undecoded: {fact}");
        } else if fact["note"].as_str().is_some_and(|note| note.starts_with("duplicates")) {
            assert!(found.len() > expected.len(), "all of one name: {fact}");
            assert_eq!(first_of_each_name(found), expected, "the first pair of each name: {fact}");
        } else if fact["from"].as_str().is_some_and(|from| from.starts_with("golang")) {
            // The expected values are unquoted; this crate removes quotes when a value is looked up by name.
            let names: Vec<_> = found.iter().map(|(name, _)| name.clone()).collect();
            assert_eq!(names, expected.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), "{fact}");
            for (name, value) in &expected {
                let found: Vec<_> = cookie_values(&headers, name).map(text).collect();
                assert_eq!(found, [value.as_str()], "unquoted: {fact}");
            }
        } else {
            assert_eq!(found, expected, "{fact}");
        }
    }
    assert_eq!(checked, 39);
}

#[test]
fn all_values_of_a_cookie_are_found_in_order() {
    let mut headers = HeaderMap::new();
    for line in ["a=1; b=2; a=\"3\"", "A=4;a=", "aa=5", "a=6"] {
        headers.append(COOKIE, HeaderValue::from_static(line));
    }
    let found: Vec<_> = cookie_values(&headers, "a").map(text).collect();
    assert_eq!(found, ["1", "3", "", "6"]);
}

#[test]
fn bytes_outside_ascii_do_not_hide_other_cookies() {
    let mut headers = HeaderMap::new();
    headers.append(COOKIE, HeaderValue::from_bytes(b"a=\xff\xfe; own=1; \xff=2").expect("opaque bytes"));
    assert_eq!(cookie_values(&headers, "own").map(text).collect::<Vec<_>>(), ["1"]);
    assert_eq!(cookie_values(&headers, "a").collect::<Vec<_>>(), [b"\xff\xfe"]);
}
