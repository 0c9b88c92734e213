//! Cookies of sessions that have ended, beside those of a live session: under one name, with another path or domain.

use http::header::COOKIE;
use tower::{Layer, service_fn};
use tower_cookie_jwt::{CookiePolicy, reject::ProblemJson, store::SessionId, token::Source};

use crate::kit::shop::*;

/// Cookie names that tolerate any path.
fn named() -> CookiePolicy {
    CookiePolicy::new().with_access_name("access").with_refresh_name("refresh")
}

/// A session, with its cookies as a `Cookie` header carries them.
struct Held {
    id: SessionId,
    access: String,
    refresh: String,
}

async fn sign_in(shop: &Shop) -> Held {
    let browser = shop.browser();
    let id = shop.sign_in(&browser).await;
    let pair = |name| format!("{name}={}", browser.cookie(name).expect("the cookie is set"));
    Held { id, access: pair("access"), refresh: pair("refresh") }
}

async fn end(shop: &Shop, session: &Held) {
    assert!(shop.sessions.revoke("ada", session.id.as_str()).await.unwrap());
    shop.events();
}

async fn ask(browser: &Shopper, path: &str, cookies: &[&String]) -> Answer {
    let header = cookies.iter().map(|pair| pair.as_str()).collect::<Vec<_>>().join("; ");
    let Ok(response) = browser.get(path).header(COOKIE.as_str(), header).send().await;
    response
}

#[tokio::test(flavor = "current_thread")]
async fn a_move_to_another_path_locks_nobody_out() {
    let mut shop = Shop::unbindable(|builder| builder.with_cookies(named().with_path("/app")));
    let browser = shop.browser();
    let former = shop.sign_in(&browser).await;
    assert_eq!(text(&get(&browser, "/app/me").await), "ada customer 0");
    shop.redeploy(|builder| builder.with_cookies(named()));
    let protected = shop.sessions.layer().with_rejection(ProblemJson).layer(service_fn(greet));
    let browser = browser.with_service(shop.service_over(protected));
    assert!(shop.sessions.revoke("ada", former.as_str()).await.unwrap());
    shop.sign_in(&browser).await;
    shop.events();
    for round in 0..3 {
        shop.store.calls();
        let response = get(&browser, "/app/me").await;
        assert_eq!((text(&response).as_str(), cookies(&response)), ("ada customer 0", vec![]), "{round}");
        let calls = shop.store.calls();
        assert!(calls.iter().all(|call| call.starts_with("read") || round == 0), "{round}: {calls:?}");
    }
    assert_eq!(shop.events(), NONE, "nothing is ambiguous");
    shop.clock.advance(ACCESS_GONE);
    assert_eq!(text(&get(&browser, "/app/me").await), "ada customer 1", "the live session is refreshed");
    assert_eq!(shop.events(), ["rotated to 1"]);
}

#[tokio::test(flavor = "current_thread")]
async fn cookies_of_ended_sessions_do_not_count() {
    let shop = Shop::with(|builder| builder.with_cookies(named()));
    let (ended, live) = (sign_in(&shop).await, sign_in(&shop).await);
    end(&shop, &ended).await;
    let browser = shop.browser();
    let cases = [
        ("all of both", vec![&ended.access, &ended.refresh, &live.access, &live.refresh], "ada customer 0"),
        (
            "in the other order",
            vec![&live.refresh, &live.access, &ended.refresh, &ended.access],
            "ada customer 0",
        ),
        (
            "no access cookie of the ended one",
            vec![&ended.refresh, &live.access, &live.refresh],
            "ada customer 0",
        ),
        (
            "no access cookie of the live one",
            vec![&ended.access, &ended.refresh, &live.refresh],
            "ada customer 0",
        ),
        ("only refresh cookies", vec![&ended.refresh, &live.refresh], "ada customer 0"),
        ("only access cookies", vec![&ended.access, &live.access], "ada customer 0"),
    ];
    for (name, held, expected) in cases {
        let response = ask(&browser, "/me", &held).await;
        assert_eq!(text(&response), expected, "{name}");
        assert_eq!(shop.events(), NONE, "{name}: nothing is ambiguous");
        assert!(cookies(&response).iter().all(|name| !name.starts_with('-')), "{name}: nothing is cleared");
    }
    let both = format!("{}; {}", ended.refresh, live.refresh);
    let Ok(response) = browser.post("/refresh").header(COOKIE.as_str(), &both).send().await;
    assert_eq!(response.status(), 200, "the refresh service");
    let Ok(response) = browser.post("/logout").header(COOKIE.as_str(), &both).send().await;
    assert_eq!(response.status(), 200);
    assert_eq!(shop.events(), ["ended ada"], "signing out ends the live one");
}

