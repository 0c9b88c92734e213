//! The layers on a hyper server without a framework, asked by real clients.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version, header::COOKIE, request};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_cookie_jwt::{
    Claims, KeyRing, MemoryStore, Sessions, reject::ProblemJson, session::SessionError, testing::TestClock,
    token::Source,
};

use crate::{
    jar::Jar,
    loopback::{Arrived, HttpClient, Loopback, arrived, client},
};

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];
const ACCESS_GONE: Duration = Duration::from_secs(15 * 60 + 31);

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// A server, and a client of it that keeps its cookies.
struct Setup {
    server: Loopback,
    clock: TestClock,
    client: HttpClient,
    version: Version,
    cookies: Jar,
}

impl Setup {
    async fn new(version: Version) -> Self {
        let clock = TestClock::new();
        let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef").unwrap();
        let sessions = Sessions::<()>::builder(keys, MemoryStore::new().with_clock(clock.clone()))
            .with_audience("shop")
            .with_clock(clock.clone())
            .build()
            .unwrap();
        let server = Loopback::serve(site(sessions)).await;
        Self { server, clock, client: client(version), version, cookies: Jar::default() }
    }

    async fn signed_in(version: Version) -> Self {
        let mut setup = Self::new(version).await;
        let answer = setup.post("/login").await;
        assert_eq!(answer.status, StatusCode::OK, "{version:?}: {}", answer.text);
        assert_eq!(setup.cookies.names(), ["__Host-access", "__Host-refresh", "XSRF-TOKEN"], "{version:?}");
        setup
    }

    async fn get(&mut self, path: &str) -> Arrived {
        self.send(Method::GET, path, |request| request).await
    }

    async fn post(&mut self, path: &str) -> Arrived {
        self.send(Method::POST, path, |request| request).await
    }

    /// Sends a POST with the XSRF header, as a page of the site does.
    async fn own_post(&mut self, path: &str) -> Arrived {
        let value = self.cookies.value("XSRF-TOKEN");
        self.send(Method::POST, path, |request| request.header("x-xsrf-token", value)).await
    }

    /// Sends each cookie in a separate field, between two foreign ones.
    async fn send(
        &mut self,
        method: Method,
        path: &str,
        complete: impl FnOnce(request::Builder) -> request::Builder,
    ) -> Arrived {
        let mut request = Request::builder().method(method).uri(self.server.url(path)).version(self.version);
        request = request.header(COOKIE, "theme=dark");
        for (name, value) in self.cookies.iter() {
            request = request.header(COOKIE, format!("{name}={value}"));
        }
        request = complete(request.header(COOKIE, "cart=\"1,2\""));
        let request = request.body(Full::default()).expect("a valid request");
        let response = self.client.request(request).await.expect("the server answers");
        let answer = arrived(response).await;
        assert_eq!(answer.version, self.version, "the version that the test is about");
        self.cookies.store(&answer.headers);
        answer
    }
}

fn site(
    sessions: Sessions<()>,
) -> impl Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    let pages = sessions.layer().with_rejection(ProblemJson).layer(service_fn(page));
    service_fn(move |request: Request<Incoming>| {
        let (sessions, pages) = (sessions.clone(), pages.clone());
        async move {
            Ok(match request.uri().path() {
                "/login" => login(&sessions, request).await.unwrap_or_else(|error| failed(&error)),
                "/logout" => logout(&sessions, request).await.unwrap_or_else(|error| failed(&error)),
                "/refresh" => {
                    let Ok(response) = sessions.refresh_service().oneshot(request).await;
                    response.map(BodyExt::boxed)
                }
                _ => {
                    let Ok(response) = pages.oneshot(request).await;
                    response.map(BodyExt::boxed)
                }
            })
        }
    })
}

/// Answers with the caller and the number of cookie fields.
async fn page(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let fields = request.headers().get_all(COOKIE).iter().count();
    let claims = request.extensions().get::<Claims<()>>().expect("the layer demands claims");
    assert_eq!(claims.source(), Source::Cookie);
    let (subject, generation) = (claims.subject().unwrap(), claims.generation().unwrap());
    Ok(Response::new(format!("{subject} {generation}, {fields} fields").into()))
}

async fn login(sessions: &Sessions<()>, request: Request<Incoming>) -> Result<Answer, SessionError> {
    let signed_in = sessions.sign_in(&request.into_parts().0, "ada", ()).await?;
    let mut response = text(signed_in.xsrf_token().to_owned());
    signed_in.append_to(response.headers_mut());
    Ok(response)
}

async fn logout(sessions: &Sessions<()>, request: Request<Incoming>) -> Result<Answer, SessionError> {
    let signed_out = sessions.sign_out(&request.into_parts().0).await?;
    let mut response = text(String::new());
    signed_out.append_to(response.headers_mut());
    Ok(response)
}

