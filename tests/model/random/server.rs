//! The server: the real layers on two nodes, over a store that every call waits for.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use tower_cookie_jwt::{
    MemoryStore, Sessions,
    session::{LostResponse, SessionEvent},
    store::{Created, NewRecord, RefreshStore, SessionId, SessionRecord, Snapshot, Stamps, Update},
    testing::TestClock,
};

use crate::kit::{forge, jar::headers_of};

pub(crate) const GRACE: Duration = Duration::from_secs(30);
/// Any relation between grace period and access lifetime is legal.
pub(crate) const ACCESS: [Duration; 3] =
    [Duration::from_secs(4), Duration::from_secs(20), Duration::from_secs(60)];

/// Status and headers of an answer, once it has come.
pub(crate) type Running = Pin<Box<dyn Future<Output = (StatusCode, HeaderMap)>>>;

/// Holds a handler back until it may finish.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    started: Arc<AtomicBool>,
    open: Arc<AtomicBool>,
}

impl Gate {
    pub(crate) fn is_waiting(&self) -> bool {
        self.started.load(Ordering::Relaxed) && !self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }
}

impl Future for Gate {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.started.store(true, Ordering::Relaxed);
        if self.open.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }
}

pub(crate) struct Server {
    nodes: [Sessions<()>; 2],
    pub(crate) rotations: Arc<AtomicU64>,
    pub(crate) lost_answers: Arc<AtomicU64>,
    pub(crate) reuse: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn new(clock: &TestClock, access: Duration, lost_response: LostResponse) -> Self {
        let keys = forge::ring();
        let store = SlowStore(MemoryStore::new().with_clock(clock.clone()));
        let rotations = Arc::new(AtomicU64::new(0));
        let lost_answers = Arc::new(AtomicU64::new(0));
        let reuse = Arc::new(AtomicBool::new(false));
        let node = || {
            let (rotations, lost_answers, reuse) = (rotations.clone(), lost_answers.clone(), reuse.clone());
            Sessions::builder(keys.clone(), store.clone())
                .with_audience("shop")
                .with_clock(clock.clone())
                .with_grace_period(GRACE)
                .with_access_lifetime(access)
                .with_leeway(Duration::ZERO)
                .with_lost_response(lost_response)
                .with_events(move |event: &SessionEvent<'_>| match event {
                    SessionEvent::Rotated { .. } => {
                        rotations.fetch_add(1, Ordering::Relaxed);
                    }
                    SessionEvent::AnswerLost { .. } => {
                        lost_answers.fetch_add(1, Ordering::Relaxed);
                    }
                    SessionEvent::ReuseDetected { .. } => reuse.store(true, Ordering::Relaxed),
                    _ => {}
                })
                .build()
                .expect("a valid configuration")
        };
        Self { nodes: [node(), node()], rotations, lost_answers, reuse }
    }

    pub(crate) fn sign_in(&self) -> Running {
        let sessions = self.nodes[0].clone();
        Box::pin(async move {
            let (parts, ()) =
                Request::post("https://shop.example/login").body(()).expect("a request").into_parts();
            let signed_in = sessions.sign_in(&parts, "ada", ()).await.expect("an empty store");
            (StatusCode::OK, headers_of(&signed_in))
        })
    }

    /// A request through the layers whose handler waits at `gate`.
    pub(crate) fn page(&self, node: usize, cookies: &str, gate: Gate) -> Running {
        let service = self.nodes[node].layer().layer(service_fn(move |_: Request<()>| {
            let gate = gate.clone();
            async move {
                gate.await;
                Ok::<_, Infallible>(Response::new(String::new()))
            }
        }));
        let request = Request::get("/").header("cookie", cookies).body(()).expect("a request");
        Box::pin(async move {
            let (parts, _) = service.oneshot(request).await.expect("infallible").into_parts();
            (parts.status, parts.headers)
        })
    }

    pub(crate) fn refresh(&self, node: usize, cookies: &str) -> Running {
        let service = self.nodes[node].refresh_service();
        let request = Request::post("/api/refresh").header("cookie", cookies).body(String::new());
        Box::pin(async move {
            let answer = service.oneshot(request.expect("a request")).await.expect("infallible");
            let (parts, _) = answer.into_parts();
            (parts.status, parts.headers)
        })
    }
}

/// A store whose every call lets others come in between.
#[derive(Clone)]
struct SlowStore(MemoryStore);

/// Pending once.
async fn wait() {
    let mut waited = false;
    std::future::poll_fn(
        |_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending },
    )
    .await;
}

impl RefreshStore for SlowStore {
    type Error = Infallible;

    async fn create(&self, session: NewRecord) -> Result<Created, Infallible> {
        self.0.create(session).await
    }

    async fn read(&self, id: &SessionId) -> Result<Snapshot, Infallible> {
        wait().await;
        let snapshot = self.0.read(id).await;
        wait().await;
        snapshot
    }

    async fn update(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, Infallible> {
        wait().await;
        let update = self.0.update(record, stamps).await;
        wait().await;
        update
    }

    async fn remove(&self, id: &SessionId) -> Result<bool, Infallible> {
        self.0.remove(id).await
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, Infallible> {
        self.0.list(subject).await
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, Infallible> {
        self.0.remove_all(subject, keep).await
    }
}
