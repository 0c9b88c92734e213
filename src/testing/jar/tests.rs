use std::time::UNIX_EPOCH;

use super::*;

const SHOP: &str = "https://shop.example";
const PLAIN: &str = "http://shop.example";

/// 2026-01-01T00:00:00Z.
fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn exchange(origin: &str, path: &str) -> Exchange {
    Exchange {
        origin: Origin::parse(origin).unwrap(),
        path: path.to_owned(),
        context: Context::SameSite,
        is_browser: true,
    }
}

fn from(context: Context) -> Exchange {
    Exchange { context, ..exchange(SHOP, "/") }
}

/// Stores `lines` as set in a response to `/` of `https://shop.example`, and checks that they are accepted.
fn jar(lines: &[&str]) -> Jar {
    let mut jar = Jar::default();
    for line in lines {
        assert!(jar.store(line, &exchange(SHOP, "/"), start()), "{line}");
    }
    jar
}

fn sent(jar: &Jar, exchange: &Exchange) -> String {
    jar.sent(exchange, start()).join("; ")
}

#[test]
fn lines_that_browsers_ignore_are_ignored() {
    let fitting = format!("a={}", "x".repeat(4095));
    let long = format!("{fitting}x");
    let cases = [
        ("plain", SHOP, "a=1", true),
        ("no pair", SHOP, "a", false),
        ("no name", SHOP, "=1", false),
        ("empty value", SHOP, "a=", true),
        ("control character", SHOP, "a=1\u{1}", false),
        ("line break", SHOP, "a=1; Path=/\r\nb=2", false),
        ("tab between attributes", SHOP, "a=1;\tPath=/", true),
        ("4096 bytes", SHOP, &fitting, true),
        ("one byte more", SHOP, &long, false),
        ("host prefix", SHOP, "__Host-a=1; Secure; Path=/", true),
        ("host prefix without Secure", SHOP, "__Host-a=1; Path=/", false),
        ("host prefix without path", SHOP, "__Host-a=1; Secure", false),
        ("host prefix with another path", SHOP, "__Host-a=1; Secure; Path=/api", false),
        ("host prefix with domain", SHOP, "__Host-a=1; Secure; Path=/; Domain=shop.example", false),
        (
            "host prefix with one-label domain",
            "http://localhost",
            "__Host-a=1; Secure; Path=/; Domain=localhost",
            false,
        ),
        ("host prefix in other case", SHOP, "__hOST-a=1; Path=/", false),
        ("secure prefix", SHOP, "__Secure-a=1; Secure; Domain=shop.example", true),
        ("secure prefix without Secure", SHOP, "__Secure-a=1", false),
        ("secure prefix in other case", SHOP, "__SECURE-a=1", false),
        ("Secure over http", PLAIN, "a=1; Secure", false),
        ("Secure from localhost", "http://localhost:3000", "a=1; Secure", true),
        ("Secure from a subdomain of localhost", "http://shop.localhost", "a=1; Secure", true),
        ("Secure from 127.0.0.1", "http://127.0.0.1", "a=1; Secure", true),
        ("Secure from [::1]", "http://[::1]:8080", "a=1; Secure", true),
        ("Secure from another address", "http://192.0.2.1", "a=1; Secure", false),
        ("SameSite=None without Secure", SHOP, "a=1; SameSite=None", false),
        ("SameSite=None with Secure", SHOP, "a=1; SameSite=None; Secure", true),
        ("unknown SameSite", SHOP, "a=1; SameSite=Sometimes", true),
        ("Partitioned without Secure", SHOP, "a=1; Partitioned", false),
        ("own domain", SHOP, "a=1; Domain=shop.example", true),
        ("own domain with dot and capitals", SHOP, "a=1; Domain=.Shop.Example", true),
        ("parent domain", "https://www.shop.example", "a=1; Domain=shop.example", true),
        ("subdomain", SHOP, "a=1; Domain=www.shop.example", false),
        ("unrelated domain", SHOP, "a=1; Domain=other.example", false),
        ("domain with a common suffix only", SHOP, "a=1; Domain=op.example", false),
        ("one label", SHOP, "a=1; Domain=example", false),
        ("one label that is the host", "http://localhost", "a=1; Domain=localhost", true),
        ("the address itself", "http://127.0.0.1", "a=1; Domain=127.0.0.1", true),
        ("end of an address", "http://127.0.0.1", "a=1; Domain=0.0.1", false),
    ];
    for (case, origin, line, accepted) in cases {
        let mut jar = Jar::default();
        assert_eq!(jar.store(line, &exchange(origin, "/"), start()), accepted, "{case}");
        assert_eq!(jar.names().count(), usize::from(accepted), "{case}");
    }
}

