//! Opening a store: what the user of the server may do, and what the server does when it is full.

use tower_cookie_jwt::store::Stamps;

use super::*;

#[tokio::test]
async fn server_without_the_required_commands_is_detected_at_start_up() {
    let redis = Redis::start_with(&["--rename-command", "EVALSHA", ""]);
    let error = RedisStore::connect(&redis.url(), TAG_KEY).await.expect_err("there are no scripts");
    let words = all_words(&error);
    assert!(words.contains("returned an error: ERR"), "{words}");
    assert!(!words.contains("sessions:"), "arguments are not repeated: {words}");
}

#[tokio::test]
async fn user_with_the_documented_permissions_suffices() {
    let redis = Redis::start();
    let mut admin = admin(&redis.url()).await;
    run::<()>(&mut admin, &format!("ACL SETUSER shop on >password resetchannels {PERMISSIONS}")).await;
    let store = open_url(&redis.url().replace("//", "//shop:password@")).await;
    let record = sign_in(&store, "ada").await;
    assert!(store.update(&record, Stamps::default()).await.expect("it may").is_done());
    let mut ended = sign_in(&store, "ada").await;
    ended.idle_expires_at = ended.created_at;
    assert!(store.update(&ended, Stamps::default()).await.expect("it may").is_done());
    assert_eq!(store.list("ada").await.expect("it may").len(), 1);
    assert!(store.remove(&record.id).await.expect("it may"));
    assert_eq!(store.remove_all("ada", None).await.expect("it may"), 0);

    let elsewhere = store.with_key_prefix("forum:").expect("it has no braces");
    let error = elsewhere.create(new_session(&elsewhere, "ada")).await.expect_err("it may not");
    assert!(error.to_string().contains("NOPERM") || error.to_string().contains("permission"), "{error}");
    let error = elsewhere.check().await.expect_err("it may not").to_string();
    assert!(error.contains("`forum:`"), "{error}");
}

#[tokio::test]
async fn each_missing_permission_is_named_when_the_store_is_opened() {
    let redis = Redis::start();
    let mut admin = admin(&redis.url()).await;
    let url = redis.url().replace("//", "//shop:password@");
    let scripts = ["+evalsha", "+eval"];
    for missing in
        PERMISSIONS.split_whitespace().filter(|word| word.starts_with('+') && !scripts.contains(word))
    {
        let rest: Vec<_> = PERMISSIONS.split_whitespace().filter(|word| *word != missing).collect();
        let rest = rest.join(" ");
        run::<()>(&mut admin, &format!("ACL SETUSER shop reset on >password {rest}")).await;
        let error = RedisStore::connect(&url, TAG_KEY).await.expect_err(missing).to_string();
        let command = missing.trim_start_matches('+').to_uppercase();
        assert!(error.contains(&format!("may not run {command} on keys")), "{missing}: {error}");
    }
    for missing in scripts {
        let rest: Vec<_> = PERMISSIONS.split_whitespace().filter(|word| *word != missing).collect();
        let rest = rest.join(" ");
        run::<()>(&mut admin, &format!("ACL SETUSER shop reset on >password {rest}")).await;
        run::<()>(&mut admin, "SCRIPT FLUSH").await;
        let error = RedisStore::connect(&url, TAG_KEY).await.expect_err(missing).to_string();
        let command = missing.trim_start_matches('+');
        assert!(
            error.contains("may not run scripts") && error.contains(&format!("'{command}'")),
            "{missing}: {error}"
        );
    }
    let left: u64 = run(&mut admin, "DBSIZE").await;
    assert_eq!(left, 0, "what was tried leaves nothing behind");
}

