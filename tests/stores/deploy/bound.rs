//! A session that is bound to a device, between a build that binds sessions and one that knows nothing of it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Request, Response, StatusCode, header::SET_COOKIE, request::Parts},
    routing::{get, post},
};
use serde_json::{Value, json};
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_cookie_jwt::{
    Claims, Sessions,
    reject::ProblemJson,
    session::{DeviceBinding, SessionError, SessionEvent, SignedIn, UpdatedClaims},
    store::{RefreshStore, SessionRecord, Stamps},
    testing::Browser,
};

use super::{ADDED, Earlier};
use crate::kit::{
    device::{DEVICE, Device},
    forge,
};

/// Binds Bea's session with the present build, and lets both serve her and Dan, whose session is not bound.
pub(super) async fn only_the_present_build_serves_it<S: RefreshStore>(open: impl AsyncFn() -> S) {
    let store = open().await;
    let (mut earlier, mut present) = builds(&open).await;
    let mut bea = present.browser();
    let signed_in = sign_in(&bea, "bea").await;
    let mut device = Device::register(&bea, signed_in.headers()).await;
    assert_eq!(device.prove(&bea).await.status(), StatusCode::OK, "the first proof binds");
    let mut dan = earlier.browser();
    sign_in(&dan, "dan").await;
    let bound = record(&store, "bea").await.extension;
    assert_eq!(bound.len(), 88, "the key of the device");
    assert!(present.sessions.list("bea").await.expect("it lists")[0].device.is_some());
    assert!(earlier.sessions.list("bea").await.expect("it lists")[0].device.is_none());

    for round in 0..3_u32 {
        // What the earlier build writes, on behalf of an access token, keeps what it does not know.
        let before = record(&store, "bea").await;
        let written = bea.clone().with_service(earlier.service.clone());
        let answer = written.post("/level").with_xsrf().body(round.to_string()).send_without_storing().await;
        assert_eq!(answer.expect("infallible").status(), StatusCode::OK, "round {round}");
        let after = record(&store, "bea").await;
        assert_eq!(&*after.claims, json!({ "level": round }).to_string(), "round {round}");
        assert_eq!(
            (after.version, &after.extension),
            (before.version + 1, &before.extension),
            "round {round}"
        );

        tokio::time::sleep(GRACE + Duration::from_millis(100)).await;
        (earlier, present) = builds(&open).await;
        let at = |browser: &Visitor, build: &Build| browser.clone().with_service(build.service.clone());
        let before = record(&store, "bea").await;
        bea.remove_cookie(ACCESS);
        for (build, name, code) in
            [(&earlier, "earlier", "token_invalid"), (&present, "present", "device_proof_required")]
        {
            let browser = at(&bea, build);
            for request in [browser.get("/me"), browser.post("/refresh").with_xsrf()] {
                let answer = request.send().await.expect("infallible");
                assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{name}, round {round}");
                assert!(!answer.headers().contains_key(SET_COOKIE), "{name} clears nothing, round {round}");
                assert_eq!(problem(answer).await["code"], code, "{name}, round {round}");
            }
            assert!(record(&store, "bea").await == before, "{name} writes nothing, round {round}");
        }
        assert_eq!(earlier.events(), ["WrongSecret"; 2], "round {round}");
        assert_eq!(present.events(), ["ProofMissing"; 2], "round {round}");

        bea = at(&bea, &present);
        assert_eq!(device.prove(&bea).await.status(), StatusCode::OK, "round {round}");
        for browser in [&bea, &at(&bea, &earlier)] {
            assert_eq!(status(browser, "/me").await, StatusCode::OK, "an access token, round {round}");
        }
        let after = record(&store, "bea").await;
        assert_eq!(after.generation, before.generation, "a bound session does not rotate");
        assert_eq!((after.extension.len(), after.secret_hash), (88, before.secret_hash), "round {round}");

        for build in [&earlier, &present] {
            dan = at(&dan, build);
            dan.remove_cookie(ACCESS);
            assert_eq!(
                status(&dan, "/me").await,
                StatusCode::OK,
                "a session that is not bound, round {round}"
            );
        }
        assert!(record(&store, "dan").await.extension.is_empty(), "round {round}");
    }
}