#[test]
fn domain_and_scheme_determine_which_hosts_receive_a_cookie() {
    let cases = [
        ("same host", "a=1", SHOP, true),
        ("other port", "a=1", "https://shop.example:8443", true),
        ("host in capitals", "a=1", "https://SHOP.example", true),
        ("host-only and subdomain", "a=1", "https://www.shop.example", false),
        ("domain and subdomain", "a=1; Domain=shop.example", "https://www.shop.example", true),
        ("domain and unrelated host", "a=1; Domain=shop.example", "https://workshop.example", false),
        ("not secure over http", "a=1", PLAIN, true),
        ("secure over http", "a=1; Secure", PLAIN, false),
    ];
    for (case, line, origin, goes) in cases {
        let jar = jar(&[line]);
        let exchange = exchange(origin, "/");
        assert_eq!(sent(&jar, &exchange), if goes { "a=1" } else { "" }, "{case}");
        assert_eq!(jar.held(&exchange.origin, "a", start()).is_some(), goes, "{case}");
    }
}

#[test]
fn path_determines_which_requests_carry_a_cookie() {
    let cases = [
        ("same path", "/api", "/api", true),
        ("below", "/api", "/api/me", true),
        ("below a slash", "/api/", "/api/me", true),
        ("above a slash", "/api/", "/api", false),
        ("longer name", "/api", "/apiary", false),
        ("above", "/api", "/", false),
        ("other case", "/api", "/API", false),
        ("relative, so the default", "api", "/", true),
        ("empty, so the default", "", "/", true),
    ];
    for (case, cookie_path, path, goes) in cases {
        let jar = jar(&[&format!("a=1; Path={cookie_path}")]);
        assert_eq!(!sent(&jar, &exchange(SHOP, path)).is_empty(), goes, "{case}");
    }
}

#[test]
fn the_default_path_is_the_directory_of_the_request() {
    for (path, folder) in [("/", "/"), ("/login", "/"), ("/api/login", "/api"), ("/api/v1/", "/api/v1")] {
        assert_eq!(default_path(path), folder, "{path}");
    }
    let mut jar = Jar::default();
    jar.store("a=1", &exchange(SHOP, "/api/login"), start());
    assert_eq!(sent(&jar, &exchange(SHOP, "/api/me")), "a=1");
    assert_eq!(sent(&jar, &exchange(SHOP, "/")), "");
}

#[test]
fn same_site_determines_what_cross_site_requests_send_and_accept() {
    const LINES: [&str; 4] =
        ["s=1; SameSite=Strict", "l=1; SameSite=Lax", "d=1", "n=1; SameSite=None; Secure"];
    let cases = [
        ("same site", Context::SameSite, "s=1; l=1; d=1; n=1", "s l d n"),
        ("link", Context::CrossSiteNavigation { safe: true }, "l=1; d=1; n=1", "s l d n"),
        ("form", Context::CrossSiteNavigation { safe: false }, "n=1", "s l d n"),
        ("fetch", Context::CrossSite, "n=1", "n"),
    ];
    for (case, context, goes, accepted) in cases {
        assert_eq!(sent(&jar(&LINES), &from(context)), goes, "{case}");

        let mut fresh = Jar::default();
        for line in LINES {
            fresh.store(line, &from(context), start());
        }
        assert_eq!(fresh.names().collect::<Vec<_>>().join(" "), accepted, "{case}");
    }
}

