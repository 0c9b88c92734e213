//! The `spa` example as a separate process, over HTTP on loopback: its contract, on which the page and
//! other tests rely.

#[expect(dead_code, reason = "the tests of the stores use all of it")]
mod client;
mod demo;
#[path = "../kit/mod.rs"]
mod kit;
mod process;

use std::time::Duration;

use serde_json::{Value, json};

use self::{client::Client, process::Spa};

const PASSWORD: &str = "correct horse battery staple";

fn login() -> Value {
    json!({ "username": "ada", "password": PASSWORD })
}

fn signed_in(spa: &Spa) -> Client {
    let mut client = Client::new(spa.port());
    let answer = client.post("/api/login", &login());
    assert_eq!(answer.status, 200, "{answer:?}");
    client
}

#[test]
fn every_route_except_api_serves_the_page() {
    let spa = Spa::start(&[("STORE", "memory")]);
    let mut client = Client::new(spa.port());
    for path in ["/", "/orders", "/deep/link?x=1", "/index.html"] {
        let page = client.get(path);
        assert_eq!(page.status, 200, "{path}");
        assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{path}");
        assert!(page.body.contains("<html"), "{path}");
    }
    assert!(
        client.get("/app.js").header("content-type").is_some_and(|kind| kind.starts_with("text/javascript"))
    );
    assert!(client.get("/app.css").header("content-type").is_some_and(|kind| kind.starts_with("text/css")));
    for path in ["/api", "/api/nothing"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
}

#[test]
fn login_answers_200_with_three_cookies_or_401() {
    let spa = Spa::start(&[("STORE", "memory")]);
    let mut client = Client::new(spa.port());
    let answer = client.post("/api/login", &login());
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["xsrfToken"].as_str().map(str::len), Some(24));
    assert!(body["expiresAt"].as_u64().is_some_and(|at| at > 1_700_000_000));
    assert_eq!(body.as_object().map(|members| members.len()), Some(2));
    let mut names = client.cookies.names();
    names.sort_unstable();
    assert_eq!(names, ["XSRF-TOKEN", "__Host-access", "__Host-refresh"]);
    for (name, wrong) in [
        ("password", json!({ "username": "ada", "password": "guess" })),
        ("user", json!({ "username": "eve", "password": PASSWORD })),
    ] {
        let refused = Client::new(spa.port()).post("/api/login", &wrong);
        assert_eq!(refused.status, 401, "wrong {name}");
        assert!(refused.header("set-cookie").is_none(), "wrong {name}");
    }
}

#[test]
fn me_shows_the_claims_and_401_is_a_problem() {
    let spa = Spa::start(&[("STORE", "memory")]);
    let me = signed_in(&spa).get("/api/me").json();
    assert_eq!((&me["sub"], &me["name"], &me["roles"]), (&json!("ada"), &json!("Ada"), &json!(["customer"])));
    assert_eq!(me["generation"], 0);
    assert!(me["session"].is_string() && me["expiresAt"].is_u64());

    let anonymous = Client::new(spa.port()).get("/api/me");
    assert_eq!(anonymous.status, 401);
    assert_eq!(anonymous.header("content-type"), Some("application/problem+json"));
    assert_eq!(anonymous.json()["code"], "token_missing");
}

#[test]
fn an_order_needs_the_xsrf_header() {
    let spa = Spa::start(&[("STORE", "memory")]);
    let mut client = signed_in(&spa);
    let without = client.post("/api/orders", &json!({ "item": "tea" }));
    assert_eq!((without.status, &without.json()["code"]), (403, &json!("xsrf_missing")));
    assert_eq!(client.get("/api/orders").json(), json!([]), "the handler has not run");

    let with = client.with_xsrf().post("/api/orders", &json!({ "item": "tea" }));
    assert_eq!((with.status, with.json()), (201, json!({ "id": 1, "item": "tea" })));
    assert_eq!(client.get("/api/orders").json(), json!([{ "id": 1, "item": "tea" }]));
}

#[test]
fn a_session_outlives_its_access_tokens_and_rotates() {
    let spa =
        Spa::start(&[("STORE", "memory"), ("ACCESS_SECS", "1"), ("GRACE_SECS", "1"), ("LEEWAY_SECS", "0")]);
    let mut client = signed_in(&spa);
    let first = client.get("/api/me").json();
    std::thread::sleep(Duration::from_millis(2100));
    let second = client.get("/api/me").json();
    assert_eq!(second["generation"], 1, "rotated on the way");
    assert_eq!(first["session"], second["session"]);

    std::thread::sleep(Duration::from_millis(1100));
    let refreshed = client.post("/api/refresh", &json!({}));
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    assert!(refreshed.json()["expiresAt"].is_u64() && refreshed.json()["xsrfToken"].is_string());
}

