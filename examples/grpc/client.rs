//! The clients: a program that uses gRPC, a browser that uses gRPC-web, and the tokens they hold.

use std::{error::Error, net::SocketAddr};

use http::{HeaderMap, header::SET_COOKIE};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tonic::{Request, Status, body::Body, metadata::AsciiMetadataKey, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_web::{GrpcWebCall, GrpcWebClientLayer, GrpcWebClientService};
use tower::Layer;
use tower_cookie_jwt::{Sessions, session::SignIn};

use crate::server::User;

pub(crate) type Program = HealthClient<Channel>;
pub(crate) type WebPage = HealthClient<GrpcWebClientService<Client<HttpConnector, GrpcWebCall<Body>>>>;

/// Connects a program over HTTP/2.
pub(crate) async fn program(address: SocketAddr) -> Result<Program, tonic::transport::Error> {
    Ok(HealthClient::new(Channel::from_shared(format!("http://{address}")).expect("a URI").connect().await?))
}

/// Creates a client that behaves like the gRPC-web library of a page: over HTTP/1.1.
pub(crate) fn web_page(address: SocketAddr) -> WebPage {
    let http = Client::builder(TokioExecutor::new()).build_http();
    let origin = format!("http://{address}").parse().expect("a URI");
    HealthClient::with_origin(GrpcWebClientLayer::new().layer(http), origin)
}

/// The tokens that a client holds after signing in.
pub(crate) struct SignedIn {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) xsrf: String,
}

/// Signs Ada in. An application does this in a handler outside the layers, after checking the password, and sets the
/// cookies on its response; see `examples/spa`.
pub(crate) async fn sign_in(sessions: &Sessions<User>) -> Result<SignedIn, Box<dyn Error + Send + Sync>> {
    let (request, ()) = http::Request::post("/login").body(())?.into_parts();
    let ada = User { name: "Ada".to_owned() };
    let signed_in = sessions.sign_in_with(&request, SignIn::new("ada", ada)).await?;
    let mut response = HeaderMap::new();
    signed_in.append_to(&mut response);
    Ok(SignedIn {
        access: set_cookie(&response, "__Host-access").ok_or("no access token")?,
        refresh: set_cookie(&response, "__Host-refresh").ok_or("no refresh token")?,
        xsrf: signed_in.xsrf_token().to_owned(),
    })
}

impl SignedIn {
    /// The token as metadata, as a program sends it.
    pub(crate) fn bearer(&self) -> Header {
        ("authorization", format!("Bearer {}", self.access))
    }

    /// The cookies, which a browser attaches to requests automatically, whichever site makes them.
    pub(crate) fn cookies(&self) -> Header {
        ("cookie", format!("__Host-access={}; __Host-refresh={}", self.access, self.refresh))
    }

    /// The cookies after the access token has expired: the browser has removed the access cookie by then.
    pub(crate) fn cookies_after_expiry(&self) -> Header {
        ("cookie", format!("__Host-refresh={}", self.refresh))
    }

    /// The header that only the site's own script can set.
    pub(crate) fn xsrf_header(&self) -> Header {
        ("x-xsrf-token", self.xsrf.clone())
    }
}

pub(crate) type Header = (&'static str, String);

/// A request for the health of a part of the shop, with these headers.
pub(crate) fn question(part: &str, headers: &[Header]) -> Result<Request<HealthCheckRequest>, Status> {
    let mut request = Request::new(HealthCheckRequest { service: part.to_owned() });
    for (name, value) in headers {
        let value = value.parse().map_err(|_| Status::invalid_argument("the header value is not valid"))?;
        request.metadata_mut().insert(AsciiMetadataKey::from_static(name), value);
    }
    Ok(request)
}

/// Returns the value to which a response sets the cookie `name`.
pub(crate) fn set_cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut lines = headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.find_map(|line| {
        let (found, value) = line.split(';').next()?.split_once('=')?;
        (found == name).then(|| value.to_owned())
    })
}
