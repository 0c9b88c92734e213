use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Request, Response, request::Parts};
use pin_project_lite::pin_project;
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use super::plan::{self, Decision, Task};
use crate::{
    cookies,
    reject::{ByLayer, Refusal, Reject, refuse},
    session::{Minted, Sessions},
    store::BoxFuture,
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
        Decide { task: Task<C>, pending: Option<Box<Pending<S, C, R, ReqBody>>> },
        // Waits for the inner service and for the store to note the generation, whichever is slower.
        Confirm {
            #[pin] future: S::Future,
            confirmation: Option<BoxFuture<'static, ()>>,
            response: Option<Result<Response<ResBody>, S::Error>>,
        },
        // Waits for the inner service.
        Handle { #[pin] future: S::Future, after: Option<Box<After<C>>> },
        // Waits for the store to say which cookies may still go out.
        Admit { admission: BoxFuture<'static, Vec<HeaderValue>>, response: Option<Response<ResBody>> },
        Refused { response: Option<Response<ResBody>> },
    }
}

/// A request that waits for the store.
pub(super) struct Pending<S, C, R, B> {
    pub(super) ready: S,
    pub(super) parts: Parts,
    pub(super) body: B,
    pub(super) sessions: Sessions<C>,
    pub(super) reject: R,
}

/// What is left to do when the inner service has answered.
#[expect(clippy::large_enum_variant, reason = "always in a box")]
pub(super) enum After<C> {
    Issue { sessions: Sessions<C>, minted: Minted },
    Clear { sessions: Sessions<C> },
}

impl<C> After<C> {
    /// Clears our cookies where a layer further in refuses at once. While a handler runs, the user may
    /// have signed in anew in another tab, and must keep that.
    pub(super) fn clear(sessions: &Sessions<C>) -> Self {
        Self::Clear { sessions: sessions.clone() }
    }
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
                StateProj::Decide { task, pending } => {
                    let decision = ready!(task.as_mut().poll(cx));
                    let pending = pending.take().expect("a request waits for one decision");
                    state.set((*pending).go_on(decision));
                }
                StateProj::Confirm { future, confirmation, response } => {
                    if let Some(waiting) = confirmation
                        && waiting.as_mut().poll(cx).is_ready()
                    {
                        *confirmation = None;
                    }
                    if response.is_none() {
                        *response = Some(ready!(future.poll(cx)));
                    }
                    if confirmation.is_some() {
                        return Poll::Pending;
                    }
                    return Poll::Ready(response.take().expect("the response has arrived"));
                }
                StateProj::Handle { future, after } => {
                    let mut response = ready!(future.poll(cx))?;
                    match after.take().map(|after| *after) {
                        None => return Poll::Ready(Ok(response)),
                        Some(After::Issue { sessions, minted }) => {
                            let admission = Box::pin(plan::admit(sessions, minted));
                            state.set(State::Admit { admission, response: Some(response) });
                        }
                        Some(After::Clear { sessions }) => {
                            if response.extensions().get::<ByLayer>().is_some() {
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

impl<S, C, R, B> Pending<S, C, R, B> {
    /// Calls the inner service as the decision says, or refuses.
    fn go_on<ResBody>(mut self, decision: Decision<C>) -> State<S, C, R, B, ResBody>
    where
        S: Service<Request<B>, Response = Response<ResBody>>,
        C: DeserializeOwned + Send + Sync + 'static,
        R: Reject<ResBody>,
    {
        let authenticator = &self.sessions.inner().authenticator;
        let after = match decision {
            Decision::Refreshed(refreshed) => {
                let (claims, minted) = *refreshed;
                authenticator.settle(&mut self.parts, claims, &minted.token);
                Some(Box::new(After::Issue { sessions: self.sessions.clone(), minted }))
            }
            Decision::Keep { live } => {
                if live {
                    authenticator.mark_live(&mut self.parts);
                }
                None
            }
            Decision::Ended { kind, clear } => {
                authenticator.settle_refused(&mut self.parts, kind);
                clear.then(|| Box::new(After::clear(&self.sessions)))
            }
            Decision::Unavailable => {
                let response = refuse(&self.reject, Refusal::Unavailable, &self.parts);
                return State::Refused { response: Some(response) };
            }
        };
        let Self { mut ready, parts, body, .. } = self;
        State::Handle { future: ready.call(Request::from_parts(parts, body)), after }
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
