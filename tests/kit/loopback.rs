//! Real servers and clients on loopback.

use std::{convert::Infallible, future::Future, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tower::Service;

pub(crate) type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// An HTTP/1 and HTTP/2 server on a free port. Dropping it closes its connections.
pub(crate) struct Loopback {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Loopback {
    pub(crate) async fn serve<S, B>(service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        Self::run(|listener| accept(listener, service)).await
    }

    /// Runs a server of another make.
    pub(crate) async fn run<F>(server: impl FnOnce(TcpListener) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        Self { address, task: tokio::spawn(server(listener)) }
    }

    /// `http://127.0.0.1:PORT`
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<S, B>(listener: TcpListener, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(service.clone());
        connections.spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            // A client that disconnects does not fail the test.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A client that speaks this version and no other.
pub(crate) fn client(version: Version) -> HttpClient {
    Client::builder(TokioExecutor::new()).http2_only(version == Version::HTTP_2).build_http()
}

/// An answer that has arrived as a whole.
pub(crate) struct Arrived {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

pub(crate) async fn arrived<B: Body<Error: std::fmt::Debug>>(response: Response<B>) -> Arrived {
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.expect("the body arrives").to_bytes();
    Arrived {
        status: head.status,
        version: head.version,
        headers: head.headers,
        text: String::from_utf8(bytes.to_vec()).expect("the body is text"),
    }
}
