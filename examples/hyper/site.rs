//! The site: signing in and out, the refresh service, and pages behind the three layers.

use std::{convert::Infallible, error::Error};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited, combinators::BoxBody};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_cookie_jwt::{Claims, Sessions, reject::ProblemJson, session::SessionError};

/// Everything that this site answers has one type of body, whoever made it.
pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// What the access token says about a user, beside what all tokens say.
#[derive(Serialize, Deserialize)]
pub(crate) struct User {
    name: String,
}

/// A form that somebody signs in with is not longer than this.
const MAX_FORM: usize = 1024;

/// The site as a Tower service.
pub(crate) fn site(
    sessions: Sessions<User>,
) -> impl Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    // Refresh, then verify, then check XSRF: whatever is in here needs a signed-in user.
    let pages = sessions.layer().with_rejection(ProblemJson).layer(service_fn(page));

    service_fn(move |request: Request<Incoming>| {
        let (sessions, pages) = (sessions.clone(), pages.clone());
        async move {
            // These three are outside of the layers: whoever signs in has no session yet, and whoever
            // signs out may have an expired one.
            Ok(match request.uri().path() {
                "/api/login" => login(&sessions, request).await,
                "/api/logout" => logout(&sessions, request).await,
                "/api/refresh" => {
                    let Ok(response) = sessions.refresh_service().oneshot(request).await;
                    response.map(BodyExt::boxed)
                }
                _ => {
                    let Ok(response) = pages.oneshot(request).await;
                    response.map(BodyExt::boxed)
                }
            })
        }
    })
}

/// The pages. `SessionLayer` has put the claims into the extensions; without valid ones, or without the
/// XSRF header on an unsafe request, a request never gets here.
async fn page(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let Some(claims) = request.extensions().get::<Claims<User>>() else {
        return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "the layer is missing"));
    };
    let name = &claims.custom().name;
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => plain(StatusCode::OK, format!("Hello, {name}")),
        (&Method::POST, "/orders") => plain(StatusCode::CREATED, format!("ordered for {name}")),
        _ => plain(StatusCode::NOT_FOUND, "no such page"),
    })
}

/// Checks the password, and has the cookies go on the response.
async fn login(sessions: &Sessions<User>, request: Request<Incoming>) -> Answer {
    if request.method() != Method::POST {
        return boxed(StatusCode::METHOD_NOT_ALLOWED, "sign in by POST");
    }
    let (parts, body) = request.into_parts();
    let Some((id, user)) = read_form(body).await.and_then(|form| check_password(&form)) else {
        return boxed(StatusCode::UNAUTHORIZED, "wrong name or password");
    };
    // `sign_in` sees the request's head too: it refuses other sites, and ends a former session.
    match sessions.sign_in(&parts, id, user).await {
        Ok(signed_in) => {
            // The page's script needs the XSRF token; the cookies with the JWTs it cannot read.
            let body =
                json!({ "xsrfToken": signed_in.xsrf_token(), "expiresAt": signed_in.expires_at_unix() });
            let mut response = boxed(StatusCode::OK, body.to_string());
            signed_in.append_to(response.headers_mut());
            response
        }
        Err(error) => failed(&error),
    }
}

/// Ends the session, and clears the cookies.
async fn logout(sessions: &Sessions<User>, request: Request<Incoming>) -> Answer {
    if request.method() != Method::POST {
        return boxed(StatusCode::METHOD_NOT_ALLOWED, "sign out by POST");
    }
    let (parts, _) = request.into_parts();
    match sessions.sign_out(&parts).await {
        Ok(signed_out) => {
            let mut response = boxed(StatusCode::OK, "signed out");
            signed_out.append_to(response.headers_mut());
            response
        }
        Err(error) => failed(&error),
    }
}

/// The fields `name` and `password` of a form that is not too long.
async fn read_form(body: Incoming) -> Option<(String, String)> {
    let bytes = Limited::new(body, MAX_FORM).collect().await.ok()?.to_bytes();
    let field = |wanted: &str| {
        let mut fields = form_urlencoded::parse(&bytes);
        fields.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    Some((field("name")?, field("password")?))
}

/// The user's id and claims. Stands for the user database, where a real site keeps password hashes such as
/// Argon2's.
fn check_password((name, password): &(String, String)) -> Option<(&'static str, User)> {
    (name == "ada" && password == "lovelace").then(|| ("ada", User { name: "Ada".to_owned() }))
}

/// A session could not be begun or ended. An error that is no refusal is a mistake of this program.
fn failed(error: &SessionError) -> Answer {
    if let Some(source) = error.source() {
        eprintln!("{error}: {source}");
    }
    let status = error.refusal().map_or(StatusCode::INTERNAL_SERVER_ERROR, |refusal| refusal.status());
    boxed(status, error.to_string())
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

fn boxed(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    plain(status, body).map(BodyExt::boxed)
}
