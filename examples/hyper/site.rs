//! The site: signing in and out, the refresh service, and pages behind the session layer.

use std::{convert::Infallible, error::Error};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited, combinators::BoxBody};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_cookie_jwt::{Claims, Sessions, reject::ProblemJson, session::SessionError};

/// The response type of the whole site: boxing gives the layers and the handlers a common body type.
pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// The application's own claims.
#[derive(Serialize, Deserialize)]
pub(crate) struct User {
    name: String,
}

/// The maximum size of the sign-in form, in bytes.
const MAX_FORM: usize = 1024;

/// Creates the site as a Tower service.
pub(crate) fn site(
    sessions: Sessions<User>,
) -> impl Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    // All pages require a signed-in user.
    let pages = sessions.layer().with_rejection(ProblemJson).layer(service_fn(page));

    service_fn(move |request: Request<Incoming>| {
        let (sessions, pages) = (sessions.clone(), pages.clone());
        async move {
            // The first three are outside the layer: a user who signs in has no session yet, and one who signs out
            // or refreshes may have an expired access token.
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

/// The pages. The session layer has inserted the claims into the extensions. Requests without valid claims, and
/// unsafe requests without the XSRF header, never reach this function.
async fn page(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let Some(claims) = request.extensions().get::<Claims<User>>() else {
        return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "the session layer is missing"));
    };
    let name = &claims.custom().name;
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => plain(StatusCode::OK, format!("Hello, {name}")),
        (&Method::POST, "/orders") => plain(StatusCode::CREATED, format!("ordered for {name}")),
        _ => plain(StatusCode::NOT_FOUND, "no such page"),
    })
}

/// Checks the password, starts a session and sets its cookies on the response.
async fn login(sessions: &Sessions<User>, request: Request<Incoming>) -> Answer {
    if request.method() != Method::POST {
        return boxed(StatusCode::METHOD_NOT_ALLOWED, "sign in by POST");
    }
    let (parts, body) = request.into_parts();
    let Some((id, user)) = read_form(body).await.and_then(|form| check_password(&form)) else {
        return boxed(StatusCode::UNAUTHORIZED, "wrong name or password");
    };
    // `sign_in` takes the request head because it refuses requests from other sites and ends an earlier session of
    // the same browser.
    match sessions.sign_in(&parts, id, user).await {
        Ok(signed_in) => {
            // The page's script needs the XSRF token; it cannot read the cookies that contain the JWTs.
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

/// Reads the fields `name` and `password` of a form of at most [`MAX_FORM`] bytes.
async fn read_form(body: Incoming) -> Option<(String, String)> {
    let bytes = Limited::new(body, MAX_FORM).collect().await.ok()?.to_bytes();
    let field = |wanted: &str| {
        let mut fields = form_urlencoded::parse(&bytes);
        fields.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    Some((field("name")?, field("password")?))
}

/// Returns the id and the claims of the user if the password is correct. A real site has a user database with
/// password hashes, such as Argon2's.
fn check_password((name, password): &(String, String)) -> Option<(&'static str, User)> {
    (name == "ada" && password == "lovelace").then(|| ("ada", User { name: "Ada".to_owned() }))
}

/// Responds to a failed sign-in or sign-out. Errors that are not refusals are bugs, and respond with 500.
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
