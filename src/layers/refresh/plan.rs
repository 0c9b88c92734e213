//! What a request needs: decided from its head, without asking the store.
use http::HeaderValue;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    clock::since_epoch,
    request::{Head, PresentedRefresh, RefreshToken, is_preflight, is_top_level_navigation},
    session::{Admitted, Minted, Sessions, Unavailable},
    store::BoxFuture,
    token::{Claims, TokenErrorKind},
};

/// What `RefreshLayer` does with a request.
pub(super) enum Plan<C> {
    /// Nothing; it may be without a user.
    Forward,
    /// The token is good; the store learns meanwhile that the client holds it.
    Confirm(BoxFuture<'static, ()>),
    /// The token is good; the store must say that the session is live.
    CheckLive(Claims<C>),
    /// Exchange the refresh token. Claims of an access token that is still good are kept when the
    /// store is down.
    Refresh { token: RefreshToken, still_good: Option<Claims<C>>, may_clear: bool },
    /// Cookies of ours that are beyond use: clear them.
    ForwardAndClear,
    /// Refuse: refresh cookies of several sessions.
    Ambiguous,
}

pub(super) fn plan<C>(sessions: &Sessions<C>, request: &mut impl Head) -> Plan<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let inner = sessions.inner();
    if is_preflight(request) {
        inner.authenticator.settle_exempt(request, false);
        return Plan::Forward;
    }
    let presented = inner.authenticator.check(request);
    match presented.verdict {
        Ok(()) => with_token(sessions, request, presented.by_header),
        // A header decides alone, and two sessions at once are nobody's.
        Err(_) if presented.by_header => Plan::Forward,
        Err(TokenErrorKind::Ambiguous) => Plan::Forward,
        Err(_) => refresh(sessions, request),
    }
}

/// The token is good, but may have to be exchanged soon.
fn with_token<C>(sessions: &Sessions<C>, request: &mut impl Head, by_header: bool) -> Plan<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let Some(claims) = sessions.inner().authenticator.claims(request) else {
        return Plan::Forward;
    };
    if by_header || !expires_soon(sessions, claims) {
        return with_good_token(sessions, claims, by_header);
    }
    let claims = claims.clone();
    match refresh(sessions, request) {
        Plan::Refresh { token, may_clear, .. } if claims.session_id() == Some(&*token.session_id) => {
            Plan::Refresh { token, still_good: Some(claims), may_clear }
        }
        _ => with_good_token(sessions, &claims, by_header),
    }
}

fn with_good_token<C>(sessions: &Sessions<C>, claims: &Claims<C>, by_header: bool) -> Plan<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    match (sessions.inner().session_check, by_header) {
        (true, _) => Plan::CheckLive(claims.clone()),
        (false, false) => sessions.confirmation(claims).map_or(Plan::Forward, Plan::Confirm),
        (false, true) => Plan::Forward,
    }
}

fn expires_soon<C>(sessions: &Sessions<C>, claims: &Claims<C>) -> bool {
    let inner = sessions.inner();
    if inner.refresh_ahead.is_zero() {
        return false;
    }
    let left = since_epoch(claims.expires_at()).saturating_sub(since_epoch(inner.clock.now()));
    left <= inner.refresh_ahead
}

/// The refresh cookie comes in where no access token speaks for the request.
fn refresh<C: Serialize + DeserializeOwned + Send + Sync + 'static>(
    sessions: &Sessions<C>,
    request: &mut impl Head,
) -> Plan<C> {
    let inner = sessions.inner();
    let own_origin = inner.origin.check(request).is_ok();
    if !own_origin && !is_top_level_navigation(request) {
        return Plan::Forward;
    }
    let presented = inner.authenticator.refresh_token(request).unwrap_or_else(|| {
        let mut budget = inner.authenticator.budget(request);
        let presented = inner.refresh_reader.read(request.headers(), &mut budget);
        inner.authenticator.set_budget(request, budget);
        presented
    });
    match presented {
        PresentedRefresh::Nothing => Plan::Forward,
        PresentedRefresh::Expired if own_origin => Plan::ForwardAndClear,
        PresentedRefresh::Expired => Plan::Forward,
        PresentedRefresh::Ambiguous(_) => Plan::Ambiguous,
        PresentedRefresh::One(token) => Plan::Refresh { token, still_good: None, may_clear: own_origin },
    }
}

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
