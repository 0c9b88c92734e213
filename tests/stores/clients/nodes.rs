//! The application: nodes that share only keys and a store.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Query, State},
    http::{Request, Response, StatusCode, request::Parts},
    response::IntoResponse,
    routing::{get, post},
};
use serde::Deserialize;
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_cookie_jwt::{
    Claims, Sessions,
    session::{SessionError, SessionEvent, SignedOut},
    store::RefreshStore,
};

use super::Ledger;
use crate::kit::forge;

const ACCESS: Duration = Duration::from_secs(2);
/// Longer than a request waits for its turn on a busy machine.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// The service behind the browsers: each request goes to the next node.
pub(super) type Balanced = BoxCloneSyncService<Request<String>, Response<Body>, Infallible>;

#[derive(Clone)]
pub(crate) struct Nodes {
    nodes: Vec<Sessions<()>>,
    ledger: Arc<Ledger>,
    absolute: Option<Duration>,
}

impl Nodes {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), ledger: Arc::default(), absolute: None }
    }

    /// Ends sessions after this time, however they are used.
    pub(crate) fn with_absolute_lifetime(self, lifetime: Duration) -> Self {
        Self { absolute: Some(lifetime), ..self }
    }

    /// Adds a node with this handle of the store.
    pub(crate) fn add(&mut self, store: impl RefreshStore) {
        let ledger = self.ledger.clone();
        let mut builder = Sessions::builder(forge::ring(), store)
            .with_audience("shop")
            .with_access_lifetime(ACCESS)
            .with_grace_period(GRACE)
            .with_leeway(Duration::ZERO)
            .with_events(move |event: &SessionEvent<'_>| ledger.note(event));
        if let Some(lifetime) = self.absolute {
            builder = builder.with_absolute_lifetime(lifetime);
        }
        self.nodes.push(builder.build().expect("a valid configuration"));
    }

    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    pub(crate) fn node(&self, node: usize) -> &Sessions<()> {
        &self.nodes[node]
    }

    /// Returns all nodes behind one address: in turn, or as [`NODE_HEADER`] says.
    pub(super) fn balanced(&self) -> Balanced {
        let nodes: Arc<[Router]> = self.nodes.iter().map(routes).collect();
        let turn = Arc::new(AtomicUsize::new(0));
        BoxCloneSyncService::new(service_fn(move |request: Request<String>| {
            let chosen = request.headers().get(NODE_HEADER).and_then(|node| node.to_str().ok()?.parse().ok());
            let node = chosen.unwrap_or_else(|| turn.fetch_add(1, Ordering::Relaxed) % nodes.len());
            nodes[node].clone().oneshot(request)
        }))
    }
}

fn routes(sessions: &Sessions<()>) -> Router {
    Router::new()
        .route("/me", get(me).post(me))
        .layer(sessions.layer())
        .route("/login", post(login))
        .route("/logout", post(logout))
        .with_state(sessions.clone())
}

/// Answers with the generation of the session, according to the access token.
async fn me(claims: Claims<()>) -> String {
    claims.generation().expect("a session's token").to_string()
}

#[derive(Deserialize)]
struct Login {
    user: String,
}

async fn login(
    State(sessions): State<Sessions<()>>,
    Query(login): Query<Login>,
    parts: Parts,
) -> Result<impl IntoResponse, SessionError> {
    Ok((sessions.sign_in(&parts, login.user, ()).await?, StatusCode::OK))
}

async fn logout(State(sessions): State<Sessions<()>>, parts: Parts) -> Result<SignedOut, SessionError> {
    sessions.sign_out(&parts).await
}

pub(super) const NODE_HEADER: &str = "x-node";
