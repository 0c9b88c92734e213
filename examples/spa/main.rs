//! A complete application with all three layers: `cargo run --all-features --example spa`.
//!
//! It signs users in and out, verifies tokens, checks XSRF and rotates sessions, with a page that needs no build
//! step. Settings are read from the environment (see `config.rs` and `store.rs`); `ACCESS_SECS=5 GRACE_SECS=3` shows
//! frequent rotations, and with `SIGN_OUT_WITHIN_MILLIS=1000`, sign-outs count on all nodes within a second.
//! `DEVICE_BINDING=1` binds sessions to the browser's device, which takes https. The code in `demo.rs` and `thief.rs`
//! only serves the page's explanations: do not copy it.

mod api;
mod config;
mod demo;
mod page;
mod store;
mod thief;
mod users;

use std::{error::Error, net::Ipv4Addr};

use tokio::net::TcpListener;

use self::config::Config;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // The log goes to stderr, because people and programs read the address from stdout.
    tracing_subscriber::fmt().with_env_filter(config::log_filter()).with_writer(std::io::stderr).init();

    let config = Config::from_env()?;
    let users = users::Users::with_demo_user()?;
    let sessions = config.sessions(users.clone()).await?;
    // With a bound for sign-outs, access tokens then need no read each; without one, it ends at once.
    tokio::spawn(sessions.follow());
    let api = api::routes(sessions.clone(), users, config.binds_devices());
    let app = page::routes().merge(demo::around(api, &sessions, config.grace()));

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port)).await?;
    println!("open http://{}", listener.local_addr()?);
    println!("sign in as `{}` with password `{}`", users::DEMO_USER, users::DEMO_PASSWORD);
    axum::serve(listener, app).with_graceful_shutdown(stopped()).await?;
    Ok(())
}

async fn stopped() {
    // If the signal handler cannot be installed, the process runs until it is killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
