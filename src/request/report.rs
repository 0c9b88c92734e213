//! What the sessions that a request belongs to hear of its refusal, and how they have it answered.

use std::{any::Any, fmt, sync::Arc};

/// Why a request was refused, and in whose name it was made, as far as that is known.
pub(crate) struct Report<'a> {
    pub(crate) code: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) subject: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
    pub(crate) generation: Option<u32>,
}

/// Hears of the requests that layers refuse.
#[derive(Clone)]
pub(crate) struct RefusalListener(Arc<dyn Fn(&Report<'_>) + Send + Sync>);

impl RefusalListener {
    pub(crate) fn new(listen: impl Fn(&Report<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listen))
    }

    pub(super) fn hear(&self, report: &Report<'_>) {
        (self.0)(report);
    }
}

/// The rejection hook of the sessions. Its type belongs to a room above.
#[derive(Clone)]
pub(crate) struct ErasedRejection(Arc<dyn Any + Send + Sync>);

impl ErasedRejection {
    pub(crate) fn new(hook: impl Any + Send + Sync) -> Self {
        Self(Arc::new(hook))
    }

    pub(super) fn as_any(&self) -> &(dyn Any + Send + Sync) {
        &*self.0
    }
}

impl PartialEq for ErasedRejection {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ErasedRejection {}

impl fmt::Debug for ErasedRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErasedRejection")
    }
}

impl PartialEq for RefusalListener {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for RefusalListener {}

impl fmt::Debug for RefusalListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefusalListener")
    }
}
