//! The cost of a request: time and allocations, net of the inner service.

use crate::{
    drive::{Answer, drive, inner},
    fixture::{self, Requests, TOKEN_LEN},
    hand,
    interleaved::{Id, Outcome, Suite},
    others,
    ours::{self, Cache},
    table,
};
use axum::middleware::from_fn_with_state;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, crypto::aws_lc::DEFAULT_PROVIDER};
use tower::Layer;

const HEAD: [&str; 4] = ["", "time", "allocations", "relative to hand-written"];
const OK: Answer = Answer::Passed;
const REFUSED: Answer = Answer::Refused;

/// Prints the tables.
pub(crate) fn print() {
    let mut suite = Suite::default();
    let hot = HotPath::add_to(&mut suite);
    let outcome = suite.run();
    hot.print(&outcome);
}

/// The candidates of each table, with their names.
struct HotPath {
    hand_written: Id,
    valid: Vec<(String, Id)>,
    many: Vec<(String, Id)>,
    refused: Vec<(String, Id)>,
    anonymous: Vec<(String, Id)>,
    algorithms: Vec<Signed>,
    bounded: Vec<(String, Id)>,
}

/// The rows of one algorithm.
struct Signed {
    algorithm: Algorithm,
    raw: Id,
    rows: Vec<(String, Id)>,
}

impl HotPath {
    fn add_to(suite: &mut Suite) -> Self {
        let valid = valid(suite);
        let hand_written = valid[0].1;
        Self {
            hand_written,
            valid,
            many: many(suite),
            refused: refused(suite),
            anonymous: anonymous(suite),
            algorithms: [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]
                .map(|algorithm| signed(suite, algorithm))
                .into(),
            bounded: bounded(suite),
        }
    }

    fn print(&self, outcome: &Outcome) {
        let title = format!("Signed-in requests, HS256, {TOKEN_LEN}-byte token");
        self.print_table(outcome, &title, &self.valid);
        let title = format!("Signed-in requests, cycling through {} tokens", fixture::MANY);
        table::begin(&title, "", &HEAD);
        print_rows(outcome, &self.many, self.many[0].1);
        self.print_table(outcome, "Refused requests", &self.refused);
        self.print_table(outcome, "Requests without a token, optional mode", &self.anonymous);
        for signed in &self.algorithms {
            signed.print(outcome);
        }
        table::begin(
            "Sign-out within a second, all three layers, cached token",
            "",
            &["", "time", "allocations", "relative to without"],
        );
        print_rows(outcome, &self.bounded, self.bounded[0].1);
    }

    fn print_table(&self, outcome: &Outcome, title: &str, rows: &[(String, Id)]) {
        table::begin(title, "", &HEAD);
        print_rows(outcome, rows, self.hand_written);
    }
}

impl Signed {
    fn print(&self, outcome: &Outcome) {
        let title = format!("{:?}", self.algorithm);
        table::begin(&title, "", &["", "time", "allocations", "relative to the signature check"]);
        print_rows(outcome, &self.rows, self.raw);
    }
}

fn print_rows(outcome: &Outcome, rows: &[(String, Id)], one: Id) {
    for (name, id) in rows {
        table::row(&[
            name.clone(),
            table::time(outcome.nanoseconds(*id)),
            table::allocations(outcome.allocations(*id)),
            format!("{:.2}", outcome.ratio(*id, one)),
        ]);
    }
}

