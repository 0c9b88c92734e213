use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    cookies,
    reject::{Refusal, Reject, refuse},
};

/// A future on the heap, for the rare requests that wait for the store.
pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pin_project! {
    /// Response future of the services that decide synchronously: the inner future, or a refusal.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, B> {
        #[pin]
        kind: Kind<F, B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<F, B> {
        Forward { #[pin] future: F },
        Refused { response: Option<Response<B>> },
    }
}

impl<F, B> ResponseFuture<F, B> {
    /// Calls the inner service, or refuses the request if `verdict` is an error.
    #[inline]
    pub(crate) fn forward_or_refuse<S, ReqBody>(
        verdict: Result<(), Refusal>,
        inner: &mut S,
        hook: &impl Reject<B>,
        request: Request<ReqBody>,
    ) -> Self
    where
        S: Service<Request<ReqBody>, Response = Response<B>, Future = F>,
    {
        match verdict {
            Ok(()) => Self { kind: Kind::Forward { future: inner.call(request) } },
            Err(refusal) => Self::refused(refusal, hook, request),
        }
    }

    #[cold]
    fn refused<ReqBody>(refusal: Refusal, hook: &impl Reject<B>, request: Request<ReqBody>) -> Self {
        let (parts, _) = request.into_parts();
        Self { kind: Kind::Refused { response: Some(refuse(hook, refusal, &parts)) } }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Forward { future } => {
                // In place: taking the response out would move it once more for each layer.
                let mut answer = future.poll(cx);
                if let Poll::Ready(Ok(response)) = &mut answer {
                    cookies::keep_from_storing(response.headers_mut());
                }
                answer
            }
            KindProj::Refused { response } => {
                Poll::Ready(Ok(response.take().expect("a future is not polled after it has completed")))
            }
        }
    }
}

impl<F, B> std::fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
