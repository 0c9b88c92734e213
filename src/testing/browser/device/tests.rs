use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, Request, Response, header::COOKIE};
use serde_json::{Value, json};
use tower::{service_fn, util::BoxCloneService};

use crate::testing::{Browser, TestClock};

mod failures;
mod redirects;

type Answer = Response<String>;
type Chromium = Browser<BoxCloneService<Request<String>, Answer, String>>;

/// A server that answers requests to `/device` by a script, and others with what they say.
#[derive(Clone, Default)]
struct Server {
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<VecDeque<Result<Answer, String>>>>,
}

#[derive(Clone, Debug)]
struct Seen {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: String,
}

impl Seen {
    fn get(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Returns the header and the payload of the proof.
    fn proof(&self) -> Option<[Value; 2]> {
        let mut parts = self.get("secure-session-response")?.split('.');
        let mut part = || serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap());
        Some([part().unwrap(), part().unwrap()])
    }

    /// Returns the challenge that the proof answers.
    fn answered(&self) -> Option<String> {
        Some(self.proof()?[1]["jti"].as_str().unwrap().to_owned())
    }
}

impl Server {
    fn browser(&self, clock: &TestClock) -> Chromium {
        let server = self.clone();
        let service = service_fn(move |request: Request<String>| {
            let server = server.clone();
            async move { server.answer(request) }
        });
        Browser::new(BoxCloneService::new(service)).with_clock(clock.clone()).with_device_key()
    }

    fn answer(&self, request: Request<String>) -> Result<Answer, String> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        self.seen.lock().unwrap().push(Seen {
            method: parts.method,
            path: path.clone(),
            headers: parts.headers,
            body,
        });
        match &*path {
            "/device" => self.script.lock().unwrap().pop_front().expect("an unexpected request"),
            "/login" => Ok(answer(200, &[offer("c1"), cookie("first", 600)], "")),
            "/two" => Ok(answer(200, &[offer("c1"), offer("c2")], "")),
            _ => Ok(answer(200, &[], "page")),
        }
    }

    fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.lock().unwrap().extend(answers.into_iter().map(Ok));
    }

    fn seen(&self) -> Vec<Seen> {
        assert!(self.script.lock().unwrap().is_empty(), "the script has been played");
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

fn answer(status: u16, headers: &[(&str, String)], body: &str) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(body.to_owned()).unwrap()
}

fn offer(challenge: &str) -> (&'static str, String) {
    let offer = format!("(RS256 ES256);path=\"/device\";challenge=\"{challenge}\";authorization=\"code\"");
    ("secure-session-registration", offer)
}

fn cookie(value: &str, age: u32) -> (&'static str, String) {
    ("set-cookie", format!("access={value}; {ATTRIBUTES}; Max-Age={age}"))
}

fn challenge(challenge: &str) -> (&'static str, String) {
    ("secure-session-challenge", format!("\"{challenge}\";id=\"s1\""))
}

fn instructions() -> Value {
    json!({
        "session_identifier": "s1",
        "refresh_url": "/device",
        "scope": {
            "include_site": false,
            "scope_specification": [{ "type": "exclude", "domain": "*", "path": "/assets" }],
        },
        "credentials": [{ "type": "cookie", "name": "access", "attributes": ATTRIBUTES }],
    })
}

/// Returns a browser with a session, whose cookie is missing, and no challenge.
async fn bound() -> (Server, Chromium, TestClock) {
    let (server, clock) = (Server::default(), TestClock::new());
    let browser = server.browser(&clock);
    server.script([answer(200, &[cookie("", 0)], &instructions().to_string())]);
    browser.post("/login").send().await.unwrap();
    assert_eq!(browser.device_sessions(), ["s1"]);
    server.seen();
    (server, browser, clock)
}

