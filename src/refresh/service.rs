use std::{
    fmt, mem,
    task::{Context, Poll},
};

use http::{Request, Response};
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use super::{
    future::{After, Pending, RefreshFuture, State},
    plan::{Plan, plan},
    task::{self, Decision},
};
use crate::{
    credentials::Exempt,
    reject::{DefaultReject, Refusal, Reject, refuse},
    session::Sessions,
    token::{TokenError, TokenErrorKind},
};

/// Service that [`RefreshLayer`](super::RefreshLayer) makes.
///
/// See the [module docs](crate::refresh) for an example.
pub struct Refresh<S, C, R = DefaultReject> {
    pub(super) inner: S,
    pub(super) sessions: Sessions<C>,
    pub(super) exempt: Exempt,
    pub(super) reject: R,
}

impl<S, C, R, ReqBody, ResBody> Service<Request<ReqBody>> for Refresh<S, C, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
    R: Reject<ResBody> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RefreshFuture<S, C, R, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        if self.exempt.holds(&mut request) {
            self.sessions.inner().authenticator.settle_exempt(&mut request, false);
            return self.forward(request, None);
        }
        match plan(&self.sessions, &mut request) {
            Plan::Forward => self.forward(request, None),
            Plan::ForwardAndClear => {
                let after = After::clear(&self.sessions);
                self.forward(request, Some(Box::new(after)))
            }
            Plan::Confirm(confirmation) => RefreshFuture {
                state: State::Confirm {
                    future: self.inner.call(request),
                    confirmation: Some(confirmation),
                    response: None,
                },
            },
            Plan::Ambiguous => {
                self.refuse(request, Refusal::Token(TokenError::new(TokenErrorKind::Ambiguous)))
            }
            Plan::CheckLive(claims) => self.decide(request, |sessions| task::check_live(sessions, claims)),
            Plan::Refresh { token, still_good, may_clear } => {
                self.decide(request, |sessions| task::exchange(sessions, token, still_good, may_clear))
            }
        }
    }
}

impl<S: Clone, C, R: Clone> Refresh<S, C, R> {
    /// What nearly all requests need, so it is made where it is to be.
    #[inline(always)]
    fn forward<ReqBody, ResBody>(
        &mut self,
        request: Request<ReqBody>,
        after: Option<Box<After<C>>>,
    ) -> RefreshFuture<S, C, R, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    {
        RefreshFuture { state: State::Handle { future: self.inner.call(request), after } }
    }

    #[cold]
    fn refuse<ReqBody, ResBody>(
        &self,
        request: Request<ReqBody>,
        refusal: Refusal,
    ) -> RefreshFuture<S, C, R, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
        R: Reject<ResBody>,
    {
        let (parts, _) = request.into_parts();
        RefreshFuture { state: State::Refused { response: Some(refuse(&self.reject, refusal, &parts)) } }
    }

    /// Asks the store first. The instance that said it was ready is the one to call afterwards.
    ///
    /// Never inlined: the task is large, and its room on the stack would be in the way of all other requests.
    #[inline(never)]
    fn decide<ReqBody, ResBody, F>(
        &mut self,
        request: Request<ReqBody>,
        task: impl FnOnce(Sessions<C>) -> F,
    ) -> RefreshFuture<S, C, R, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
        F: Future<Output = Decision<C>> + Send + 'static,
    {
        let task = Box::pin(task(self.sessions.clone()));
        let (parts, body) = request.into_parts();
        let spare = self.inner.clone();
        let ready = mem::replace(&mut self.inner, spare);
        let pending =
            Pending { ready, parts, body, sessions: self.sessions.clone(), reject: self.reject.clone() };
        RefreshFuture { state: State::Decide { task, pending: Some(Box::new(pending)) } }
    }
}

impl<S: Clone, C, R: Clone> Clone for Refresh<S, C, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            sessions: self.sessions.clone(),
            exempt: self.exempt.clone(),
            reject: self.reject.clone(),
        }
    }
}

impl<S: fmt::Debug, C, R> fmt::Debug for Refresh<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh")
            .field("inner", &self.inner)
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}
