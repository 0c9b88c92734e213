//! What asks the store before the request goes on.

use http::HeaderValue;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    credentials::RefreshToken,
    session::{Admitted, Minted, Sessions, Unavailable},
    store::BoxFuture,
    token::{Claims, TokenErrorKind},
};

pub(super) type Task<C> = BoxFuture<'static, Decision<C>>;

/// How the request goes on.
pub(super) enum Decision<C> {
    /// As the user of these claims; the cookies are for the response.
    Refreshed(Box<(Claims<C>, Minted)>),
    /// With the claims that it came with. The store has confirmed the session, or could not be asked.
    Keep { live: bool },
    /// Without a user, because of this; cookies beyond use may be cleared.
    Ended { kind: TokenErrorKind, clear: bool },
    /// Not at all: the store is down.
    Unavailable,
}

/// Exchanges the refresh token of a request.
pub(super) async fn exchange<C>(
    sessions: Sessions<C>,
    token: RefreshToken,
    still_good: Option<Claims<C>>,
    may_clear: bool,
) -> Decision<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let kept = still_good.is_some();
    match sessions.exchange(&token).await.map(|exchanged| exchanged.into_granted()) {
        Ok(Ok(granted)) => Decision::Refreshed(Box::new((granted.claims, granted.minted))),
        // A refresh ahead of need was not needed: only a session that has ended ends here.
        Ok(Err((error, clear))) => match still_good {
            Some(claims) if error.kind() != TokenErrorKind::Revoked => match sessions.inner().session_check {
                true => check_live(sessions, claims).await,
                false => Decision::Keep { live: false },
            },
            _ => Decision::Ended { kind: error.kind(), clear: clear && may_clear },
        },
        Err(Unavailable) if kept && !sessions.inner().session_check => Decision::Keep { live: false },
        Err(Unavailable) => Decision::Unavailable,
    }
}

/// Asks whether the session of a good token is live, and confirms its generation on the way.
pub(super) async fn check_live<C>(sessions: Sessions<C>, claims: Claims<C>) -> Decision<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    match sessions.is_live(&claims).await {
        Ok(true) => {
            if let Some(confirmation) = sessions.confirmation(&claims) {
                confirmation.await;
            }
            Decision::Keep { live: true }
        }
        Ok(false) => Decision::Ended { kind: TokenErrorKind::Revoked, clear: false },
        Err(Unavailable) => Decision::Unavailable,
    }
}

/// The cookies that may go on the response, after the handler has run.
pub(super) async fn admit<C>(sessions: Sessions<C>, minted: Minted) -> Vec<HeaderValue>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    match sessions.admit(minted).await {
        Ok(Admitted::Cookies(minted, with_refresh)) => minted.into_cookies(with_refresh),
        // The client asks again, and is answered again.
        Ok(Admitted::Superseded | Admitted::Ended) | Err(Unavailable) => Vec::new(),
    }
}
