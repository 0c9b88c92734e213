//! TLS, with the lines that the documentation has.

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tower_cookie_jwt::{
    store::{PostgresStore, RedisStore},
    testing::store_contract,
};

use crate::servers::{Authority, Postgres, Redis, RedisCluster};

const TAG_KEY: &str = "fedcba9876543210fedcba9876543210";

/// Runs an application that depends on what the documentation says, and on nothing that would choose a provider of
/// cryptography in its place.
fn documented(arguments: &[&str]) -> String {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let program = BUILT.get_or_init(|| {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documented");
        let target = std::env::current_exe().expect("a test has a path");
        let target = target.ancestors().nth(3).expect("target/debug/deps/stores").join("packages");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--locked", "--quiet", "--manifest-path"])
            .arg(package.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .output()
            .expect("cargo runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        target.join("debug/documented")
    });
    let ran = Command::new(program).args(arguments).output().expect("it runs");
    format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr))
}

#[test]
fn documented_application_has_the_lines_of_the_documentation() {
    let docs = include_str!("../../docs/stores.md");
    let section = docs.split("# TLS\n").nth(1).and_then(|rest| rest.split("\n# ").next()).expect("a section");
    let blocks: Vec<_> = section.split("```").skip(1).step_by(2).collect();
    let [toml, _url, code] = blocks.as_slice() else { panic!("three blocks: {blocks:?}") };
    let manifest =
        include_str!("../documented/Cargo.toml").replace(r#"path = "../..""#, r#"version = "0.1""#);
    let program = include_str!("../documented/src/main.rs");
    for (block, file) in [(toml, manifest.as_str()), (code, program)] {
        for line in block.lines().skip(1).map(str::trim) {
            assert!(file.lines().any(|of_file| of_file.trim() == line), "`{line}` is not run");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documented_application_connects_to_each_server() {
    let authority = Authority::new();
    let root = authority.root().display().to_string();
    let postgres = Postgres::start();
    postgres.enable_tls(&authority);
    let at = |host: &str| {
        let port = postgres.port();
        format!("postgres://postgres@{host}:{port}/postgres?sslmode=verify-full&sslrootcert={root}")
    };
    assert_eq!(documented(&["postgres", &at("localhost")]), "connected\n");
    assert!(!documented(&["postgres", &at("127.0.0.1")]).contains("connected"), "the name is another");

    let (_redis, port) = Redis::start_with_tls(&authority);
    assert_eq!(documented(&["redis", &format!("rediss://localhost:{port}"), &root]), "connected\n");

    let authority = Authority::of_address();
    let root = authority.root().display().to_string();
    let cluster = RedisCluster::start_with_tls(&authority);
    let urls: Vec<_> = cluster.urls().into_iter().map(|url| url.replace("redis://", "rediss://")).collect();
    let mut arguments = vec!["cluster"];
    arguments.extend(urls.iter().map(String::as_str));
    arguments.push(&root);
    assert_eq!(documented(&arguments), "connected\n");
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_verified_in_full() {
    let authority = Authority::new();
    let server = Postgres::start();
    server.enable_tls(&authority);
    let at = |host: &str, root: &str| {
        let port = server.port();
        format!("postgres://postgres@{host}:{port}/postgres?sslmode=verify-full&sslrootcert={root}")
    };
    let root = authority.root().display().to_string();
    let store =
        PostgresStore::connect(&at("localhost", &root)).await.expect("its name and authority are right");
    store_contract(&store).await;
    assert!(server.has_only_tls_connections(), "no call goes around it");

    let other = Authority::new();
    let stranger = PostgresStore::connect(&at("localhost", &other.root().display().to_string())).await;
    let stranger = chain(&stranger.expect_err("signed by another authority"));
    assert!(stranger.contains("connection to the session database failed"), "{stranger}");
    let name = PostgresStore::connect(&at("127.0.0.1", &root)).await;
    chain(&name.expect_err("the certificate has another name"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_verified_against_the_given_authority() {
    let authority = Authority::new();
    let (_server, port) = Redis::start_with_tls(&authority);
    let root = std::fs::read(authority.root()).expect("it is there");
    let url = format!("rediss://localhost:{port}");
    let options = || RedisStore::options().with_root_certificate(root.clone());
    let store = options().connect(&url, TAG_KEY).await.expect("its name and authority are right");
    store_contract(&store).await;

    let shouted = options().connect(&format!("REDISS://LOCALHOST:{port}"), TAG_KEY).await;
    shouted.map(drop).expect("schemes and hosts have no case");
    let plain = options().connect(&format!("redis://localhost:{port}"), TAG_KEY).await.map(drop);
    let plain = plain.expect_err("a certificate, but no TLS").to_string();
    assert!(plain.contains("begin it with `rediss://`"), "{plain}");
    let other = std::fs::read(Authority::new().root()).expect("it is there");
    let stranger = RedisStore::options().with_root_certificate(other).connect(&url, TAG_KEY).await;
    stranger.map(drop).expect_err("signed by another authority");
    let name = options().connect(&format!("rediss://127.0.0.1:{port}"), TAG_KEY).await;
    name.map(drop).expect_err("the certificate has another name");
    RedisStore::connect(&url, TAG_KEY).await.map(drop).expect_err("the system does not know the authority");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_cluster_is_verified_against_the_given_authority() {
    let authority = Authority::of_address();
    let cluster = RedisCluster::start_with_tls(&authority);
    let root = std::fs::read(authority.root()).expect("it is there");
    let urls = cluster.urls().into_iter().map(|url| url.replace("redis://", "rediss://"));
    let urls: Vec<_> = urls.collect();
    let store =
        RedisStore::options().with_root_certificate(root).connect_cluster(urls.clone(), TAG_KEY).await;
    store_contract(&store.expect("its name and authority are right")).await;
    RedisStore::connect_cluster(urls, TAG_KEY)
        .await
        .map(drop)
        .expect_err("the system does not know the authority");
}
