//! Calls services whose futures are ready at once.

use std::{
    convert::Infallible,
    fmt::Debug,
    hint::black_box,
    task::{Context, Waker},
};

use axum::{body::Body, extract::Request, response::Response};
use futures_util::FutureExt;
use http::StatusCode;
use tower::{Service, service_fn};

use crate::fixture::Requests;

/// The service inside: looks at the extensions, answers with an empty body.
pub(crate) fn inner()
-> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync {
    service_fn(|request: Request| async move {
        black_box(request.extensions().len());
        Ok(Response::new(Body::empty()))
    })
}

/// What a contender answers; peers differ in the status of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Passed,
    Refused,
}

/// Sends a request of `requests` at each call, after a check that the answer is `expected`.
pub(crate) fn drive<S>(mut service: S, mut requests: Requests, expected: Answer) -> impl FnMut() -> Response
where
    S: Service<Request, Response = Response, Error: Debug>,
{
    let status = call(&mut service, requests.next()).status();
    let answer = if status == StatusCode::OK { Answer::Passed } else { Answer::Refused };
    assert_eq!(answer, expected, "the contender does what it is measured for: {status}");
    move || call(&mut service, requests.next())
}

fn call<S>(service: &mut S, request: Request) -> Response
where
    S: Service<Request, Response = Response, Error: Debug>,
{
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(ready.is_ready(), "nothing to wait for");
    service.call(request).now_or_never().expect("nothing to wait for").expect("it answers")
}
