use http::HeaderMap;
use serde_json::json;

use super::super::{
    headers::{SESSION_ID, session_id},
    instructions::{CHALLENGE, Instructions, REGISTRATION, challenge},
    proof::Algorithms,
};
use crate::cookies::{CookiePolicy, CookieSpec, SameSite};

fn access(policy: CookiePolicy) -> CookieSpec {
    policy.check().expect("a policy").access
}

fn sorted(attributes: &str) -> Vec<&str> {
    let mut attributes: Vec<_> = attributes.split("; ").collect();
    attributes.sort_unstable();
    attributes
}

#[test]
fn instructions_describe_the_access_cookie() {
    let mut instructions = Instructions::at("/api/device");
    let spec = access(CookiePolicy::new());
    instructions.check(&spec).expect("the defaults");
    let attributes = spec.attributes();
    assert_eq!(sorted(&attributes), ["HttpOnly", "Path=/", "SameSite=Strict", "Secure"]);
    let exclude = |path| json!({ "type": "exclude", "domain": "*", "path": path });
    let credentials = json!([{ "type": "cookie", "name": "__Host-access", "attributes": attributes }]);
    let expected = json!({
        "session_identifier": "i.d.1",
        "refresh_url": "/api/device",
        "scope": { "include_site": false, "scope_specification": [exclude("/api/device")] },
        "credentials": credentials,
    });
    assert_eq!(instructions.to_json("i.d.1", None, &spec), expected);

    instructions.excluded = vec!["/assets/".into(), "/health".into()];
    instructions.initiators = vec!["*".into()];
    let expected = json!({
        "session_identifier": "i.d.1",
        "refresh_url": "/api/device",
        "scope": {
            "origin": "https://shop.example",
            "include_site": false,
            "scope_specification": [exclude("/api/device"), exclude("/assets/"), exclude("/health")],
        },
        "credentials": credentials,
        "allowed_refresh_initiators": ["*"],
    });
    assert_eq!(instructions.to_json("i.d.1", Some("https://shop.example"), &spec), expected);
}

#[test]
fn attributes_are_those_of_the_cookie() {
    for policy in [
        CookiePolicy::new(),
        CookiePolicy::new().with_same_site(SameSite::Lax),
        CookiePolicy::new().with_path("/app"),
        CookiePolicy::new().with_domain("shop.example"),
        CookiePolicy::new().with_partitioned(),
    ] {
        let spec = access(policy);
        let cookie = spec.set("v.a.l", std::time::Duration::from_secs(900)).expect("a cookie");
        let expected: Vec<_> = sorted(cookie.to_str().expect("text"))
            .into_iter()
            .filter(|part| !part.starts_with(&*spec.name) && *part != "Max-Age=900")
            .collect();
        assert_eq!(sorted(&spec.attributes()), expected);
    }
}

#[test]
fn headers_are_structured_fields() {
    let mut instructions = Instructions::at("/api/device");
    let offer = instructions.offer("c.h.a");
    assert_eq!(offer, r#"(ES256);path="/api/device";challenge="c.h.a""#);
    assert!(offer.is_sensitive());
    instructions.algorithms = Algorithms::Es256AndRs256;
    assert_eq!(instructions.offer("c.h.a"), r#"(ES256 RS256);path="/api/device";challenge="c.h.a""#);
    let asked = challenge("c.h.a", "i.d.1");
    assert_eq!(asked, r#""c.h.a";id="i.d.1""#);
    assert!(asked.is_sensitive());
    let names = [REGISTRATION, CHALLENGE].map(|name| name.to_string());
    assert_eq!(names, ["secure-session-registration", "secure-session-challenge"]);
    // Nothing ends a string early, and nothing panics.
    assert_eq!(challenge("a\"b\\c\r\n\u{e9}", ""), r#""a\"b\\c???";id="""#);
}

#[test]
fn what_the_browser_gets_as_identifier_is_read_back() {
    for value in [r#""i.d-_1""#, "i.d-_1", r#""i.d-_1";x=1"#] {
        let mut headers = HeaderMap::new();
        headers.insert(SESSION_ID, value.parse().expect("a value"));
        let read = session_id(&headers).expect("it is good").expect("it is there");
        assert_eq!(challenge("c", read), r#""c";id="i.d-_1""#);
    }
}

#[test]
fn settings_that_browsers_would_not_follow_are_refused() {
    let good = access(CookiePolicy::new());
    for policy in [
        CookiePolicy::new().for_local_http_development(),
        CookiePolicy::new().with_partitioned(),
        CookiePolicy::new().with_domain("shop.example"),
    ] {
        let error = Instructions::at("/d").check(&access(policy)).expect_err("it is refused");
        assert!(error.to_string().contains("Partitioned"), "{error}");
    }
    for path in [
        "",
        "d",
        "//evil.example/d",
        "https://shop.example/d",
        "/d\"",
        "/d\\",
        "/d e",
        "/d?x",
        "/d#x",
        "/\u{e9}",
    ] {
        assert!(Instructions::at(path).check(&good).is_err(), "{path}");
        let mut instructions = Instructions::at("/d");
        instructions.excluded = vec!["/assets".into(), path.into()];
        assert!(instructions.check(&good).is_err(), "{path}");
    }
    for (host, accepted) in [
        ("*", true),
        ("*.shop.example", true),
        ("id.example", true),
        ("", false),
        ("https://id.example", false),
        ("a b", false),
    ] {
        let mut instructions = Instructions::at("/d");
        instructions.initiators = vec![host.into()];
        assert_eq!(instructions.check(&good).is_ok(), accepted, "{host}");
    }
}
