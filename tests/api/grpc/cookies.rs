//! The cookies of a refresh go on gRPC responses of every kind.

use http::{HeaderMap, header::CACHE_CONTROL};
use tonic::Code;

use super::server::{Call, Wallet, cookie, serve};
use crate::shop::{ACCESS, ACCESS_GONE, REFRESH, Shop, XSRF};

#[tokio::test]
async fn refreshed_cookies_arrive_on_responses() {
    for call in Call::BOTH {
        let shop = Shop::new();
        let server = serve(&shop).await;
        let mut ada = Wallet::sign_in(&shop).await;
        let answer = call.make(&server, "", &[ada.cookies(), ada.xsrf_header()]).await.unwrap();
        assert_eq!(answer.metadata.get("set-cookie"), None, "{call:?}: a good token is not refreshed");

        shop.clock.advance(ACCESS_GONE);
        let answer = call.make(&server, "", &[ada.cookies(), ada.xsrf_header()]).await.unwrap();
        assert_eq!(answer.user(), "ada customer", "{call:?}");
        let headers = answer.metadata.into_headers();
        let refreshed = Wallet {
            access: cookie(&headers, ACCESS).expect("a new access token"),
            refresh: cookie(&headers, REFRESH).expect("a new refresh token"),
            xsrf: cookie(&headers, XSRF).expect("the XSRF token"),
        };
        assert_eq!(headers[CACHE_CONTROL], "no-store", "{call:?}");
        assert_ne!(refreshed.access, ada.access, "{call:?}");
        assert_ne!(refreshed.refresh, ada.refresh, "{call:?}");
        assert_eq!(refreshed.xsrf, ada.xsrf, "{call:?}: stable within the session");

        ada = refreshed;
        let answer = call.make(&server, "", &[ada.cookies(), ada.xsrf_header()]).await.unwrap();
        assert_eq!(answer.user(), "ada customer", "{call:?}: with the new cookies");
        assert_eq!(answer.metadata.get("set-cookie"), None, "{call:?}: which are good");
    }
}

#[tokio::test]
async fn refreshed_cookies_arrive_when_the_method_fails() {
    for call in Call::BOTH {
        let shop = Shop::new();
        let server = serve(&shop).await;
        let ada = Wallet::sign_in(&shop).await;
        shop.clock.advance(ACCESS_GONE);
        let failed = call.make(&server, "fails", &[ada.cookies(), ada.xsrf_header()]).await.err().unwrap();
        assert_eq!(failed.code(), Code::NotFound, "{call:?}: the method's own status");
        assert!(cookie(&failed_headers(&failed), ACCESS).is_some(), "{call:?}: {failed:?}");
    }
}

#[tokio::test]
async fn cookies_of_an_ended_session_are_cleared_with_the_status() {
    for call in Call::BOTH {
        let shop = Shop::new();
        let server = serve(&shop).await;
        let ada = Wallet::sign_in(&shop).await;
        shop.sessions.sign_out_everywhere("ada").await.unwrap();
        shop.clock.advance(ACCESS_GONE);
        let refused = call.make(&server, "", &[ada.cookies(), ada.xsrf_header()]).await.err().unwrap();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::Unauthenticated, "session_revoked"),
            "{call:?}"
        );
        for name in [ACCESS, REFRESH, XSRF] {
            let cleared = cookie(&failed_headers(&refused), name);
            assert_eq!(cleared.as_deref(), Some(""), "{call:?}: {name}");
        }
    }
}

fn failed_headers(status: &tonic::Status) -> HeaderMap {
    status.metadata().clone().into_headers()
}
