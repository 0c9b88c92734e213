//! The servers that `stacks.sh` measures: this library and a session stack, each on several stores.

mod login;
mod ours;
#[path = "../../../tests/stores/servers/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of the stores use all of it")]
mod servers;

use std::io;

use self::ours::Check;
use axum::{Router, http::StatusCode, routing::get};
use tokio::net::TcpListener;

use self::servers::{Postgres, Redis};

/// The id of the user who signs in.
const USER: i64 = 1_234_567_890;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        ["servers"] => run_servers(),
        ["serve", candidate, store] => serve(candidate, store),
        _ => {
            eprintln!(
                "usage: stacks servers | serve bare|ours|ours-bound|ours-check|login memory|redis://HOST:PORT|postgres://…"
            );
            std::process::exit(2);
        }
    }
}

/// Runs Redis and PostgreSQL, whose URLs it prints, until its standard input ends.
fn run_servers() {
    let (redis, postgres) = (Redis::start(), Postgres::start());
    println!("{} {}", redis.url(), postgres.url());
    // The input also ends when the script is killed, so that no server outlives it.
    io::copy(&mut io::stdin(), &mut io::sink()).expect("a pipe can be read");
}

/// Serves on a free port of 127.0.0.1, which it prints, until the process is killed. A single thread does all the work,
/// and the script pins it to one core.
fn serve(candidate: &str, store: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let router = match candidate {
            "bare" => bare(),
            "ours" => ours::router(store, Check::Never).await,
            "ours-bound" => ours::router(store, Check::WithinSecond).await,
            "ours-check" => ours::router(store, Check::OnEachRequest).await,
            "login" => login::router(store).await,
            _ => panic!("unknown candidate: choose bare, ours, ours-bound, ours-check or login"),
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        println!("{}", listener.local_addr().expect("an address").port());
        axum::serve(listener, router).await.expect("it serves");
    });
}

fn bare() -> Router {
    async fn hello() -> Result<&'static str, StatusCode> {
        greet(Some(USER))
    }
    Router::new().route("/", get(hello))
}

/// The handler of all candidates, which differ in how they find out who the user is.
fn greet(user: Option<i64>) -> Result<&'static str, StatusCode> {
    if user == Some(USER) { Ok("Hello, World!") } else { Err(StatusCode::UNAUTHORIZED) }
}

/// The kind of a store, which is either `memory` or the URL of a server.
fn kind(store: &str) -> &str {
    store.split(':').next().unwrap_or(store)
}
