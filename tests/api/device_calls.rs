//! How often the store is asked in a session that is bound to a device.

use http::HeaderMap;
use tower_cookie_jwt::session::DeviceBinding;

use crate::kit::{
    device::{CHALLENGE, DEVICE, Device, IDENTIFIER},
    shop::{ACCESS, ACCESS_GONE, Shop, get, post},
};

const RENEWAL: [&str; 3] = ["read", "update", "read"];

#[tokio::test]
async fn a_renewal_is_a_challenge_of_one_read_and_a_proof_of_two_and_a_write() {
    let shop = Shop::with(|builder| builder.with_device_binding(DeviceBinding::at(DEVICE)));
    let browser = shop.browser();
    let signed_in = post(&browser, "/login").await;
    assert_eq!(shop.store.calls(), ["list", "create"], "the offer costs nothing");
    let mut device = Device::register(&browser, signed_in.headers()).await;
    assert_eq!(shop.store.calls(), [""; 0], "a registration");
    assert_eq!(device.prove(&browser).await.status(), 200);
    assert_eq!(shop.store.calls(), RENEWAL, "the first proof, whose challenge came with the registration");

    for lifetime in 0..3 {
        for _ in 0..8 {
            assert_eq!(get(&browser, "/me").await.status(), 200);
            assert_eq!(post(&browser, "/me").await.status(), 200);
        }
        // A node asks once whether the generation has been confirmed. It has been, by the first proof, and stays the same.
        let asked: &[&str] = if lifetime == 0 { &["read"] } else { &[] };
        assert_eq!(shop.store.calls(), asked, "requests with a valid access token, lifetime {lifetime}");

        shop.clock.advance(ACCESS_GONE);
        assert!(!browser.has_cookie(ACCESS));
        let asked = browser.post(DEVICE).header(IDENTIFIER, device.identifier()).send().await.unwrap();
        assert!(asked.status() == 403 && asked.headers().contains_key(CHALLENGE));
        assert_eq!(shop.store.calls(), ["read"], "a challenge, lifetime {lifetime}");
        assert_eq!(device.prove_over(&browser, asked.headers()).await.status(), 200);
        assert_eq!(shop.store.calls(), RENEWAL, "a proof, lifetime {lifetime}");
    }
}

#[tokio::test]
async fn cookies_without_a_proof_cost_one_read_and_forged_ones_none() {
    let shop = Shop::with(|builder| builder.with_device_binding(DeviceBinding::at(DEVICE)));
    let browser = shop.browser();
    let signed_in = post(&browser, "/login").await;
    let mut device = Device::register(&browser, signed_in.headers()).await;
    assert_eq!(device.prove(&browser).await.status(), 200);
    shop.clock.advance(ACCESS_GONE);
    shop.store.calls();
    assert_eq!(get(&browser, "/me").await.status(), 401);
    assert_eq!(shop.store.calls(), ["read"]);

    let forged = format!("{}x", device.identifier());
    let answer = browser.post(DEVICE).header(IDENTIFIER, forged).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let stranger =
        browser.separate().post(DEVICE).header(IDENTIFIER, device.identifier()).send().await.unwrap();
    assert_eq!(stranger.status(), 401, "no refresh cookie");
    assert_eq!(shop.store.calls(), [""; 0]);
}

/// What has been measured before holds where the setting is on and the browser has no support.
#[tokio::test]
async fn a_session_that_is_not_bound_costs_what_it_cost() {
    let bound = Shop::with(|builder| builder.with_device_binding(DeviceBinding::at(DEVICE)));
    for (name, shop) in [("off", Shop::new()), ("on", bound)] {
        let browser = shop.browser();
        assert_eq!(post(&browser, "/login").await.status(), 200);
        shop.settle(&browser).await;
        shop.store.calls();
        assert_eq!(get(&browser, "/me").await.status(), 200);
        assert_eq!(shop.store.calls(), RENEWAL, "a rotation, {name}");
        assert_eq!(get(&browser, "/me").await.status(), 200);
        assert_eq!(shop.store.calls(), ["read", "update"], "its confirmation, {name}");
        let headers: HeaderMap = get(&browser, "/me").await.headers().clone();
        assert!(headers.is_empty(), "{name}: {headers:?}");
        assert_eq!(shop.store.calls(), [""; 0], "a valid access token, {name}");
    }
}