fn failed(error: &SessionError) -> Answer {
    let mut response = text(error.to_string());
    *response.status_mut() = error.refusal().map_or(StatusCode::INTERNAL_SERVER_ERROR, |r| r.status());
    response
}

fn text(text: String) -> Answer {
    Response::new(Full::from(text).boxed())
}

#[tokio::test]
async fn cookies_split_over_several_fields_sign_the_client_in() {
    for version in VERSIONS {
        let mut setup = Setup::new(version).await;
        assert_eq!(setup.get("/").await.status, StatusCode::UNAUTHORIZED, "{version:?}: before the sign-in");
        let mut setup = Setup::signed_in(version).await;
        let answer = setup.get("/").await;
        assert_eq!(answer.status, StatusCode::OK, "{version:?}: {}", answer.text);
        assert_eq!(answer.text, "ada 0, 5 fields", "{version:?}: they were split on the wire");
    }
}

#[tokio::test]
async fn an_unsafe_request_needs_the_xsrf_header_and_the_own_origin() {
    for version in VERSIONS {
        let mut setup = Setup::signed_in(version).await;
        let xsrf = setup.cookies.value("XSRF-TOKEN");
        let own = setup.server.origin();
        for (case, origin, value, status, code) in [
            ("no header", None, None, 403, "xsrf_missing"),
            ("the wrong value", None, Some("b3RoZXIteHNyZi12YWx1ZSEh"), 403, "xsrf_mismatch"),
            ("the right value", None, Some(&*xsrf), 200, ""),
            ("the own origin", Some(&*own), Some(&*xsrf), 200, ""),
            ("another site", Some("https://evil.example"), Some(&*xsrf), 403, "origin_refused"),
            ("another port", Some("http://127.0.0.1:1"), Some(&*xsrf), 403, "origin_refused"),
            ("the host without its port", Some("http://127.0.0.1"), Some(&*xsrf), 403, "origin_refused"),
        ] {
            let answer = setup
                .send(Method::POST, "/orders", |mut request| {
                    if let Some(origin) = origin {
                        request = request.header("origin", origin);
                    }
                    if let Some(value) = value {
                        request = request.header("x-xsrf-token", value);
                    }
                    request
                })
                .await;
            assert_eq!(answer.status, status, "{version:?}: {case}: {}", answer.text);
            assert!(answer.text.contains(code), "{version:?}: {case}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn an_expired_access_token_is_refreshed_on_the_way() {
    for version in VERSIONS {
        let mut setup = Setup::signed_in(version).await;
        assert_eq!(setup.get("/").await.status, StatusCode::OK, "{version:?}: shows the access token");
        let before = setup.cookies.clone();
        setup.clock.advance(ACCESS_GONE);
        // The XSRF value is the session's: it outlives the access token.
        let answer = setup.own_post("/orders").await;
        assert_eq!(answer.status, StatusCode::OK, "{version:?}: {}", answer.text);
        assert_eq!(answer.text, "ada 1, 5 fields", "{version:?}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{version:?}");
        assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 3, "{version:?}");
        for name in ["__Host-access", "__Host-refresh"] {
            assert_ne!(setup.cookies.value(name), before.value(name), "{version:?}: {name} is a new one");
        }
        let next = setup.get("/").await;
        assert_eq!(next.text, "ada 1, 5 fields", "{version:?}: the new cookies work");
        assert!(!next.headers.contains_key("set-cookie"), "{version:?}: and are not set again");
    }
}

#[tokio::test]
async fn the_refresh_service_and_the_sign_out_work_over_the_wire() {
    for version in VERSIONS {
        let mut setup = Setup::signed_in(version).await;
        setup.get("/").await;
        setup.clock.advance(ACCESS_GONE);
        let refreshed = setup.post("/refresh").await;
        assert_eq!(refreshed.status, StatusCode::OK, "{version:?}: {}", refreshed.text);
        assert!(refreshed.text.contains("xsrfToken"), "{version:?}: {}", refreshed.text);
        assert_eq!(setup.get("/").await.text, "ada 1, 5 fields", "{version:?}");

        let held = setup.cookies.clone();
        let foreign = setup
            .send(Method::POST, "/logout", |request| request.header("origin", "https://evil.example"))
            .await;
        assert_eq!(foreign.status, StatusCode::FORBIDDEN, "{version:?}: another site cannot sign her out");
        assert_eq!(setup.cookies, held, "{version:?}");

        let signed_out = setup.post("/logout").await;
        assert_eq!(signed_out.status, StatusCode::OK, "{version:?}");
        assert!(setup.cookies.is_empty(), "{version:?}: {:?}", setup.cookies);
        assert_eq!(setup.get("/").await.status, StatusCode::UNAUTHORIZED, "{version:?}");
        setup.cookies = held;
        assert_eq!(setup.post("/refresh").await.status, StatusCode::UNAUTHORIZED, "{version:?}: it ended");
    }
}
