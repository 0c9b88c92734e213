//! What may be noted of something that is only lent.

use std::sync::atomic::{AtomicBool, Ordering};

/// Is set once and stays set; tells nothing about what happened before or after.
#[derive(Debug)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) const fn new(set: bool) -> Self {
        Self(AtomicBool::new(set))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Clone for Flag {
    fn clone(&self) -> Self {
        Self::new(self.is_set())
    }
}
