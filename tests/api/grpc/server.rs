//! A gRPC server on loopback that reports its caller, and the tokens that its clients hold.

use std::{convert::Infallible, error::Error as StdError, net::SocketAddr, vec};

use futures_util::{StreamExt, stream};
use http::{HeaderMap, header::SET_COOKIE};
use tokio::sync::oneshot;
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    metadata::{AsciiMetadataKey, MetadataMap},
    service::Routes,
    transport::{Channel, Server as Transport, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::{Layer, Service};
use tower_cookie_jwt::{Claims, reject::GrpcStatus, session::SignIn, token::Scopes, tonic::RequestClaims};

use crate::{
    jar::{Jar, headers_of},
    shop::{ACCESS, REFRESH, Shop, User, role},
};

pub(crate) type Metadata = Vec<(&'static str, String)>;

/// Returns the caller as `user`. The `service` of the request selects how it is found and what happens then.
pub(crate) struct WhoAsks;

impl WhoAsks {
    fn user(request: &Request<HealthCheckRequest>) -> Result<String, Status> {
        let claims = match &*request.get_ref().service {
            "by extensions" => {
                request.extensions().get::<Claims<User>>().ok_or_else(|| Status::aborted("no claims"))?
            }
            _ => request.claims::<User>()?,
        };
        match &*request.get_ref().service {
            "other claims" => request.claims::<String>().map(|_| ())?,
            "needs scope" => claims.require_scope("admin")?,
            "fails" => return Err(Status::not_found("no such thing")),
            _ => {}
        }
        Ok(format!("{} {}", claims.subject().unwrap_or_default(), claims.custom().role))
    }
}

#[tonic::async_trait]
impl Health for WhoAsks {
    type WatchStream = stream::Iter<vec::IntoIter<Result<HealthCheckResponse, Status>>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let mut response = Response::new(status(ServingStatus::Serving));
        response.metadata_mut().insert("user", Self::user(&request)?.parse().unwrap());
        Ok(response)
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let updates = vec![Ok(status(ServingStatus::Serving)), Ok(status(ServingStatus::NotServing))];
        let mut response = Response::new(stream::iter(updates));
        response.metadata_mut().insert("user", Self::user(&request)?.parse().unwrap());
        Ok(response)
    }
}

fn status(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

/// Stops when it goes out of scope.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _stop: oneshot::Sender<Infallible>,
}

/// A server as the docs advise.
pub(crate) async fn serve(shop: &Shop) -> Server {
    serve_behind(shop.sessions.layer().with_rejection(GrpcStatus)).await
}

pub(crate) async fn serve_behind<L, B>(layers: L) -> Server
where
    L: Layer<Routes> + Clone + Send + 'static,
    L::Service: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + 'static,
    <L::Service as Service<http::Request<Body>>>::Future: Send,
    <L::Service as Service<http::Request<Body>>>::Error: Into<Box<dyn StdError + Send + Sync>> + Send,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<Infallible>();
    let router =
        Transport::builder().accept_http1(true).layer(layers).add_service(HealthServer::new(WhoAsks));
    tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        router.serve_with_incoming_shutdown(incoming, stopped).await.unwrap();
    });
    Server { address, _stop: stop }
}

/// The tokens of one sign-in.
pub(crate) struct Wallet {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) xsrf: String,
}

impl Wallet {
    pub(crate) async fn sign_in(shop: &Shop) -> Self {
        Self::sign_in_with(shop, "read").await
    }

    pub(crate) async fn sign_in_with(shop: &Shop, scope: &str) -> Self {
        let (parts, ()) = http::Request::post("/login").body(()).unwrap().into_parts();
        let sign_in = SignIn::new("ada", role("customer")).with_scope(Scopes::new(scope).unwrap());
        let signed_in = shop.sessions.sign_in_with(&parts, sign_in).await.unwrap();
        let jar = Jar::of(&headers_of(&signed_in));
        Self {
            access: jar.value(ACCESS),
            refresh: jar.value(REFRESH),
            xsrf: signed_in.xsrf_token().to_owned(),
        }
    }

    pub(crate) fn bearer(&self) -> (&'static str, String) {
        ("authorization", format!("Bearer {}", self.access))
    }

    pub(crate) fn access_cookie(&self) -> String {
        format!("{ACCESS}={}", self.access)
    }

    pub(crate) fn cookies(&self) -> (&'static str, String) {
        ("cookie", format!("{}; {REFRESH}={}", self.access_cookie(), self.refresh))
    }

    pub(crate) fn xsrf_header(&self) -> (&'static str, String) {
        ("x-xsrf-token", self.xsrf.clone())
    }
}

/// The value that `Set-Cookie` gives a cookie.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get_all(SET_COOKIE).iter().find_map(|line| {
        let (found, value) = line.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
        (found == name).then(|| value.to_owned())
    })
}

pub(crate) fn question(service: &str, metadata: &[(&'static str, String)]) -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest { service: service.to_owned() });
    for (name, value) in metadata {
        request.metadata_mut().append(AsciiMetadataKey::from_static(name), value.parse().unwrap());
    }
    request
}

/// The two kinds of methods, which must agree.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    Unary,
    Streaming,
}

/// The result of a successful call.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) metadata: MetadataMap,
    pub(crate) messages: usize,
}

impl Answer {
    pub(crate) fn user(&self) -> &str {
        self.metadata.get("user").expect("the method reports its caller").to_str().unwrap()
    }
}

impl Call {
    pub(crate) const BOTH: [Self; 2] = [Self::Unary, Self::Streaming];

    /// Calls with a tonic client.
    pub(crate) async fn make(
        self,
        server: &Server,
        service: &str,
        metadata: &[(&'static str, String)],
    ) -> Result<Answer, Status> {
        let channel = Channel::from_shared(format!("http://{}", server.address)).unwrap();
        let mut client = HealthClient::new(channel.connect().await.expect("the server listens"));
        let request = question(service, metadata);
        match self {
            Self::Unary => {
                let (metadata, ..) = client.check(request).await?.into_parts();
                Ok(Answer { metadata, messages: 1 })
            }
            Self::Streaming => {
                let (metadata, stream, _) = client.watch(request).await?.into_parts();
                let updates: Vec<_> = stream.collect().await;
                let updates = updates.into_iter().collect::<Result<Vec<_>, _>>()?;
                Ok(Answer { metadata, messages: updates.len() })
            }
        }
    }
}

/// Makes each call, unary and streaming, and expects the status with that message.
pub(crate) async fn expect_refusals(server: &Server, code: Code, cases: &[(&str, Metadata, &str)]) {
    for (name, metadata, message) in cases {
        for call in Call::BOTH {
            let Err(refused) = call.make(server, "", metadata).await else {
                panic!("{name}, {call:?}: not refused");
            };
            assert_eq!(refused.code(), code, "{name}, {call:?}");
            assert_eq!(refused.message(), *message, "{name}, {call:?}");
        }
    }
}
