//! Records what has happened, and what the promise forbids.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{
    HeaderMap, StatusCode,
    header::{RETRY_AFTER, SET_COOKIE},
};
use tower_cookie_jwt::session::SessionEvent;

use super::{GRACE, browser::REFRESH_COOKIE, token::claims};

/// A session and a generation of it.
type Generation = (String, u64);

#[derive(Default)]
pub(crate) struct Ledger {
    faulty: AtomicBool,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    complaints: BTreeSet<String>,
    announced: BTreeMap<Generation, u32>,
    lost_writes: BTreeSet<String>,
    refresh_tokens: BTreeMap<Generation, String>,
    answered: u64,
    unavailable: u64,
    slowest: Duration,
}

/// A response to a legitimate request.
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) token_was_valid: bool,
    pub(super) during_fault: bool,
    pub(super) took: Duration,
}

impl Ledger {
    /// Sets whether required rotations may be answered 503 from now on.
    pub(crate) fn set_faulty(&self, faulty: bool) {
        self.faulty.store(faulty, Ordering::SeqCst);
    }

    pub(super) fn is_faulty(&self) -> bool {
        self.faulty.load(Ordering::SeqCst)
    }

    /// Returns everything that has happened and must not.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let book = self.book();
        let mut complaints: Vec<_> = book.complaints.iter().cloned().collect();
        for ((session, generation), times) in &book.announced {
            if *times > 1 && !book.lost_writes.contains(session) {
                complaints.push(format!("generation {generation} began {times} times"));
            }
        }
        complaints
    }

    /// Returns the number of requests answered 200.
    pub(crate) fn answered(&self) -> u64 {
        self.book().answered
    }

    /// Returns the number of requests answered 503.
    pub(crate) fn unavailable(&self) -> u64 {
        self.book().unavailable
    }

    /// Returns the duration of the slowest answer.
    pub(crate) fn slowest(&self) -> Duration {
        self.book().slowest
    }

    /// Returns the number of rotations that nodes have announced.
    pub(crate) fn rotations(&self) -> usize {
        self.book().announced.len()
    }

    /// Returns the number of sessions that were ahead of the store.
    pub(crate) fn lost_writes(&self) -> usize {
        self.book().lost_writes.len()
    }

    /// Returns the number of generations that began without any node learning of it: the write was done and
    /// its answer lost.
    pub(crate) fn unheard(&self) -> usize {
        let book = self.book();
        book.refresh_tokens.keys().filter(|key| key.1 > 0 && !book.announced.contains_key(*key)).count()
    }

    pub(super) fn note(&self, event: &SessionEvent<'_>) {
        let mut book = self.book();
        match event {
            SessionEvent::Rotated { session, generation, .. } => {
                *book.announced.entry((session.to_string(), (*generation).into())).or_default() += 1;
            }
            SessionEvent::StoreLostWrites { session, .. } => {
                book.lost_writes.insert(session.to_string());
            }
            SessionEvent::ReuseDetected { presented, current, .. } => {
                book.complaints.insert(format!("reuse detected: {presented} presented, {current} current"));
            }
            _ => {}
        }
    }

    pub(super) fn judge(&self, answer: &Answer<'_>) {
        let mut book = self.book();
        book.slowest = book.slowest.max(answer.took);
        for line in answer.headers.get_all(SET_COOKIE) {
            book.set_cookie(line.to_str().expect("cookies are text"));
        }
        match answer.status {
            StatusCode::OK => book.answered += 1,
            StatusCode::SERVICE_UNAVAILABLE => {
                book.unavailable += 1;
                book.judge_unavailable(answer);
            }
            status => {
                book.complaints.insert(format!("a legitimate request was answered {status}"));
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no panic holds it")
    }
}

impl Book {
    fn judge_unavailable(&mut self, answer: &Answer<'_>) {
        for (holds, complaint) in [
            (answer.during_fault || answer.took > BUSY, "503 although the store is well"),
            (!answer.token_was_valid, "503 for a valid access token"),
            (answer.headers.contains_key(RETRY_AFTER), "503 without Retry-After"),
            (!answer.headers.contains_key(SET_COOKIE), "503 that sets or clears cookies"),
        ] {
            if !holds {
                self.complaints.insert(complaint.to_owned());
            }
        }
    }

    fn set_cookie(&mut self, line: &str) {
        if line.contains("Max-Age=0") {
            self.complaints.insert("cookies were cleared".to_owned());
        } else if let Some(cookie) = line.strip_prefix(REFRESH_COOKIE).and_then(|rest| rest.strip_prefix('='))
        {
            self.refresh_token(cookie.split(';').next().unwrap_or_default());
        }
    }

    /// Each generation of a session has one refresh token, whichever request is answered with it.
    fn refresh_token(&mut self, token: &str) {
        let claims = claims(token);
        let text = |name: &str| claims[name].as_str().expect("text").to_owned();
        let id = text("jti");
        let generation = id.split('.').next().and_then(|text| text.parse().ok()).expect("a number");
        let kept = self.refresh_tokens.entry((text("sid"), generation)).or_insert_with(|| id.clone());
        if *kept != id {
            self.complaints.insert(format!("generation {generation} has two refresh tokens"));
        }
    }
}

/// A store that answers later than this, on a busy machine, counts as a fault.
const BUSY: Duration = GRACE.checked_div(10).expect("ten parts");
