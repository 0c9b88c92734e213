//! gRPC: real tonic servers, and real clients that ask them over loopback.

#![cfg(feature = "tonic")]

mod cookies;
mod plain_http;
mod server;
mod set_up;
mod statuses;
mod web;

use tonic::Code::{PermissionDenied, Unauthenticated, Unavailable};
use tower_cookie_jwt::{RequireLayer, reject::GrpcStatus};

use self::server::{Call, Wallet, expect_refusals, serve};
use crate::shop::{ACCESS_GONE, Shop, User, forged};

#[tokio::test]
async fn unauthenticated_reaches_unary_and_streaming_clients() {
    let shop = Shop::new();
    let server = serve(&shop).await;
    let ada = Wallet::sign_in(&shop).await;
    let other = Wallet::sign_in(&shop).await;

    let two_sessions = format!("{}; {}", ada.access_cookie(), other.access_cookie());
    let cases = [
        ("no token", vec![], "token_missing"),
        ("no token in the header", vec![("authorization", "Bearer not-a-token".into())], "token_invalid"),
        (
            "a forged token",
            vec![("authorization", format!("Bearer {}", forged(&ada.access)))],
            "token_invalid",
        ),
        ("a refresh token", vec![("authorization", format!("Bearer {}", ada.refresh))], "token_invalid"),
        ("two sessions", vec![("cookie", two_sessions), ada.xsrf_header()], "token_ambiguous"),
    ];
    expect_refusals(&server, Unauthenticated, &cases).await;

    shop.clock.advance(ACCESS_GONE);
    shop.sessions.sign_out_everywhere("ada").await.unwrap();
    let cases = [
        ("an expired token", vec![ada.bearer()], "token_expired"),
        ("a session that was ended", vec![ada.cookies(), ada.xsrf_header()], "session_revoked"),
    ];
    expect_refusals(&server, Unauthenticated, &cases).await;
}

#[tokio::test]
async fn permission_denied_reaches_unary_and_streaming_clients() {
    let shop = Shop::new();
    let server = serve(&shop).await;
    let ada = Wallet::sign_in(&shop).await;
    let other = Wallet::sign_in(&shop).await;

    let cases = [
        ("a cookie without the XSRF header", vec![ada.cookies()], "xsrf_missing"),
        ("another session's XSRF header", vec![ada.cookies(), other.xsrf_header()], "xsrf_mismatch"),
        (
            "a page of another site",
            vec![ada.cookies(), ada.xsrf_header(), ("origin", "https://evil.example".into())],
            "origin_refused",
        ),
    ];
    expect_refusals(&server, PermissionDenied, &cases).await;

    for call in Call::BOTH {
        let refused = call.make(&server, "needs scope", &[ada.bearer()]).await.unwrap_err();
        assert_eq!(refused.code(), PermissionDenied, "{call:?}: a method demands a scope");
        assert_eq!(refused.message(), "insufficient_scope", "{call:?}: a method demands a scope");
    }
}

#[tokio::test]
async fn unavailable_reaches_unary_and_streaming_clients() {
    let shop = Shop::new();
    let server = serve(&shop).await;
    let ada = Wallet::sign_in(&shop).await;
    shop.store.go_down();
    for call in Call::BOTH {
        let answer = call.make(&server, "", &[ada.bearer()]).await;
        assert!(answer.is_ok(), "{call:?}: a valid token needs no store");
    }

    shop.clock.advance(ACCESS_GONE);
    let cases = [("a cookie that must be refreshed", vec![ada.cookies(), ada.xsrf_header()], "unavailable")];
    expect_refusals(&server, Unavailable, &cases).await;

    shop.store.come_up();
    for call in Call::BOTH {
        let answer = call.make(&server, "", &[ada.cookies(), ada.xsrf_header()]).await;
        assert!(answer.is_ok(), "{call:?}: nothing was lost");
    }
}

#[tokio::test]
async fn a_require_layer_also_answers_with_a_status() {
    let shop = Shop::new();
    let demand = RequireLayer::<User>::scope("admin").unwrap().with_rejection(GrpcStatus);
    let layers = tower::ServiceBuilder::new()
        .layer(shop.sessions.layer().with_rejection(GrpcStatus))
        .layer(demand)
        .into_inner();
    let server = server::serve_behind(layers).await;
    let ada = Wallet::sign_in(&shop).await;
    let admin = Wallet::sign_in_with(&shop, "admin").await;

    expect_refusals(&server, PermissionDenied, &[("a customer", vec![ada.bearer()], "insufficient_scope")])
        .await;
    for call in Call::BOTH {
        assert!(call.make(&server, "", &[admin.bearer()]).await.is_ok(), "{call:?}: the scope was granted");
    }
}

#[tokio::test]
async fn bearer_metadata_needs_no_xsrf_header() {
    let shop = Shop::new();
    let server = serve(&shop).await;
    let ada = Wallet::sign_in(&shop).await;
    let cases = [
        ("a program", vec![ada.bearer()]),
        ("a page of another origin", vec![ada.bearer(), ("origin", "https://app.shop.example".into())]),
        ("cookies go along", vec![ada.bearer(), ada.cookies()]),
        ("the other header", vec![("x-access-token", ada.access.clone())]),
    ];
    for (name, metadata) in cases {
        for call in Call::BOTH {
            let answer =
                call.make(&server, "", &metadata).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(answer.user(), "ada customer", "{name}, {call:?}");
        }
    }
}

/// Clients know how HTTP statuses translate, so no stack has to opt in to be understood.
#[tokio::test]
async fn grpc_clients_understand_the_http_status_of_a_stack_that_has_not_opted_in() {
    let shop = Shop::new();
    let server = server::serve_behind(shop.sessions.layer()).await;
    let ada = Wallet::sign_in(&shop).await;
    for call in Call::BOTH {
        let codes = [
            ("no token", call.make(&server, "", &[]).await, Unauthenticated),
            ("no XSRF header", call.make(&server, "", &[ada.cookies()]).await, PermissionDenied),
        ];
        for (name, answer, expected) in codes {
            assert_eq!(answer.unwrap_err().code(), expected, "{name}, {call:?}");
        }
    }
    shop.clock.advance(ACCESS_GONE);
    shop.store.go_down();
    for call in Call::BOTH {
        let answer = call.make(&server, "", &[ada.cookies(), ada.xsrf_header()]).await;
        assert_eq!(answer.unwrap_err().code(), Unavailable, "{call:?}");
    }
}
