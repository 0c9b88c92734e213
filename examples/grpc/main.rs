//! gRPC with tonic: `cargo run --all-features --example grpc`.
//!
//! Starts a server on loopback, calls it as a program and as a browser, and prints the results. Afterwards it keeps
//! serving until Ctrl-C. With `--demo` it exits instead, and fails if a step has failed.
//!
//! There is no `.proto` file: the service is the standard gRPC health service, whose types come with `tonic-health`.
//! Any other generated service is wrapped in the layers in the same way.

mod client;
mod outage;
mod server;
mod steps;

use std::{error::Error, net::Ipv4Addr};

use tokio::sync::oneshot;
use tonic::transport::server::TcpIncoming;
use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions};

use self::{outage::Outage, server::User};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let demo = std::env::args().any(|argument| argument == "--demo");

    // `MemoryStore` loses all sessions on a restart; `SqliteStore` keeps them.
    let outage = Outage::new(MemoryStore::new());
    let sessions = Sessions::<User>::builder(KeyRing::hs256(SECRET)?, outage.clone())
        .with_issuer("https://shop.example")
        .with_audience("shop")
        .build()?;

    let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = incoming.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(server::run(sessions.clone(), incoming, async { drop(stopped.await) }));
    println!("gRPC and gRPC-web on http://{address}\n");

    steps::run(address, &sessions, &outage).await?;

    if !demo {
        println!("\nServing until Ctrl-C.");
        tokio::signal::ctrl_c().await?;
    }
    drop(stop);
    server.await??;
    Ok(())
}

/// For the example only: a real secret is random, and comes from a file or a secret store.
const SECRET: &str = "at least 32 bytes of randomness, from a file";