#[test]
fn partitioned_cookies_are_visible_only_under_the_same_top_level_site() {
    let line = "a=1; Partitioned; SameSite=None; Secure";
    let mut jar = jar(&[line]);
    assert_eq!(sent(&jar, &from(Context::CrossSite)), "");
    assert_eq!(sent(&jar, &from(Context::CrossSiteNavigation { safe: true })), "a=1");

    jar.store("a=2; Partitioned; SameSite=None; Secure", &from(Context::CrossSite), start());
    assert_eq!(sent(&jar, &from(Context::CrossSite)), "a=2");
    assert_eq!(sent(&jar, &from(Context::SameSite)), "a=1");
    assert_eq!(jar.held(&exchange(SHOP, "/").origin, "a", start()).as_deref(), Some("1"));
}

#[test]
fn a_cookie_lives_until_its_expiry() {
    const DAY: u64 = 24 * 60 * 60;
    let cases = [
        ("session", "a=1", 1000 * DAY, true),
        ("before Max-Age", "a=1; Max-Age=60", 59, true),
        ("at Max-Age", "a=1; Max-Age=60", 60, false),
        ("zero Max-Age", "a=1; Max-Age=0", 0, false),
        ("negative Max-Age", "a=1; Max-Age=-1", 0, false),
        ("non-numeric Max-Age", "a=1; Max-Age=soon", DAY, true),
        ("before Expires", "a=1; Expires=Thu, 01 Jan 2026 00:01:00 GMT", 59, true),
        ("at Expires", "a=1; Expires=Thu, 01 Jan 2026 00:01:00 GMT", 60, false),
        ("Expires long ago", "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", 0, false),
        ("Expires before 1970", "a=1; Expires=Fri, 01 Jan 1960 00:00:00 GMT", 0, false),
        ("Max-Age over Expires", "a=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", 59, true),
        (
            "Max-Age over Expires in any order",
            "a=1; Expires=Fri, 02 Jan 2026 00:00:00 GMT; Max-Age=60",
            60,
            false,
        ),
        ("huge Max-Age", "a=1; Max-Age=99999999999999999999", 399 * DAY, true),
        ("no longer than 400 days", "a=1; Max-Age=99999999999999999999", 400 * DAY, false),
        ("no later than 400 days", "a=1; Expires=Sat, 01 Jan 2050 00:00:00 GMT", 400 * DAY, false),
    ];
    for (case, line, after, lives) in cases {
        let jar = jar(&[line]);
        let now = start() + seconds(after);
        assert_eq!(jar.sent(&exchange(SHOP, "/"), now).len(), usize::from(lives), "{case}");
        assert_eq!(jar.held(&exchange(SHOP, "/").origin, "a", now).is_some(), lives, "{case}");
    }
}

#[test]
fn a_cookie_is_replaced_and_deleted_only_by_one_with_its_name_domain_and_path() {
    let cases = [
        ("same", "a=2; Path=/", "a=2; b=1"),
        ("deleted", "a=; Path=/; Max-Age=0", "b=1"),
        ("other path deleted", "a=; Path=/api; Max-Age=0", "a=1; b=1"),
        ("domain deleted", "a=; Path=/; Domain=shop.example; Max-Age=0", "a=1; b=1"),
        ("other path", "a=2; Path=/api", "a=2; a=1; b=1"),
        ("with domain", "a=2; Path=/; Domain=shop.example", "a=1; b=1; a=2"),
        ("other case", "A=2; Path=/", "a=1; b=1; A=2"),
    ];
    for (case, line, goes) in cases {
        let jar = jar(&["a=1; Path=/", "b=1; Path=/", line]);
        assert_eq!(sent(&jar, &exchange(SHOP, "/api/me")), goes, "{case}");
    }
}