#[test]
fn sessions_are_listed_and_ended_one_by_one() {
    let spa = Spa::start(&[("STORE", "memory")]);
    let (mut desk, mut phone) = (signed_in(&spa), signed_in(&spa));
    let list = desk.get("/api/sessions").json();
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    for session in list.as_array().into_iter().flatten() {
        assert!(session["id"].is_string() && session["label"].is_string(), "{session}");
        assert!(session["created"].is_u64() && session["lastSeen"].is_u64(), "{session}");
    }
    let others: Vec<_> =
        list.as_array().into_iter().flatten().filter(|one| one["current"] == false).collect();
    assert_eq!(others.len(), 1, "one of the two is current");
    let path = format!("/api/sessions/{}", others[0]["id"].as_str().unwrap_or_default());
    assert_eq!(desk.with_xsrf().delete(&path).status, 204);
    assert_eq!(desk.with_xsrf().delete(&path).status, 404, "a second time");
    assert_eq!(desk.with_xsrf().delete("/api/sessions/nobodys").status, 404);
    assert_eq!(phone.post("/api/refresh", &json!({})).status, 401, "the phone is signed out");
}

#[test]
fn logout_answers_204_with_and_without_a_session() {
    let spa = Spa::start(&[("STORE", "memory")]);
    let mut client = signed_in(&spa);
    let stolen = client.clone();
    assert_eq!(client.post("/api/logout", &json!({})).status, 204);
    assert!(client.cookies.is_empty(), "cleared");
    assert_eq!(client.post("/api/logout", &json!({})).status, 204, "without a session");
    let mut stolen = stolen;
    stolen.cookies.remove("__Host-access");
    assert_eq!(stolen.get("/api/me").status, 401, "a copied refresh cookie is of no use");
}

#[test]
fn logout_everywhere_ends_all_sessions() {
    let spa = Spa::start(&[("STORE", "memory")]);
    let (mut desk, mut phone) = (signed_in(&spa), signed_in(&spa));
    assert_eq!(desk.with_xsrf().post("/api/logout-everywhere", &json!({})).status, 204);
    assert_eq!(phone.post("/api/refresh", &json!({})).status, 401);
}

#[test]
fn sessions_survive_a_restart_on_sqlite() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = format!("sqlite:{}", folder.path().join("sessions.sqlite").display());
    let environment = [("STORE", store.as_str()), ("SECRET", "0123456789abcdef0123456789abcdef")];
    let spa = Spa::start(&environment);
    let mut client = signed_in(&spa);
    drop(spa); // killed
    let spa = Spa::start(&environment);
    client.port = spa.port();
    client.cookies.remove("__Host-access");
    assert_eq!(client.get("/api/me").status, 200);
}

#[test]
fn insecure_http_drops_secure_and_the_prefixes() {
    let spa = Spa::start(&[("STORE", "memory"), ("INSECURE_HTTP", "1")]);
    let client = signed_in(&spa);
    let mut names = client.cookies.names();
    names.sort_unstable();
    assert_eq!(names, ["XSRF-TOKEN", "access", "refresh"]);
}

#[test]
fn an_invalid_environment_ends_with_a_message_that_names_the_remedy() {
    for (name, value, hint) in [
        ("STORE", "nowhere", "`memory`, `sqlite:PATH`, `postgres://…`"),
        ("STORE", "postgres://127.0.0.1/shop", "SECRET is not set"),
        ("STORE", "redis://127.0.0.1", "SECRET is not set"),
        ("STORE", "redis+cluster://127.0.0.1:7001,127.0.0.1:7002", "SECRET is not set"),
        ("SECRET", "short", "at least 32 bytes"),
        ("ACCESS_SECS", "soon", "ACCESS_SECS is not a number"),
        ("ABSOLUTE_SECS", "0", "absolute lifetime"),
    ] {
        let complaint = Spa::fails(&[(name, value)]);
        assert!(complaint.contains(hint), "{name}={value}: {complaint}");
    }
}

#[test]
fn a_password_in_the_address_of_the_store_is_not_repeated() {
    for store in [
        "mysql://ada:hush@127.0.0.1/shop",
        "postgres://ada:hush@127.0.0.1:1/shop",
        "redis://ada:hush@127.0.0.1:1",
    ] {
        let complaint = Spa::fails(&[("STORE", store), ("SECRET", "0123456789abcdef0123456789abcdef")]);
        assert!(!complaint.contains("hush"), "{store}: {complaint}");
    }
}
