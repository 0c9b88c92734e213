//! A story that moves each metric. The package for OpenTelemetry acts it, too.

use std::{error::Error, io, time::Duration};

use tower_cookie_jwt::{
    MemoryStore,
    store::{Created, NewRecord, RefreshStore, SessionId, SessionRecord, Snapshot, Stamps, Update},
    testing::{Browser, TestClock},
};

use super::{app, builder};

pub(crate) async fn act() -> Result<(), Box<dyn Error>> {
    let clock = TestClock::new();
    let store = MemoryStore::new().with_clock(clock.clone());
    let sessions = builder(store)?.with_clock(clock.clone()).build()?;
    let browser = Browser::new(app(sessions));

    browser.get("/me").send().await?; // refused: not signed in
    browser.post("/login").send().await?;
    browser.post("/me").send().await?; // refused: no XSRF header
    let stolen = browser.cookie("__Host-refresh").ok_or("no refresh cookie")?;
    browser.get("/me").send().await?;
    clock.advance(Duration::from_secs(3600));
    browser.get("/me").send().await?; // rotates
    browser.get("/me").send().await?; // and shows that the new generation has arrived
    clock.advance(Duration::from_secs(3600));
    let former = browser.cookie("__Host-refresh").ok_or("no refresh cookie")?;
    browser.get("/me").send().await?; // rotates, but the response is lost
    browser.set_cookie(&format!("__Host-refresh={former}; Path=/; Secure; HttpOnly"));
    browser.remove_cookie("__Host-access");
    clock.advance(Duration::from_secs(60));
    browser.get("/me").send().await?; // is given the tokens again
    browser.get("/me").send().await?;
    clock.advance(Duration::from_secs(60));
    let thief = browser.separate();
    thief.set_cookie(&format!("__Host-refresh={stolen}; Path=/; Secure; HttpOnly"));
    thief.get("/me").send().await?; // refused: reuse

    let broken = Browser::new(app(builder(Broken)?.build()?));
    broken.post("/login").send().await?; // refused: the store fails
    Ok(())
}

/// A store without a server.
struct Broken;

impl RefreshStore for Broken {
    type Error = io::Error;

    async fn create(&self, _: NewRecord) -> Result<Created, io::Error> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn read(&self, _: &SessionId) -> Result<Snapshot, io::Error> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn update(&self, _: &SessionRecord, _: Stamps) -> Result<Update, io::Error> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn remove(&self, _: &SessionId) -> Result<bool, io::Error> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn list(&self, _: &str) -> Result<Vec<SessionRecord>, io::Error> {
        Ok(Vec::new())
    }

    async fn remove_all(&self, _: &str, _: Option<&SessionId>) -> Result<u64, io::Error> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}
