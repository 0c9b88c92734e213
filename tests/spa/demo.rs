//! The routes of the demo and its trace, which the page acts out and explains.

use std::{convert::Infallible, thread::sleep, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Service, service_fn};
use tower_cookie_jwt::testing::Browser;

use crate::{
    client::{Answer, Client},
    kit::{device::Device, loopback},
    process::Spa,
    signed_in,
};

/// Generations settle after a second.
fn quick() -> Spa {
    Spa::start(&[("STORE", "memory"), ("GRACE_SECS", "1")])
}

/// A signed-in client whose next refresh rotates.
fn settled(spa: &Spa) -> Client {
    let mut client = signed_in(spa);
    assert_eq!(client.get("/api/me").status, 200, "this confirms generation 0");
    sleep(GRACE);
    client
}

const GRACE: Duration = Duration::from_millis(1200);

fn trace<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let line = answer.header("demo-trace").unwrap_or_else(|| panic!("no trace: {answer:?}"));
    let pair = line.split("; ").find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    pair.unwrap_or_else(|| panic!("no {name} in {line}"))
}

#[test]
fn the_trace_shows_which_layer_acted() {
    let spa = quick();
    let mut client = Client::new(spa.port());
    let login = client.post("/api/login", &crate::login());
    assert_eq!((trace(&login, "events"), trace(&login, "sent")), ("signed-in", ""));
    assert_eq!(trace(&login, "set"), "access refresh XSRF-TOKEN");
    assert_eq!(trace(&login, "grace"), "1");

    let me = client.get("/api/me");
    assert_eq!((trace(&me, "reached"), trace(&me, "generation"), trace(&me, "set")), ("yes", "0", ""));

    let refused = client.post("/api/orders", &json!({ "item": "tea" }));
    assert_eq!((trace(&refused, "reached"), trace(&refused, "refusal")), ("no", "xsrf_missing"));

    sleep(GRACE);
    client.cookies.remove("__Host-access");
    let rotated = client.get("/api/me");
    assert_eq!((trace(&rotated, "events"), trace(&rotated, "generation")), ("rotated:1", "1"));

    let logout = client.post("/api/logout", &json!({}));
    assert_eq!((trace(&logout, "events"), trace(&logout, "set")), ("ended", ""));
    assert_eq!(trace(&logout, "cleared"), "access refresh XSRF-TOKEN");
    let anonymous = client.get("/api/me");
    assert_eq!((trace(&anonymous, "refusal"), trace(&anonymous, "sent")), ("token_missing", ""));
}

#[test]
fn the_trace_contains_no_cookie_value_and_no_foreign_name() {
    let spa = quick();
    let mut client = signed_in(&spa);
    client.cookies.insert("other-application", "foreign");
    let answer = client.get("/api/me");
    let line = answer.header("demo-trace").unwrap_or_default();
    assert_eq!(trace(&answer, "sent"), "access refresh XSRF-TOKEN");
    for (name, value) in client.cookies.iter() {
        assert!(!line.contains(value), "the value of {name} in {line}");
    }
}

#[test]
fn expire_only_clears_the_access_cookie() {
    for (insecure, access, refresh) in [("0", "__Host-access", "__Host-refresh"), ("1", "access", "refresh")]
    {
        let spa = Spa::start(&[("STORE", "memory"), ("INSECURE_HTTP", insecure)]);
        let mut client = signed_in(&spa);
        assert_eq!(client.post("/api/demo/expire", &json!({})).status, 204);
        assert!(client.cookies.get(access).is_none(), "{access}");
        assert!(client.cookies.get(refresh).is_some(), "{refresh}");
        assert_eq!(client.get("/api/me").status, 200, "still signed in");
    }
}

#[test]
fn two_tabs_at_the_moment_of_expiry_rotate_once() {
    let spa = quick();
    let mut client = settled(&spa);
    client.post("/api/demo/expire", &json!({}));
    let answers = std::thread::scope(|scope| {
        let tabs = [client.clone(), client.clone()];
        let tabs = tabs.map(|mut tab| scope.spawn(move || tab.get("/api/demo/slow")));
        tabs.map(|tab| tab.join().expect("it answers"))
    });
    let mut events = answers.each_ref().map(|answer| trace(answer, "events"));
    events.sort_unstable();
    assert_eq!(events, ["", "rotated:1"]);
    for answer in &answers {
        assert_eq!((answer.status, trace(answer, "generation")), (200, "1"));
        assert_eq!(trace(answer, "set"), "access refresh XSRF-TOKEN", "either gets the pair");
    }
}

#[test]
fn a_lost_response_is_repeated() {
    let spa = quick();
    let mut client = settled(&spa);
    client.post("/api/demo/expire", &json!({}));
    let lost = client.get("/api/demo/lost");
    assert_eq!((lost.status, lost.header("set-cookie")), (504, None), "{lost:?}");
    assert_eq!(trace(&lost, "events"), "rotated:1");
    let retry = client.get("/api/me");
    assert_eq!((retry.status, &retry.json()["generation"]), (200, &json!(1)));
    assert_eq!((trace(&retry, "events"), trace(&retry, "set")), ("", "access refresh XSRF-TOKEN"));
}

