//! One random schedule.

use std::{
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use tower_cookie_jwt::{Clock, session::LostResponse, testing::TestClock};

use super::{
    numbers::Random,
    server::{ACCESS, GRACE, Gate, Running, Server},
};
use crate::kit::jar::Jar;

const STEPS: usize = 120;
const MAX_IN_FLIGHT: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    SignedIn,
    Revoked,
    /// A request of a client that holds a refresh cookie was refused for good.
    Refused(StatusCode),
    /// The client does not get its cookies.
    Stuck,
}

/// One request, from tab to tab.
struct Flight {
    stage: Stage,
    /// One step in so many moves it on: some requests crawl while others overtake them.
    pace: u64,
}

/// The state of a request.
enum Stage {
    /// On its way to the server.
    Sent {
        running: Running,
        gate: Gate,
        sent_at: SystemTime,
    },
    /// On the server, on its way to the handler or the answer. The store takes as long as it likes.
    Exchanging {
        running: Running,
        gate: Gate,
    },
    /// The handler runs, for as long as it likes.
    Handling {
        running: Running,
        gate: Gate,
    },
    /// The handler is done; the server's last words to the store, and the way back.
    Leaving {
        running: Running,
        left_at: SystemTime,
    },
    Returning {
        status: StatusCode,
        headers: HeaderMap,
        left_at: SystemTime,
    },
}

pub(crate) struct Schedule {
    random: Random,
    clock: TestClock,
    server: Server,
    jar: Jar,
    flights: Vec<Flight>,
    refused: Option<StatusCode>,
    retries: u64,
    /// The time that is about to come.
    until: SystemTime,
}

impl Schedule {
    pub(crate) fn new(seed: u64, lost_response: LostResponse) -> Self {
        let clock = TestClock::new();
        let mut random = Random::new(seed);
        let server = Server::new(&clock, ACCESS[random.index(ACCESS.len())], lost_response);
        let until = clock.now();
        let mut schedule = Self {
            random,
            clock,
            server,
            jar: Jar::default(),
            flights: Vec::new(),
            refused: None,
            retries: 0,
            until,
        };
        let mut sign_in = schedule.server.sign_in();
        let (_, headers) = loop {
            if let Poll::Ready(answer) = poll(&mut sign_in) {
                break answer;
            }
        };
        schedule.jar.store_at(&headers, schedule.clock.now());
        schedule
    }

    /// Plays to the end, and says how it ended.
    pub(crate) fn play(&mut self) -> Outcome {
        for _ in 0..STEPS {
            match self.random.below(10) {
                0 | 1 => self.send(),
                2 => self.pass_time(),
                _ => self.step(),
            }
        }
        while !self.flights.is_empty() {
            self.step();
        }
        // From wherever it has come to, the client is signed in at its next request, or at the one two grace periods
        // later: the cookies of a late answer may have to wait for so long.
        self.clock.advance(Duration::from_secs(self.random.below(300)));
        self.send_alone();
        if !self.has_cookies() {
            self.clock.advance(2 * GRACE);
            self.send_alone();
        }
        if self.server.reuse.load(Ordering::Relaxed) {
            Outcome::Revoked
        } else if let Some(status) = self.refused {
            Outcome::Refused(status)
        } else if !self.has_cookies() {
            Outcome::Stuck
        } else {
            Outcome::SignedIn
        }
    }

    /// How often the session was rotated.
    pub(crate) fn rotations(&self) -> u64 {
        self.server.rotations.load(Ordering::Relaxed)
    }

    /// How often a late answer has begun a generation.
    pub(crate) fn lost_answers(&self) -> u64 {
        self.server.lost_answers.load(Ordering::Relaxed)
    }

    /// How often a request was told to ask again later.
    pub(crate) fn retries(&self) -> u64 {
        self.retries
    }

    fn send_alone(&mut self) {
        self.send();
        while !self.flights.is_empty() {
            self.step_without_loss();
        }
    }

    fn has_cookies(&self) -> bool {
        ["__Host-access", "__Host-refresh"].iter().all(|name| self.jar.has_at(name, self.clock.now()))
    }

    fn send(&mut self) {
        if self.flights.len() >= MAX_IN_FLIGHT {
            return;
        }
        let sent_at = self.clock.now();
        let cookies = self.jar.header_at(sent_at);
        let gate = Gate::default();
        let node = self.random.index(2);
        let running = if self.random.one_in(5) {
            self.server.refresh(node, &cookies)
        } else {
            self.server.page(node, &cookies, gate.clone())
        };
        let pace = [1, 1, 2, 24][self.random.index(4)];
        self.flights.push(Flight { stage: Stage::Sent { running, gate, sent_at }, pace });
    }

