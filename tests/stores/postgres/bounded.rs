//! A node with `with_sign_out_within` that follows the feed.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response, StatusCode, request::Parts};
use tower::{Layer, ServiceExt, service_fn};
use tower_cookie_jwt::{Sessions, store::RefreshStore};

use crate::kit::forge;

pub(super) const BOUND: Duration = Duration::from_secs(1);

pub(super) struct Node {
    sessions: Sessions<()>,
}

impl Node {
    pub(super) async fn new(store: impl RefreshStore) -> Self {
        let sessions = Sessions::<()>::builder(forge::ring(), store)
            .with_audience("shop")
            .with_sign_out_within(BOUND)
            .build()
            .expect("a valid configuration");
        tokio::spawn(sessions.follow());
        sessions.caught_up().await;
        Self { sessions }
    }

    /// Signs ada in, and returns the access token for a header.
    pub(super) async fn sign_in(&self) -> String {
        let signed_in = self.sessions.sign_in(&request(None), "ada", ()).await.expect("it signs in");
        let mut response = Response::new(());
        signed_in.append_to(response.headers_mut());
        let lines = response.headers().get_all("set-cookie").iter().map(|line| line.to_str().expect("text"));
        let access =
            lines.filter_map(|line| line.strip_prefix("__Host-access=")).next().expect("an access cookie");
        format!("Bearer {}", access.split(';').next().expect("a value"))
    }

    pub(super) async fn sign_out_everywhere(&self) {
        assert!(self.sessions.sign_out_everywhere("ada").await.expect("it signs out") > 0);
    }

    /// Sends a request with the token.
    pub(super) async fn ask(&self, bearer: &str) -> StatusCode {
        let served = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(String::new())) });
        let request = Request::from_parts(request(Some(bearer)), ());
        let Ok(response) = self.sessions.layer().layer(served).oneshot(request).await;
        response.status()
    }
}

fn request(bearer: Option<&str>) -> Parts {
    let mut builder = Request::get("https://shop.example/");
    if let Some(bearer) = bearer {
        builder = builder.header("authorization", bearer);
    }
    builder.body(()).expect("a plain request").into_parts().0
}
