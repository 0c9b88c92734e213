//! The application's own claims: whatever type they have, they come back as they were given, and
//! never in the way of a registered claim.

use std::{collections::BTreeMap, convert::Infallible, error::Error as _, fmt::Debug, time::Duration};

use http::{Request, Response, header::COOKIE};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_cookie_jwt::{
    Claims, MemoryStore, Sessions, Verifier,
    session::SessionError,
    testing::TestClock,
    token::{IssueErrorKind, Issuer, NewToken, Scopes},
};

use crate::{cookies::builder, forge, jar::Jar};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    age: Option<u8>,
    roles: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    name: String,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum External {
    Admin { level: u8 },
    Guest(Strict),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Internal {
    Admin { level: u8 },
    Guest,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of")]
enum Adjacent {
    Admin(u8),
    Guest,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Admin { level: u8 },
    Guest { name: String },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(User);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Maybe(Option<User>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent {
    user: User,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Empty {}

fn user() -> User {
    User { name: "Ada".into(), age: None, roles: vec!["buyer".into()] }
}

/// Signs a token that has every registered claim, and reads it back.
fn through_a_token<C: Serialize + DeserializeOwned>(custom: &C) -> Result<Claims<C>, String> {
    let token = NewToken::access("ada", Duration::from_secs(60))
        .with_token_id("t")
        .with_session_id("s")
        .with_generation(3)
        .with_scope(Scopes::new("a b").expect("scopes"))
        .with_xsrf_token("x")
        .with_authenticated_at(std::time::SystemTime::UNIX_EPOCH);
    let issuer = Issuer::new(forge::ring()).with_issuer("https://shop.example").with_audience("shop");
    let text = issuer.issue(&token, custom).map_err(|error| error.to_string())?;
    let claims = Verifier::<C>::new(forge::ring()).verify(&text).map_err(|error| error.to_string())?;
    assert_eq!(claims.session_id(), Some("s"));
    assert_eq!(claims.xsrf_token(), Some("x"));
    Ok(claims)
}

/// Returns the claims that a handler sees before and after a rotation, as JSON.
async fn through_a_session<C>(custom: C) -> [Result<Value, u16>; 2]
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let clock = TestClock::new();
    let sessions = builder::<C>(&clock).build().expect("sessions");
    let cookies = Jar::signed_in(&sessions, custom).await.header();
    let service = sessions.layer().layer(service_fn(|request: Request<()>| async move {
        let claims = request.extensions().get::<Claims<C>>().expect("the layer demands claims");
        Ok::<_, Infallible>(Response::new(serde_json::to_value(claims.custom()).expect("JSON")))
    }));
    let ask = async || {
        let request = Request::get("/").header(COOKIE, &cookies).body(()).expect("a request");
        let response = service.clone().oneshot(request).await.expect("infallible");
        match response.status().is_success() {
            true => Ok(response.into_body()),
            false => Err(response.status().as_u16()),
        }
    };
    let first = ask().await;
    clock.advance(Duration::from_secs(3600));
    [first, ask().await]
}

async fn comes_back<C>(name: &str, custom: impl Fn() -> C)
where
    C: Serialize + DeserializeOwned + PartialEq + Debug + Send + Sync + 'static,
{
    let claims = through_a_token(&custom());
    assert_eq!(claims.as_ref().map(Claims::custom), Ok(&custom()), "{name}, through a token");
    let json = serde_json::to_value(custom()).expect("JSON");
    let expected = [Ok(json.clone()), Ok(json)];
    assert_eq!(through_a_session(custom()).await, expected, "{name}, through a session");
}

#[tokio::test(flavor = "current_thread")]
async fn claims_of_every_shape_survive_a_round_trip() {
    comes_back("()", || ()).await;
    comes_back("a unit struct", || Unit).await;
    comes_back("an empty struct", || Empty {}).await;
    comes_back("a struct", user).await;
    comes_back("a boxed struct", || Box::new(user())).await;
    comes_back("deny_unknown_fields", || Strict { name: "Ada".into() }).await;
    comes_back("a flattened map", || Flat {
        name: "Ada".into(),
        rest: BTreeMap::from([("tenant".into(), json!(7)), ("flags".into(), json!([true, null, 1.5]))]),
    })
    .await;
    comes_back("a flattened map of nothing", || Flat { name: "Ada".into(), rest: BTreeMap::new() }).await;
    comes_back("a map", || BTreeMap::from([("tenant".to_owned(), 7)])).await;
    comes_back("a struct variant", || External::Admin { level: 3 }).await;
    comes_back("a newtype variant", || External::Guest(Strict { name: "Ada".into() })).await;
    comes_back("an internally tagged enum", || Internal::Admin { level: 3 }).await;
    comes_back("an internally tagged unit", || Internal::Guest).await;
    comes_back("an adjacently tagged enum", || Adjacent::Admin(3)).await;
    comes_back("an adjacently tagged unit", || Adjacent::Guest).await;
    comes_back("an untagged enum", || Untagged::Guest { name: "Ada".into() }).await;
    comes_back("an untagged enum's first", || Untagged::Admin { level: 3 }).await;
    comes_back("a newtype", || Newtype(user())).await;
    comes_back("a transparent struct", || Transparent { user: user() }).await;
    comes_back("an option", || Some(user())).await;
    comes_back("an option of an enum", || Some(External::Admin { level: 3 })).await;
    comes_back("an option of a newtype", || Some(Newtype(user()))).await;
    comes_back("a newtype of an option", || Maybe(Some(user()))).await;
    comes_back("a value", || json!({ "name": "Ada", "deep": { "sub": 1, "exp": null, "list": [1, "2"] } }))
        .await;
    comes_back("an empty value", || json!({})).await;
}

#[tokio::test(flavor = "current_thread")]
async fn claims_that_would_not_survive_a_round_trip_are_an_issue_error_at_sign_in() {
    is_refused("none", None::<User>).await;
    is_refused("none in a newtype", Maybe(None)).await;
    is_refused("number keys", BTreeMap::from([(7_u32, "Ada".to_owned())])).await;
}

/// Better than a session whose every request is refused.
async fn is_refused<C: Serialize + DeserializeOwned + Send + Sync + 'static>(name: &str, claims: C) {
    let sessions = Sessions::builder(forge::ring(), MemoryStore::new())
        .with_audience("shop")
        .build()
        .expect("a valid configuration");
    let (parts, ()) =
        http::Request::post("https://shop.example/login").body(()).expect("a request").into_parts();
    let error = sessions.sign_in(&parts, "ada", claims).await.expect_err(name);
    let SessionError::Issue(error) = error else { panic!("{name}: {error:?}") };
    assert_eq!(*error.kind(), IssueErrorKind::NotReadable, "{name}");
}

#[test]
fn an_application_claim_with_a_registered_name_is_never_issued() {
    const RESERVED: [&str; 12] =
        ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "auth_time", "sid", "gen", "proof_time", "scope"];
    let token = NewToken::access("ada", Duration::from_secs(60));
    let issuer = Issuer::new(forge::ring());
    let renamed = issuer.clone().with_xsrf_claim("csrf");
    for name in RESERVED {
        for issuer in [&issuer, &renamed] {
            for value in [json!(1), json!("x"), json!(null)] {
                let error = issuer.issue(&token, &json!({ "name": "Ada", name: value })).expect_err(name);
                assert_eq!(*error.kind(), IssueErrorKind::Collision(name.into()));
                assert!(error.to_string().contains(name), "{error}");
            }
        }
        let flat = Flat { name: "Ada".into(), rest: BTreeMap::from([(name.into(), json!(1))]) };
        assert!(issuer.issue(&token, &flat).is_err(), "{name}, flattened");
    }
    let collides = |issuer: &Issuer, name: &str| issuer.issue(&token, &json!({ name: 1 })).is_err();
    assert!(collides(&issuer, "xsrfToken") && !collides(&issuer, "csrf"));
    assert!(!collides(&renamed, "xsrfToken") && collides(&renamed, "csrf"));
    assert!(!collides(&issuer, "Sub") && !collides(&issuer, "typ"), "names are compared exactly");
}

#[tokio::test(flavor = "current_thread")]
async fn sessions_refuse_an_application_claim_with_a_registered_name() {
    let sessions = Sessions::<Value>::builder(forge::ring(), MemoryStore::new())
        .with_audience("shop")
        .build()
        .expect("sessions");
    let (parts, ()) = Request::post("/login").body(()).expect("a request").into_parts();
    for name in ["sub", "exp", "gen", "scope", "xsrfToken"] {
        let collision = |error: SessionError| match error {
            SessionError::Issue(error) => *error.kind() == IssueErrorKind::Collision(name.into()),
            _ => false,
        };
        let error = sessions.sign_in(&parts, "ada", json!({ name: 1 })).await.expect_err(name);
        assert!(collision(error), "{name}, signing in");
        assert!(sessions.list("ada").await.expect("a list").is_empty(), "{name}: nothing is stored");
    }
}

/// Better than claims that are never read: the field of a registered name never reaches the type.
#[test]
fn a_claims_type_that_could_never_be_read_is_a_config_error_that_names_the_field() {
    #[derive(Serialize, Deserialize)]
    struct WithSub {
        sub: String,
    }
    #[derive(Serialize, Deserialize)]
    struct WithGen {
        name: String,
        #[serde(rename = "gen", default)]
        generation: Option<u32>,
    }
    #[derive(Serialize, Deserialize)]
    struct WithXsrf {
        #[serde(rename = "xsrfToken")]
        token: Option<String>,
    }
    #[derive(Serialize, Deserialize)]
    struct Wrapped(WithSub);
    #[derive(Serialize, Deserialize)]
    struct WithScopes {
        scope: Option<String>,
        scp: Option<String>,
    }
    fn of_sessions<C: Serialize + DeserializeOwned + Send + Sync + 'static>() -> String {
        let built = builder::<C>(&TestClock::new()).build();
        built.map(drop).expect_err("it never fits").to_string()
    }
    fn of_a_verifier<C: DeserializeOwned>() -> String {
        Verifier::<C>::builder(forge::ring()).build().map(drop).expect_err("it never fits").to_string()
    }
    for (complaint, field, reading) in [
        (of_sessions::<WithSub>(), "`sub`", "Claims::subject"),
        (of_a_verifier::<WithSub>(), "`sub`", "Claims::subject"),
        (of_sessions::<Wrapped>(), "`sub`", "Claims::subject"),
        (of_sessions::<Option<WithSub>>(), "`sub`", "Claims::subject"),
        (of_sessions::<WithGen>(), "`gen`", "Claims::generation"),
        (of_a_verifier::<WithXsrf>(), "`xsrfToken`", "Claims::xsrf_token"),
        (of_sessions::<WithScopes>(), "`scope`", "Claims::scope"),
    ] {
        assert!(complaint.contains(field) && complaint.contains(reading), "{complaint}");
        assert!(complaint.contains("remove or rename"), "{complaint}");
    }
    for complaint in [of_sessions::<String>(), of_sessions::<Vec<User>>(), of_a_verifier::<(u8, u8)>()] {
        assert!(complaint.contains("not a JSON object") && complaint.contains("struct"), "{complaint}");
    }
    let renamed = Verifier::<WithScopes>::builder(forge::ring()).with_scope_claim("scp").build();
    assert!(renamed.expect_err("the claim of the scopes").to_string().contains("`scp`"));
    let renamed = Verifier::<WithXsrf>::builder(forge::ring()).with_xsrf_claim("csrf").build();
    assert!(renamed.is_ok(), "a name that is not registered with these settings");
}

#[cfg(feature = "tracing")]
#[tokio::test(flavor = "current_thread")]
async fn claims_that_cannot_be_issued_name_the_field_and_the_way_out_also_in_the_log() {
    #[derive(Debug, Serialize, Deserialize)]
    struct OneWay {
        #[serde(skip_serializing)]
        name: String,
        age: u8,
    }
    let log = crate::kit::log::Log::default();
    let capture = log.capture();
    let (parts, ()) =
        http::Request::post("https://shop.example/login").body(()).expect("a request").into_parts();

    let sessions = builder::<OneWay>(&TestClock::new()).build().expect("only the values show it");
    let one_way = OneWay { name: "Ada".into(), age: 36 };
    assert_eq!(one_way.name, "Ada", "a required field");
    let unreadable = sessions.sign_in(&parts, "ada", one_way).await.expect_err("it does not read back");
    let unreadable = unreadable.to_string();
    assert!(unreadable.contains("`name` is not in the token; make it an `Option`"), "{unreadable}");
    assert!(unreadable.contains("OneWay"), "{unreadable}");

    let sessions = builder::<Value>(&TestClock::new()).build().expect("sessions");
    let large = json!({ "name": "Ada", "history": "x".repeat(4000) });
    let large = sessions.sign_in(&parts, "ada", large).await.expect_err("no cookie holds it").to_string();
    assert!(large.contains("4096 bytes") && large.contains("put less into the claims"), "{large}");
    assert!(large.contains("the largest claim is `history` with 4002 bytes"), "{large}");

    let collision = sessions.sign_in(&parts, "ada", json!({ "scope": "orders" })).await;
    let collision = collision.expect_err("it is reserved").to_string();
    assert!(collision.contains("`scope`") && collision.contains("rename the field"), "{collision}");

    drop(capture);
    let log = log.text();
    for told in ["`name` is not in the token", "`history` with 4002 bytes", "claim `scope` has the name"] {
        assert!(log.contains("ERROR") && log.contains(told), "{told}: {log}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn claims_that_do_not_read_back_are_not_stored_by_an_update() {
    #[derive(Serialize, Deserialize)]
    struct Sometimes {
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
    }
    let sessions = builder::<Sometimes>(&TestClock::new()).build().expect("sessions");
    let jar = Jar::signed_in(&sessions, Sometimes { name: "Ada".into() }).await;
    let layer = sessions.layer();
    let service = layer.layer(service_fn({
        let sessions = sessions.clone();
        move |request: Request<()>| {
            let sessions = sessions.clone();
            async move {
                let claims = request.extensions().get::<Claims<Sometimes>>().expect("signed in");
                let updated = sessions.update_claims(claims, &Sometimes { name: String::new() }).await;
                Ok::<_, Infallible>(Response::new(
                    updated.map(drop).expect_err("it fits no more").to_string(),
                ))
            }
        }
    }));
    let request = Request::get("/").header(COOKIE, jar.header()).body(()).expect("a request");
    let answer = service.oneshot(request).await.expect("infallible").into_body();
    assert!(answer.contains("`name` is not in the token"), "{answer}");
}

#[test]
fn claims_that_are_not_an_object_are_never_issued() {
    let token = NewToken::access("ada", Duration::from_secs(60));
    let issuer = Issuer::new(forge::ring());
    for custom in [json!(5), json!("Ada"), json!([1]), json!(true), json!([])] {
        let error = issuer.issue(&token, &custom).expect_err("no object");
        assert_eq!(*error.kind(), IssueErrorKind::ClaimsNotAnObject, "{custom}");
        assert!(error.source().is_none(), "{custom}");
    }
    let unwritable = BTreeMap::from([(vec![1], 1)]);
    let error = issuer.issue(&token, &unwritable).expect_err("JSON has no such keys");
    assert_eq!(*error.kind(), IssueErrorKind::ClaimsNotAnObject);
    assert!(error.source().is_some(), "serde's own error is the cause");
}

#[test]
fn a_token_from_another_issuer_with_any_extra_fields_verifies() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Foreign {
        id: u64,
        balance: f64,
        admin: bool,
        deputy: Option<String>,
        tags: Vec<i8>,
    }
    let text = forge::token(
        r#"{"id":18446744073709551615,"xsrfToken":"abc","balance":-1.5e3,"iat":1700000000,"admin":false,
            "deputy":null,"exp":4102444800,"tags":[-1,2]}"#,
    );
    let claims = Verifier::<Foreign>::new(forge::ring()).verify(&text).expect("it verifies");
    let expected = Foreign { id: u64::MAX, balance: -1500.0, admin: false, deputy: None, tags: vec![-1, 2] };
    assert_eq!(*claims.custom(), expected);
    assert_eq!(claims.xsrf_token(), Some("abc"));
    assert_eq!((claims.subject(), claims.issuer(), claims.session_id()), (None, None, None));
    assert!(Verifier::<()>::new(forge::ring()).verify(&text).is_ok());
}

#[test]
fn claims_clone_cheaply_and_without_a_clone_of_the_application_type() {
    #[derive(Deserialize)]
    struct NotClone {
        name: String,
    }
    let text = forge::valid_with(json!({ "name": "Ada" }));
    let claims = Verifier::<NotClone>::new(forge::ring()).verify(&text).expect("it verifies");
    let copy = claims.clone();
    assert!(std::ptr::eq(claims.custom(), copy.custom()), "both share one value");
    assert_eq!(copy.custom().name, "Ada");
}

#[test]
fn scopes_are_parsed_collected_and_serialized() {
    let both: Scopes = "orders:write orders:read orders:write".parse().expect("scopes");
    let names = ["orders:write", "orders:read"];
    let collected = names.iter().map(|name| name.parse()).collect::<Result<Scopes, _>>().expect("scopes");
    assert_eq!(collected, both);
    assert_eq!(serde_json::to_value(&both).expect("JSON"), "orders:read orders:write");
    assert!(["a", "b\"c"].iter().map(|name| name.parse()).collect::<Result<Scopes, _>>().is_err());
    assert_eq!(Scopes::from_iter([]), Scopes::default());
}
