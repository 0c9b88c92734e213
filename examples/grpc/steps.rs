//! The steps of the example, each with its expected outcome.

use std::{error::Error, net::SocketAddr};

use futures_util::TryStreamExt;
use tonic::{Code, Status, metadata::MetadataMap};
use tower_cookie_jwt::Sessions;

use crate::{
    client::{self, Header, Program, SignedIn, WebPage, question, set_cookie},
    outage::Outage,
    server::User,
};

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

pub(crate) async fn run(address: SocketAddr, sessions: &Sessions<User>, outage: &Outage) -> Result {
    let ada = client::sign_in(sessions).await?;
    let program = client::program(address).await?;
    let page = client::web_page(address);

    println!("A program using gRPC:");
    as_a_program(&program, &ada).await?;
    println!("A browser using gRPC-web:");
    as_a_browser(&page, &ada).await?;
    println!("While the session store is down:");
    outage.begin();
    during_an_outage(&page, &ada).await?;
    outage.end();
    println!("After the access token has expired:");
    after_expiry(&page, &ada).await
}

async fn as_a_program(program: &Program, ada: &SignedIn) -> Result {
    let check = async |part, headers: &[Header]| {
        let answer = program.clone().check(question(part, headers)?).await?;
        user(answer.metadata())
    };
    step("no token", check("", &[]).await, Err(Code::Unauthenticated))?;
    step("bearer metadata", check("", &[ada.bearer()]).await, Ok("Ada"))?;
    step("without the scope `ops`", check("database", &[ada.bearer()]).await, Err(Code::PermissionDenied))?;

    let watch = async |headers: &[Header]| {
        let answer = program.clone().watch(question("", headers)?).await?;
        let user = user(answer.metadata())?;
        let updates: Vec<_> = answer.into_inner().try_collect().await?;
        Ok(format!("{user}, {} updates", updates.len()))
    };
    step("a stream, no token", watch(&[]).await, Err(Code::Unauthenticated))?;
    step("a stream, bearer metadata", watch(&[ada.bearer()]).await, Ok("Ada, 3 updates"))
}

/// Any site can make a browser send cookies, but not the `authorization` header.
async fn as_a_browser(page: &WebPage, ada: &SignedIn) -> Result {
    let check = async |headers: &[Header]| ask(page, headers).await.and_then(|answer| user(&answer));
    step("only cookies", check(&[ada.cookies()]).await, Err(Code::PermissionDenied))?;
    step("cookies and the XSRF header", check(&[ada.cookies(), ada.xsrf_header()]).await, Ok("Ada"))?;
    let evil = ("origin", "https://evil.example".to_owned());
    let forged = check(&[ada.cookies(), ada.xsrf_header(), evil]).await;
    step("from a page of another site", forged, Err(Code::PermissionDenied))?;
    step("bearer metadata, no XSRF header", check(&[ada.bearer()]).await, Ok("Ada"))
}

/// Valid access tokens work without the store. A refresh needs it, so the client is told to retry; no user is signed
/// out.
async fn during_an_outage(page: &WebPage, ada: &SignedIn) -> Result {
    let check = async |headers: &[Header]| ask(page, headers).await.and_then(|answer| user(&answer));
    step("a valid access token", check(&[ada.cookies(), ada.xsrf_header()]).await, Ok("Ada"))?;
    let expired = check(&[ada.cookies_after_expiry(), ada.xsrf_header()]).await;
    step("an expired access token", expired, Err(Code::Unavailable))
}

/// The call succeeds, and its response sets the new cookies.
async fn after_expiry(page: &WebPage, ada: &SignedIn) -> Result {
    let answer = ask(page, &[ada.cookies_after_expiry(), ada.xsrf_header()]).await;
    let cookies = answer.as_ref().map(|answer| answer.clone().into_headers()).unwrap_or_default();
    step("refreshed during the call", answer.and_then(|answer| user(&answer)), Ok("Ada"))?;

    let access = set_cookie(&cookies, "__Host-access").ok_or("the response set no new access cookie")?;
    let renewed = SignedIn { access, refresh: ada.refresh.clone(), xsrf: ada.xsrf.clone() };
    let answer = ask(page, &[renewed.cookies(), renewed.xsrf_header()]).await;
    step("the new cookie", answer.and_then(|answer| user(&answer)), Ok("Ada"))
}

async fn ask(page: &WebPage, headers: &[Header]) -> Result<MetadataMap, Status> {
    Ok(page.clone().check(question("", headers)?).await?.metadata().clone())
}

/// Returns the user's name from the response metadata.
fn user(metadata: &MetadataMap) -> Result<String, Status> {
    let name = metadata.get("user").and_then(|name| name.to_str().ok());
    name.map(str::to_owned).ok_or_else(|| Status::internal("the response metadata lacks the user's name"))
}

/// Prints the outcome, and returns an error if it differs from the expected one.
fn step(name: &str, outcome: Result<String, Status>, expected: Result<&str, Code>) -> Result {
    match &outcome {
        Ok(answer) => println!("  {name:<33} OK, {answer}"),
        Err(status) => println!("  {name:<33} {:?}, {}", status.code(), status.message()),
    }
    let as_expected = match (&outcome, expected) {
        (Ok(answer), Ok(expected)) => answer == expected,
        (Err(status), Err(expected)) => status.code() == expected,
        _ => false,
    };
    if as_expected { Ok(()) } else { Err(format!("{name}: expected {expected:?}").into()) }
}
