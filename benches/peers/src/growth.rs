//! How the cost scales with tokens, cookies, keys and sessions.

use crate::{
    counting,
    drive::{Answer, drive, inner},
    fixture::{self, COOKIE, ISSUER, KEY_ID, Requests, SCOPE, SECRET, XSRF_TOKEN},
    interleaved::{Id, Outcome, Suite},
    ours::{self, Cache, User},
    table,
    verdict::{self, Point},
};
use futures_util::FutureExt;
use http::{Request, request::Parts};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::Layer;
use tower_cookie_jwt::{
    CookieJwtLayer, KeyRing, MemoryStore, Sessions, Verifier,
    keys::{Algorithm as OurAlgorithm, Key},
    store::{Created, NewRecord, RefreshStore, SessionRecord, Snapshot, Stamps},
};

/// Prints the chosen tables, or all of them if none is chosen.
pub(crate) fn print(chosen: &[&str]) {
    // Memory is measured first: memory freed by the other tables would hide what the sessions need.
    let parts: [(&str, fn()); 5] = [
        ("memory", memory),
        ("tokens", tokens),
        ("cookies", cookies),
        ("keys", keys),
        ("sessions", sessions),
    ];
    for (name, print) in parts {
        if chosen.is_empty() || chosen.contains(&name) {
            print();
        }
    }
}

/// The candidates of one table, by size.
struct Series {
    title: String,
    remark: &'static str,
    unit: &'static str,
    rows: Vec<(f64, Id)>,
}

impl Series {
    fn print(&self, outcome: &Outcome) {
        let point = |&(size, id): &(f64, Id)| Point {
            size,
            nanoseconds: outcome.nanoseconds(id),
            allocations: outcome.allocations(id),
        };
        let points: Vec<_> = self.rows.iter().map(point).collect();
        verdict::print(&self.title, self.remark, self.unit, &points);
    }
}

fn print_all(suite: Suite, all: &[Series]) {
    let outcome = suite.run();
    for series in all {
        series.print(&outcome);
    }
}

/// Adds a candidate whose cost is measured net of the request and the inner service.
fn add<C>(suite: &mut Suite, verifier: Verifier<C>, requests: Requests, expected: Answer) -> Id
where
    C: for<'de> Deserialize<'de> + Send + Sync + 'static,
{
    let base = suite.base(drive(inner(), requests.clone(), Answer::Passed));
    suite.add(base, drive(CookieJwtLayer::new(verifier).layer(inner()), requests, expected))
}

fn tokens() {
    let mut suite = Suite::default();
    let mut all = Vec::new();
    for (title, claims) in [
        ("Token size: one long claim", one_long_claim as fn(usize) -> Value),
        ("Token size: many short claims", many_short_claims),
    ] {
        for cache in [Cache::Off, Cache::On] {
            let rows = TOKEN_SIZES.map(|size| {
                let token = token_of(size, claims);
                let verifier =
                    ours::caching(Verifier::<Nothing>::builder(ours::keys(Algorithm::HS256)), cache);
                let id = add(&mut suite, verifier, Requests::with_cookie(&token), Answer::Passed);
                (token.len() as f64, id)
            });
            let title = format!("{title}, {}", cache.label());
            all.push(Series { title, remark: "HS256, CookieJwt.", unit: "bytes", rows: rows.into() });
        }
    }
    print_all(suite, &all);
}

/// An application without custom claims, so that only the library's work grows.
#[derive(Deserialize)]
struct Nothing {}

/// Returns the longest token of at most this size.
fn token_of(size: usize, claims: fn(usize) -> Value) -> String {
    let token = |padding| {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(KEY_ID.into());
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        jsonwebtoken::encode(&header, &claims(padding), &key).expect("it can be signed")
    };
    let fits = |padding: &usize| token(*padding).len() <= size;
    let padding = (0..size).rev().find(fits).expect("the smallest one fits");
    token(padding)
}

fn one_long_claim(padding: usize) -> Value {
    let mut claims = small_claims();
    claims["note"] = "x".repeat(padding).into();
    claims
}

fn many_short_claims(padding: usize) -> Value {
    let mut claims = small_claims();
    for index in 0..padding / 16 {
        claims[format!("c{index:04}")] = "value".into();
    }
    claims["note"] = "x".repeat(padding % 16).into();
    claims
}

