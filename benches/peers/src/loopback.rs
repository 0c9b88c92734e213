//! The servers that `loopback.sh` sends requests to, and what to send.

use crate::{
    fixture::{self, COOKIE, XSRF_TOKEN},
    hand, ours,
    ours::Cache,
};
use axum::{Router, middleware::from_fn_with_state, routing::get};
use jsonwebtoken::Algorithm;
use tokio::net::TcpListener;

/// What requests of a signed-in user carry.
pub(crate) fn header(name: &str) -> String {
    match name {
        "cookie" => format!(
            "theme=dark; _ga=GA1.1.1234567890.1700000000; {COOKIE}={}; lang=en-GB",
            fixture::token(Algorithm::HS256, 0)
        ),
        "xsrf" => XSRF_TOKEN.to_owned(),
        _ => panic!("one of cookie, xsrf"),
    }
}

/// Serves until it is killed, on a free port of 127.0.0.1 that it prints.
pub(crate) fn serve(contender: &str) {
    let hand = || from_fn_with_state(hand::keys(Algorithm::HS256), hand::with_cookie);
    match contender {
        "bare" => listen(router()),
        "hand" => listen(router().layer(hand())),
        "ours" => listen(router().layer(ours::sessions(Cache::On).layer())),
        _ => panic!("one of bare, hand, ours"),
    }
}

fn router() -> Router {
    async fn hello() -> &'static str {
        "Hello, World!"
    }
    Router::new().route("/", get(hello).post(hello))
}

/// On one thread: the script pins it to one core.
fn listen(router: Router) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        println!("{}", listener.local_addr().expect("an address").port());
        axum::serve(listener, router).await.expect("it serves");
    });
}
