//! tower-sessions with axum-login, set up as their documentation shows.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};
use axum_login::{AuthManagerLayerBuilder, AuthUser, AuthnBackend, UserId};
use tower_sessions::{MemoryStore, SessionManagerLayer, SessionStore};
use tower_sessions_redis_store::{
    RedisStore,
    fred::prelude::{ClientLike, Config, Pool},
};
use tower_sessions_sqlx_store::{PostgresStore, sqlx::PgPool};

type AuthSession = axum_login::AuthSession<Backend>;

#[derive(Clone, Debug)]
struct User {
    id: i64,
    auth_hash: [u8; 32],
}

impl AuthUser for User {
    type Id = i64;

    fn id(&self) -> Self::Id {
        self.id
    }

    fn session_auth_hash(&self) -> &[u8] {
        &self.auth_hash
    }
}

/// The users are in memory, so that only the session is read from the store.
#[derive(Clone, Debug)]
struct Backend {
    users: Arc<HashMap<i64, User>>,
}

impl AuthnBackend for Backend {
    type User = User;
    type Credentials = i64;
    type Error = Infallible;

    async fn authenticate(&self, id: i64) -> Result<Option<User>, Infallible> {
        self.get_user(&id).await
    }

    async fn get_user(&self, id: &UserId<Self>) -> Result<Option<User>, Infallible> {
        Ok(self.users.get(id).cloned())
    }
}

pub(crate) async fn router(store: &str) -> Router {
    match crate::kind(store) {
        "memory" => on(MemoryStore::default()),
        "redis" => {
            let config = Config::from_url(store).expect("a URL");
            let pool = Pool::new(config, None, None, None, REDIS_CONNECTIONS).expect("a valid configuration");
            // The connections live on in tasks of their own.
            drop(pool.init().await.expect("Redis runs"));
            on(RedisStore::new(pool))
        }
        "postgres" => {
            let store = PostgresStore::new(PgPool::connect(store).await.expect("PostgreSQL runs"));
            store.migrate().await.expect("the table can be made");
            on(store)
        }
        _ => panic!("unknown store: choose memory, or the URL of Redis or PostgreSQL"),
    }
}

fn on(store: impl SessionStore + Clone) -> Router {
    let user = User { id: crate::USER, auth_hash: [7; 32] };
    let backend = Backend { users: Arc::new(HashMap::from([(user.id, user)])) };
    // By default, a session is written only when it has been changed.
    let sessions = SessionManagerLayer::new(store);
    Router::new()
        .route("/", get(hello))
        .route("/login", post(login))
        .layer(AuthManagerLayerBuilder::new(backend, sessions).build())
}

async fn hello(auth: AuthSession) -> Result<&'static str, StatusCode> {
    crate::greet(auth.user.map(|user| user.id))
}

async fn login(mut auth: AuthSession) -> Result<StatusCode, StatusCode> {
    let user = auth.authenticate(crate::USER).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let user = user.ok_or(StatusCode::UNAUTHORIZED)?;
    auth.login(&user).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(StatusCode::NO_CONTENT)
}

/// As in the store's example.
const REDIS_CONNECTIONS: usize = 6;