/// Gives a session what a later version of this crate has added: the present build does not know what it would leave out.
pub(super) async fn the_present_build_refuses_what_a_later_one_has_added<S: RefreshStore>(
    open: impl AsyncFn() -> S,
) {
    let store = open().await;
    let (_, present) = builds(&open).await;
    let bob = present.browser();
    sign_in(&bob, "bob").await;
    let mut added = record(&store, "bob").await;
    added.extension = ADDED.into();
    assert!(store.update(&added, Stamps::default()).await.expect("it answers").is_done());
    let before = record(&store, "bob").await;
    assert_eq!(status(&bob, "/me").await, StatusCode::OK, "an access token");
    bob.remove_cookie(ACCESS);
    let answer = bob.get("/me").send().await.expect("infallible");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.headers().contains_key(SET_COOKIE));
    let after = record(&store, "bob").await;
    assert_eq!((after.extension, after.generation), (before.extension, before.generation));
}

type Visitor = Browser<Application>;
type Application = BoxCloneSyncService<Request<String>, Response<Body>, std::convert::Infallible>;

/// A node with one of the builds.
struct Build {
    sessions: Sessions<Value>,
    service: Application,
    events: Arc<Mutex<Vec<String>>>,
}

async fn builds<S: RefreshStore>(open: &impl AsyncFn() -> S) -> (Build, Build) {
    (Build::new(Earlier(open().await), false), Build::new(open().await, true))
}

impl Build {
    fn new(store: impl RefreshStore, binds: bool) -> Self {
        let events = Arc::<Mutex<Vec<_>>>::default();
        let log = events.clone();
        let mut builder = Sessions::builder(forge::ring(), store)
            .with_audience("shop")
            .with_grace_period(GRACE)
            .with_rejection(ProblemJson)
            .with_events(move |event: &SessionEvent<'_>| {
                log.lock().expect("no panic holds it").push(format!("{event:?}"));
            });
        if binds {
            builder = builder.with_device_binding(DeviceBinding::at(DEVICE));
        }
        let sessions = builder.build().expect("a valid configuration");
        let routes = Router::new()
            .route("/me", get(async |_: Claims<Value>| ()))
            .route("/level", post(level))
            .layer(sessions.layer())
            .route("/login", post(login))
            .route_service("/refresh", sessions.refresh_service())
            .route_service(DEVICE, sessions.device_service())
            .with_state(sessions.clone());
        let service = service_fn(move |request: Request<String>| routes.clone().oneshot(request));
        Self { sessions, service: BoxCloneSyncService::new(service), events }
    }

    fn browser(&self) -> Visitor {
        Browser::new(self.service.clone())
    }

    /// Returns what has happened to sessions, by the names of the events.
    fn events(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.events.lock().expect("no panic holds it"));
        let names = events.iter().filter_map(|event| event.split(' ').next());
        names.filter(|name| *name != "Refused").map(str::to_owned).collect()
    }
}

async fn login(
    State(sessions): State<Sessions<Value>>,
    parts: Parts,
    user: String,
) -> Result<SignedIn, SessionError> {
    sessions.sign_in(&parts, user, json!({ "level": 7 })).await
}

async fn level(
    State(sessions): State<Sessions<Value>>,
    claims: Claims<Value>,
    level: String,
) -> Result<UpdatedClaims, SessionError> {
    let level: u32 = level.parse().expect("a number");
    sessions.update_claims(&claims, &json!({ "level": level })).await
}

async fn sign_in(browser: &Visitor, user: &str) -> Response<Body> {
    let answer = browser.post("/login").body(user).send().await.expect("infallible");
    assert_eq!(answer.status(), StatusCode::OK, "signing {user} in");
    answer
}

async fn status(browser: &Visitor, path: &str) -> StatusCode {
    browser.get(path).send().await.expect("infallible").status()
}

async fn problem(answer: Response<Body>) -> Value {
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.expect("a body in memory");
    serde_json::from_slice(&body).expect("JSON")
}

/// Returns the user's only session.
async fn record<S: RefreshStore>(store: &S, user: &str) -> SessionRecord {
    let listed = store.list(user).await.expect("it lists");
    let [record] = listed.as_slice() else { panic!("{user} has one session: {listed:?}") };
    record.clone()
}

const ACCESS: &str = "__Host-access";
const GRACE: Duration = Duration::from_secs(1);
