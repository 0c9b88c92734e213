//! Work that goes on when the request that began it is dropped.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use super::records::Unavailable;
use crate::store::BoxFuture;

/// Carries work through, even if its caller is dropped while waiting for the outcome.
///
/// The work runs in the task of the request, where event listeners see its span and its task-local values. What is left
/// of it when the request is dropped goes on in a task of its own.
pub(super) fn carried_through<T: Send + 'static>(
    work: impl Future<Output = Result<T, Unavailable>> + Send + 'static,
) -> impl Future<Output = Result<T, Unavailable>> {
    CarriedThrough { left: Some(Box::pin(work)), begun: false }
}

struct CarriedThrough<T: Send + 'static> {
    left: Option<BoxFuture<'static, Result<T, Unavailable>>>,
    begun: bool,
}

impl<T: Send + 'static> Future for CarriedThrough<T> {
    type Output = Result<T, Unavailable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.begun = true;
        // Taken out while it runs, so that work that panics is not continued.
        let Some(mut work) = self.left.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.left = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for CarriedThrough<T> {
    fn drop(&mut self) {
        if let (true, Some(work)) = (self.begun, self.left.take())
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // The outcome has no receiver any more; its events are raised within.
            drop(runtime.spawn(in_span_of_request(work)));
        }
    }
}

#[cfg(feature = "tracing")]
fn in_span_of_request<F: Future>(work: F) -> impl Future<Output = F::Output> {
    tracing::Instrument::in_current_span(work)
}

#[cfg(not(feature = "tracing"))]
fn in_span_of_request<F: Future>(work: F) -> F {
    work
}
