//! A minimal browser for the demo: it keeps cookies, and sends the origin of the page.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    http::{
        HeaderMap, Method, Request, StatusCode,
        header::{ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, COOKIE, ORIGIN, SET_COOKIE},
    },
};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use crate::BoxError;

pub(crate) struct Browser {
    http: Client<HttpConnector, Full<Bytes>>,
    /// The cookies of `localhost`, which are sent to every port.
    cookies: BTreeMap<String, String>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// `Null` if the body is not JSON.
    pub(crate) body: Value,
}

impl Browser {
    pub(crate) fn new() -> Self {
        Self { http: Client::builder(TokioExecutor::new()).build_http(), cookies: BTreeMap::new() }
    }

    /// Sends a request like script in a page of the origin `page`.
    pub(crate) async fn fetch(
        &mut self,
        page: &str,
        method: Method,
        url: String,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, BoxError> {
        let mut request = Request::builder().method(method).uri(url).header(ORIGIN, page);
        if !self.cookies.is_empty() {
            request = request.header(COOKIE, self.cookie_header());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.http.request(request.body(Full::from(body.to_owned()))?).await?;
        let (parts, body) = response.into_parts();
        self.store(&parts.headers);
        let body = serde_json::from_slice(&body.collect().await?.to_bytes()).unwrap_or_default();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    pub(crate) fn cookie_names(&self) -> String {
        self.cookies.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn cookie(&self, name: &str) -> &str {
        self.cookies.get(name).map_or("", String::as_str)
    }

    fn cookie_header(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn store(&mut self, headers: &HeaderMap) {
        let lines = headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
        for line in lines {
            let Some((name, value)) = line.split(';').next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

impl Answer {
    /// Returns whether a browser would let script of the origin `page` read this response to a request with cookies.
    pub(crate) fn is_readable_by(&self, page: &str) -> bool {
        let says = |name, value| self.headers.get(name).is_some_and(|found| found == value);
        says(ACCESS_CONTROL_ALLOW_ORIGIN, page) && says(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")
    }

    pub(crate) fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_default()
    }
}
