use std::{
    fmt,
    task::{Context, Poll},
};

use http::{Extensions, Request, Response};
use tower_service::Service;

use super::layer::Demands;
use crate::{
    credentials::Checked,
    origin::is_preflight,
    reject::{DefaultReject, Refusal, Reject, ResponseFuture},
    token::{Claims, TokenError, TokenErrorKind},
};

/// Service that [`RequireLayer`](super::RequireLayer) makes.
///
/// See the [module docs](crate::require) for an example.
pub struct Require<S, C, R = DefaultReject> {
    pub(super) inner: S,
    pub(super) demands: Demands<C>,
    pub(super) reject: R,
}

impl<S, C, R, ReqBody, ResBody> Service<Request<ReqBody>> for Require<S, C, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    C: Send + Sync + 'static,
    R: Reject<ResBody>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let verdict = if is_preflight(&request) { Ok(()) } else { self.check(request.extensions()) };
        ResponseFuture::by_verdict(verdict, &mut self.inner, &self.reject, request)
    }
}

impl<S, C: Send + Sync + 'static, R> Require<S, C, R> {
    fn check(&self, extensions: &Extensions) -> Result<(), Refusal> {
        if extensions.get::<Checked>().is_none_or(|checked| !checked.enforced.is_set()) {
            crate::trace::layer_missing("a RequireLayer", "CookieJwtLayer");
        }
        match extensions.get::<Claims<C>>() {
            Some(claims) => self.demands.check(claims),
            None => {
                let reason = TokenError::of(extensions).cloned();
                Err(Refusal::Token(reason.unwrap_or(TokenErrorKind::Missing.into())))
            }
        }
    }
}

impl<S: Clone, C, R: Clone> Clone for Require<S, C, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), demands: self.demands.clone(), reject: self.reject.clone() }
    }
}

impl<S: fmt::Debug, C, R> fmt::Debug for Require<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Require").field("inner", &self.inner).finish_non_exhaustive()
    }
}
