use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Request, Response, request::Parts};
use pin_project_lite::pin_project;
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use super::plan::{self, Answer, OnResponse, Plan};
use crate::{
    cookies,
    layers::future::BoxFuture,
    reject::{RefusedByLayer, Reject, refuse},
    session::Sessions,
};

pin_project! {
    /// Response future of [`Refresh`](super::Refresh).
    #[must_use = "futures do nothing unless polled"]
    pub struct RefreshFuture<S, C, R, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    {
        #[pin]
        pub(super) state: State<S, C, R, ReqBody, ResBody>,
    }
}

pin_project! {
    #[project = StateProj]
    pub(super) enum State<S, C, R, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    {
        // Waits for the store, then calls the inner service.
        Ask { answer: BoxFuture<'static, Answer<C>>, waiting: Option<Box<Waiting<S, C, R, ReqBody>>> },
        // Waits for both the inner service and the write that confirms the generation.
        Confirm {
            #[pin] future: S::Future,
            confirmation: Option<BoxFuture<'static, ()>>,
            response: Option<Result<Response<ResBody>, S::Error>>,
        },
        // Waits for the inner service.
        Handle { #[pin] future: S::Future, on_response: Option<Box<OnResponse<C>>> },
        // Waits for the store, whose record decides which cookies may still be sent.
        Admit { admission: BoxFuture<'static, Vec<HeaderValue>>, response: Option<Response<ResBody>> },
        Refused { response: Option<Response<ResBody>> },
    }
}

/// A request that is waiting for the store.
pub(super) struct Waiting<S, C, R, B> {
    pub(super) ready: S,
    pub(super) parts: Parts,
    pub(super) body: B,
    pub(super) sessions: Sessions<C>,
    pub(super) reject: R,
    /// Whether the store is being asked for the first time.
    pub(super) is_first: bool,
}

impl<S, C, R, ReqBody, ResBody> Future for RefreshFuture<S, C, R, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
    R: Reject<ResBody>,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Ask { answer, waiting } => {
                    let answer = ready!(answer.as_mut().poll(cx));
                    let waiting = waiting.take().expect("a request waits for one answer");
                    state.set(waiting.resume(answer));
                }
                StateProj::Confirm { future, confirmation, response } => {
                    if let Some(waiting) = confirmation
                        && waiting.as_mut().poll(cx).is_ready()
                    {
                        *confirmation = None;
                    }
                    if response.is_none() {
                        let mut answer = ready!(future.poll(cx));
                        if let Ok(response) = &mut answer {
                            cookies::keep_from_storing(response.headers_mut());
                        }
                        *response = Some(answer);
                    }
                    if confirmation.is_some() {
                        return Poll::Pending;
                    }
                    return Poll::Ready(response.take().expect("the response has arrived"));
                }
                StateProj::Handle { future, on_response } => {
                    // In place, so that the response is not moved if there is nothing to do.
                    let mut answer = future.poll(cx);
                    if let Poll::Ready(Ok(response)) = &mut answer {
                        cookies::keep_from_storing(response.headers_mut());
                    }
                    if on_response.is_none() {
                        return answer;
                    }
                    let mut response = ready!(answer)?;
                    match on_response.take().map(|on_response| *on_response) {
                        None => return Poll::Ready(Ok(response)),
                        Some(OnResponse::Set { sessions, answer }) => {
                            let admission = Box::pin(plan::admit(sessions, answer));
                            state.set(State::Admit { admission, response: Some(response) });
                        }
                        Some(OnResponse::ClearIfRefused { sessions }) => {
                            if response.extensions().get::<RefusedByLayer>().is_some() {
                                cookies::append_missing(response.headers_mut(), sessions.clearing_cookies());
                            }
                            return Poll::Ready(Ok(response));
                        }
                    }
                }
                StateProj::Admit { admission, response } => {
                    let cookies = ready!(admission.as_mut().poll(cx));
                    let mut response = response.take().expect("the response waits for its cookies");
                    cookies::append_missing(response.headers_mut(), cookies);
                    return Poll::Ready(Ok(response));
                }
                StateProj::Refused { response } => {
                    return Poll::Ready(Ok(response
                        .take()
                        .expect("a future is not polled after it has completed")));
                }
            }
        }
    }
}

impl<S, C, R, B> Waiting<S, C, R, B> {
    /// Calls the inner service, refuses the request, or asks the store once more, depending on its answer.
    fn resume<ResBody>(mut self: Box<Self>, answer: Answer<C>) -> State<S, C, R, B, ResBody>
    where
        S: Service<Request<B>, Response = Response<ResBody>>,
        C: Serialize + DeserializeOwned + Send + Sync + 'static,
        R: Reject<ResBody>,
    {
        let is_first = std::mem::replace(&mut self.is_first, false);
        let on_response = match plan::resume(&self.sessions, &mut self.parts, answer, is_first) {
            Plan::Ask(answer) => return State::Ask { answer, waiting: Some(self) },
            Plan::Refuse(refusal) => {
                return State::Refused { response: Some(refuse(&self.reject, refusal, &self.parts)) };
            }
            Plan::Forward(on_response) => on_response,
            Plan::Confirm(_) => None,
        };
        let Self { mut ready, parts, body, .. } = *self;
        State::Handle { future: ready.call(Request::from_parts(parts, body)), on_response }
    }
}

impl<S, C, R, ReqBody, ResBody> fmt::Debug for RefreshFuture<S, C, R, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshFuture").finish_non_exhaustive()
    }
}
