//! A server that is absent, ends, hangs, or is no longer the master.

use std::time::{Duration, Instant};

use tower_cookie_jwt::store::{RedisStore, RefreshStore, Stamps};

use super::{gate::Gate, *};

#[tokio::test]
async fn absent_server_is_an_error_at_start_up() {
    let began = Instant::now();
    let error =
        RedisStore::connect("redis://127.0.0.1:1", TAG_KEY).await.expect_err("connections are refused");
    assert_eq!(error.to_string(), "the session server cannot be reached");
    assert!(StdError::source(&error).is_some(), "the cause is reported");
    RedisStore::connect_cluster(["redis://127.0.0.1:1"], TAG_KEY).await.expect_err("connections are refused");
    assert!(began.elapsed() < 2 * BOUND);
}

#[tokio::test]
async fn first_call_after_a_restart_succeeds() {
    let mut redis = Redis::start();
    let store = open(&redis).await;
    let record = sign_in(&store, "ada").await;

    redis.kill();
    redis.restart();
    assert_eq!(read(&store, &record).await.as_ref(), Some(&record), "the first call finds the session");

    redis.kill();
    redis.restart();
    assert!(store.update(&record, Stamps::default()).await.expect("the first call answers").is_done());

    redis.kill();
    let began = Instant::now();
    let error = store.read(&record.id).await.expect_err("connections are refused");
    assert_eq!(error.to_string(), "the session server cannot be reached");
    store.update(&record, Stamps::default()).await.expect_err("connections are refused");
    store.list("ada").await.expect_err("connections are refused");
    assert!(began.elapsed() < BOUND, "it fails fast");
    redis.restart();
    assert_eq!(read(&store, &record).await.map(|record| record.version), Some(1), "the write was kept");
}

#[tokio::test]
async fn hung_server_is_a_timely_error() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let record = sign_in(&store, "ada").await;
    redis.signal("STOP");
    let began = Instant::now();
    let error = store.read(&record.id).await.expect_err("the server hangs");
    assert_eq!(error.to_string(), "the session server did not respond in time");
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());

    let began = Instant::now();
    let impatient = store.clone().with_timeout(Duration::from_millis(200));
    impatient.list("ada").await.expect_err("the server hangs");
    // Sooner than by default.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let (began, url) = (Instant::now(), redis.url());
    RedisStore::connect(&url, TAG_KEY).await.expect_err("the server hangs");
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());

    redis.signal("CONT");
    assert_eq!(read(&store, &record).await, Some(record), "it recovers automatically");
}

#[tokio::test]
async fn demoted_master_does_not_call_a_live_session_gone() {
    let (redis, other) = (Redis::start(), Redis::start());
    let store = open(&redis).await;
    let record = sign_in(&store, "ada").await;
    let mut admin = admin(&redis.url()).await;
    run::<()>(&mut admin, "CONFIG SET replica-serve-stale-data yes").await;
    run::<()>(&mut admin, &format!("REPLICAOF 127.0.0.1 {}", other.port())).await;
    // Until it has become a copy of the other, which has no sessions.
    let deadline = Instant::now() + 5 * BOUND;
    while run::<u64>(&mut admin, "DBSIZE").await > 0 {
        assert!(Instant::now() < deadline, "the copy takes too long");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for error in [
        store.read(&record.id).await.map(drop),
        store.list("ada").await.map(drop),
        store.update(&record, Stamps::default()).await.map(drop),
        store.remove(&record.id).await.map(drop),
        store.remove_all("ada", None).await.map(drop),
        store.create(new_session(&store, "ada")).await.map(drop),
        RedisStore::connect(&redis.url(), TAG_KEY).await.map(drop),
    ] {
        let error = error.expect_err("a replica does not answer").to_string();
        assert!(error.contains("READONLY"), "{error}");
    }
    run::<()>(&mut admin, "REPLICAOF NO ONE").await;
    sign_in(&store, "ada").await;
}

#[tokio::test]
async fn address_that_resolves_to_another_master_is_followed() {
    let (former, present) = (Redis::start(), Redis::start());
    let gate = Gate::to(former.port()).await;
    let store = open_url(&gate.url()).await;
    let client = ::redis::Client::open(gate.url()).expect("a plain URL");
    let manager = client.get_connection_manager().await.expect("the server answers");
    let given = RedisStore::from_manager(manager, TAG_KEY).expect("the key is long enough");
    gate.lead_to(present.port());
    let mut admin = admin(&former.url()).await;
    run::<()>(&mut admin, &format!("REPLICAOF 127.0.0.1 {}", present.port())).await;
    for store in [store, given] {
        let record = sign_in(&store, "ada").await;
        let found = read(&open(&present).await, &record).await;
        assert_eq!(found, Some(record), "the session is on the new master");
    }
}

#[tokio::test]
async fn frozen_master_is_abandoned_when_its_address_resolves_to_another() {
    let (former, present) = (Redis::start(), Redis::start());
    let gate = Gate::to(former.port()).await;
    let store = open_url(&gate.url()).await;
    former.signal("STOP");
    gate.lead_to(present.port());
    let record = sign_in(&store, "ada").await;
    assert_eq!(read(&open(&present).await, &record).await, Some(record));
    former.signal("CONT");
}
