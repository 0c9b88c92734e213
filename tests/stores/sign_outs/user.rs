//! A user with one session, and what the nodes answered after the sign-out.

use std::time::Duration;

use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower_cookie_jwt::Sessions;

use super::BOUND;
use crate::kit::jar::Jar;

pub(super) struct User {
    pub(super) name: String,
    /// The header with both cookies.
    pub(super) cookies: String,
    /// The header with a copy of the access cookie: a refresh cookie would make the node read the record anyway.
    pub(super) access: String,
}

impl User {
    pub(super) async fn sign_in(sessions: &Sessions<Value>, name: &str) -> Self {
        let request = Request::post("https://shop.example/login").body(()).expect("a plain request");
        let claims = json!({ "name": name, "roles": ["customer"] });
        let signed_in = sessions.sign_in(&request.into_parts().0, name, claims).await;
        let headers = crate::kit::jar::headers_of(&signed_in.expect("the store is up"));
        let jar = Jar::of(&headers);
        let access = format!("__Host-access={}", jar.value("__Host-access"));
        Self { name: name.to_owned(), cookies: jar.header(), access }
    }
}

/// What one node answered after the sign-out of one user.
#[derive(Default)]
pub(super) struct Seen {
    /// When the last request was sent that was served.
    pub(super) last_served: Option<Duration>,
    /// When the first request was sent that was refused.
    pub(super) first_refused: Option<Duration>,
    /// The requests that were sent too late to be served, and were.
    pub(super) late: Vec<Duration>,
    /// The number of requests that were answered at all.
    pub(super) answered: usize,
}

impl Seen {
    /// Adds an answer to the request that was sent this long after the sign-out.
    pub(super) fn add(&mut self, sent: Duration, answer: Option<StatusCode>) {
        self.answered += usize::from(answer.is_some());
        match answer {
            Some(StatusCode::OK) => {
                self.last_served = self.last_served.max(Some(sent));
                if sent > BOUND {
                    self.late.push(sent);
                }
            }
            Some(StatusCode::UNAUTHORIZED) => {
                self.first_refused = Some(self.first_refused.map_or(sent, |first| first.min(sent)));
            }
            // The store cannot be reached, or the node.
            Some(StatusCode::SERVICE_UNAVAILABLE) | None => {}
            Some(other) => panic!("{other}"),
        }
    }
}
