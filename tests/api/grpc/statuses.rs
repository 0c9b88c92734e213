//! Which status a refusal and a failed session call become.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use tonic::{Code, Status};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_cookie_jwt::{
    Clock, KeyRing, RequireLayer, Verifier,
    reject::{DefaultReject, GrpcStatus, Refusal, Reject},
    session::SessionError,
    testing::TestClock,
    token::{InsufficientScope, Issuer, NewToken, TokenErrorKind},
};

use super::server::Wallet;
use crate::shop::{DAY, SECRET, Shop, User, role};

#[tokio::test]
async fn refusals_become_statuses_with_their_stable_code() {
    let shop = Shop::new();
    let ada = Wallet::sign_in(&shop).await;
    let evil = ("origin", "https://evil.example".to_owned());
    let wrong = ("x-xsrf-token", "AAAAAAAAAAAAAAAAAAAAAAAA".to_owned());
    let (u, p) = (Code::Unauthenticated, Code::PermissionDenied);
    let kind = |kind: TokenErrorKind| Refusal::Token(kind.into());
    let cases = [
        ("missing", kind(TokenErrorKind::Missing), u, "token_missing"),
        ("malformed", kind(TokenErrorKind::Malformed), u, "token_invalid"),
        ("bad signature", kind(TokenErrorKind::BadSignature), u, "token_invalid"),
        ("claims of another type", kind(TokenErrorKind::ClaimsMismatch), u, "token_invalid"),
        ("expired", kind(TokenErrorKind::Expired), u, "token_expired"),
        ("ambiguous", kind(TokenErrorKind::Ambiguous), u, "token_ambiguous"),
        ("revoked", kind(TokenErrorKind::Revoked), u, "session_revoked"),
        ("stale", asked(&shop, &[ada.bearer()]).await, u, "insufficient_user_authentication"),
        ("no XSRF header", asked(&shop, &[ada.cookies()]).await, p, "xsrf_missing"),
        ("wrong XSRF header", asked(&shop, &[ada.cookies(), wrong]).await, p, "xsrf_mismatch"),
        ("another site", asked(&shop, &[ada.cookies(), ada.xsrf_header(), evil]).await, p, "origin_refused"),
        ("no scope", Refusal::Scope(missing_scope(&shop, &ada)), p, "insufficient_scope"),
        ("the store is down", Refusal::Unavailable, Code::Unavailable, "unavailable"),
    ];
    let (parts, ()) = Request::new(()).into_parts();
    for (name, refusal, code, message) in cases {
        let response: Response<String> = GrpcStatus.reject(&refusal, &parts);
        let answered = Status::from_header_map(response.headers()).expect("GrpcStatus answers with a status");
        for (by, status) in [("From", Status::from(refusal)), ("GrpcStatus", answered)] {
            assert_eq!((status.code(), status.message()), (code, message), "{name}, by {by}");
        }
    }
    let status = Status::from(missing_scope(&shop, &ada));
    assert_eq!((status.code(), status.message()), (p, "insufficient_scope"), "by `require_scope(..)?`");
}

#[tokio::test]
async fn session_errors_become_statuses() {
    let shop = Shop::new();
    let (foreign, ()) =
        Request::post("/login").header("origin", "https://evil.example").body(()).unwrap().into_parts();
    let origin = shop.sessions.sign_in(&foreign, "ada", role("customer")).await.unwrap_err();
    let token = NewToken::access("ada", Duration::from_secs(60));
    let issue = Issuer::new(KeyRing::hs256(SECRET).unwrap()).issue(&token, &"no object");
    let cases = [
        ("another site", origin, Code::PermissionDenied, "origin_refused"),
        (
            "ended",
            SessionError::Token(TokenErrorKind::Revoked.into()),
            Code::Unauthenticated,
            "session_revoked",
        ),
        (
            "the store is down",
            SessionError::Unavailable("no answer".into()),
            Code::Unavailable,
            "unavailable",
        ),
        ("the store is full", SessionError::Full, Code::Unavailable, "unavailable"),
        (
            "a mistake of the application",
            SessionError::Issue(issue.unwrap_err()),
            Code::Internal,
            "a token could not be issued",
        ),
    ];
    for (name, error, code, message) in cases {
        let status = Status::from(error);
        assert_eq!((status.code(), status.message()), (code, message), "{name}");
    }
}

/// The refusal of a stack that demands a sign-in of today, a day later.
async fn asked(shop: &Shop, headers: &[(&'static str, String)]) -> Refusal {
    let tomorrow = TestClock::at(shop.clock.now() + DAY);
    let layers = ServiceBuilder::new()
        .layer(shop.sessions.layer().with_rejection(DefaultReject))
        .layer(RequireLayer::<User>::recent_sign_in(Duration::from_secs(600)).with_clock(tomorrow));
    let service = layers
        .service(service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(String::new())) }));
    let mut request = Request::post("https://shop.example/");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let Ok(response) = service.oneshot(request.body(()).unwrap()).await;
    response.extensions().get::<Refusal>().expect("the request is refused").clone()
}

fn missing_scope(shop: &Shop, ada: &Wallet) -> InsufficientScope {
    let verifier = Verifier::<User>::builder(KeyRing::hs256(SECRET).unwrap())
        .with_clock(shop.clock.clone())
        .build()
        .expect("the settings agree");
    verifier.verify(&ada.access).unwrap().require_scope("admin").unwrap_err()
}
