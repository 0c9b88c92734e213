//! A narrower access token for a part of the client (RFC 6749 §6).

use serde::{Serialize, de::DeserializeOwned};

use super::{
    exchange::{cannot_issue, has_secret},
    mint::minted_expiry,
    rotation::{Verdict, decide},
    sessions::{Sessions, Unavailable},
};
use crate::{
    clock::unix_seconds,
    request::RefreshToken,
    store::{SessionId, Snapshot},
    token::{Scopes, TokenErrorKind},
};

pub(crate) enum Narrowed {
    Granted {
        access_token: String,
        /// Whole seconds since the epoch.
        expires_at: u64,
        /// Whole seconds from now.
        expires_in: u64,
    },
    MoreThanGranted,
    Refused {
        kind: TokenErrorKind,
        clear: bool,
    },
}

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> Sessions<C> {
    /// Grants an access token with less scope. The session stays as it is: its generation, its grant
    /// and its cookies. A reused token is dealt with as in any exchange.
    pub(crate) async fn narrow(&self, token: &RefreshToken, scope: &Scopes) -> Result<Narrowed, Unavailable> {
        let inner = self.inner();
        let id = SessionId::from(&*token.session_id);
        let (Snapshot { record, now: store_now }, waited) = self.load_timed(&id).await?;
        let Some(record) = record else {
            return Ok(Narrowed::Refused { kind: TokenErrorKind::Revoked, clear: true });
        };
        if !has_secret(&record, token) {
            return Ok(Narrowed::Refused { kind: TokenErrorKind::BadSignature, clear: false });
        }
        match decide(token.generation, &record, store_now, waited, inner.rules) {
            // The exchange carries both out, and says why.
            Verdict::Refuse | Verdict::Revoke => {
                return match self.exchange(token).await?.into_granted() {
                    Err((error, clear)) => Ok(Narrowed::Refused { kind: error.kind(), clear }),
                    Ok(_) => Err(Unavailable),
                };
            }
            Verdict::TooLate => return Err(Unavailable),
            Verdict::Rotate | Verdict::RenewAccess | Verdict::AnswerAgain | Verdict::CatchUp => {}
        }
        if self.is_nearly_over(&record) {
            return Ok(Narrowed::Refused { kind: TokenErrorKind::Revoked, clear: false });
        }
        if !scope.is_subset(&Scopes::granted(&record.scope)) {
            return Ok(Narrowed::MoreThanGranted);
        }
        let record = if self.is_reload_due(&record, store_now) {
            let Some(claims) = self.reload_or_end(&record).await? else {
                return Ok(Narrowed::Refused { kind: TokenErrorKind::Revoked, clear: true });
            };
            record.with_claims(claims)
        } else {
            record
        };
        let now = inner.clock.now();
        // Without an XSRF claim it is of no use as a cookie.
        let access_token = self.mint_access(&record, scope.clone(), None, now).map_err(cannot_issue)?;
        if let Err(error) = inner.authenticator.verifier.verify(&access_token) {
            return Ok(Narrowed::Refused { kind: error.kind(), clear: false });
        }
        let expires_at = unix_seconds(minted_expiry(&inner.lifetimes, now, record.absolute_expires_at));
        let expires_in = expires_at.saturating_sub(unix_seconds(now));
        Ok(Narrowed::Granted { access_token, expires_at, expires_in })
    }
}
