//! Demo only: thieves with a copy of a user's refresh token, or of all cookies.
//!
//! They call the API like any other client, but in this process, each with its own cookie jar.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{
        HeaderMap, Method, StatusCode,
        header::{COOKIE, SET_COOKIE},
    },
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    api::problem,
    demo::{sent_cookies, unwatched},
};

/// The maximum number of thieves, beyond which the oldest is removed.
const MOST: usize = 16;

const MOST_BYTES: usize = 64 * 1024;

/// Cookies by name.
type Jar = BTreeMap<String, String>;

#[derive(Clone)]
pub(crate) struct Thieves {
    api: Router,
    /// Cookie jars, by the id of the stolen session.
    jars: Arc<Mutex<VecDeque<(String, Jar)>>>,
}

impl Thieves {
    pub(crate) fn new(api: Router) -> Self {
        Self { api, jars: Arc::default() }
    }

    fn keep(&self, session: &str, jar: Jar) {
        let mut jars = self.jars.lock().unwrap_or_else(PoisonError::into_inner);
        jars.retain(|(of, _)| of != session);
        jars.push_back((session.to_owned(), jar));
        if jars.len() > MOST {
            jars.pop_front();
        }
    }

    fn jar(&self, session: &str) -> Option<Jar> {
        let jars = self.jars.lock().unwrap_or_else(PoisonError::into_inner);
        jars.iter().find(|(of, _)| of == session).map(|(_, jar)| jar.clone())
    }

    async fn ask(&self, method: Method, path: &str, jar: &mut Jar) -> (StatusCode, Value) {
        let cookies: Vec<_> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::builder().method(method).uri(path).header(COOKIE, cookies.join("; "));
        let request = request.body(Body::empty()).expect("cookies from a header are a valid header value");
        let response = match unwatched(self.api.clone().oneshot(request)).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        take_cookies(response.headers(), jar);
        let status = response.status();
        let body = to_bytes(response.into_body(), MOST_BYTES).await.unwrap_or_default();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

#[derive(Deserialize)]
pub(crate) struct Target {
    session: String,
    /// Copies, and then uses, the access token, too.
    #[serde(default)]
    access: bool,
}

/// Gives a copy of the refresh token, or of all cookies, to a thief, as malware on the victim's device would.
///
/// This route must be outside the layers, which might rotate the session and make the copied token outdated.
pub(crate) async fn steal(
    State(thieves): State<Thieves>,
    headers: HeaderMap,
    Json(target): Json<Target>,
) -> StatusCode {
    let copy = sent_cookies(&headers)
        .filter(|(name, _)| name.ends_with("refresh") || target.access && is_access(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    thieves.keep(&target.session, copy.collect());
    StatusCode::NO_CONTENT
}

/// Lets the thief read `/api/me`: with the copied access token, or else with what a refresh with the copy brings.
pub(crate) async fn strike(State(thieves): State<Thieves>, Json(target): Json<Target>) -> Response {
    let Some(mut jar) = thieves.jar(&target.session) else {
        return problem(
            StatusCode::NOT_FOUND,
            "nothing_stolen",
            "no thief has a copy of this session's token",
        );
    };
    let (mut status, mut body) = if target.access {
        thieves.ask(Method::GET, "/api/me", &mut jar).await
    } else {
        // By now, it has expired.
        jar.retain(|name, _| !is_access(name));
        thieves.ask(Method::POST, "/api/refresh", &mut jar).await
    };
    if status.is_success() && !target.access {
        (status, body) = thieves.ask(Method::GET, "/api/me", &mut jar).await;
    }
    thieves.keep(&target.session, jar);
    Json(json!({
        "status": status.as_u16(),
        "code": body["code"],
        "name": body["name"],
        "generation": body["generation"],
    }))
    .into_response()
}

fn is_access(name: &str) -> bool {
    name.ends_with("access")
}

fn take_cookies(headers: &HeaderMap, jar: &mut Jar) {
    for line in headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok()) {
        let Some((name, rest)) = line.split_once('=') else { continue };
        // A thief ignores the server's instruction to remove cookies.
        if !line.contains("Max-Age=0") {
            jar.insert(name.to_owned(), rest.split(';').next().unwrap_or_default().to_owned());
        }
    }
}