fn valid(suite: &mut Suite) -> Vec<(String, Id)> {
    let token = fixture::token(Algorithm::HS256, 0);
    assert_eq!(token.len(), TOKEN_LEN, "the length stated in the title");
    let get = Requests::with_cookie(&token);
    let post = get.clone().post();
    let bearer = Requests::with_bearer(&token);
    let keys = hand::keys(Algorithm::HS256);

    let base = suite.base(drive(inner(), get.clone(), OK));
    let base_post = suite.base(drive(inner(), post.clone(), OK));
    let base_bearer = suite.base(drive(inner(), bearer.clone(), OK));
    let base_axum07 = suite.base(drive(others::axum07(), get.clone(), OK));
    let base_router = suite.base(drive(others::router(), get.clone(), OK));

    let service = from_fn_with_state(keys.clone(), hand::with_cookie).layer(inner());
    let mut rows = vec![row(
        "hand-written: `from_fn`, `cookie`, `jsonwebtoken`",
        suite.add(base, drive(service, get.clone(), OK)),
    )];
    let service = from_fn_with_state(keys, hand::with_cookie_jar).layer(inner());
    rows.push(row("hand-written with a `CookieJar`", suite.add(base, drive(service, get.clone(), OK))));
    rows.push(row(
        "jwt-authorizer 0.15 (ring)",
        suite.add(base_axum07, drive(others::jwt_authorizer(), get.clone(), OK)),
    ));
    rows.push(row(
        "axum-jwt-auth 0.7 (RustCrypto)",
        suite.add(base_router, drive(others::axum_jwt_auth(), get.clone(), OK)),
    ));
    rows.push(row(
        "tower-oauth2-resource-server 0.12, bearer",
        suite.add(base_bearer, drive(others::oauth2_resource_server(), bearer, OK)),
    ));
    rows.push(row(
        "tower-http `csrf`, POST, the origin check only",
        suite.add(base_post, drive(others::csrf(), post.clone(), OK)),
    ));
    for cache in [Cache::Off, Cache::On] {
        rows.push(cookie_jwt(suite, cache, base, &get));
        let service = ours::sessions(cache).layer().layer(inner());
        rows.push(ours_row("all three layers, GET", cache, suite.add(base, drive(service, get.clone(), OK))));
        rows.push(all_layers_post(suite, cache, base_post, &post));
    }
    rows
}

/// What it costs to know without a read that a session has not ended.
fn bounded(suite: &mut Suite) -> Vec<(String, Id)> {
    let (few, many) = (ours::following(0), ours::following(ENDED));
    let (get, get_other) = (Requests::with_cookie(&few.token), Requests::with_cookie(&many.token));
    let base = suite.base(drive(inner(), get.clone(), OK));
    let without = ours::sessions(Cache::On).layer().layer(inner());
    vec![
        row("without a bound", suite.add(base, drive(without, get.clone(), OK))),
        row(
            "with a bound, no session has ended",
            suite.add(base, drive(few.sessions.layer().layer(inner()), get, OK)),
        ),
        row(
            "with a bound, 267,000 sessions have ended",
            suite.add(base, drive(many.sessions.layer().layer(inner()), get_other, OK)),
        ),
    ]
}

/// What an application with a million sign-outs an hour keeps in mind.
const ENDED: usize = 267_000;

fn many(suite: &mut Suite) -> Vec<(String, Id)> {
    let get = Requests::with_cookies(fixture::tokens(fixture::MANY));
    let post = get.clone().post();
    let base = suite.base(drive(inner(), get.clone(), OK));
    let base_post = suite.base(drive(inner(), post.clone(), OK));

    let service = from_fn_with_state(hand::keys(Algorithm::HS256), hand::with_cookie).layer(inner());
    let mut rows = vec![row("hand-written", suite.add(base, drive(service, get.clone(), OK)))];
    for cache in [Cache::Off, Cache::Full, Cache::On] {
        rows.push(cookie_jwt(suite, cache, base, &get));
        rows.push(all_layers_post(suite, cache, base_post, &post));
    }
    rows
}

fn cookie_jwt(suite: &mut Suite, cache: Cache, base: Id, get: &Requests) -> (String, Id) {
    let service = ours::cookie_jwt(Algorithm::HS256, cache).layer(inner());
    ours_row("CookieJwt", cache, suite.add(base, drive(service, get.clone(), OK)))
}

fn all_layers_post(suite: &mut Suite, cache: Cache, base: Id, post: &Requests) -> (String, Id) {
    let service = ours::sessions(cache).layer().layer(inner());
    let name = "all three layers, POST with XSRF header";
    ours_row(name, cache, suite.add(base, drive(service, post.clone(), OK)))
}