#[tokio::test(flavor = "current_thread")]
async fn of_cookies_of_ended_sessions_alone_nothing_remains() {
    let shop = Shop::with(|builder| builder.with_cookies(named()));
    let held = [sign_in(&shop).await, sign_in(&shop).await];
    end(&shop, &held[0]).await;
    end(&shop, &held[1]).await;
    let browser = shop.browser();
    let cleared = ["-access", "-refresh", "-XSRF-TOKEN"];
    let cases = [
        ("refresh cookies", [&held[0].refresh, &held[1].refresh], &cleared[..]),
        // A live refresh cookie may have a path of its own, so nothing is known of it.
        ("access cookies", [&held[0].access, &held[1].access], &[]),
    ];
    for (name, cookies_held, gone) in cases {
        let response = ask(&browser, "/me", &cookies_held).await;
        assert_eq!((response.status().as_u16(), code(&response)), (401, "session_revoked".into()), "{name}");
        assert_eq!(cookies(&response), gone, "{name}");
    }
    let both = format!("{}; {}", held[0].refresh, held[1].refresh);
    let Ok(response) = browser.post("/refresh").header(COOKIE.as_str(), &both).send().await;
    assert_eq!((response.status().as_u16(), code(&response)), (401, "session_revoked".into()));
    assert_eq!(cookies(&response), cleared);
}

