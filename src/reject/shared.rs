//! One hook for everything that belongs to an application's sessions.

use std::{
    any::{Any, type_name},
    cell::Cell,
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Extensions, Response, request::Parts};

use super::{
    hooks::{Reject, answer},
    refusal::Refusal,
};
use crate::{request::AuthState, trace};

/// The rejection hook of an application's sessions, for bodies that are made from bytes.
///
/// Returned by [`Sessions::rejection`](crate::Sessions::rejection), and used by
/// [`DefaultReject`] where it knows how to make the body. For a body type of which it does not,
/// pass it to a layer's `with_rejection`.
#[derive(Clone)]
pub struct SharedReject(Arc<dyn Reject<Bytes> + Send + Sync>);

impl SharedReject {
    pub(crate) fn new(hook: impl Reject<Bytes> + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    /// Returns the hook of the sessions whose layer the request has passed, if they have one.
    pub(crate) fn of(extensions: &Extensions) -> Option<&Self> {
        AuthState::rejection(extensions)?.downcast_ref()
    }

    fn answer(&self, refusal: &Refusal, request: &Parts) -> Response<Bytes> {
        // Cleared also if the hook panics.
        struct Outside(bool);
        impl Drop for Outside {
            fn drop(&mut self) {
                INSIDE.set(self.0);
            }
        }
        let _outside = Outside(INSIDE.replace(true));
        self.0.reject(refusal, request)
    }
}

thread_local! {
    /// Whether a shared hook is running. One that leaves a refusal to [`DefaultReject`] gets a bare status from it, not
    /// itself again.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl<B: From<Bytes>> Reject<B> for SharedReject {
    fn reject(&self, refusal: &Refusal, request: &Parts) -> Response<B> {
        self.answer(refusal, request).map(B::from)
    }
}

impl fmt::Debug for SharedReject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedReject")
    }
}

/// The default hook: that of the sessions, or else a bare status with the headers that belong to it.
///
/// [`SessionsBuilder::with_rejection`](crate::session::SessionsBuilder::with_rejection) sets the hook of the sessions,
/// which counts for requests that have passed one of their layers. Its response can have the bodies `Bytes`,
/// `Vec<u8>`, `String`, `http_body_util::Full<Bytes>` and axum's `Body` (the latter two with the feature `axum` or
/// `tonic`); for other types that are `From<Bytes>`, pass
/// [`Sessions::rejection`](crate::Sessions::rejection) to the layer's `with_rejection`. Where neither has been done, the
/// response is a bare status, and the log says so. A hook of the sessions that itself calls this one gets a bare status.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultReject;

impl<B: Default + 'static> Reject<B> for DefaultReject {
    fn reject(&self, refusal: &Refusal, request: &Parts) -> Response<B> {
        SharedReject::of(&request.extensions)
            .filter(|_| !INSIDE.get())
            .and_then(|hook| reject_as(hook, refusal, request))
            .unwrap_or_else(|| answer(refusal, B::default()))
    }
}

/// Builds the response of the shared hook with another body type.
///
/// Returns `None` if there is no way from bytes to `B`, which is logged: the application has chosen a body that the
/// client then does not get.
fn reject_as<B: Default + 'static>(
    hook: &SharedReject,
    refusal: &Refusal,
    request: &Parts,
) -> Option<Response<B>> {
    let (head, bytes) = hook.answer(refusal, request).into_parts();
    let body = if bytes.is_empty() { Some(B::default()) } else { body_from(bytes) };
    if body.is_none() && is_new(type_name::<B>()) {
        trace::body_not_from_bytes(type_name::<B>());
    }
    body.map(|body| Response::from_parts(head, body))
}

/// Returns `true` once for each body type: whoever is refused must not be able to fill the log.
fn is_new(body: &'static str) -> bool {
    static TOLD: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(body)
}

/// Converts bytes to a body type. Rust cannot ask whether any `B` is `From<Bytes>`, so these are those that are known.
fn body_from<B: 'static>(bytes: Bytes) -> Option<B> {
    let mut body = None::<B>;
    let slot: &mut dyn Any = &mut body;
    if let Some(slot) = slot.downcast_mut::<Option<Bytes>>() {
        *slot = Some(bytes);
    } else if let Some(slot) = slot.downcast_mut::<Option<Vec<u8>>>() {
        *slot = Some(bytes.into());
    } else if let Some(slot) = slot.downcast_mut::<Option<String>>() {
        *slot = Some(String::from_utf8_lossy(&bytes).into_owned());
    } else {
        put_into_framework_body(slot, bytes);
    }
    body
}

#[cfg_attr(not(any(feature = "axum", feature = "tonic")), expect(unused_variables, reason = "there is none"))]
fn put_into_framework_body(slot: &mut dyn Any, bytes: Bytes) {
    #[cfg(feature = "axum")]
    if let Some(slot) = slot.downcast_mut::<Option<axum_core::body::Body>>() {
        *slot = Some(bytes.into());
        return;
    }
    #[cfg(any(feature = "axum", feature = "tonic"))]
    if let Some(slot) = slot.downcast_mut::<Option<http_body_util::Full<Bytes>>>() {
        *slot = Some(bytes.into());
    }
}