#[test]
fn longer_paths_are_sent_first_and_then_older_cookies() {
    let jar = jar(&["a=1; Path=/", "b=1; Path=/api", "c=1; Path=/", "d=1; Path=/api", "a=2; Path=/"]);
    assert_eq!(sent(&jar, &exchange(SHOP, "/api/me")), "b=1; d=1; a=2; c=1");
}

#[test]
fn plain_http_cannot_overwrite_secure_cookies() {
    let cases = [
        ("same", "a=2; Path=/", false),
        ("longer path", "a=2; Path=/api", false),
        ("with domain", "a=2; Path=/; Domain=shop.example", false),
        ("deletion", "a=; Path=/; Max-Age=0", false),
        ("other name", "b=2; Path=/", true),
    ];
    for (case, line, accepted) in cases {
        let mut jar = jar(&["a=1; Path=/; Secure"]);
        assert_eq!(jar.store(line, &exchange(PLAIN, "/"), start()), accepted, "{case}");
    }
    let mut deep = jar(&["a=1; Path=/api; Secure"]);
    assert!(deep.store("a=2; Path=/", &exchange(PLAIN, "/"), start()), "a shorter path does not shadow");
    let mut above = jar(&["a=1; Path=/; Secure; Domain=shop.example"]);
    assert!(!above.store("a=2; Path=/", &exchange("http://www.shop.example", "/"), start()));
    assert!(above.store("a=2; Path=/", &exchange("https://www.shop.example", "/"), start()));
    let mut below = Jar::default();
    below.store("a=1; Path=/; Secure", &exchange("https://www.shop.example", "/"), start());
    assert!(!below.store("a=2; Path=/", &exchange(PLAIN, "/"), start()));
    let mut expired = jar(&["a=1; Path=/; Secure; Max-Age=60"]);
    assert!(expired.store("a=2; Path=/", &exchange(PLAIN, "/"), start() + seconds(60)));
}

#[test]
fn script_reads_cookies_that_are_not_http_only_and_match_the_path() {
    let cases = [
        ("plain", "a=1; Path=/", Some("1")),
        ("strict", "a=1; Path=/; SameSite=Strict; Secure", Some("1")),
        ("http only", "a=1; Path=/; HttpOnly", None),
        ("below", "a=1; Path=/api", None),
    ];
    for (case, line, read) in cases {
        let jar = jar(&[line]);
        let origin = &exchange(SHOP, "/").origin;
        assert_eq!(jar.readable(origin, "a", start()).as_deref(), read, "{case}");
        assert_eq!(jar.held(origin, "a", start()).as_deref(), Some("1"), "{case}");
    }
}

#[test]
fn origins_are_normalized_and_anything_else_is_rejected() {
    let cases = [
        ("https://shop.example", Some("https://shop.example")),
        ("https://Shop.Example/", Some("https://shop.example")),
        ("https://shop.example:443", Some("https://shop.example")),
        ("http://shop.example:443", Some("http://shop.example:443")),
        ("http://[::1]:3000", Some("http://[::1]:3000")),
        ("shop.example", None),
        ("/api", None),
        ("https://shop.example/api", None),
        ("https://ann@shop.example", None),
        ("ws://shop.example", None),
    ];
    for (text, normal) in cases {
        assert_eq!(Origin::parse(text).map(|origin| origin.text()).as_deref(), normal, "{text}");
    }
}

#[test]
fn neighbours_are_subdomains_of_the_last_two_labels() {
    let cases = [
        ("https://shop.example", Some("https://evil.shop.example")),
        ("https://www.shop.example:8443", Some("https://evil.shop.example")),
        ("http://localhost:3000", Some("http://evil.localhost")),
        ("http://127.0.0.1", None),
        ("http://[::1]", None),
    ];
    for (text, evil) in cases {
        let neighbour = Origin::parse(text).unwrap().neighbour();
        assert_eq!(neighbour.map(|origin| origin.text()).as_deref(), evil, "{text}");
    }
}
