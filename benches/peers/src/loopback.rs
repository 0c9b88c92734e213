//! The servers that `loopback.sh` measures, and the headers of its requests.

use crate::{
    fixture::{self, COOKIE, XSRF_TOKEN},
    hand, ours,
    ours::Cache,
};
use axum::{Router, middleware::from_fn_with_state, routing::get};
use jsonwebtoken::Algorithm;
use tokio::net::TcpListener;

/// Returns the value of a header that the requests of a signed-in user contain.
pub(crate) fn header(name: &str) -> String {
    match name {
        "cookie" => cookies(&fixture::token(Algorithm::HS256, 0)),
        "xsrf" => XSRF_TOKEN.to_owned(),
        _ => panic!("unknown header: choose cookie or xsrf"),
    }
}

fn cookies(token: &str) -> String {
    format!("theme=dark; _ga=GA1.1.1234567890.1700000000; {COOKIE}={token}; lang=en-GB")
}

/// Serves on a free port of 127.0.0.1, which it prints, until the process is killed. Where only a session of its own is
/// served, prints the headers of that before.
pub(crate) fn serve(candidate: &str) {
    let hand = || from_fn_with_state(hand::keys(Algorithm::HS256), hand::with_cookie);
    match candidate {
        "bare" => listen(router()),
        "hand" => listen(router().layer(hand())),
        "ours" => listen(router().layer(ours::sessions(Cache::On).layer())),
        "followed" => {
            let following = ours::following(0);
            println!("Cookie: {}", cookies(&following.token));
            println!("X-XSRF-TOKEN: {}", following.xsrf_token);
            listen(router().layer(following.sessions.layer()));
        }
        _ => panic!("unknown candidate: choose bare, hand, ours or followed"),
    }
}

fn router() -> Router {
    async fn hello() -> &'static str {
        "Hello, World!"
    }
    Router::new().route("/", get(hello).post(hello))
}

/// Serves on a single thread, which the script pins to one core.
fn listen(router: Router) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        println!("{}", listener.local_addr().expect("an address").port());
        axum::serve(listener, router).await.expect("it serves");
    });
}
