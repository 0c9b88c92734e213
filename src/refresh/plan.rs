//! What a request needs: decided from its head, without asking the store.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    clock::since_epoch,
    credentials::{PresentedRefresh, RefreshToken},
    head::Head,
    origin::{is_preflight, is_top_level_navigation},
    session::Sessions,
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
        return check_live(sessions, claims, by_header);
    }
    let claims = claims.clone();
    match refresh(sessions, request) {
        Plan::Refresh { token, may_clear, .. } if claims.session_id() == Some(&*token.session_id) => {
            Plan::Refresh { token, still_good: Some(claims), may_clear }
        }
        _ => check_live(sessions, &claims, by_header),
    }
}

fn check_live<C>(sessions: &Sessions<C>, claims: &Claims<C>, by_header: bool) -> Plan<C>
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