#[tokio::test]
async fn prefix_with_permissions_of_its_own_is_set_before_opening() {
    let redis = Redis::start();
    let mut admin = admin(&redis.url()).await;
    let permissions = PERMISSIONS.replace("~sessions:*", "~shop:*");
    run::<()>(&mut admin, &format!("ACL SETUSER shop reset on >password {permissions}")).await;
    let url = redis.url().replace("//", "//shop:password@");
    let error = RedisStore::connect(&url, TAG_KEY).await.expect_err("the prefix is another").to_string();
    assert!(error.contains("`sessions:`") && error.contains("RedisStore::options"), "{error}");
    let options = RedisStore::options().with_key_prefix("shop:").expect("it has no braces");
    let store = options.connect(&url, TAG_KEY).await.expect("the prefix is right");
    sign_in(&store, "ada").await;

    // The index alone, or the records alone, are not enough.
    for pattern in ["~shop:{*}", "~shop:{*}:*"] {
        let permissions = PERMISSIONS.replace("~sessions:*", pattern);
        run::<()>(&mut admin, &format!("ACL SETUSER shop reset on >password {permissions}")).await;
        let options = RedisStore::options().with_key_prefix("shop:").expect("it has no braces");
        let outcome = options.connect(&url, TAG_KEY).await.map(drop);
        outcome.expect_err(pattern);
    }
}

#[tokio::test]
async fn database_number_needs_a_permission_of_its_own() {
    let redis = Redis::start();
    let mut admin = admin(&redis.url()).await;
    run::<()>(&mut admin, &format!("ACL SETUSER shop reset on >password {PERMISSIONS}")).await;
    let url = format!("{}/1", redis.url().replace("//", "//shop:password@"));
    let error = RedisStore::connect(&url, TAG_KEY).await.expect_err("it may not select");
    assert!(all_words(&error).to_lowercase().contains("select"), "{}", all_words(&error));
    run::<()>(&mut admin, "ACL SETUSER shop +select").await;
    sign_in(&open_url(&url).await, "ada").await;
}

#[tokio::test]
async fn server_that_evicts_is_refused_unless_that_is_allowed() {
    let redis = Redis::start();
    for policy in ["volatile-ttl", "volatile-lru", "allkeys-lru", "allkeys-random"] {
        redis.configure("maxmemory-policy", policy);
        let error = RedisStore::connect(&redis.url(), TAG_KEY).await.expect_err(policy).to_string();
        assert!(
            error.contains(policy) && error.contains("noeviction") && error.contains("with_eviction_allowed"),
            "{error}"
        );
        let store = RedisStore::options().with_eviction_allowed().connect(&redis.url(), TAG_KEY).await;
        let store = store.expect("it is allowed");
        store.check().await.expect_err("asking again says so, too");
    }
    // Who may not ask does not learn of it.
    let mut admin = admin(&redis.url()).await;
    run::<()>(&mut admin, &format!("ACL SETUSER shop reset on >password {PERMISSIONS}")).await;
    let url = redis.url().replace("//", "//shop:password@");
    RedisStore::connect(&url, TAG_KEY).await.map(drop).expect("the policy is unknown");
    run::<()>(&mut admin, "ACL SETUSER shop +info").await;
    RedisStore::connect(&url, TAG_KEY).await.map(drop).expect_err("the policy is known");
    redis.configure("maxmemory-policy", "noeviction");
    RedisStore::connect(&url, TAG_KEY).await.map(drop).expect("it does not evict");
}

#[tokio::test]
async fn full_server_can_be_opened() {
    let redis = Redis::start();
    redis.configure("maxmemory", "1");
    let store = open(&redis).await;
    let error = store.create(new_session(&store, "ada")).await.expect_err("it is full").to_string();
    assert!(error.contains("full"), "{error}");
}

#[tokio::test]
async fn replica_is_refused_when_the_store_is_opened() {
    let (master, replica) = (Redis::start(), Redis::start());
    let port = master.port().to_string();
    run::<()>(&mut admin(&replica.url()).await, &format!("REPLICAOF 127.0.0.1 {port}")).await;
    let error = RedisStore::connect(&replica.url(), TAG_KEY).await.expect_err("it is a replica").to_string();
    assert!(error.contains("replica"), "{error}");
}

/// The permissions from the documentation of `RedisStore`.
pub(super) const PERMISSIONS: &str = "~sessions:* +evalsha +eval +get +getrange +mget +set +unlink +pexpireat +time \
    +zadd +zrange +zrangebyscore +zrem +zrevrange +zscan";