fn small_claims() -> Value {
    let all = fixture::claims(0);
    json!({ "iss": all.iss, "sub": all.sub, "exp": all.exp, "iat": all.iat, "xsrfToken": all.xsrf_token })
}

fn cookies() {
    let token = fixture::token(Algorithm::HS256, 0);
    let mut suite = Suite::default();
    let mut all = Vec::new();
    for (place, first) in [("first", true), ("last", false)] {
        let rows = COOKIES.map(|count| {
            let ours = format!("{COOKIE}={token}");
            let mut cookies: Vec<_> =
                (1..count).map(|index| format!("_cookie_{index:02}=GS1.1.1700000000.{index:04}")).collect();
            cookies.insert(if first { 0 } else { cookies.len() }, ours);
            let requests = Requests::with_cookie_header(&cookies.join("; "));
            let verifier = ours::verifier(Algorithm::HS256, Cache::On);
            (count as f64, add(&mut suite, verifier, requests, Answer::Passed))
        });
        let title = format!("Number of cookies, access cookie {place}");
        let remark = "One `Cookie` header, HS256, CookieJwt, cache hit.";
        all.push(Series { title, remark, unit: "cookies", rows: rows.into() });
    }
    print_all(suite, &all);
}

fn keys() {
    let mut suite = Suite::default();
    let with_ids = ring_series(&mut suite, "Keys in the ring with ids, matching key last", true, false);
    let first = ring_series(&mut suite, "Keys in the ring without ids, matching key first", false, true);
    let mut last = ring_series(&mut suite, "Keys in the ring without ids, matching key last", false, false);
    last.remark =
        "At most four signatures are checked per request: if four keys precede its own, a token is refused.";
    print_all(suite, &[with_ids, first, last]);
}

fn ring_series(suite: &mut Suite, title: &str, ids: bool, first: bool) -> Series {
    let requests = Requests::with_cookie(&fixture::token(Algorithm::HS256, 0));
    let rows = KEYS.map(|count| {
        let place = if first { 0 } else { count - 1 };
        let ring = (0..count).map(|index| ring_key(index == place, ids, index));
        let ring = KeyRing::verify_only(ring).expect("a valid ring");
        let verifier = ours::caching(Verifier::<User>::builder(ring), Cache::Off);
        let beyond_budget = !ids && place >= 4;
        let expected = if beyond_budget { Answer::Refused } else { Answer::Passed };
        (count as f64, add(suite, verifier, requests.clone(), expected))
    });
    let remark = "HS256, CookieJwt, uncached token.";
    Series { title: title.to_owned(), remark, unit: "keys", rows: rows.into() }
}

fn ring_key(is_the_tokens: bool, has_id: bool, index: usize) -> Key {
    let (key, id) = match is_the_tokens {
        true => (Key::hs256(SECRET).expect("a long secret"), KEY_ID.to_owned()),
        false => (Key::generate(OurAlgorithm::HS256).expect("not RSA"), format!("key-{index}")),
    };
    if has_id { key.with_id(id) } else { key }
}

fn sessions() {
    let outcomes: Vec<_> = SESSIONS.map(measure_store).into();
    let operations = [
        "`sign_in` and removal of the session",
        "`MemoryStore::create` and `remove`",
        "`MemoryStore::read`",
        "`MemoryStore::read` and `update`",
        "`MemoryStore::list` of one user",
    ];
    for (operation, title) in operations.into_iter().enumerate() {
        let points: Vec<_> = outcomes
            .iter()
            .map(|(count, outcome, ids)| Point {
                size: *count as f64,
                nanoseconds: outcome.nanoseconds(ids[operation]),
                allocations: outcome.allocations(ids[operation]),
            })
            .collect();
        verdict::print(&format!("Sessions in `MemoryStore`: {title}"), "", "sessions", &points);
    }
}

fn measure_store(count: usize) -> (usize, Outcome, [Id; 5]) {
    let store = MemoryStore::new().with_capacity(2 * count);
    let records: &'static [SessionRecord] =
        (0..count).map(|user| create(&store, user)).collect::<Vec<_>>().leak();
    let mut suite = Suite::default();
    let nothing = suite.base(|| ());
    let mut turn = Turns { next: 0, count };
    let ids = [
        suite.add(nothing, sign_in(store.clone(), count)),
        suite.add(nothing, {
            let store = store.clone();
            move || remove(&store, &create(&store, count))
        }),
        suite.add(nothing, {
            let store = store.clone();
            move || read(&store, &records[turn.next()])
        }),
        suite.add(nothing, {
            let store = store.clone();
            move || {
                let record = read(&store, &records[turn.next()]).record.expect("it lives");
                let updated =
                    store.update(&record, Stamps::default()).now_or_never().expect("memory").expect("memory");
                assert!(updated.is_done());
            }
        }),
        suite.add(nothing, {
            let store = store.clone();
            move || store.list(&records[turn.next()].subject).now_or_never().expect("memory").expect("memory")
        }),
    ];
    (count, suite.run(), ids)
}

