//! Sessions that are bound to a device: the service, another offer, a route that needs a recent proof, and a sign-in that
//! another site makes.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::State,
    http::request::Parts,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tower_cookie_jwt::{
    Claims, RequireLayer, Sessions,
    reject::ProblemJson,
    session::{DeviceOffer, SessionError, SignIn},
};

use crate::{api::User, record::Record};

/// Where the service is mounted.
pub(crate) const PATH: &str = "/api/device";
/// How old a proof may be for a transfer; `groups/device/step_up.mjs` waits for longer.
const RECENT: Duration = Duration::from_secs(5);

pub(crate) fn routes(sessions: Sessions<User>, record: Record) -> Router {
    let recent = RequireLayer::<User>::recent_device_proof(RECENT).with_rejection(ProblemJson);
    let protected = Router::new()
        .route("/api/transfer", post(transfer).layer(recent))
        .with_state(record)
        .route("/api/offer", get(offer))
        .with_state(sessions.clone())
        .layer(sessions.layer().with_rejection(ProblemJson));
    let service = sessions.device_service();
    Router::new()
        .route("/callback", post(callback))
        .with_state(sessions)
        .merge(protected)
        .route_service(PATH, service)
}

async fn transfer(State(record): State<Record>, _: Claims<User>, Json(order): Json<Value>) -> Json<Value> {
    record.count("transfers");
    Json(json!({ "transferred": order }))
}

async fn offer(
    State(sessions): State<Sessions<User>>,
    claims: Claims<User>,
) -> (Option<DeviceOffer>, Json<Value>) {
    let offer = sessions.offer_device_binding(&claims);
    let body = json!({ "offered": offer.is_some() });
    (offer, Json(body))
}

/// Where an OpenID provider sends the browser after the sign-in, with the answer in a form (`form_post`). An application
/// checks that answer, which stands in for the check of the origin.
async fn callback(State(sessions): State<Sessions<User>>, parts: Parts) -> Result<Response, SessionError> {
    let sign_in = SignIn::new("ada", User {}).with_insecure_origin_bypass();
    let signed_in = sessions.sign_in_with(&parts, sign_in).await?;
    Ok((signed_in, Redirect::to("/clients/fetch.html")).into_response())
}