#[tokio::test(flavor = "current_thread")]
async fn two_live_sessions_stay_ambiguous() {
    let shop = Shop::with(|builder| builder.with_cookies(named()));
    let (one, two) = (sign_in(&shop).await, sign_in(&shop).await);
    shop.events();
    let browser = shop.browser();
    for (name, held) in [("refresh", [&one.refresh, &two.refresh]), ("access", [&one.access, &two.access])] {
        let response = ask(&browser, "/me", &held).await;
        assert_eq!((response.status().as_u16(), code(&response)), (401, "token_ambiguous".into()), "{name}");
        assert_eq!(cookies(&response), NONE, "{name}");
        assert_eq!(shop.events(), ["cookies of 2 sessions, of ada and ada"], "{name}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn in_an_outage_nobody_knows_which_session_is_live() {
    let shop = Shop::with(|builder| builder.with_cookies(named()));
    let (ended, live) = (sign_in(&shop).await, sign_in(&shop).await);
    end(&shop, &ended).await;
    shop.store.set_down(true);
    let browser = shop.browser();
    for held in [[&ended.refresh, &live.refresh], [&ended.access, &live.access]] {
        let response = ask(&browser, "/me", &held).await;
        assert_eq!((response.status().as_u16(), code(&response)), (503, "unavailable".into()));
        assert_eq!(cookies(&response), NONE);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_choice_counts_for_inner_layers_with_other_sources() {
    let shop = Shop::with(|builder| builder.with_cookies(named()));
    let (ended, live) = (sign_in(&shop).await, sign_in(&shop).await);
    end(&shop, &ended).await;
    let verify = shop.sessions.cookie_jwt_layer().with_sources([Source::Cookie]);
    let browser = shop.browser_over(shop.sessions.refresh_layer().layer(verify.layer(service_fn(greet))));
    for held in
        [vec![&ended.access, &ended.refresh, &live.access, &live.refresh], vec![&ended.access, &live.access]]
    {
        assert_eq!(text(&ask(&browser, "/me", &held).await), "ada customer 0");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_foreign_page_makes_the_store_judge_nothing() {
    let shop = Shop::with(|builder| builder.with_cookies(named()));
    let (ended, live) = (sign_in(&shop).await, sign_in(&shop).await);
    end(&shop, &ended).await;
    shop.store.calls();
    let browser = shop.browser();
    let header = format!("{}; {}", ended.access, live.access);
    let ask = browser.get("/me").header(COOKIE.as_str(), header).header("sec-fetch-site", "cross-site");
    let Ok(response) = ask.send().await;
    assert_eq!((response.status().as_u16(), code(&response)), (401, "token_ambiguous".into()));
    assert_eq!(shop.store.calls(), NONE);
}

/// The refresh cookie has a path of its own, so pages get only one that another host of the domain has planted there.
#[tokio::test(flavor = "current_thread")]
async fn a_planted_refresh_cookie_does_not_replace_the_user_of_a_page() {
    let apart = || named().with_refresh_path("/api");
    for (planted_lives, expected) in [(true, "token_ambiguous"), (false, "ada customer 0")] {
        let shop = Shop::unbindable(|builder| builder.with_cookies(apart()));
        let (ada, planted) = (sign_in(&shop).await, sign_in(&shop).await);
        if !planted_lives {
            end(&shop, &planted).await;
        }
        let browser = shop.browser();
        for held in [
            vec![&ada.access, &planted.refresh],
            vec![&planted.refresh, &ada.access],
            vec![&ada.access, &planted.access, &planted.refresh],
        ] {
            let response = ask(&browser, "/me", &held).await;
            let outcome = if response.status() == 200 { text(&response) } else { code(&response) };
            assert_eq!(outcome, expected, "the planted session lives: {planted_lives}");
            assert_eq!(cookies(&response), NONE, "nothing is cleared");
        }
        assert_eq!(shop.sessions.list("ada").await.unwrap().len(), 1 + usize::from(planted_lives));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_access_cookie_counts_beside_a_refresh_cookie_of_an_ended_session() {
    let shop = Shop::with(|builder| builder.with_cookies(named()));
    let (ended, live) = (sign_in(&shop).await, sign_in(&shop).await);
    end(&shop, &ended).await;
    let browser = shop.browser();
    for held in [vec![&ended.refresh, &live.access], vec![&live.access, &ended.access, &ended.refresh]] {
        let response = ask(&browser, "/me", &held).await;
        assert_eq!((text(&response).as_str(), cookies(&response)), ("ada customer 0", vec![]));
    }
    // As long as the session of the refresh cookie lives, its access cookies alone count.
    let other = sign_in(&shop).await;
    let response = ask(&browser, "/me", &[&other.refresh, &live.access]).await;
    assert_eq!((text(&response).as_str(), cookies(&response).len()), ("ada customer 0", 2), "refreshed");
}

#[tokio::test(flavor = "current_thread")]
async fn the_store_is_asked_about_four_sessions_of_a_request_at_most() {
    let shop = Shop::with(|builder| builder.with_cookies(named()));
    let browser = shop.browser();
    let mut all = Vec::new();
    for _ in 0..12 {
        let session = sign_in(&shop).await;
        // Remembered tokens cost no signature check.
        assert_eq!(ask(&browser, "/me", &[&session.access, &session.refresh]).await.status(), 200);
        end(&shop, &session).await;
        all.push(session);
    }
    let access: Vec<&String> = all.iter().map(|session| &session.access).collect();
    let refresh: Vec<&String> = all.iter().map(|session| &session.refresh).collect();
    for held in [access.clone(), refresh.clone(), [access, refresh].concat()] {
        shop.store.calls();
        assert_eq!(ask(&browser, "/me", &held).await.status(), 401);
        assert!(shop.store.calls().len() <= 4, "{:?}", shop.store.calls());
    }
}

#[tokio::test(flavor = "current_thread")]
async fn planted_cookies_do_not_keep_a_session_from_being_signed_out() {
    let shop = Shop::with(|builder| builder.with_cookies(named()));
    let ada = sign_in(&shop).await;
    shop.events();
    let token = ada.refresh.split_once('=').expect("a pair").1;
    let planted: Vec<String> = (0..5)
        .map(|index| {
            let (message, signature) = token.rsplit_once('.').expect("a token");
            let start = ["A", "B", "C", "D", "E"][index];
            format!("refresh={message}.{start}{}", &signature[1..])
        })
        .collect();
    let header =
        planted.iter().chain([&ada.refresh, &ada.access]).map(String::as_str).collect::<Vec<_>>().join("; ");
    let Ok(response) = shop.browser().post("/logout").header(COOKIE.as_str(), header).send().await;
    assert_eq!(response.status(), 200);
    assert_eq!(shop.events(), ["ended ada"]);
}

#[tokio::test(flavor = "current_thread")]
async fn expired_access_cookies_do_not_use_up_the_checks_of_the_refresh_cookies() {
    let shop = Shop::with(|builder| builder.with_cookies(named()));
    let (ended, live) = (sign_in(&shop).await, sign_in(&shop).await);
    end(&shop, &ended).await;
    shop.clock.advance(ACCESS_GONE);
    let held = [&ended.access, &live.access, &ended.refresh, &live.refresh];
    assert_eq!(text(&ask(&shop.browser(), "/me", &held).await), "ada customer 0");
}