/// Indexes spread over the whole table, in an order that no cache can predict.
#[derive(Clone, Copy)]
struct Turns {
    next: usize,
    count: usize,
}

impl Turns {
    fn next(&mut self) -> usize {
        self.next = (self.next + 611_953) % self.count;
        self.next
    }
}

fn sign_in(store: MemoryStore, user: usize) -> impl FnMut() {
    let sessions = our_sessions(store.clone());
    let parts = sign_in_request();
    move || {
        let signed_in = sessions.sign_in(&parts, subject(user), custom());
        let signed_in = signed_in.now_or_never().expect("memory").expect("there is room");
        assert!(store.remove(signed_in.session_id()).now_or_never().expect("memory").expect("memory"));
    }
}

/// Measures the memory that up to a million real sign-ins occupy.
fn memory() {
    let columns = ["sessions", "bytes allocated per session", "resident", "peak resident"];
    table::begin("Memory of `MemoryStore`", "After one sign-in each of that many users.", &columns);
    let store = MemoryStore::new();
    let sessions = our_sessions(store.clone());
    let parts = sign_in_request();
    let allocated_before = counting::live_bytes();
    let mut user = 0;
    for count in SESSIONS {
        while user < count {
            let signed_in = sessions.sign_in(&parts, subject(user), custom());
            let _ = signed_in.now_or_never().expect("memory").expect("there is room");
            user += 1;
        }
        assert_eq!(store.len(), count);
        let allocated = (counting::live_bytes() - allocated_before) as f64 / count as f64;
        table::row(&[count.to_string(), format!("{allocated:.0}"), status("VmRSS:"), status("VmHWM:")]);
    }
}

/// Returns a memory figure of this process as reported by the kernel, in MiB.
fn status(field: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("the benchmarks run on Linux");
    let kib = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB"));
    let kib: f64 = kib.and_then(|kib| kib.parse().ok()).expect("a number of kB");
    format!("{:.0} MiB", kib / 1024.0)
}

fn our_sessions(store: MemoryStore) -> Sessions<User> {
    Sessions::builder(ours::keys(Algorithm::HS256), store)
        .with_audience("shop")
        .with_issuer(ISSUER)
        .build()
        .expect("a valid configuration")
}

fn sign_in_request() -> Parts {
    let request = Request::post("https://shop.example/login")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
        .body(());
    request.expect("a request").into_parts().0
}

fn subject(user: usize) -> String {
    format!("6f1c2b7e-2f1d-4b7e-9d44-{user:012}")
}

fn custom() -> User {
    User { roles: vec!["customer".into(), "editor".into()] }
}

fn create(store: &MemoryStore, user: usize) -> SessionRecord {
    let subject = subject(user);
    let mut new = NewRecord::new(store.new_id(&subject), subject, [7; 32]);
    new.scope = SCOPE.into();
    new.claims = r#"{"roles":["customer","editor"]}"#.into();
    new.xsrf_token = XSRF_TOKEN.into();
    new.label = "Firefox on Linux".into();
    match store.create(new).now_or_never().expect("memory").expect("memory") {
        Created::Done(record) => record,
        Created::Full => panic!("there is room"),
    }
}

fn remove(store: &MemoryStore, record: &SessionRecord) -> bool {
    store.remove(&record.id).now_or_never().expect("memory").expect("memory")
}

fn read(store: &MemoryStore, record: &SessionRecord) -> Snapshot {
    store.read(&record.id).now_or_never().expect("memory").expect("memory")
}

const TOKEN_SIZES: [usize; 6] = [320, 512, 1024, 2048, 4096, 8192];
const COOKIES: [usize; 6] = [1, 2, 5, 10, 20, 50];
const KEYS: [usize; 5] = [1, 2, 4, 8, 16];
const SESSIONS: [usize; 4] = [1000, 10_000, 100_000, 1_000_000];
