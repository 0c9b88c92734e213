//! Browsers over gRPC-web: their token is in a cookie, so they owe the XSRF header.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;
use tonic_web::{GrpcWebClientLayer, GrpcWebLayer};
use tower::{Layer, ServiceBuilder};
use tower_cookie_jwt::reject::GrpcStatus;
use tower_http::cors::CorsLayer;

use super::server::{Call, Server, Wallet, cookie, question, serve_behind};
use crate::shop::{ACCESS, ACCESS_GONE, Shop};

const PROTO: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text";
const METHODS: [(&str, usize); 2] = [("Check", 1), ("Watch", 2)];

#[tokio::test]
async fn cookies_need_the_xsrf_header_and_bearer_metadata_does_not() {
    let shop =
        Shop::with(|builder| builder.with_trusted_origin("https://app.shop.example").expect("an origin"));
    let server = serve_web(&shop).await;
    let ada = Wallet::sign_in(&shop).await;
    let other = Wallet::sign_in(&shop).await;
    let own = ("origin", format!("http://{}", server.address));
    let evil = ("origin", "https://evil.example".to_owned());
    let trusted = ("origin", "https://app.shop.example".to_owned());

    let cases = [
        ("the own page", vec![ada.cookies(), ada.xsrf_header(), own.clone()], "0 "),
        ("a trusted page", vec![ada.cookies(), ada.xsrf_header(), trusted], "0 "),
        ("no XSRF header", vec![ada.cookies(), own.clone()], "7 xsrf_missing"),
        (
            "another session's XSRF header",
            vec![ada.cookies(), other.xsrf_header(), own.clone()],
            "7 xsrf_mismatch",
        ),
        ("another site", vec![ada.cookies(), ada.xsrf_header(), evil.clone()], "7 origin_refused"),
        ("no cookies", vec![ada.xsrf_header(), own.clone()], "16 token_missing"),
        ("bearer metadata", vec![ada.bearer(), own], "0 "),
        ("bearer metadata from elsewhere", vec![ada.bearer(), evil], "0 "),
    ];
    for (name, headers, expected) in cases {
        for (method, messages) in METHODS {
            for content_type in [PROTO, TEXT] {
                let name = format!("{name}, {method} by {content_type}");
                let answer = ask(&server, method, content_type, &headers).await;
                assert_eq!(answer.status, expected, "{name}");
                let served = expected == "0 ";
                assert_eq!(answer.messages, if served { messages } else { 0 }, "{name}");
                let user = answer.headers.get("user").map(|user| user.to_str().unwrap());
                assert_eq!(user, served.then_some("ada customer"), "{name}");
                let found = answer.headers[CONTENT_TYPE].to_str().unwrap();
                assert!(found.starts_with("application/grpc-web"), "{name}: browsers read no {found}");
            }
        }
    }
}

#[tokio::test]
async fn browsers_learn_that_the_store_is_down() {
    let shop = Shop::new();
    let server = serve_web(&shop).await;
    let ada = Wallet::sign_in(&shop).await;
    shop.clock.advance(ACCESS_GONE);
    shop.store.go_down();
    for (method, _) in METHODS {
        let answer = ask(&server, method, PROTO, &[ada.cookies(), ada.xsrf_header()]).await;
        assert_eq!(answer.status, "14 unavailable", "{method}");
        assert_eq!(answer.headers.get("set-cookie"), None, "{method}: nothing is cleared");
    }
}

#[tokio::test]
async fn refreshed_cookies_arrive_over_grpc_web() {
    for (method, messages) in METHODS {
        let shop = Shop::new();
        let server = serve_web(&shop).await;
        let mut ada = Wallet::sign_in(&shop).await;
        shop.clock.advance(ACCESS_GONE);
        let answer = ask(&server, method, PROTO, &[ada.cookies(), ada.xsrf_header()]).await;
        assert_eq!((&*answer.status, answer.messages), ("0 ", messages), "{method}");
        ada.access = cookie(&answer.headers, ACCESS).expect("a new access token");
        let answer = ask(&server, method, PROTO, &[("cookie", ada.access_cookie()), ada.xsrf_header()]).await;
        assert_eq!((&*answer.status, answer.messages), ("0 ", messages), "{method}: with the new cookie");
    }
}

/// The docs put `GrpcWebLayer` outside, for the content type of refusals; no order lets an unauthenticated request in.
#[tokio::test]
async fn with_the_layers_in_reverse_order_every_request_is_still_refused() {
    let shop = Shop::new();
    let layers = ServiceBuilder::new()
        .layer(shop.sessions.layer().with_rejection(GrpcStatus))
        .layer(GrpcWebLayer::new())
        .into_inner();
    let server = serve_behind(layers).await;
    let ada = Wallet::sign_in(&shop).await;
    for (method, _) in METHODS {
        let cases = [
            ("no token", vec![], "16 token_missing"),
            ("no XSRF header", vec![ada.cookies()], "7 xsrf_missing"),
            ("the own page", vec![ada.cookies(), ada.xsrf_header()], "0 "),
        ];
        for (name, headers, expected) in cases {
            assert_eq!(ask(&server, method, PROTO, &headers).await.status, expected, "{name}, {method}");
        }
    }
}

