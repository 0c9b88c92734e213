use http::{HeaderMap, HeaderName, HeaderValue};

use super::super::headers::{
    HeaderError::{self, Malformed, Several, TooLarge},
    RESPONSE, SESSION_ID, SKIPPED, is_skipped, response, session_id,
};

type Reader = fn(&HeaderMap) -> Result<Option<&str>, HeaderError>;

const READERS: [(HeaderName, Reader); 2] = [(RESPONSE, response), (SESSION_ID, session_id)];

fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
    }
    headers
}

#[test]
fn a_string_is_read_bare_or_in_quotes_and_with_parameters() {
    let long = "a".repeat(8192);
    for value in [
        "e30.e30.c2ln",
        "\"e30.e30.c2ln\"",
        "  e30.e30.c2ln\t",
        "\"e30.e30.c2ln\";a",
        "e30.e30.c2ln;a=1;b=?0; c=\"x, \\\"y\\\\;\";*d=:AA==:;e-1=token/1",
        "\"e30.e30.c2ln\"; a=\"\"",
    ] {
        for (name, read) in READERS {
            assert_eq!(read(&headers(&name, &[value])), Ok(Some("e30.e30.c2ln")), "{value}");
        }
    }
    assert_eq!(response(&headers(&RESPONSE, &[&long])), Ok(Some(&*long)));
    assert_eq!(response(&HeaderMap::new()), Ok(None));
    assert_eq!(response(&headers(&SESSION_ID, &["e30"])), Ok(None));
}

#[test]
fn anything_else_is_refused() {
    let too_long = "a".repeat(8193);
    let long_with_quotes = format!("\"{}\"", "a".repeat(8191));
    for (value, error) in [
        ("", Malformed),
        ("\"\"", Malformed),
        ("\"", Malformed),
        ("\"e30", Malformed),
        ("e30\"", Malformed),
        ("\"e30\"x", Malformed),
        ("\"e\\\"30\"", Malformed),
        ("\"e 30\"", Malformed),
        ("e 30", Malformed),
        ("e30=", Malformed),
        ("e+/", Malformed),
        ("e\u{e9}", Malformed),
        (":ZTMw:", Malformed),
        ("(e30)", Malformed),
        ("e30;", Malformed),
        ("e30;A=1", Malformed),
        ("e30;a=", Malformed),
        ("e30;a=\"", Malformed),
        ("e30;a=\"\\", Malformed),
        ("e30;a=\"\\x\"", Malformed),
        ("e30;a=\"\u{e9}\"", Malformed),
        ("e30;a b", Malformed),
        ("a,b", Several),
        ("\"a\" , \"b\"", Several),
        ("\"a\";x=\"1\",\"b\"", Several),
        ("a,", Several),
        (&*too_long, TooLarge),
        (&*long_with_quotes, TooLarge),
    ] {
        for (name, read) in READERS {
            assert_eq!(read(&headers(&name, &[value])), Err(error), "{value}");
            assert_eq!(read(&headers(&name, &[value, "e30"])), Err(Several), "{value}, e30");
            assert_eq!(read(&headers(&name, &["e30", value])), Err(Several), "e30, {value}");
        }
    }
}

#[test]
fn skipped_is_about_presence() {
    assert!(!is_skipped(&HeaderMap::new()));
    for value in ["", "quota_exceeded;session_identifier=\"s\"", "unreachable, server_error", "?"] {
        assert!(is_skipped(&headers(&SKIPPED, &[value])), "{value}");
    }
}
