//! An authorization server and a website, each on its own port: `cargo run --all-features --example split`.
//!
//! * `authorization.rs` has the private keys and the sessions. It signs users in (EdDSA), refreshes and signs out,
//!   and publishes its public keys as a JWK set.
//! * `website.rs` only verifies tokens. It follows the key set, and cannot issue tokens even if it is compromised.
//! * `page.html` is the website's page. It signs in at the authorization server, using CORS with credentials.
//! * `demo.rs` is a client that performs all steps: `cargo run --all-features --example split -- --demo`.
//!
//! Both servers are on `localhost`. Cookies ignore ports, so each server receives the cookies of the other, just as
//! in production cookies with a `Domain` are sent to every subdomain.

mod authorization;
mod browser;
mod demo;
mod website;

use std::{env, error::Error, net::Ipv4Addr};

use axum::Router;
use tokio::{net::TcpListener, task::JoinHandle};

use self::authorization::Authorization;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The application's own claims, which both servers must define alike.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct User {
    pub(crate) name: String,
}

/// The website's name in the `aud` claim of its tokens.
pub(crate) const AUDIENCE: &str = "website";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let demo = env::args().any(|argument| argument == "--demo");
    // The demo uses free ports, so that it never conflicts with another program.
    let (id_port, web_port) = if demo { (0, 0) } else { (3000, 3001) };
    let (id, id_origin) = listen(id_port).await?;
    let (web, web_origin) = listen(web_port).await?;

    let authorization = Authorization::new(&id_origin, &web_origin)?;
    let id = serve(id, authorization.routes(&web_origin)?);
    let web = serve(web, website::routes(&id_origin)?);

    if demo {
        demo::run(&authorization, &id_origin, &web_origin).await?;
    } else {
        println!("authorization server: {id_origin}\nwebsite: {web_origin}");
        println!("open the website and sign in as `ada` with password `{}`", authorization::DEMO_PASSWORD);
        tokio::signal::ctrl_c().await?;
    }
    id.abort();
    web.abort();
    Ok(())
}

/// Binds to loopback, and returns the listener with its origin as browsers see it.
async fn listen(port: u16) -> Result<(TcpListener, String), BoxError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let port = listener.local_addr()?.port();
    Ok((listener, format!("http://localhost:{port}")))
}

fn serve(listener: TcpListener, routes: Router) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            eprintln!("the server failed: {error}");
        }
    })
}
