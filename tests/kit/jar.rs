//! A cookie jar for clients that speak to a socket, and for what a sign-in has set.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Request, header::SET_COOKIE};
use serde::{Serialize, de::DeserializeOwned};
use tower_cookie_jwt::{Sessions, session::SignedIn};

/// The cookies of one site, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Jar(Vec<Held>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    name: String,
    value: String,
    expires_at: SystemTime,
}

impl Jar {
    /// Returns the cookies that a response sets, without those that it clears.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut jar = Self::default();
        jar.store(headers);
        jar
    }

    /// Returns the cookies of a new session of ada's.
    pub(crate) async fn signed_in<C>(sessions: &Sessions<C>, custom: C) -> Self
    where
        C: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let request = Request::post("https://shop.example/login").body(()).expect("a request");
        let signed_in = sessions.sign_in(&request.into_parts().0, "ada", custom).await;
        Self::of(&headers_of(&signed_in.expect("the store is up")))
    }

    /// Stores the cookies of a response at the present time of the system.
    pub(crate) fn store(&mut self, headers: &HeaderMap) {
        self.store_at(headers, SystemTime::now());
    }

    /// Stores the cookies of a response that has arrived at `now`.
    pub(crate) fn store_at(&mut self, headers: &HeaderMap, now: SystemTime) {
        for line in headers.get_all(SET_COOKIE) {
            let line = line.to_str().expect("cookies are text");
            let (pair, attributes) = line.split_once(';').expect("every cookie has attributes");
            let (name, value) = pair.split_once('=').expect("every cookie has a name");
            let max_age = attributes.split(';').find_map(|part| part.trim().strip_prefix("Max-Age="));
            let max_age = max_age.expect("every cookie has a Max-Age").parse().expect("seconds");
            if max_age == 0 {
                self.remove(name);
            } else {
                self.hold(name, value, now + Duration::from_secs(max_age));
            }
        }
    }

    /// Adds a cookie that lives for a day.
    pub(crate) fn insert(&mut self, name: &str, value: &str) {
        self.hold(name, value, SystemTime::now() + Duration::from_secs(24 * 60 * 60));
    }

    fn hold(&mut self, name: &str, value: &str, expires_at: SystemTime) {
        let cookie = Held { name: name.to_owned(), value: value.to_owned(), expires_at };
        match self.0.iter_mut().find(|held| held.name == name) {
            Some(held) => *held = cookie,
            None => self.0.push(cookie),
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|held| held.name != name);
    }

    /// Returns the value of a cookie, expired or not.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(held, value)| (held == name).then_some(value))
    }

    /// Returns the value of a cookie that the jar must hold.
    #[track_caller]
    pub(crate) fn value(&self, name: &str) -> String {
        self.get(name).unwrap_or_else(|| panic!("no cookie {name}")).to_owned()
    }

    /// Returns whether the jar holds a cookie that is still alive at `now`.
    pub(crate) fn has_at(&self, name: &str, now: SystemTime) -> bool {
        self.0.iter().any(|held| held.name == name && held.expires_at > now)
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.iter().map(|(name, _)| name).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|held| (&*held.name, &*held.value))
    }

    /// Returns the `Cookie` header with all cookies, expired or not.
    pub(crate) fn header(&self) -> String {
        joined(&self.0)
    }

    /// Returns the `Cookie` header with the cookies that are still alive at `now`.
    pub(crate) fn header_at(&self, now: SystemTime) -> String {
        joined(self.0.iter().filter(|held| held.expires_at > now))
    }
}

fn joined<'a>(cookies: impl IntoIterator<Item = &'a Held>) -> String {
    let pairs = cookies.into_iter().map(|held| format!("{}={}", held.name, held.value));
    pairs.collect::<Vec<_>>().join("; ")
}

/// Returns the headers that a sign-in adds to its response.
pub(crate) fn headers_of(signed_in: &SignedIn) -> HeaderMap {
    let mut headers = HeaderMap::new();
    signed_in.append_to(&mut headers);
    headers
}

/// Returns the cookies that a response sets, as the next request sends them.
pub(crate) fn cookies_of(headers: &HeaderMap) -> String {
    Jar::of(headers).header()
}
