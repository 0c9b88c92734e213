//! The connection to one server, and leaving it for a better one.

use std::sync::{Mutex, PoisonError};

use redis::{
    Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

pub(super) struct Single {
    /// How to connect again; unknown of a connection that was given to us.
    origin: Option<(Client, ConnectionManagerConfig)>,
    /// The connection, and how many there were before it.
    present: Mutex<(u64, ConnectionManager)>,
}

impl Single {
    pub(super) async fn connect(info: ConnectionInfo, config: ConnectionManagerConfig) -> RedisResult<Self> {
        let client = Client::open(info)?;
        let manager = ConnectionManager::new_with_config(client.clone(), config.clone()).await?;
        Ok(Self { origin: Some((client, config)), present: Mutex::new((0, manager)) })
    }

    pub(super) const fn given(manager: ConnectionManager) -> Self {
        Self { origin: None, present: Mutex::new((0, manager)) }
    }

    pub(super) async fn send<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let (number, mut manager) = self.present.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = command.query_async(&mut manager).await;
        if let Err(error) = &answer {
            let demoted = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
            // A frozen machine keeps its connections, while its address may lead to another already.
            let renewed = (demoted || error.is_timeout()) && self.renew(number);
            if demoted && !renewed {
                hang_up(manager).await;
            }
        }
        answer
    }

    /// Lets the next call connect anew, to where the address leads then, unless that has happened
    /// already; false when we cannot.
    fn renew(&self, number: u64) -> bool {
        let Some((client, config)) = &self.origin else {
            return false;
        };
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if present.0 == number
            && let Ok(manager) = ConnectionManager::new_lazy_with_config(client.clone(), config.clone())
        {
            *present = (number + 1, manager);
        }
        true
    }
}

/// Makes the server close the connection, after which its manager connects anew: when a command finds it
/// closed, so that one is lost.
async fn hang_up(mut manager: ConnectionManager) {
    for lost in ["QUIT", "PING"] {
        let _: RedisResult<()> = redis::cmd(lost).query_async(&mut manager).await;
    }
}
