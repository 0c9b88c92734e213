//! A client that performs all steps, once over HTTP/1 and once over HTTP/2.

use std::{collections::BTreeMap, net::SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode, Version,
    header::{COOKIE, SET_COOKIE},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use crate::BoxError;

/// Performs all steps, and fails at the first response with an unexpected status.
pub(crate) async fn run(server: SocketAddr) -> Result<(), BoxError> {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        println!("{version:?}");
        steps(&mut Visitor::new(server, version)).await?;
    }
    println!("all steps succeeded");
    Ok(())
}

async fn steps(ada: &mut Visitor) -> Result<(), BoxError> {
    let (get, post) = (Method::GET, Method::POST);
    ada.step("the page, not signed in", &get, "/", &[], "", 401).await?;
    ada.step("signing in with a wrong password", &post, "/api/login", FORM, "name=ada&password=guess", 401)
        .await?;
    let signed_in =
        ada.step("signing in", &post, "/api/login", FORM, "name=ada&password=lovelace", 200).await?;
    let signed_in: Value = serde_json::from_str(&signed_in)?;
    let xsrf = signed_in["xsrfToken"].as_str().ok_or("the response lacks the XSRF token")?;

    ada.step("the page, signed in", &get, "/", &[], "", 200).await?;
    ada.step("an order without the XSRF header", &post, "/orders", &[], "", 403).await?;
    ada.step("an order with the XSRF header", &post, "/orders", &[("x-xsrf-token", xsrf)], "", 201).await?;
    let foreign = [("origin", "https://evil.example"), ("x-xsrf-token", xsrf)];
    ada.step("an order from another site's page", &post, "/orders", &foreign, "", 403).await?;

    // Browsers remove the access cookie when it expires, after 15 minutes. The refresh cookie lives longer.
    ada.cookies.remove("access");
    ada.step("the page, with the session refreshed", &get, "/", &[], "", 200).await?;
    if !ada.cookies.contains_key("access") {
        return Err("the response set no new access cookie".into());
    }
    ada.step("an explicit refresh", &post, "/api/refresh", &[], "", 200).await?;

    ada.step("signing out", &post, "/api/logout", &[], "", 200).await?;
    if !ada.cookies.is_empty() {
        return Err("signing out did not clear all cookies".into());
    }
    ada.step("the page, signed out", &get, "/", &[], "", 401).await?;
    Ok(())
}

const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];

/// A client with a cookie jar.
struct Visitor {
    client: Client<HttpConnector, Full<Bytes>>,
    server: SocketAddr,
    version: Version,
    cookies: BTreeMap<String, String>,
}

impl Visitor {
    fn new(server: SocketAddr, version: Version) -> Self {
        let mut client = Client::builder(TokioExecutor::new());
        let client = client.http2_only(version == Version::HTTP_2).build_http();
        Self { client, server, version, cookies: BTreeMap::new() }
    }

    /// Sends a request, prints the status of the response, and returns its body.
    async fn step(
        &mut self,
        what: &str,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &'static str,
        expected: u16,
    ) -> Result<String, BoxError> {
        let request = self.request(method, path, headers, body)?;
        let (head, body) = self.client.request(request).await?.into_parts();
        for line in head.headers.get_all(SET_COOKIE) {
            self.keep(line.to_str()?);
        }
        let body = String::from_utf8(body.collect().await?.to_bytes().to_vec())?;
        println!("  {what}: {method} {path} -> {}", head.status);
        if head.status == StatusCode::from_u16(expected)? {
            Ok(body)
        } else {
            Err(format!("{what}: expected {expected}, got {}: {body}", head.status).into())
        }
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let uri = format!("http://{}{path}", self.server);
        let mut request = Request::builder().method(method).uri(uri).version(self.version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if self.version == Version::HTTP_2 {
            // One header field per cookie, like browsers, which do so for better compression.
            for (name, value) in &self.cookies {
                request = request.header(COOKIE, format!("{name}={value}"));
            }
        } else if !self.cookies.is_empty() {
            let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
            request = request.header(COOKIE, pairs.collect::<Vec<_>>().join("; "));
        }
        request.body(Full::from(body))
    }

    /// Processes a `Set-Cookie` header like a browser, as far as this demo needs it.
    fn keep(&mut self, line: &str) {
        let pair = line.split(';').next().unwrap_or_default();
        let Some((name, value)) = pair.split_once('=') else {
            return;
        };
        if line.contains("Max-Age=0") {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}