/// A client of gRPC-web that others have written finds the statuses where we put them.
#[tokio::test]
async fn statuses_arrive_at_a_grpc_web_client() {
    let shop = Shop::new();
    let server = serve_web(&shop).await;
    let ada = Wallet::sign_in(&shop).await;
    let http = Client::builder(TokioExecutor::new()).build_http();
    let origin = format!("http://{}", server.address).parse().unwrap();
    let mut client = HealthClient::with_origin(GrpcWebClientLayer::new().layer(http), origin);
    let cases = [
        ("no token", vec![], Some((Code::Unauthenticated, "token_missing"))),
        ("no XSRF header", vec![ada.cookies()], Some((Code::PermissionDenied, "xsrf_missing"))),
        ("the own page", vec![ada.cookies(), ada.xsrf_header()], None),
        ("bearer metadata", vec![ada.bearer()], None),
    ];
    for (name, metadata, expected) in cases {
        let unary = client.check(question("", &metadata)).await.err();
        let streaming = client.watch(question("", &metadata)).await.err();
        for (call, refused) in [(Call::Unary, unary), (Call::Streaming, streaming)] {
            let refused = refused.as_ref().map(|status| (status.code(), status.message()));
            assert_eq!(refused, expected, "{name}, {call:?}");
        }
    }
}

#[tokio::test]
async fn a_page_of_a_trusted_origin_can_read_why_it_was_refused() {
    const PAGE: &str = "https://app.shop.example";
    let shop = Shop::with(|builder| builder.with_trusted_origin(PAGE).expect("an origin"));
    let sent = ["content-type", "x-grpc-web", "x-xsrf-token"].map(HeaderName::from_static);
    let cors = CorsLayer::new()
        .allow_origin([HeaderValue::from_static(PAGE)])
        .allow_methods([Method::POST])
        .allow_headers(sent)
        .expose_headers(["grpc-status", "grpc-message"].map(HeaderName::from_static))
        .allow_credentials(true);
    let layers = ServiceBuilder::new()
        .layer(cors)
        .layer(GrpcWebLayer::new())
        .layer(shop.sessions.layer().with_rejection(GrpcStatus))
        .into_inner();
    let server = serve_behind(layers).await;
    let ada = Wallet::sign_in(&shop).await;

    let preflight = Request::options(format!("http://{}/grpc.health.v1.Health/Check", server.address))
        .header("origin", PAGE)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-grpc-web,x-xsrf-token");
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let allowed = client.request(preflight.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(allowed.status(), 200);
    assert_eq!(allowed.headers()["access-control-allow-credentials"], "true");

    let page = ("origin", PAGE.to_owned());
    let refused = ask(&server, "Check", PROTO, &[ada.cookies(), page.clone()]).await;
    assert_eq!(refused.status, "7 xsrf_missing");
    assert_eq!(refused.headers["access-control-allow-origin"], PAGE);
    assert_eq!(refused.headers["access-control-expose-headers"], "grpc-status,grpc-message");
    let served = ask(&server, "Check", PROTO, &[ada.cookies(), ada.xsrf_header(), page]).await;
    assert_eq!((&*served.status, served.messages), ("0 ", 1));
}

/// Starts a server as the docs advise: gRPC-web outside, so that refusals are translated too.
async fn serve_web(shop: &Shop) -> Server {
    let layers = ServiceBuilder::new()
        .layer(GrpcWebLayer::new())
        .layer(shop.sessions.layer().with_rejection(GrpcStatus))
        .into_inner();
    serve_behind(layers).await
}

struct WebAnswer {
    headers: HeaderMap,
    messages: usize,
    /// Code and message.
    status: String,
}

/// Asks as the page's gRPC-web library does, over HTTP/1.1.
async fn ask(
    server: &Server,
    method: &str,
    content_type: &str,
    headers: &[(&'static str, String)],
) -> WebAnswer {
    let no_message = [0; 5]; // a frame's flag and length; all fields have their defaults
    let body = if content_type == TEXT { STANDARD.encode(no_message).into() } else { no_message.to_vec() };
    let mut request = Request::post(format!("http://{}/grpc.health.v1.Health/{method}", server.address))
        .header(CONTENT_TYPE, content_type)
        .header("accept", content_type)
        .header("x-grpc-web", "1");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let response = client.request(request.body(body.into()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200, "gRPC's statuses are not HTTP's");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    read(Response::from_parts(parts, if content_type == TEXT { from_text(&body) } else { body.to_vec() }))
}

/// Counts the messages and finds the status: in the frame of trailers, or where there is no body in the
/// headers.
fn read(response: Response<Vec<u8>>) -> WebAnswer {
    let (parts, body) = response.into_parts();
    let (mut rest, mut messages, mut trailers) = (&body[..], 0, None);
    while let [flag, a, b, c, d, after @ ..] = rest {
        let (frame, next) = after.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        if *flag == 0x80 {
            assert!(next.is_empty(), "trailers come last");
            trailers = Some(String::from_utf8(frame.to_vec()).unwrap());
        } else {
            messages += 1;
        }
        rest = next;
    }
    assert!(rest.is_empty(), "half a frame");
    let find = |name: &str| match &trailers {
        Some(trailers) => {
            trailers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        }
        None => parts.headers.get(name).map(|value| value.to_str().unwrap()),
    };
    let code = find("grpc-status").expect("every answer has a status");
    let status = format!("{code} {}", find("grpc-message").unwrap_or_default());
    WebAnswer { headers: parts.headers, messages, status }
}

/// Each chunk is encoded and padded separately.
fn from_text(body: &[u8]) -> Vec<u8> {
    body.chunks(4).flat_map(|group| STANDARD.decode(group).unwrap()).collect()
}