async fn get(browser: &Chromium, path: &str) -> u16 {
    browser.get(path).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_registration_is_sent_as_chromium_sends_it() {
    for by_other_site in [false, true] {
        let (server, clock) = (Server::default(), TestClock::new());
        let browser = server.browser(&clock);
        browser.set_cookie("a=1; SameSite=None; Secure; Path=/");
        server.script([answer(200, &[cookie("bound", 600)], &instructions().to_string())]);
        let request = browser.post("/login").navigation();
        let request = if by_other_site { request.cross_site() } else { request };
        request.send().await.unwrap();

        let seen = server.seen();
        let [_, registration] = &*seen else { panic!("{seen:?}") };
        assert_eq!(
            (&registration.method, &*registration.path, &*registration.body),
            (&Method::POST, "/device", "")
        );
        assert_eq!(registration.get("origin"), Some("https://shop.example"));
        assert_eq!(registration.get("sec-fetch-site"), Some("same-origin"));
        assert_eq!(registration.get("sec-secure-session-id"), None);
        assert_eq!(registration.headers.contains_key(COOKIE), !by_other_site);
        let [header, payload] = registration.proof().unwrap();
        assert_eq!((&header["typ"], &header["alg"]), (&json!("dbsc+jwt"), &json!("ES256")));
        assert_eq!(header["jwk"].as_object().unwrap().keys().collect::<Vec<_>>(), ["crv", "kty", "x", "y"]);
        assert_eq!(payload, json!({ "jti": "c1", "authorization": "code" }));
        // Stored whoever has caused it.
        assert_eq!(browser.cookie("access").as_deref(), Some("bound"));
        assert_eq!(get(&browser, "/page").await, 200, "the cookie is there: nothing is held");
    }
}

#[tokio::test]
async fn a_registration_without_usable_instructions_stores_cookies_alone() {
    let whole = instructions().to_string();
    let mut others = vec![whole[..whole.len() / 2].to_owned(), String::new()];
    for (name, value) in [
        ("credentials", json!([])),
        ("refresh_url", json!("https://evil.example/device")),
        ("scope", json!({ "origin": "https://evil.example" })),
    ] {
        let mut changed = instructions();
        changed[name] = value;
        others.push(changed.to_string());
    }
    for body in others {
        let (server, clock) = (Server::default(), TestClock::new());
        let browser = server.browser(&clock);
        server.script([answer(200, &[cookie("stored", 600)], &body)]);
        browser.post("/login").send().await.unwrap();
        assert_eq!(browser.cookie("access").as_deref(), Some("stored"), "{body}");
        assert!(browser.device_sessions().is_empty(), "{body}");
    }
}

#[tokio::test]
async fn a_request_is_held_until_the_cookie_is_renewed() {
    let (server, browser, _) = bound().await;
    server.script([answer(403, &[challenge("c2")], ""), answer(200, &[cookie("renewed", 600)], "")]);
    assert_eq!(get(&browser, "/page").await, 200);
    let seen = server.seen();
    let [asked, proof, page] = &*seen else { panic!("{seen:?}") };
    assert_eq!((asked.get("sec-secure-session-id"), asked.answered()), (Some("s1"), None));
    assert_eq!((proof.get("sec-secure-session-id"), proof.answered()), (Some("s1"), Some("c2".into())));
    assert_eq!(proof.proof().unwrap()[0], json!({ "alg": "ES256", "typ": "dbsc+jwt" }));
    assert_eq!((page.get("cookie"), page.get("secure-session-skipped")), (Some("access=renewed"), None));

    // Other pages do not wait, nor do programs; pages of other sites are not held.
    browser.remove_cookie("access");
    assert_eq!(get(&browser, "/assets/logo").await, 200);
    browser.get("/page").from_no_browser().send().await.unwrap();
    browser.get("/page").cross_site().navigation().send().await.unwrap();
    browser.separate().get("/page").send().await.unwrap();
    assert!(
        server
            .seen()
            .iter()
            .all(|seen| seen.path != "/device" && seen.get("secure-session-skipped").is_none())
    );
}

#[tokio::test]
async fn a_challenge_that_came_ahead_saves_a_round() {
    let (server, browser, _) = bound().await;
    server.script([
        answer(403, &[challenge("c2")], ""),
        answer(200, &[cookie("a", 600), challenge("c3")], &instructions().to_string()),
    ]);
    get(&browser, "/page").await;
    server.seen();
    browser.remove_cookie("access");
    server.script([answer(200, &[cookie("b", 600)], &instructions().to_string())]);
    get(&browser, "/page").await;
    assert_eq!(server.seen().iter().map(Seen::answered).collect::<Vec<_>>(), [Some("c3".into()), None]);
}

#[tokio::test]
async fn tabs_renew_once() {
    let (server, browser, _) = bound().await;
    server.script([answer(403, &[challenge("c2")], ""), answer(200, &[cookie("renewed", 600)], "")]);
    let tabs = [browser.clone(), browser.clone(), browser.clone()];
    futures_util::future::join_all(tabs.iter().map(|tab| get(tab, "/page"))).await;
    assert_eq!(server.seen().len(), 2 + 3);
}

/// A cookie that is set with other attributes than declared never counts.
#[tokio::test]
async fn attributes_are_compared_exactly() {
    for attributes in [
        "Path=/; Secure; HttpOnly; SameSite=Lax",
        "Path=/; Secure; SameSite=Strict",
        "Path=/; HttpOnly; SameSite=Strict",
        "Path=/a; Secure; HttpOnly; SameSite=Strict",
        "Path=/; Secure; HttpOnly; SameSite=Strict; Domain=shop.example",
    ] {
        let (server, browser, _) = bound().await;
        for _ in 0..2 {
            let line = format!("access=a; {attributes}; Max-Age=600");
            server.script([
                answer(403, &[challenge("c2")], ""),
                answer(200, &[("set-cookie", line)], &instructions().to_string()),
            ]);
            get(&browser, "/page").await;
            assert_eq!(server.seen().len(), 3, "{attributes}");
        }
    }
}

#[tokio::test]
async fn a_cookie_that_expires_soon_is_renewed_after_the_request() {
    let (server, browser, clock) = bound().await;
    browser.set_cookie(&format!("access=old; {ATTRIBUTES}; Max-Age=600"));
    clock.advance(Duration::from_secs(479));
    get(&browser, "/page").await;
    assert_eq!(server.seen().len(), 1);
    clock.advance(Duration::from_secs(1));
    server.script([answer(403, &[challenge("c2")], ""), answer(200, &[cookie("new", 600)], "")]);
    get(&browser, "/page").await;
    let seen = server.seen();
    assert_eq!((seen.len(), seen[0].get("cookie")), (3, Some("access=old")));
    assert_eq!(browser.cookie("access").as_deref(), Some("new"));
}

/// The second is tried for the same request when the first is given up.
#[tokio::test]
async fn two_offers_make_two_sessions_with_two_keys() {
    let (server, clock) = (Server::default(), TestClock::new());
    let browser = server.browser(&clock);
    let mut second = instructions();
    second["session_identifier"] = "s2".into();
    server.script([answer(200, &[], &instructions().to_string()), answer(200, &[], &second.to_string())]);
    browser.post("/two").send().await.unwrap();
    assert_eq!(browser.device_sessions(), ["s1", "s2"]);
    let seen = server.seen();
    assert_ne!(seen[1].proof().unwrap()[0]["jwk"], seen[2].proof().unwrap()[0]["jwk"]);

    server.script([answer(401, &[], ""), answer(200, &[cookie("a", 600)], &second.to_string())]);
    get(&browser, "/page").await;
    let asked: Vec<_> =
        server.seen().iter().map(|seen| seen.get("sec-secure-session-id").map(str::to_owned)).collect();
    assert_eq!(asked, [Some("s1".into()), Some("s2".into()), None]);
    assert_eq!(browser.device_sessions(), ["s2"]);
}

#[tokio::test]
async fn links_of_listed_hosts_are_held_without_cookies() {
    let (server, browser, _) = bound().await;
    let mut listed = instructions();
    listed["allowed_refresh_initiators"] = json!(["*.example"]);
    server
        .script([answer(403, &[challenge("c2")], ""), answer(200, &[cookie("a", 600)], &listed.to_string())]);
    get(&browser, "/page").await;
    server.seen();
    browser.remove_cookie("access");
    browser.set_cookie("b=1; SameSite=None; Secure; Path=/");
    server
        .script([answer(403, &[challenge("c3")], ""), answer(200, &[cookie("a", 600)], &listed.to_string())]);
    browser.get("/page").navigation().cross_site().send().await.unwrap();
    let seen = server.seen();
    assert_eq!(
        (seen.len(), seen[1].get("cookie"), seen[1].get("sec-fetch-site")),
        (3, None, Some("same-origin"))
    );
}

#[tokio::test]
async fn clearing_data_ends_the_sessions() {
    for way in ["clear", "storage", "forget"] {
        let (server, browser, _) = bound().await;
        match way {
            "clear" => browser.clear(),
            "forget" => browser.forget_device_keys(),
            way => browser.store(&answer(200, &[("clear-site-data", format!("\"cache\", \"{way}\""))], "")),
        }
        assert!(browser.device_sessions().is_empty(), "{way}");
        get(&browser, "/page").await;
        assert_eq!(server.seen().len(), 1, "{way}");
    }
}

/// `store` cannot wait, so the next request registers first.
#[tokio::test]
async fn an_offer_of_a_stored_response_is_followed_with_the_next_request() {
    let (server, clock) = (Server::default(), TestClock::new());
    let browser = server.browser(&clock);
    let response = browser.post("/login").send_without_storing().await.unwrap();
    browser.store(&response);
    assert!(browser.device_sessions().is_empty());
    server.script([answer(200, &[cookie("a", 600)], &instructions().to_string())]);
    get(&browser, "/page").await;
    assert_eq!(browser.device_sessions(), ["s1"]);
    let keyless = browser.with_service(service_fn(async |_: Request<String>| {
        Ok::<_, Infallible>(answer(200, &[offer("c2")], ""))
    }));
    keyless.get("/page").send().await.unwrap();
    assert_eq!(keyless.with_device_key().device_sessions(), ["s1"], "it keeps its sessions");
}

const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";
