//! Calls services whose futures are immediately ready.

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

/// Returns the inner service, which reads the extensions and responds with an empty body.
pub(crate) fn inner()
-> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync {
    service_fn(|request: Request| async move {
        black_box(request.extensions().len());
        Ok(Response::new(Body::empty()))
    })
}

/// The response of a candidate. The status of a refusal differs between peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Passed,
    Refused,
}

/// Returns a function that sends the next of `requests`, after checking that the response is `expected`.
pub(crate) fn drive<S>(mut service: S, mut requests: Requests, expected: Answer) -> impl FnMut() -> Response
where
    S: Service<Request, Response = Response, Error: Debug>,
{
    let status = call(&mut service, requests.next()).status();
    let answer = if status == StatusCode::OK { Answer::Passed } else { Answer::Refused };
    assert_eq!(answer, expected, "the candidate must do what it is measured for, but responded {status}");
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
