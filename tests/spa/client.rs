//! A small HTTP/1.1 client with a cookie jar, on a plain socket.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use serde_json::Value;

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) port: u16,
    pub(crate) cookies: BTreeMap<String, String>,
    xsrf: bool,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn clears_cookies(&self) -> bool {
        self.headers.iter().any(|(name, line)| name == "set-cookie" && line.contains("Max-Age=0"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }
}

impl Client {
    pub(crate) fn new(port: u16) -> Self {
        Self { port, cookies: BTreeMap::new(), xsrf: false }
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

    /// As [`get`](Self::get), where the server may die meanwhile.
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
            let cookies: Vec<_> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request += &format!("cookie: {}\r\n", cookies.join("; "));
        }
        if std::mem::take(&mut self.xsrf) {
            request += &format!("x-xsrf-token: {}\r\n", self.cookies["XSRF-TOKEN"]);
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
        for (_, line) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, rest) = line.split_once('=').expect("a cookie has a name");
            let value = rest.split(';').next().unwrap_or_default();
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// `None` when it has not come in full.
fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let announced = headers.iter().find(|(name, _)| name == "content-length");
    if announced.is_some_and(|(_, length)| length.parse() != Ok(body.len())) {
        return None;
    }
    Some(Answer { status: status.expect("a status"), headers, body: body.to_owned() })
}
