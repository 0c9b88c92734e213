//! A server that has no memory left, or cannot write to its disk.

use std::time::{Duration, Instant};

use tower_cookie_jwt::store::{Created, RefreshStore, Stamps};

use super::*;

#[tokio::test]
async fn full_server_refuses_new_sessions_and_keeps_serving_the_others() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let mut admin = admin(&redis.url()).await;
    let memory: String = run(&mut admin, "INFO memory").await;
    let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:"));
    let used: u64 = used.and_then(|used| used.parse().ok()).expect("the server tells");
    run::<()>(&mut admin, &format!("CONFIG SET maxmemory {}", used + 2_000_000)).await;
    let claims = format!(r#"{{"long":"{}"}}"#, "x".repeat(10_000));
    let mut records = Vec::new();
    let error = loop {
        assert!(records.len() < 1000, "2 MB hold less than 10 MB");
        let mut new = new_session(&store, "ada");
        new.claims = claims.as_str().into();
        match store.create(new).await {
            Ok(Created::Done(record)) => records.push(record),
            Ok(Created::Full) => panic!("no memory is an error"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().starts_with("the session server is full: OOM"), "{error}");
    let counted = format!("ZCARD sessions:{{{}}}", &records[0].id.as_str()[..16]);
    assert_eq!(run::<usize>(&mut admin, &counted).await, records.len(), "nothing is half done");

    // Calls that need no memory still work, even after the scripts are flushed.
    run::<()>(&mut admin, "SCRIPT FLUSH").await;
    assert_eq!(read(&store, &records[0]).await.as_ref(), Some(&records[0]));
    assert_eq!(store.list("ada").await.expect("list still works").len(), records.len());
    let error = store.update(&records[0], Stamps::default()).await.expect_err("a write needs memory");
    assert!(error.to_string().starts_with("the session server is full"), "{error}");
    assert_eq!(read(&store, &records[0]).await.as_ref(), Some(&records[0]), "it is as it was");
    assert!(store.remove(&records[0].id).await.expect("removal still works"));
    let rest = records.len() as u64 - 1;
    assert_eq!(store.remove_all("ada", None).await.expect("removal still works"), rest);
    // Servers free memory in the background.
    let deadline = Instant::now() + BOUND;
    while let Err(error) = store.create(new_session(&store, "ada")).await {
        assert!(Instant::now() < deadline, "there is room again, but {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn server_without_enough_replicas_refuses_writes_and_keeps_reading() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let record = sign_in(&store, "ada").await;
    let mut admin = admin(&redis.url()).await;
    run::<()>(&mut admin, "CONFIG SET min-replicas-to-write 1").await;
    for error in [
        store.create(new_session(&store, "ada")).await.map(drop),
        store.update(&record, Stamps::default()).await.map(drop),
        store.remove(&record.id).await.map(drop),
    ] {
        let error = error.expect_err("it writes with a replica only").to_string();
        assert!(error.contains("NOREPLICAS"), "{error}");
    }
    assert_eq!(read(&store, &record).await.as_ref(), Some(&record));
    assert_eq!(store.list("ada").await.expect("list still works").len(), 1);
    run::<()>(&mut admin, "CONFIG SET min-replicas-to-write 0").await;
    assert!(store.remove(&record.id).await.expect("the store answers"));
}
