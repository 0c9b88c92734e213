//! The API: each handler counts that it ran.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, Multipart, State,
        multipart::MultipartError,
        ws::{WebSocket, WebSocketUpgrade},
    },
    http::request::Parts,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::{any, get, post},
};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower::ServiceBuilder;
use tower_cookie_jwt::{
    Claims, Sessions,
    reject::ProblemJson,
    session::{SessionError, SignIn, SignedOut},
};

use crate::record::Record;

/// The application's own claims: none.
#[derive(Deserialize, Serialize)]
pub(crate) struct User {}

#[derive(Clone)]
struct Lab {
    sessions: Sessions<User>,
    record: Record,
    unprotected: bool,
}

pub(crate) fn routes(sessions: Sessions<User>, record: Record, unprotected: bool) -> Router {
    let protected = Router::new()
        .route("/api/me", get(me))
        .route("/api/read", get(read))
        .route("/api/write", post(write).put(write).patch(write).delete(write))
        .route("/api/upload", post(upload).layer(DefaultBodyLimit::disable()))
        .route("/api/socket", any(socket))
        .route("/api/events", get(events));
    let protected = match unprotected {
        false => protected.layer(sessions.layer().with_rejection(ProblemJson)),
        true => protected.layer(
            ServiceBuilder::new()
                .layer(sessions.refresh_layer().with_rejection(ProblemJson))
                .layer(sessions.cookie_jwt_layer().with_rejection(ProblemJson)),
        ),
    };
    let refresh = sessions.refresh_service();
    protected
        .route("/api/login", post(login))
        .route("/api/logout", post(logout))
        .route_service("/api/refresh", refresh)
        .with_state(Lab { sessions, record, unprotected })
}

/// Signs in the user that the body names: as JSON whatever the content type says, and without a password,
/// which makes it easier for attacks.
async fn login(State(lab): State<Lab>, parts: Parts, body: Bytes) -> Result<Response, SessionError> {
    let form: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut sign_in = SignIn::new(form["user"].as_str().unwrap_or("ada"), User {});
    if lab.unprotected {
        sign_in = sign_in.with_insecure_origin_bypass();
    }
    let signed_in = lab.sessions.sign_in_with(&parts, sign_in).await?;
    lab.record.count("logins");
    let body = json!({ "xsrfToken": signed_in.xsrf_token(), "expiresAt": signed_in.expires_at_unix() });
    Ok((signed_in, Json(body)).into_response())
}

async fn logout(State(lab): State<Lab>, parts: Parts) -> Result<SignedOut, SessionError> {
    let signed_out = lab.sessions.sign_out(&parts).await?;
    lab.record.count("logouts");
    Ok(signed_out)
}

async fn me(claims: Claims<User>) -> Json<Value> {
    Json(json!({
        "sub": claims.subject(),
        "session": claims.session_id(),
        "generation": claims.generation(),
        "bound": claims.proof_time().is_some(),
    }))
}

async fn read(State(lab): State<Lab>, claims: Claims<User>) -> Json<Value> {
    lab.record.count("reads");
    Json(json!({ "read": claims.subject() }))
}

async fn write(State(lab): State<Lab>, claims: Claims<User>) -> Json<Value> {
    lab.record.count("writes");
    Json(json!({ "written": claims.subject() }))
}

/// Answers with length and SHA-256 of each part, as the handler got it.
async fn upload(
    State(lab): State<Lab>,
    claims: Claims<User>,
    mut form: Multipart,
) -> Result<Json<Value>, MultipartError> {
    lab.record.count("uploads");
    let mut parts = Vec::new();
    while let Some(mut field) = form.next_field().await? {
        let name = field.name().unwrap_or_default().to_owned();
        let (mut hash, mut length) = (Sha256::new(), 0);
        while let Some(chunk) = field.chunk().await? {
            hash.update(&chunk);
            length += chunk.len();
        }
        let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        parts.push(json!({ "name": name, "length": length, "sha256": hash }));
    }
    lab.record.count("whole uploads");
    Ok(Json(json!({ "parts": parts, "by": claims.subject(), "generation": claims.generation() })))
}

/// Greets the user, then echoes.
async fn socket(State(lab): State<Lab>, claims: Claims<User>, upgrade: WebSocketUpgrade) -> Response {
    lab.record.count("sockets");
    let greeting = format!("hello {}", claims.subject().unwrap_or_default());
    upgrade.on_upgrade(|socket| echo(socket, greeting))
}

async fn echo(mut socket: WebSocket, greeting: String) {
    if socket.send(greeting.into()).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Counts to five, quickly.
async fn events(
    State(lab): State<Lab>,
    _: Claims<User>,
) -> Sse<impl Stream<Item = Result<Event, std::convert::Infallible>>> {
    lab.record.count("streams");
    Sse::new(stream::unfold(1, |number| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        (number <= 5).then(|| (Ok(Event::default().data(number.to_string())), number + 1))
    }))
}