fn refused(suite: &mut Suite) -> Vec<(String, Id)> {
    let mut rows = Vec::new();
    for (what, token) in [("garbage", "garbage".to_owned()), ("forged signature", fixture::forged_token())] {
        let get = Requests::with_cookie(&token);
        let post = get.clone().post();
        let bearer = Requests::with_bearer(&token);
        let base = suite.base(drive(inner(), get.clone(), OK));
        let base_post = suite.base(drive(inner(), post.clone(), OK));
        let base_bearer = suite.base(drive(inner(), bearer.clone(), OK));
        let base_axum07 = suite.base(drive(others::axum07(), get.clone(), OK));
        let base_router = suite.base(drive(others::router(), get.clone(), OK));
        let mut add = |name: &str, id| rows.push((format!("{what}: {name}"), id));

        let service = from_fn_with_state(hand::keys(Algorithm::HS256), hand::with_cookie).layer(inner());
        add("hand-written", suite.add(base, drive(service, get.clone(), REFUSED)));
        add("jwt-authorizer", suite.add(base_axum07, drive(others::jwt_authorizer(), get.clone(), REFUSED)));
        add("axum-jwt-auth", suite.add(base_router, drive(others::axum_jwt_auth(), get.clone(), REFUSED)));
        let service = others::oauth2_resource_server();
        add("tower-oauth2-resource-server", suite.add(base_bearer, drive(service, bearer, REFUSED)));
        let service = ours::cookie_jwt(Algorithm::HS256, Cache::On).layer(inner());
        add("**CookieJwt**", suite.add(base, drive(service, get.clone(), REFUSED)));
        let service = ours::sessions(Cache::On).layer().layer(inner());
        add("**all three layers, POST**", suite.add(base_post, drive(service, post, REFUSED)));
    }
    rows
}

fn anonymous(suite: &mut Suite) -> Vec<(String, Id)> {
    let get = Requests::without_token();
    let base = suite.base(drive(inner(), get.clone(), OK));
    let service = from_fn_with_state(hand::keys(Algorithm::HS256), hand::optional).layer(inner());
    let hand = suite.add(base, drive(service, get.clone(), OK));
    let service = ours::cookie_jwt(Algorithm::HS256, Cache::On).optional().layer(inner());
    let cookie_jwt = suite.add(base, drive(service, get.clone(), OK));
    let service = ours::sessions(Cache::On).layer().optional().layer(inner());
    let all = suite.add(base, drive(service, get, OK));
    vec![row("hand-written", hand), row("**CookieJwt**", cookie_jwt), row("**all three layers, GET**", all)]
}

fn signed(suite: &mut Suite, algorithm: Algorithm) -> Signed {
    let token = fixture::token(algorithm, 0);
    let get = Requests::with_cookie(&token);
    let base = suite.base(drive(inner(), get.clone(), OK));
    let nothing = suite.base(|| ());
    let raw = suite.add(nothing, raw_check(algorithm, &token));

    let service = from_fn_with_state(hand::keys(algorithm), hand::with_cookie).layer(inner());
    let mut rows = vec![
        row("signature check only, with `jsonwebtoken`'s aws-lc-rs provider", raw),
        row("hand-written", suite.add(base, drive(service, get.clone(), OK))),
    ];
    for cache in [Cache::Off, Cache::On] {
        let service = ours::cookie_jwt(algorithm, cache).layer(inner());
        rows.push(ours_row("CookieJwt", cache, suite.add(base, drive(service, get.clone(), OK))));
    }
    Signed { algorithm, raw, rows }
}

/// Returns the bare signature check, with the key and the signature already parsed.
fn raw_check(algorithm: Algorithm, token: &str) -> impl FnMut() -> bool + use<> {
    let (message, signature) = token.rsplit_once('.').expect("it has three parts");
    let message = message.as_bytes().to_vec();
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let key = fixture::decoding_key(algorithm);
    let verifier = (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key).expect("the key fits");
    assert!(verifier.verify(&message, &signature).is_ok(), "the signature is good");
    move || verifier.verify(&message, &signature).is_ok()
}

fn row(name: &str, id: Id) -> (String, Id) {
    (name.to_owned(), id)
}

fn ours_row(name: &str, cache: Cache, id: Id) -> (String, Id) {
    (format!("**{name}, {}**", cache.label()), id)
}
