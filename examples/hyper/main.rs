//! Sessions with hyper and no web framework, with HTTP/1 and HTTP/2 on one port.
//!
//! ```text
//! cargo run --example hyper            serves on http://127.0.0.1:3000; PORT selects another port
//! cargo run --example hyper -- --demo  performs all steps as a client, prints them and exits
//! ```
//!
//! `site.rs` contains signing in and out and the pages behind the layers, this file contains the server, and
//! `demo.rs` contains the client.

mod demo;
mod site;

use std::{convert::Infallible, env, error::Error};

use hyper::{Request, body::Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::Service;
use tower_cookie_jwt::{
    CookiePolicy, KeyRing, MemoryStore, Sessions,
    keys::{Algorithm, Key},
};

use crate::site::{Answer, User};

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let is_demo = env::args().any(|argument| argument == "--demo");
    let port = match env::var("PORT") {
        _ if is_demo => 0, // any free port
        Ok(port) => port.parse()?,
        Err(_) => 3000,
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    let server = serve(listener, site::site(sessions()?));
    if !is_demo {
        println!("listening on http://{address}");
        return server.await;
    }
    tokio::select! {
        ended = server => ended,
        shown = demo::run(address) => shown,
    }
}

/// Creates sessions that last as long as the process. A real site loads its key from a file or a secret store, and
/// keeps its sessions in a database.
fn sessions() -> Result<Sessions<User>, BoxError> {
    let keys = KeyRing::new(Key::generate(Algorithm::HS256)?)?;
    let sessions = Sessions::builder(keys, MemoryStore::new())
        .with_audience("shop")
        // Removes `Secure` and the `__Host-` prefix, because this example does not use TLS. Do not use this in
        // production.
        .with_cookies(CookiePolicy::new().for_local_http_development())
        .build()?;
    Ok(sessions)
}

/// Accepts connections until the listener fails. Clients may use HTTP/1, or HTTP/2 with prior knowledge: hyper-util
/// tells them apart by the first bytes.
async fn serve<S>(listener: TcpListener, site: S) -> Result<(), BoxError>
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        // Adapts Tower's `Service` trait to hyper's.
        let site = TowerToHyperService::new(site.clone());
        tokio::spawn(async move {
            let connection = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = connection.serve_connection(TokioIo::new(stream), site).await {
                eprintln!("a connection failed: {error}");
            }
        });
    }
}
