//! The client: one cookie jar that all tabs share.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, header::SET_COOKIE};

#[derive(Default)]
pub(crate) struct Jar {
    cookies: BTreeMap<String, (String, SystemTime)>,
}

impl Jar {
    pub(crate) fn header(&self, now: SystemTime) -> String {
        let live = self.cookies.iter().filter(|(_, (_, expires_at))| *expires_at > now);
        live.map(|(name, (value, _))| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    pub(crate) fn has_refresh_cookie(&self, now: SystemTime) -> bool {
        self.cookies.get("__Host-refresh").is_some_and(|(_, expires_at)| *expires_at > now)
    }

    pub(crate) fn forget_access_cookie(&mut self) {
        self.cookies.remove("__Host-access");
    }

    pub(crate) fn store(&mut self, headers: &HeaderMap, now: SystemTime) {
        for line in headers.get_all(SET_COOKIE) {
            let line = line.to_str().expect("cookies are text");
            let (pair, attributes) = line.split_once(';').expect("every cookie has attributes");
            let (name, value) = pair.split_once('=').expect("every cookie has a name");
            let max_age = attributes.split(';').find_map(|part| part.trim().strip_prefix("Max-Age="));
            let max_age = max_age.expect("every cookie has a Max-Age").parse().expect("seconds");
            self.cookies.insert(name.to_owned(), (value.to_owned(), now + Duration::from_secs(max_age)));
        }
    }
}
