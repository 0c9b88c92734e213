//! What is checked when a store is opened.

use std::collections::HashMap;

use super::{RedisStore, connection::Connection, error::RedisStoreError, scripts::PROBE};

impl RedisStore {
    /// Checks what opening a store checks, for one over a connection of the application's own: that the server is a master,
    /// that its user may run every command that is needed on keys with the prefix, and that it does not evict keys.
    ///
    /// # Errors
    ///
    /// Returns an error that names what is missing. Whether the server evicts keys is known only if its user may run
    /// `INFO`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use tower_cookie_jwt::store::RedisStore;
    /// # async fn open(manager: redis::aio::ConnectionManager, tag_key: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
    /// let store = RedisStore::from_manager(manager, tag_key)?.with_key_prefix("shop:")?;
    /// store.check().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn check(&self) -> Result<(), RedisStoreError> {
        self.check_permissions().await?;
        self.check_eviction().await
    }

    pub(super) async fn check_permissions(&self) -> Result<(), RedisStoreError> {
        let place = self.keys.nowhere();
        let keys = vec![place.record, place.index];
        let denied =
            self.within(self.connection.run_across::<Vec<String>>(&PROBE, keys, self.keys.feed(), &[])).await;
        let denied = denied.map_err(|error| error.of_first_script(self.keys.prefix()))?;
        if denied.is_empty() {
            return Ok(());
        }
        Err(RedisStoreError::denied(denied, self.keys.prefix()))
    }

    pub(super) async fn check_eviction(&self) -> Result<(), RedisStoreError> {
        let Ok(policies) = self.within(eviction_policies(&self.connection)).await else {
            return Ok(()); // The user may not ask.
        };
        match policies.into_iter().find(|policy| policy != "noeviction") {
            Some(policy) => Err(RedisStoreError::evicts(policy)),
            None => Ok(()),
        }
    }
}

/// Returns what each master does when its memory is full.
async fn eviction_policies(connection: &Connection) -> Result<Vec<String>, RedisStoreError> {
    let mut info = redis::cmd("INFO");
    info.arg("memory");
    let texts: Vec<String> = if connection.is_cluster() {
        connection.send::<HashMap<String, String>>(&info).await?.into_values().collect()
    } else {
        vec![connection.send(&info).await?]
    };
    Ok(texts.iter().filter_map(|text| policy_of(text)).collect())
}

fn policy_of(info: &str) -> Option<String> {
    info.lines()
        .find_map(|line| line.strip_prefix("maxmemory_policy:"))
        .map(|policy| policy.trim().to_owned())
}