    /// Lets time pass, after delivering every message that would otherwise be in flight for the grace period.
    fn pass_time(&mut self) {
        let by = match self.random.below(5) {
            0 | 1 => Duration::from_secs(self.random.below(12)),
            2 => GRACE - Duration::from_secs(1),
            3 => GRACE,
            _ => Duration::from_secs(self.random.below(100)),
        };
        if self.random.one_in(6) {
            self.jar.remove("__Host-access"); // as a browser does under pressure
        }
        self.until = self.clock.now() + by;
        while let Some(index) = self.flights.iter().position(|flight| flight.is_late(self.until)) {
            self.advance(index, true);
        }
        self.clock.advance(by);
    }

    fn step(&mut self) {
        if !self.flights.is_empty() {
            let index = self.random.index(self.flights.len());
            self.advance(index, true);
        }
    }

    fn step_without_loss(&mut self) {
        let index = self.random.index(self.flights.len());
        self.advance(index, false);
    }

    /// Moves one flight on by one step, or loses it.
    fn advance(&mut self, index: usize, lossy: bool) {
        let now = self.clock.now();
        if lossy && self.random.one_in(24) {
            // A request on its way, an answer, or a client that has gone, whose request the server
            // then drops wherever it is.
            self.flights.swap_remove(index);
            return;
        }
        let Flight { stage, pace } = self.flights.swap_remove(index);
        let crawls = !self.random.one_in(pace);
        let stage = match stage {
            Stage::Sent { running, gate, sent_at } if crawls && !self.is_due(sent_at) => {
                Stage::Sent { running, gate, sent_at }
            }
            Stage::Exchanging { running, gate } if crawls => Stage::Exchanging { running, gate },
            Stage::Sent { mut running, gate, .. } | Stage::Exchanging { mut running, gate } => {
                match poll(&mut running) {
                    Poll::Ready((status, headers)) => Stage::Returning { status, headers, left_at: now },
                    Poll::Pending if gate.is_waiting() => Stage::Handling { running, gate },
                    Poll::Pending => Stage::Exchanging { running, gate },
                }
            }
            // The layer may still be telling the store about the generation.
            Stage::Handling { mut running, gate } if crawls => {
                let _ = poll(&mut running);
                Stage::Handling { running, gate }
            }
            Stage::Handling { mut running, gate } => {
                gate.open();
                match poll(&mut running) {
                    Poll::Ready((status, headers)) => Stage::Returning { status, headers, left_at: now },
                    Poll::Pending => Stage::Leaving { running, left_at: now },
                }
            }
            Stage::Leaving { mut running, left_at } => match poll(&mut running) {
                Poll::Ready((status, headers)) => Stage::Returning { status, headers, left_at },
                Poll::Pending => Stage::Leaving { running, left_at },
            },
            Stage::Returning { status, headers, left_at } if crawls && !self.is_due(left_at) => {
                Stage::Returning { status, headers, left_at }
            }
            Stage::Returning { status, headers, .. } => {
                if status == StatusCode::SERVICE_UNAVAILABLE && headers.contains_key(RETRY_AFTER) {
                    self.retries += 1;
                } else if !status.is_success() {
                    self.refused.get_or_insert(status);
                }
                self.jar.store_at(&headers, now);
                return;
            }
        };
        self.flights.push(Flight { stage, pace });
    }

    /// Returns whether a message that left at `left_at` must arrive before the time that is about to pass.
    fn is_due(&self, left_at: SystemTime) -> bool {
        self.until.duration_since(left_at).is_ok_and(|age| age >= GRACE)
    }
}

impl Flight {
    fn is_late(&self, now: SystemTime) -> bool {
        let since = match &self.stage {
            Stage::Sent { sent_at, .. } => sent_at,
            Stage::Leaving { left_at, .. } | Stage::Returning { left_at, .. } => left_at,
            Stage::Exchanging { .. } | Stage::Handling { .. } => return false,
        };
        now.duration_since(*since).is_ok_and(|age| age >= GRACE)
    }
}

fn poll(running: &mut Running) -> Poll<(StatusCode, HeaderMap)> {
    running.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}
