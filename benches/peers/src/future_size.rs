//! The sizes of services and their futures, which every task that serves a request holds.

use std::convert::Infallible;

use crate::{
    drive::inner,
    fixture::{self, Requests},
    hand,
    ours::{self, Cache},
    table,
};
use axum::{extract::Request, middleware::from_fn_with_state, response::Response};
use jsonwebtoken::Algorithm;
use tower::{Layer, Service};

/// Prints the table.
pub(crate) fn print() {
    let remark = "In bytes. The future of `from_fn` is small because it boxes its contents on every request.";
    table::begin("Size of a service and of its future", remark, &["", "service", "future"]);
    let sessions = ours::sessions(Cache::On);
    row("the bare service", inner());
    row(
        "hand-written `from_fn`",
        from_fn_with_state(hand::keys(Algorithm::HS256), hand::with_cookie).layer(inner()),
    );
    row("CookieJwt", ours::cookie_jwt(Algorithm::HS256, Cache::On).layer(inner()));
    row("all three layers", sessions.layer().layer(inner()));
}

fn row<S>(name: &str, mut service: S)
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let request = Requests::with_cookie(&fixture::token(Algorithm::HS256, 0)).next();
    let future = size_of_val(&service.call(request));
    table::row(&[name.to_owned(), size_of_val(&service).to_string(), future.to_string()]);
}
