//! The device service: what it accepts, and that it answers with nothing that browsers take for the end of a session by
//! mistake. Most tests are cases of DBSC vectors, whose names they mention.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue, Method};

use super::*;
use crate::{keys::RSA_2048, shop::get};

const SECOND: Duration = Duration::from_secs(1);

/// Sends a registration with this proof; returns what is said of it, and checks that the store has not been asked.
async fn register(shop: &Shop, browser: &Shopper, proof: &str) -> String {
    shop.store.calls();
    let response = ask(browser, None, Some(proof)).await;
    assert_eq!(shop.store.calls(), Vec::<&str>::new());
    said(shop, &response)
}

async fn signed_in(shop: &Shop) -> (Shopper, String) {
    let browser = shop.browser();
    let offer = offered(post(&browser, "/login").await.headers());
    shop.events();
    (browser, offer)
}

/// The first request after it binds, as nothing is stored before.
async fn assert_unbound(shop: &Shop) {
    assert_eq!(shop.sessions.list("ada").await.unwrap()[0].device, None);
}

/// `registration_alg_none`, `registration_alg_not_of_the_key`, `registration_jwk_private`,
/// `registration_jwk_weak_or_off_curve`, `registration_wrong_typ`, `registration_crit_or_duplicates`
#[tokio::test]
async fn bad_registrations_get_400() {
    let (shop, laptop) = (bound_shop(), Laptop::one());
    let (browser, offer) = signed_in(&shop).await;
    let payload = json!({ "jti": offer }).to_string();
    let with = |name: &str, value: Value| {
        let mut header = laptop.header();
        header[name] = value;
        laptop.sign(&header.to_string(), &payload)
    };
    let with_jwk = |name: &str, value: &str| {
        let mut jwk = laptop.jwk.clone();
        jwk[name] = value.into();
        with("jwk", jwk)
    };
    let rsa = json!({ "kty": "RSA", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode([0xc1; 128]) });
    let e_1 = json!({ "kty": "RSA", "e": "AQ", "n": URL_SAFE_NO_PAD.encode([0xc1; 256]) });
    let zero = URL_SAFE_NO_PAD.encode([0; 32]);
    let (x, header) = (laptop.jwk["x"].as_str().unwrap(), laptop.header().to_string());
    let good = laptop.registration(&offer);
    let unsigned = good.rsplit_once('.').unwrap().0;
    let none =
        |header: &str| format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(&payload));
    let mut without = laptop.header();
    without.as_object_mut().unwrap().remove("jwk");
    let mut untyped = laptop.header();
    untyped.as_object_mut().unwrap().remove("typ");
    for (name, proof) in [
        ("none", none(r#"{"alg":"none","typ":"dbsc+jwt"}"#)),
        (
            "none with a key",
            none(&json!({ "alg": "none", "typ": "dbsc+jwt", "jwk": laptop.jwk }).to_string()),
        ),
        ("not of the key", with("alg", "RS256".into())),
        ("HMAC", with("alg", "HS256".into())),
        ("no key", laptop.sign(&without.to_string(), &payload)),
        ("private", with_jwk("d", x)),
        ("of 1024 bits", with("jwk", rsa)),
        ("e = 1", with("jwk", e_1)),
        ("off the curve", with_jwk("y", x)),
        ("infinity", with("jwk", json!({ "kty": "EC", "crv": "P-256", "x": zero, "y": zero }))),
        ("short x", with_jwk("x", &URL_SAFE_NO_PAD.encode([1; 31]))),
        ("typ JWT", with("typ", "JWT".into())),
        ("typ at+jwt", with("typ", "at+jwt".into())),
        ("typ refresh+jwt", with("typ", "refresh+jwt".into())),
        ("typ missing", laptop.sign(&untyped.to_string(), &payload)),
        ("crit", with("crit", json!(["exp"]))),
        ("alg twice", laptop.sign(&header.replacen('{', "{\"alg\":\"ES256\",", 1), &payload)),
        ("jti twice", laptop.sign(&header, &payload.replacen('{', "{\"jti\":\"a\",", 1))),
        ("padded", format!("{good}=")),
        ("unsigned", format!("{unsigned}.")),
        ("another signature", Laptop::other().sign(&header, &payload)),
        ("empty", String::new()),
        ("garbage", "a.b.c".into()),
    ] {
        assert_eq!(register(&shop, &browser, &proof).await, "400", "{name}");
    }
    assert_unbound(&shop).await;
    let in_capitals = with("typ", "DBSC+JWT".into());
    assert_eq!(
        register(&shop, &browser, &in_capitals).await,
        "200 challenge -access",
        "media types have no case"
    );
    assert_unbound(&shop).await;
}

/// `registration_challenge_expired`, `registration_challenge_of_another_kind`
#[tokio::test]
async fn only_a_live_registration_challenge_registers() {
    let (shop, laptop) = (bound_shop(), Laptop::one());
    let (browser, offer) = signed_in(&shop).await;
    let access = browser.cookie(ACCESS).unwrap();
    let (challenge, id) = asked(&ask(&browser, None, Some(&laptop.registration(&offer))).await);
    let forged = forge::forged(&offer);
    let refresh = browser.cookie(REFRESH).unwrap();
    for other in [&challenge, &id, &access, &refresh, &forged] {
        assert_eq!(register(&shop, &browser, &laptop.registration(other)).await, "400");
    }
    shop.clock.advance(300 * SECOND);
    let leeway = 30 * SECOND;
    assert_eq!(register(&shop, &browser, &laptop.registration(&offer)).await, "200 challenge -access");
    shop.clock.advance(leeway + SECOND);
    assert_eq!(register(&shop, &browser, &laptop.registration(&offer)).await, "400");
    assert_unbound(&shop).await;
}

/// `registration_from_another_origin`
#[tokio::test]
async fn a_registration_by_another_origin_gets_400() {
    let (shop, laptop) = (bound_shop(), Laptop::one());
    let (browser, offer) = signed_in(&shop).await;
    let request = browser.post("/device").cross_site();
    let Ok(response) = request.header("secure-session-response", laptop.registration(&offer)).send().await;
    assert_eq!(said(&shop, &response), "400");
    assert_unbound(&shop).await;
}

/// `registration_by_page_script`: script cannot send `Sec-Secure-Session-Id`, and so does not bind.
#[tokio::test]
async fn page_script_registers_but_does_not_bind() {
    let (shop, script) = (bound_shop(), Laptop::other());
    let browser = Chromium::of(&shop);
    let Ok(response) = browser.0.post("/login").send_without_storing().await;
    let offer = offered(response.headers());
    browser.0.store(&response);
    let send = async |proof: &str| {
        browser.send(browser.0.post("/device").header("secure-session-response", proof)).await
    };
    let response = send(&script.registration(&offer)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(send(&script.proof(&asked(&response).0)).await.status(), 400);
    assert_unbound(&shop).await;
    assert_eq!(browser.get("/me").await.status(), 200);
    assert_eq!(shop.events(), ["signed in ada", "bound ada"]);
}

/// `two_keys_for_one_session`
#[tokio::test]
async fn the_first_of_two_keys_binds() {
    let (shop, one, other) = (bound_shop(), Laptop::one(), Laptop::other());
    let (browser, offer) = signed_in(&shop).await;
    let [first, second] = [&one, &other].map(|laptop| laptop.registration(&offer));
    let (first, second) = (ask(&browser, None, Some(&first)).await, ask(&browser, None, Some(&second)).await);
    let ((c1, id1), (c2, id2)) = (asked(&first), asked(&second));
    let response = ask(&browser, Some(&id1), Some(&one.proof(&c1))).await;
    assert_eq!(said(&shop, &response), "200 access XSRF-TOKEN: bound ada");
    let response = ask(&browser, Some(&id2), Some(&other.proof(&c2))).await;
    assert_eq!(said(&shop, &response), "401: binding conflict of ada");
    shop.clock.advance(ACCESS_GONE);
    assert_eq!(prove(&browser, &one, &id1).await.status(), 200);
    assert_eq!(shop.events(), Vec::<String>::new());
}

/// `refresh_challenge_used_twice`, `refresh_challenge_of_another_session`
#[tokio::test]
async fn a_challenge_is_good_for_one_proof_of_its_session() {
    let (shop, laptop) = (bound_shop(), Laptop::one());
    let browser = shop.browser();
    let (session, id, challenge) = registered(&browser, &laptop).await;
    let proof = laptop.proof(&challenge);
    assert_eq!(ask(&browser, Some(&id), Some(&proof)).await.status(), 200);
    shop.events();
    let record = shop.store.record(&session).await;
    let response = ask(&browser, Some(&id), Some(&proof)).await;
    assert_eq!(said(&shop, &response), "403 challenge");
    assert_eq!(shop.store.record(&session).await, record);
    let fresh = laptop.proof(&asked(&response).0);
    assert_eq!(ask(&browser, Some(&id), Some(&fresh)).await.status(), 200);

    let phone = shop.browser();
    let (_, other_id, _) = registered(&phone, &laptop).await;
    let (challenge, _) = asked(&ask(&phone, Some(&other_id), None).await);
    shop.events();
    let response = ask(&browser, Some(&id), Some(&laptop.proof(&challenge))).await;
    assert_eq!(said(&shop, &response), "403 challenge");
    assert_eq!(asked(&response).1, id);
}

/// `refresh_identifier_forged_or_edited`
#[tokio::test]
async fn forged_identifiers_and_cookies_never_reach_the_store() {
    let (shop, laptop) = (bound_shop(), Laptop::one());
    let browser = shop.browser();
    let (_, id, challenge) = registered(&browser, &laptop).await;
    let proof = laptop.proof(&challenge);
    let edited = {
        let mut parts = id.split('.').map(str::to_owned).collect::<Vec<_>>();
        let mut payload = forge::payload(&id);
        payload["sid"] = "another".into();
        parts[1] = URL_SAFE_NO_PAD.encode(payload.to_string());
        parts.join(".")
    };
    let unsigned = format!("{}.", id.rsplit_once('.').unwrap().0);
    let two = format!("{id}, {id}");
    let long = "a".repeat(10 * 1024);
    let access = shop.browser();
    post(&access, "/login?bob").await;
    let access = access.cookie(ACCESS).unwrap();
    shop.events();
    shop.store.calls();
    for forged in ["random", "", &unsigned, &edited, &forge::forged(&id), &two, &long, &access, &challenge] {
        for proof in [None, Some(&*proof)] {
            let response = ask(&browser, Some(forged), proof).await;
            assert_eq!(said(&shop, &response), "401", "{forged}");
        }
    }
    for forged in [forge::forged(&browser.cookie(REFRESH).unwrap()), "garbage".to_owned()] {
        let response = ask(&crate::shop::holder(&browser, &forged), Some(&id), Some(&proof)).await;
        assert_eq!(said(&shop, &response), "401", "{forged}");
    }
    assert_eq!(shop.store.calls(), Vec::<&str>::new());
    for quoted in [format!("\"{id}\""), format!("\"{id}\";a=1;b=\"c\""), format!("{id};a")] {
        let response = ask(&browser, Some(&quoted), None).await;
        assert_eq!(said(&shop, &response), "403 challenge", "{quoted}");
    }
}

#[tokio::test]
async fn other_methods_and_no_headers_get_400() {
    let shop = bound_shop();
    let (browser, _) = signed_in(&shop).await;
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS, Method::POST] {
        let Ok(response) = browser.request(method.clone(), "/device").send().await;
        assert_eq!(said(&shop, &response), "400", "{method}");
    }
    let off = Shop::new();
    assert_eq!(ask(&off.browser(), None, None).await.status(), 400, "without a binding");
}

/// Any other status ends the session in browsers.
#[tokio::test]
async fn no_request_gets_another_status() {
    let (shop, laptop) = (bound_shop(), Laptop::one());
    let browser = shop.browser();
    let (_, id, challenge) = registered(&browser, &laptop).await;
    let values = [
        None,
        Some(String::new()),
        Some("\u{e9}".to_owned()),
        Some("\"".to_owned()),
        Some(id.clone()),
        Some(format!("{id};")),
        Some(challenge.clone()),
        Some(laptop.proof(&challenge)),
        Some(laptop.registration(&challenge)),
    ];
    for down in [false, true] {
        shop.store.set_down(down);
        for id in &values {
            for proof in &values {
                for with_cookies in [true, false] {
                    let browser = if with_cookies { browser.clone() } else { browser.separate() };
                    let mut request = browser.post("/device");
                    for (name, value) in [(ID, id), (PROOF, proof)] {
                        if let Some(value) = value {
                            request =
                                request.header(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
                        }
                    }
                    let Ok(response) = request.send_without_storing().await;
                    let status = response.status().as_u16();
                    assert!([200, 400, 401, 403, 503].contains(&status), "{status}");
                    assert_eq!(
                        status == 403,
                        response.headers().contains_key("secure-session-challenge") && status != 200
                    );
                    let is_kept = !response.headers().contains_key("cache-control");
                    assert!(!is_kept || status == 503, "{status}");
                }
            }
        }
    }
}

#[tokio::test]
async fn instructions_are_exact() {
    let shop = shop_with(|builder| {
        let binding = binding().with_excluded_path("/assets").with_rs256();
        builder.with_device_binding(binding).with_public_origin("https://shop.example").unwrap()
    });
    let browser = shop.browser();
    let login = post(&browser, "/login").await;
    let offer = login.headers()["secure-session-registration"].to_str().unwrap();
    assert!(offer.starts_with("(ES256 RS256);"), "{offer}");
    let challenge = offer.split('"').nth(3).unwrap();
    let response = ask(&browser, None, Some(&Laptop::one().registration(challenge))).await;
    let exclude = |path: &str| json!({ "type": "exclude", "domain": "*", "path": path });
    let (_, id) = asked(&response);
    let expected = json!({
        "session_identifier": id,
        "refresh_url": "/device",
        "scope": {
            "origin": "https://shop.example",
            "include_site": false,
            "scope_specification": [exclude("/device"), exclude("/assets")],
        },
        "credentials": [
            { "type": "cookie", "name": ACCESS, "attributes": "HttpOnly; SameSite=Strict; Secure; Path=/" },
        ],
    });
    assert_eq!(crate::shop::json(&response), expected);
    // An RSA key, where it is allowed.
    let set = Key::from_private_pem(Alg::RS256, RSA_2048).unwrap();
    let set: Value = serde_json::from_str(&KeyRing::new(set).unwrap().public_jwks()).unwrap();
    let jwk = json!({ "kty": "RSA", "n": set["keys"][0]["n"], "e": set["keys"][0]["e"] });
    let key = EncodingKey::from_rsa_pem(RSA_2048.as_bytes()).unwrap();
    let sign = |header: Value, challenge: &str| {
        forge::sign_with(Algorithm::RS256, &key, header.to_string(), json!({ "jti": challenge }).to_string())
    };
    let jwt = sign(json!({ "alg": "RS256", "typ": "dbsc+jwt", "jwk": jwk }), challenge);
    let (challenge, id) = asked(&ask(&browser, None, Some(&jwt)).await);
    let proof = sign(json!({ "alg": "RS256", "typ": "dbsc+jwt" }), &challenge);
    assert_eq!(ask(&browser, Some(&id), Some(&proof)).await.status(), 200);
    assert_eq!(get(&browser, "/me").await.status(), 200);
}

const ID: HeaderName = HeaderName::from_static("sec-secure-session-id");
const PROOF: HeaderName = HeaderName::from_static("secure-session-response");