#[test]
fn a_thief_is_detected_at_the_victims_next_refresh() {
    let spa = quick();
    let mut client = settled(&spa);
    let target = json!({ "session": client.get("/api/me").json()["session"] });
    assert_eq!(client.post("/api/demo/thief", &target).status, 404, "nothing was stolen yet");
    assert_eq!(client.post("/api/demo/steal", &target).status, 204);
    let struck = client.post("/api/demo/thief", &target);
    assert_eq!(struck.json(), json!({ "status": 200, "code": null, "name": "Ada", "generation": 1 }));
    assert_eq!((trace(&struck, "events"), struck.header("set-cookie")), ("", None), "a jar of its own");

    sleep(GRACE);
    client.post("/api/demo/expire", &json!({}));
    let noticed = client.get("/api/me");
    assert_eq!((noticed.status, &noticed.json()["code"]), (401, &json!("session_revoked")));
    assert_eq!(
        (trace(&noticed, "events"), trace(&noticed, "cleared")),
        ("reuse:0", "access refresh XSRF-TOKEN")
    );
    assert!(client.cookies.is_empty(), "signed out");
    let again = client.post("/api/demo/thief", &target).json();
    assert_eq!(again["status"], 401, "and so is the thief: {again}");
}

#[test]
fn a_theft_ends_only_the_stolen_session() {
    let spa = quick();
    let (mut victim, mut other) = (settled(&spa), signed_in(&spa));
    let target = json!({ "session": victim.get("/api/me").json()["session"] });
    victim.post("/api/demo/steal", &target);
    victim.post("/api/demo/thief", &target);
    sleep(GRACE);
    victim.cookies.remove("__Host-access");
    assert_eq!(victim.get("/api/me").status, 401);
    assert_eq!(
        other.get("/api/me").json()["sub"],
        Value::from("ada"),
        "one session was ended, not the user's all"
    );
}

#[test]
fn the_page_stays_light_and_strict() {
    let spa = quick();
    let mut client = Client::new(spa.port());
    let paths = ["/", "/app.css", "/app.js", "/dom.js", "/explain.js", "/scenarios.js", "/timeline.js"];
    let mut bytes = 0;
    for path in paths {
        let answer = client.get(path);
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{path}: {policy}");
        assert!(!answer.body.contains("http://") || path == "/timeline.js", "{path} loads from elsewhere");
        assert!(path == "/" || !answer.body.contains("<html"), "{path} is served as itself");
        bytes += answer.body.len();
    }
    assert!(bytes < 64_000, "{bytes} bytes of HTML, CSS and JavaScript");
    let page = client.get("/").body;
    for inline in ["<style", "style=", "onclick", "javascript:"] {
        assert!(!page.contains(inline), "{inline} would not pass the policy");
    }
}

/// A browser with a device, before the example. It takes the origin for https, as behind a proxy.
fn browser_before(
    spa: &Spa,
) -> Browser<impl Service<Request<String>, Response = Response<Bytes>, Error = Infallible> + Clone + use<>> {
    let (http, port) = (loopback::client(Version::HTTP_11), spa.port());
    Browser::new(service_fn(move |request: Request<String>| {
        let (mut parts, body) = request.into_parts();
        parts.uri = format!("http://127.0.0.1:{port}{}", parts.uri.path()).parse().expect("a URL");
        let answer = http.request(Request::from_parts(parts, Full::from(body)));
        async move {
            let (parts, body) = answer.await.expect("it answers").into_parts();
            Ok(Response::from_parts(parts, body.collect().await.expect("a body").to_bytes()))
        }
    }))
}

fn json_of(answer: &Response<Bytes>) -> Value {
    serde_json::from_slice(answer.body()).expect("JSON")
}

#[tokio::test]
async fn copied_cookies_of_a_bound_session_bring_nothing() {
    let spa = Spa::start(&[("STORE", "memory"), ("GRACE_SECS", "1"), ("DEVICE_BINDING", "1")]);
    let browser = browser_before(&spa);
    let get = async |path| json_of(&browser.get(path).send().await.expect("infallible"));
    let signed_in = browser.post("/api/login").json(&crate::login()).send().await.expect("infallible");
    let me = get("/api/me").await;
    assert_eq!((&me["bound"], &get("/api/sessions").await[0]["bound"]), (&json!(false), &json!(false)));

    let mut device = Device::register(&browser, signed_in.headers()).await;
    assert_eq!(device.prove(&browser).await.status(), 200);
    let bound = get("/api/me").await;
    assert_eq!((&bound["bound"], &get("/api/sessions").await[0]["bound"]), (&json!(true), &json!(true)));
    let demo = async |path: &str, access: bool| {
        let target = json!({ "session": me["session"], "access": access });
        browser.post(path).json(&target).send().await.expect("infallible")
    };
    assert_eq!(demo("/api/demo/steal", true).await.status(), 204);
    assert_eq!(json_of(&demo("/api/demo/thief", true).await)["status"], 200, "until the token expires");
    tokio::time::sleep(GRACE).await;
    let thief = json_of(&demo("/api/demo/thief", false).await);
    assert_eq!((&thief["status"], &thief["code"]), (&json!(401), &json!("device_proof_required")));
    assert_eq!(get("/api/me").await["bound"], true, "the user is still signed in");
    assert_eq!(device.prove(&browser).await.status(), 200);
}

#[test]
fn no_binding_is_offered_unless_it_is_switched_on() {
    let spa = quick();
    let mut client = Client::new(spa.port());
    let login = client.post("/api/login", &crate::login());
    assert_eq!(login.header("secure-session-registration"), None);
    assert_eq!(client.get("/api/me").json()["bound"], Value::Null);
    assert_eq!(client.post("/api/device", &json!({})).status, 400, "the service is there already");
    let complaint = Spa::fails(&[("STORE", "memory"), ("DEVICE_BINDING", "1"), ("INSECURE_HTTP", "1")]);
    assert!(complaint.contains("device binding"), "{complaint}");
}
