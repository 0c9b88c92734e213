//! Clients that claim to speak gRPC to a stack that has not opted in: a request header must never turn a refusal
//! into a 2xx.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tower::{ServiceBuilder, service_fn, util::BoxCloneSyncService};
use tower_cookie_jwt::{
    RequireLayer,
    reject::{DefaultReject, GrpcStatus, ProblemJson, RedirectToLogin, Reject},
};

use super::server::{Metadata, Wallet};
use crate::shop::{ACCESS_GONE, Shop, User};

type Body = Full<Bytes>;
type Stack = BoxCloneSyncService<Request<Incoming>, Response<Body>, Infallible>;

const CLAIMS_OF_GRPC: [&str; 5] = [
    "application/grpc",
    "application/grpc+proto",
    "application/grpc; charset=utf-8",
    "application/grpc-web+proto",
    "application/grpc-web-text",
];

#[tokio::test]
async fn claiming_grpc_gets_no_2xx_from_a_stack_that_has_not_opted_in() {
    let login = RedirectToLogin::new("/login", ProblemJson).unwrap();
    expect_http_statuses("DefaultReject", DefaultReject).await;
    expect_http_statuses("ProblemJson", ProblemJson).await;
    expect_http_statuses("RedirectToLogin", login).await;
}

#[tokio::test]
async fn a_stack_that_has_opted_in_answers_with_grpc_statuses() {
    for (name, answer, refusal) in refusals(GrpcStatus).await {
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(answer.headers[CONTENT_TYPE], "application/grpc", "{name}");
        assert_eq!(answer.headers["grpc-status"], refusal.grpc_code, "{name}");
        assert_eq!(answer.headers["grpc-message"], refusal.message, "{name}");
    }
}

async fn expect_http_statuses<R>(hook: &str, reject: R)
where
    R: Reject<Body> + Clone + Send + Sync + 'static,
{
    for (name, answer, refusal) in refusals(reject).await {
        assert_eq!(answer.status, refusal.http_status, "{hook}: {name}");
        assert_eq!(answer.headers.get("grpc-status"), None, "{hook}: {name}");
    }
}

struct Refusal {
    http_status: u16,
    grpc_code: &'static str,
    message: &'static str,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
}

/// Every kind of refusal, asked for by clients that claim gRPC in various ways.
async fn refusals<R>(reject: R) -> Vec<(String, Answer, &'static Refusal)>
where
    R: Reject<Body> + Clone + Send + Sync + 'static,
{
    let shop = Shop::new();
    let server = Server::start(stack(&shop, reject)).await;
    let (ada, admin) = (Wallet::sign_in(&shop).await, Wallet::sign_in_with(&shop, "admin").await);
    let served = server.ask(false, CLAIMS_OF_GRPC[0], &vec![admin.bearer()]).await;
    assert_eq!(served.status, 200, "who may is served, so it is the refusals that are tested");

    let evil = ("origin", "https://evil.example".to_owned());
    let page = ("accept", "text/html".to_owned());
    let fresh = [
        ("no token", vec![], &MISSING),
        ("no token, and wants a page", vec![page], &MISSING),
        ("no XSRF header", vec![admin.cookies()], &XSRF),
        ("another site", vec![admin.cookies(), admin.xsrf_header(), evil], &ORIGIN),
        ("a scope that was not granted", vec![ada.bearer()], &SCOPE),
    ];
    let mut answers = server.ask_all(fresh).await;
    shop.clock.advance(ACCESS_GONE);
    answers.extend(server.ask_all([("an expired token", vec![admin.bearer()], &EXPIRED)]).await);
    shop.store.go_down();
    let stale = vec![admin.cookies(), admin.xsrf_header()];
    answers.extend(server.ask_all([("the store is down", stale, &UNAVAILABLE)]).await);
    answers
}

/// A site over bare hyper where only an admin is served.
fn stack<R>(shop: &Shop, reject: R) -> Stack
where
    R: Reject<Body> + Clone + Send + Sync + 'static,
{
    let layers = ServiceBuilder::new()
        .layer(shop.sessions.layer().with_rejection(reject.clone()))
        .layer(RequireLayer::<User>::scope("admin").unwrap().with_rejection(reject));
    let served = service_fn(|_: Request<Incoming>| async { Ok(Response::new(Body::from("served"))) });
    BoxCloneSyncService::new(layers.service(served))
}

/// Stops when it goes out of scope.
struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(stack: Stack) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(stack.clone());
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, task }
    }

    async fn ask_all<const N: usize>(
        &self,
        cases: [(&str, Metadata, &'static Refusal); N],
    ) -> Vec<(String, Answer, &'static Refusal)> {
        let mut answers = Vec::new();
        for (name, headers, refusal) in cases {
            for content_type in CLAIMS_OF_GRPC {
                for http2 in [false, true] {
                    let answer = self.ask(http2, content_type, &headers).await;
                    let version = if http2 { "HTTP/2" } else { "HTTP/1.1" };
                    answers.push((format!("{name}, {content_type} over {version}"), answer, refusal));
                }
            }
        }
        answers
    }

    async fn ask(&self, http2: bool, content_type: &str, headers: &Metadata) -> Answer {
        let mut request = Request::post(format!("http://{}/grpc.health.v1.Health/Check", self.address))
            .header(CONTENT_TYPE, content_type)
            .header("te", "trailers")
            .header("grpc-timeout", "5S");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http::<Body>();
        let response = client.request(request.body(Body::default()).unwrap()).await.unwrap();
        Answer { status: response.status(), headers: response.headers().clone() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const MISSING: Refusal = Refusal { http_status: 401, grpc_code: "16", message: "token_missing" };
const EXPIRED: Refusal = Refusal { http_status: 401, grpc_code: "16", message: "token_expired" };
const XSRF: Refusal = Refusal { http_status: 403, grpc_code: "7", message: "xsrf_missing" };
const ORIGIN: Refusal = Refusal { http_status: 403, grpc_code: "7", message: "origin_refused" };
const SCOPE: Refusal = Refusal { http_status: 403, grpc_code: "7", message: "insufficient_scope" };
const UNAVAILABLE: Refusal = Refusal { http_status: 503, grpc_code: "14", message: "unavailable" };
