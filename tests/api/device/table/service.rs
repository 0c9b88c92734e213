//! The rows of the device service, and of a store that is down.

use super::*;

#[tokio::test]
async fn a_registration() {
    row("good", ["200 challenge -access"; 4], async |scene: &Scene| {
        let jwt = scene.laptop.registration(&scene.offer);
        let response = ask(&scene.browser, None, Some(&jwt)).await;
        assert_eq!(scene.shop.store.calls(), Vec::<&str>::new(), "nothing is stored");
        scene.said(&response)
    })
    .await;
    row("bad", ["400"; 4], async |scene: &Scene| {
        let response = ask(&scene.browser, None, Some(&scene.laptop.registration("made up"))).await;
        assert_eq!(scene.shop.store.calls(), Vec::<&str>::new());
        scene.said(&response)
    })
    .await;
}

#[tokio::test]
async fn an_identifier_without_a_proof() {
    let asks = "403 challenge";
    row("no proof", [asks, asks, asks, ENDED], async |scene: &Scene| {
        scene.said(&ask(&scene.browser, Some(&scene.id), None).await)
    })
    .await;
}

#[tokio::test]
async fn a_fresh_proof() {
    let binds = "200 access refresh XSRF-TOKEN: rotated to 1, bound ada";
    let renews = "200 access XSRF-TOKEN";
    row("fresh", [binds, renews, renews, ENDED], async |scene: &Scene| {
        let response = ask(&scene.browser, Some(&scene.id), None).await;
        if response.status() != 403 {
            return scene.said(&response);
        }
        let proof = scene.laptop.proof(&asked(&response).0);
        scene.said(&ask(&scene.browser, Some(&scene.id), Some(&proof)).await)
    })
    .await;
}

#[tokio::test]
async fn a_stale_proof() {
    let asks = "403 challenge";
    row("used", [asks, asks, asks, ENDED], async |scene: &Scene| {
        if scene.shop.sessions.list("ada").await.unwrap().iter().any(|session| session.device.is_none()) {
            scene.shop.clock.advance(Duration::from_secs(151)); // unbound: it has not been used, so it expires
        }
        let before = scene.shop.sessions.list("ada").await.unwrap();
        let said = scene.said(&ask(&scene.browser, Some(&scene.id), Some(&scene.used)).await);
        assert_eq!(scene.shop.sessions.list("ada").await.unwrap(), before, "nothing is written");
        said
    })
    .await;
}

#[tokio::test]
async fn a_proof_by_another_registered_key() {
    let binds = "200 access refresh XSRF-TOKEN: rotated to 1, bound ada";
    let conflict = "401: binding conflict of ada";
    row("other key", [binds, conflict, conflict, ENDED], async |scene: &Scene| {
        let other = Laptop::other();
        let jwt = other.registration(&scene.offer);
        let response = ask(&scene.browser, None, Some(&jwt)).await;
        let (challenge, id) = asked(&response);
        scene.said(&ask(&scene.browser, Some(&id), Some(&other.proof(&challenge))).await)
    })
    .await;
}

#[tokio::test]
async fn a_proof_that_is_refused() {
    for (name, make, reason) in [
        ("signature", 0, "the proof's signature does not match"),
        ("jwk", 1, "the proof names a key of its own"),
        ("alg", 2, "the proof's algorithm is not accepted for its key"),
    ] {
        let refused = format!("401: proof refused: {reason}");
        row(name, [&*refused; 4], async |scene: &Scene| {
            let challenge = &forge::payload(&scene.used)["jti"];
            let challenge = challenge.as_str().unwrap();
            let proof = match make {
                0 => Laptop::other().proof(challenge),
                1 => scene.laptop.registration(challenge),
                _ => scene
                    .laptop
                    .sign(r#"{"alg":"RS256","typ":"dbsc+jwt"}"#, &json!({ "jti": challenge }).to_string()),
            };
            let response = ask(&scene.browser, Some(&scene.id), Some(&proof)).await;
            assert_eq!(scene.shop.store.calls(), Vec::<&str>::new(), "{name}");
            scene.said(&response)
        })
        .await;
    }
}

#[tokio::test]
async fn no_refresh_cookie() {
    for lists_initiators in [false, true] {
        let expected = match lists_initiators {
            false => ["401"; 4],
            true => ["401", "200 access XSRF-TOKEN", "200 access XSRF-TOKEN", ENDED],
        };
        for (state, expected) in STATES.into_iter().zip(expected) {
            let scene = Scene::with(state, |builder| match lists_initiators {
                true => builder.with_device_binding(binding().with_refresh_initiators(["*"])),
                false => builder,
            })
            .await;
            let alone = scene.browser.separate();
            let challenge = match ask(&scene.browser, Some(&scene.id), None).await {
                response if response.status() == 403 => asked(&response).0,
                _ => "ended".to_owned(),
            };
            scene.shop.events();
            scene.shop.store.calls();
            let proof = scene.laptop.proof(&challenge);
            let response = ask(&alone, Some(&scene.id), Some(&proof)).await;
            assert_eq!(scene.said(&response), expected, "{state:?}, initiators {lists_initiators}");
            if !lists_initiators {
                assert_eq!(scene.shop.store.calls(), Vec::<&str>::new());
            }
        }
    }
}

#[tokio::test]
async fn an_identifier_of_another_session() {
    row("foreign", ["401"; 4], async |scene: &Scene| {
        let bob = scene.shop.browser();
        let response = post(&bob, "/login?bob").await;
        scene.shop.events();
        scene.shop.store.calls();
        assert_eq!(response.status(), 200);
        let response = ask(&bob, Some(&scene.id), Some(&scene.used)).await;
        assert_eq!(scene.shop.store.calls(), Vec::<&str>::new());
        scene.said(&response)
    })
    .await;
}

#[tokio::test]
async fn while_the_store_is_down() {
    for (name, proof) in [("asking", false), ("proof", true)] {
        row(name, ["503 unavailable"; 4], async |scene: &Scene| {
            scene.shop.store.go_down();
            let proof = proof.then_some(&*scene.used);
            let response = ask(&scene.browser, Some(&scene.id), proof).await;
            assert!(response.headers().contains_key("retry-after"));
            scene.said(&response)
        })
        .await;
    }
    row("cookies", ["503 unavailable"; 4], async |scene: &Scene| {
        scene.shop.store.go_down();
        scene.said(&get(&scene.browser, "/me").await)
    })
    .await;
}
