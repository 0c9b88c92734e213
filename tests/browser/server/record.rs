//! What arrived, how it was answered, and which handlers ran: what a browser sees is not enough to
//! know that an attack failed.
//!
//! `GET /lab/requests` lists the requests, `GET /lab/counters` how often each handler ran, `GET /lab/events` the events of
//! sessions. `POST /lab/store/down` lets the store fail, until `POST /lab/store/up`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{
        HeaderMap,
        header::{COOKIE, SET_COOKIE},
    },
    middleware::Next,
    response::Response,
    routing::{get, post},
};
use serde::Serialize;
use tower_cookie_jwt::{reject::Refusal, session::SessionEvent};

use crate::store::LabStore;

#[derive(Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    counters: BTreeMap<&'static str, u64>,
    requests: Vec<Entry>,
    events: Vec<String>,
}

/// One request. Only the names of its cookies: values are secret.
#[derive(Clone, Serialize)]
struct Entry {
    method: String,
    path: String,
    query: String,
    origin: Option<String>,
    site: Option<String>,
    has_xsrf_header: bool,
    cookies: Vec<String>,
    /// Nothing while the request is being answered, and for ever when the browser has gone.
    status: Option<u16>,
    code: Option<&'static str>,
    sets: Vec<String>,
    clears: Vec<String>,
}

impl Record {
    /// Notes that a handler has run, or got somewhere.
    pub(crate) fn count(&self, what: &'static str) {
        *self.book().counters.entry(what).or_default() += 1;
    }

    /// Notes the name of an event.
    pub(crate) fn happened(&self, event: &SessionEvent<'_>) {
        let text = format!("{event:?}");
        let name = text.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default();
        self.book().events.push(name.to_owned());
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrived(&self, entry: Entry) -> usize {
        let mut book = self.book();
        book.requests.push(entry);
        book.requests.len() - 1
    }

    fn answered(&self, index: usize, response: &Response) {
        let (clears, sets) = set_cookies(response.headers());
        let entry = &mut self.book().requests[index];
        entry.status = Some(response.status().as_u16());
        entry.code = response.extensions().get::<Refusal>().map(Refusal::code);
        entry.sets = sets;
        entry.clears = clears;
    }
}

pub(crate) fn routes(record: Record, store: LabStore) -> Router {
    Router::new()
        .route(
            "/lab/requests",
            get(|State(record): State<Record>| async move { Json(record.book().requests.clone()) }),
        )
        .route(
            "/lab/counters",
            get(|State(record): State<Record>| async move { Json(record.book().counters.clone()) }),
        )
        .route(
            "/lab/events",
            get(|State(record): State<Record>| async move { Json(record.book().events.clone()) }),
        )
        .route(
            "/lab/store/{state}",
            post(|Path(state): Path<String>| async move { store.set_down(state == "down") }),
        )
        .with_state(record)
}

pub(crate) async fn observe(State(record): State<Record>, request: Request, next: Next) -> Response {
    let index = record.arrived(entry(&request));
    let response = next.run(request).await;
    record.answered(index, &response);
    response
}

fn entry(request: &Request) -> Entry {
    let header = |name: &str| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
    Entry {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        origin: header("origin"),
        site: header("sec-fetch-site"),
        has_xsrf_header: request.headers().contains_key("x-xsrf-token"),
        cookies: cookie_names(request.headers()),
        status: None,
        code: None,
        sets: Vec::new(),
        clears: Vec::new(),
    }
}

fn cookie_names(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split("; ")).map(name).collect()
}

/// The names of the cookies that are cleared, and of those that are set.
fn set_cookies(headers: &HeaderMap) -> (Vec<String>, Vec<String>) {
    let lines = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let (clears, sets): (Vec<_>, Vec<_>) = lines.partition(|line| line.contains("Max-Age=0"));
    let names = |lines: Vec<&str>| lines.into_iter().map(name).collect();
    (names(clears), names(sets))
}

fn name(cookie: &str) -> String {
    cookie.split('=').next().unwrap_or_default().to_owned()
}
