//! How methods learn who the caller is, and what they get if the server is not set up for it.

use tonic::Code;
use tower::layer::util::Identity;
use tower_cookie_jwt::{RefreshLayer, reject::GrpcStatus};

use super::server::{Call, Wallet, serve, serve_behind};
use crate::shop::{ACCESS_GONE, Shop, User};

#[tokio::test]
async fn claims_reach_methods_through_extensions_and_the_trait() {
    let shop = Shop::new();
    let server = serve(&shop).await;
    let ada = Wallet::sign_in(&shop).await;
    for call in Call::BOTH {
        for way in ["by extensions", "by the trait"] {
            let answer = call.make(&server, way, &[ada.bearer()]).await.unwrap();
            assert_eq!(answer.user(), "ada customer", "{way}, {call:?}");
        }
    }
    let answer = Call::Streaming.make(&server, "", &[ada.bearer()]).await.unwrap();
    assert_eq!(answer.messages, 2, "the stream goes through");
}

#[tokio::test]
async fn claims_without_their_layer_are_an_internal_error() {
    let shop = Shop::new();
    let ada = Wallet::sign_in(&shop).await;
    let bare = serve_behind(Identity::new()).await;
    let refresh: RefreshLayer<User, GrpcStatus> = shop.sessions.refresh_layer().with_rejection(GrpcStatus);
    let refreshed_only = serve_behind(refresh).await;
    let complete = serve(&shop).await;
    for call in Call::BOTH {
        let cases = [
            ("no layer", call.make(&bare, "", &[ada.bearer()]).await),
            ("no layer that demands a user", call.make(&refreshed_only, "", &[ada.cookies()]).await),
            ("claims of another type", call.make(&complete, "other claims", &[ada.bearer()]).await),
        ];
        for (name, answer) in cases {
            let Err(refused) = answer else { panic!("{name}, {call:?}: not refused") };
            assert_eq!(refused.code(), Code::Internal, "{name}, {call:?}");
            assert!(!refused.message().contains(&ada.access), "{name}, {call:?}: {}", refused.message());
        }
    }
}

#[tokio::test]
async fn an_optional_layer_leaves_the_refusal_to_the_method() {
    let shop = Shop::new();
    let optional = serve_behind(shop.sessions.layer().optional().with_rejection(GrpcStatus)).await;
    let exempt = serve_behind(shop.sessions.layer().with_exempt(|_| true).with_rejection(GrpcStatus)).await;
    let ada = Wallet::sign_in(&shop).await;
    let answer = Call::Unary.make(&optional, "", &[ada.bearer()]).await.unwrap();
    assert_eq!(answer.user(), "ada customer");

    shop.clock.advance(ACCESS_GONE);
    for call in Call::BOTH {
        let cases = [
            ("no token", call.make(&optional, "", &[]).await, "token_missing"),
            ("an expired token", call.make(&optional, "", &[ada.bearer()]).await, "token_expired"),
            ("an exempt method", call.make(&exempt, "", &[ada.bearer()]).await, "token_missing"),
        ];
        for (name, answer, message) in cases {
            let Err(refused) = answer else { panic!("{name}, {call:?}: not refused") };
            assert_eq!(
                (refused.code(), refused.message()),
                (Code::Unauthenticated, message),
                "{name}, {call:?}"
            );
        }
        // The layers let such requests pass: it is the method that answers.
        let answer = call.make(&optional, "by extensions", &[]).await;
        assert_eq!(answer.err().map(|error| error.code()), Some(Code::Aborted), "{call:?}");
    }
}
