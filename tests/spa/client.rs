//! A small HTTP/1.1 client with a cookie jar, on a plain socket.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::kit::jar::Jar;

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) port: u16,
    pub(crate) cookies: Jar,
    xsrf: bool,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("headers are text"))
    }

    pub(crate) fn clears_cookies(&self) -> bool {
        let mut lines = self.headers.get_all("set-cookie").iter();
        lines.any(|line| line.to_str().is_ok_and(|line| line.contains("Max-Age=0")))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }
}

impl Client {
    pub(crate) fn new(port: u16) -> Self {
        Self { port, cookies: Jar::default(), xsrf: false }
    }

    /// Sends the XSRF token along with the next request.
    pub(crate) fn with_xsrf(&mut self) -> &mut Self {
        self.xsrf = true;
        self
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    pub(crate) fn delete(&mut self, path: &str) -> Answer {
        self.send("DELETE", path, None)
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(body))
    }

    /// Like [`get`](Self::get), for a server that may be killed meanwhile.
    pub(crate) fn try_get(&mut self, path: &str) -> io::Result<Answer> {
        self.try_send("GET", path, None)
    }

    fn send(&mut self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.try_send(method, path, body).expect("it answers")
    }

    fn try_send(&mut self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n", self.port);
        if !body.is_empty() {
            request += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        }
        if !self.cookies.is_empty() {
            request += &format!("cookie: {}\r\n", self.cookies.header());
        }
        if std::mem::take(&mut self.xsrf) {
            request += &format!("x-xsrf-token: {}\r\n", self.cookies.value("XSRF-TOKEN"));
        }
        request += "\r\n";
        request += &body;
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(request.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let answer = parse(&text).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.store(&answer);
        Ok(answer)
    }

    pub(crate) fn store(&mut self, answer: &Answer) {
        self.cookies.store(&answer.headers);
    }
}

/// Returns `None` if the answer has not arrived in full.
fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name: HeaderName = name.parse().expect("a header name");
        headers.append(name, HeaderValue::from_str(value.trim()).expect("a header value"));
    }
    let announced = headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length != body.len()) {
        return None;
    }
    Some(Answer { status: status.expect("a status"), headers, body: body.to_owned() })
}
