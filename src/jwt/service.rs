use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::layer::Presence;
use crate::{
    credentials::{Authenticator, Exempt},
    head::Head,
    origin::is_preflight,
    reject::{DefaultReject, Refusal, Reject, ResponseFuture},
    token::{TokenError, TokenErrorKind},
};

/// Service that [`CookieJwtLayer`](super::CookieJwtLayer) makes.
///
/// See the [module docs](crate::jwt) for an example.
pub struct CookieJwt<S, C, R = DefaultReject> {
    pub(super) inner: S,
    pub(super) authenticator: Arc<Authenticator<C>>,
    pub(super) presence: Presence,
    pub(super) exempt: Exempt,
    pub(super) session_check: bool,
    pub(super) reject: R,
}

impl<S, C, R, ReqBody, ResBody> Service<Request<ReqBody>> for CookieJwt<S, C, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    C: DeserializeOwned + Send + Sync + 'static,
    R: Reject<ResBody>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let exempt = self.exempt.holds(&mut request);
        let verdict = self.check(&mut request, exempt);
        ResponseFuture::by_verdict(verdict, &mut self.inner, &self.reject, request)
    }
}

impl<S, C: DeserializeOwned + Send + Sync + 'static, R> CookieJwt<S, C, R> {
    fn check(&self, request: &mut impl Head, exempt: bool) -> Result<(), Refusal> {
        if exempt || is_preflight(request) {
            self.authenticator.settle_exempt(request, true);
            return Ok(());
        }
        let presented = self.authenticator.enforce(request);
        match presented.verdict {
            Ok(()) if self.session_check && !presented.live => {
                crate::trace::layer_missing("a session check", "RefreshLayer");
                Err(Refusal::Unavailable)
            }
            Ok(()) => Ok(()),
            Err(TokenErrorKind::KeysUnavailable) => Err(Refusal::Unavailable),
            Err(kind) if self.presence == Presence::Optional && kind != TokenErrorKind::Ambiguous => Ok(()),
            Err(kind) => Err(Refusal::Token(TokenError::new(kind))),
        }
    }
}

impl<S: Clone, C, R: Clone> Clone for CookieJwt<S, C, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            authenticator: self.authenticator.clone(),
            presence: self.presence,
            exempt: self.exempt.clone(),
            session_check: self.session_check,
            reject: self.reject.clone(),
        }
    }
}

impl<S: fmt::Debug, C, R> fmt::Debug for CookieJwt<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieJwt")
            .field("inner", &self.inner)
            .field("authenticator", &self.authenticator)
            .field("presence", &self.presence)
            .finish_non_exhaustive()
    }
}
