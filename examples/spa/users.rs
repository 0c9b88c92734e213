//! The users: a single demo user, whose password is stored as an Argon2 hash.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{self, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use serde::{Deserialize, Serialize};

pub(crate) const DEMO_USER: &str = "ada";
pub(crate) const DEMO_PASSWORD: &str = "correct horse battery staple";

/// The application's own claims.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) roles: Vec<String>,
}

#[derive(Clone)]
pub(crate) struct Users {
    accounts: Arc<[Account]>,
    /// Verified for unknown names, so that the response time does not reveal whether a user exists.
    decoy: Arc<PasswordHash>,
}

struct Account {
    id: &'static str,
    password_hash: PasswordHash,
    user: User,
}

impl Users {
    pub(crate) fn with_demo_user() -> Result<Self, password_hash::Error> {
        let ada = Account {
            id: DEMO_USER,
            password_hash: hash(DEMO_PASSWORD)?,
            user: User { name: "Ada".to_owned(), roles: vec!["customer".to_owned()] },
        };
        Ok(Self { accounts: [ada].into(), decoy: Arc::new(hash("nobody's password")?) })
    }

    /// Returns the id and the claims of the user if the password is correct.
    pub(crate) fn check_password(&self, id: &str, password: &str) -> Option<(&'static str, User)> {
        let account = self.account(id);
        let stored = account.map_or(&*self.decoy, |account| &account.password_hash);
        let matches = Argon2::default().verify_password(password.as_bytes(), stored).is_ok();
        account.filter(|_| matches).map(|account| (account.id, account.user.clone()))
    }

    /// Returns the current claims of a user, or `None` if the account was closed.
    pub(crate) fn claims(&self, id: &str) -> Option<User> {
        self.account(id).map(|account| account.user.clone())
    }

    fn account(&self, id: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == id)
    }
}

fn hash(password: &str) -> Result<PasswordHash, password_hash::Error> {
    Argon2::default().hash_password(password.as_bytes())
}
