//! What `RefreshLayer` does with a request: first decided from the request head alone, then from the store's answer.

use http::{HeaderValue, request::Parts};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    clock::since_epoch,
    layers::future::BoxFuture,
    reject::Refusal,
    request::{
        AccessCookie, AuthStatus, Head, RefreshCookie, RefreshToken, is_preflight, is_top_level_navigation,
    },
    session::{self, EitherToken, Grant, RefreshError, SessionEvent, Sessions},
    store::SessionId,
    token::{Claims, Known, TokenErrorKind},
};

/// What to do with a request.
pub(super) enum Plan<C> {
    /// Pass it to the inner service unchanged, possibly without a signed-in user.
    Forward(Option<Box<OnResponse<C>>>),
    /// Pass it to the inner service, and at the same time confirm the generation of its valid token in the store.
    Confirm(BoxFuture<'static, ()>),
    /// Wait for the store.
    Ask(BoxFuture<'static, Answer<C>>),
    Refuse(Refusal),
}

/// The outcome of waiting for the store.
pub(super) type Answer<C> = Result<Proceed<C>, RefreshError>;

/// How a request proceeds after waiting for the store.
pub(super) enum Proceed<C> {
    /// As the user of the grant, whose cookies belong on the response.
    As(Box<Grant<C>>),
    /// With the claims it arrived with; `live` if the store has confirmed their session.
    Unchanged { live: bool },
    /// As if its access token had expired: what the token says is no longer so.
    Anew,
    /// With the access cookie of the only session that is live, of several whose cookies it carries.
    With(Box<AccessCookie<C>>),
}

/// What remains to be done when the inner service has responded.
#[expect(clippy::large_enum_variant, reason = "always in a box")]
pub(super) enum OnResponse<C> {
    Set {
        sessions: Sessions<C>,
        answer: session::Answer,
    },
    /// Clears this crate's cookies if an inner layer refused the request. After a handler has run they are kept: in
    /// the meantime the user may have signed in again in another tab, and clearing would discard that session.
    ClearIfRefused {
        sessions: Sessions<C>,
    },
}

/// Decides what to do with a request, from its head alone.
pub(super) fn plan<C>(sessions: &Sessions<C>, request: &mut impl Head) -> Plan<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let inner = sessions.inner();
    if is_preflight(request) {
        inner.authenticator.exempt(request, false);
        return Plan::Forward(None);
    }
    let status = inner.authenticator.check(request);
    match status.verdict {
        Ok(()) => plan_for_user(sessions, request, &status),
        // A header decides alone.
        Err(_) if status.by_header => Plan::Forward(None),
        Err(kind) => plan_for_refresh_cookie(sessions, request, kind),
    }
}

/// Handles a request with a valid token, which may be due for an early refresh.
fn plan_for_user<C>(sessions: &Sessions<C>, request: &mut impl Head, status: &AuthStatus) -> Plan<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let inner = sessions.inner();
    let Some(claims) = inner.authenticator.claims(request) else {
        return Plan::Forward(None);
    };
    if !status.by_header && inner.refreshes_early && is_due(sessions, claims) {
        let claims = claims.clone();
        return match refresh_cookie(sessions, request) {
            Some((cookie, own_origin)) => match token_of(cookie, &claims) {
                Some(token) => ask_to_refresh(sessions, token, Some(claims), own_origin),
                None => plan_for_claims(sessions, &claims, status.live),
            },
            None => plan_for_claims(sessions, &claims, status.live),
        };
    }
    plan_for_claims(sessions, claims, status.live)
}

/// Handles a request whose token is used as it is; `is_live` if the store has said so lately.
fn plan_for_claims<C>(sessions: &Sessions<C>, claims: &Claims<C>, is_live: bool) -> Plan<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let check = &sessions.inner().session_check;
    if check.is_made() && !is_live {
        return match check.bound() {
            Some(bound) if bound.refuses() => Plan::Refuse(Refusal::Unavailable),
            _ => ask_whether_live(sessions, claims),
        };
    }
    sessions.sighting(claims).map_or(Plan::Forward(None), Plan::Confirm)
}

/// Returns the refresh token of the session of `claims`.
fn token_of<C>(cookie: RefreshCookie, claims: &Claims<C>) -> Option<RefreshToken> {
    let tokens = match cookie {
        RefreshCookie::Valid(token) => vec![token],
        RefreshCookie::Several(tokens) => tokens,
        RefreshCookie::TooMany(_) | RefreshCookie::Absent | RefreshCookie::Expired => Vec::new(),
    };
    tokens.into_iter().find(|token| claims.session_id() == Some(&*token.session_id))
}

/// Handles a request without a valid access token, or with access cookies of several sessions.
fn plan_for_refresh_cookie<C>(
    sessions: &Sessions<C>,
    request: &mut impl Head,
    kind: TokenErrorKind,
) -> Plan<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let Some((cookie, own_origin)) = refresh_cookie(sessions, request) else {
        return Plan::Forward(None);
    };
    match cookie {
        RefreshCookie::Several(tokens) => ask_which_is_live(sessions, request, tokens, own_origin),
        RefreshCookie::TooMany(tokens) => {
            report_ambiguous(sessions, &tokens);
            Plan::Refuse(Refusal::Token(TokenErrorKind::Ambiguous.into()))
        }
        // An access cookie of another session was ignored: should that of the refresh token have ended, it counts.
        RefreshCookie::Valid(token)
            if kind == TokenErrorKind::Ambiguous
                || kind == TokenErrorKind::Missing && has_cookies(sessions, request) =>
        {
            ask_which_is_live(sessions, request, vec![token], own_origin)
        }
        RefreshCookie::Valid(token) => ask_to_refresh(sessions, token, None, own_origin),
        // The refresh cookie may have a path of its own.
        RefreshCookie::Absent | RefreshCookie::Expired if kind == TokenErrorKind::Ambiguous => {
            ask_which_is_live(sessions, request, Vec::new(), own_origin)
        }
        RefreshCookie::Expired if own_origin => {
            Plan::Forward(Some(Box::new(OnResponse::ClearIfRefused { sessions: sessions.clone() })))
        }
        RefreshCookie::Absent | RefreshCookie::Expired => Plan::Forward(None),
    }
}

/// Returns `true` if the request has valid access cookies, none of which counts.
fn has_cookies<C>(sessions: &Sessions<C>, request: &mut impl Head) -> bool
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let cookies = sessions.inner().authenticator.access_cookies(request);
    cookies.is_none_or(|cookies| !cookies.is_empty())
}

/// Raises the event of more cookies than are verified, for the sessions of those that were.
///
/// Cookies that name no session raise none: anyone could flood the log with them.
pub(super) fn report_ambiguous<C>(sessions: &Sessions<C>, tokens: &[RefreshToken]) {
    if !tokens.is_empty() {
        let ids: Vec<_> = tokens.iter().map(|token| SessionId::from(&*token.session_id)).collect();
        sessions.raise(SessionEvent::AmbiguousCookies { sessions: &ids, subjects: &[] });
    }
}

/// Returns the refresh cookie of a request that may use it, and whether the application's own page made the request.
fn refresh_cookie<C>(sessions: &Sessions<C>, request: &mut impl Head) -> Option<(RefreshCookie, bool)>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let inner = sessions.inner();
    let own_origin = inner.origin.check(request).is_ok();
    if !own_origin && !is_top_level_navigation(request) {
        return None;
    }
    Some((inner.authenticator.refresh_cookie(request, &inner.refresh_reader), own_origin))
}

/// Whether the session is refreshed although the access token is still valid: because the token expires soon, or because
/// the idle expiry would otherwise pass without the store seeing the session in use.
fn is_due<C>(sessions: &Sessions<C>, claims: &Claims<C>) -> bool {
    let inner = sessions.inner();
    // The browser refreshes a bound session, by a proof.
    if claims.proof_time().is_some() {
        return false;
    }
    let now = since_epoch(inner.clock.now());
    let left = since_epoch(claims.expires_at()).saturating_sub(now);
    let age = claims.issued_at().map(|issued_at| now.saturating_sub(since_epoch(issued_at)));
    (!inner.refresh_ahead.is_zero() && left <= inner.refresh_ahead)
        || inner.refresh_after.is_some_and(|after| age.is_none_or(|age| age >= after))
}

// Not inlined: the futures are large, and inlining would reserve stack space for them on every request.
#[inline(never)]
fn ask_to_refresh<C>(
    sessions: &Sessions<C>,
    token: RefreshToken,
    still_good: Option<Claims<C>>,
    may_clear: bool,
) -> Plan<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    Plan::Ask(Box::pin(refresh(sessions.clone(), token, still_good, may_clear)))
}

/// Asks which one of several sessions is live: those of the refresh tokens or, without any, of the access cookies.
#[cold]
fn ask_which_is_live<C>(
    sessions: &Sessions<C>,
    request: &mut impl Head,
    tokens: Vec<RefreshToken>,
    may_clear: bool,
) -> Plan<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let cookies = match sessions.inner().authenticator.access_cookies(request) {
        Some(cookies) => cookies,
        // The refresh tokens alone say which sessions these are.
        None if !tokens.is_empty() && !sessions.inner().authenticator.is_apart() => Vec::new(),
        None => {
            report_ambiguous(sessions, &tokens);
            return Plan::Forward(None);
        }
    };
    Plan::Ask(Box::pin(only_live(sessions.clone(), tokens, cookies, may_clear)))
}

#[inline(never)]
fn ask_whether_live<C>(sessions: &Sessions<C>, claims: &Claims<C>) -> Plan<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    Plan::Ask(Box::pin(check_live(sessions.clone(), claims.clone())))
}

/// Exchanges the refresh token of a request. If the store is unavailable, a still valid access token remains in use,
/// unless the session check requires the store's answer.
async fn refresh<C>(
    sessions: Sessions<C>,
    token: RefreshToken,
    still_good: Option<Claims<C>>,
    may_clear: bool,
) -> Answer<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    // Without having been asked, or by an answer that is old by now, the store vouches for no session.
    let check = &sessions.inner().session_check;
    let must_ask = |claims: &Claims<C>| check.is_made() && check.known(claims) != Known::Live;
    match (sessions.exchange(&token).await, still_good) {
        (Ok(grant), _) => Ok(Proceed::As(grant)),
        // An early refresh may fail, as the access token is still valid; a revoked session may not continue.
        (Err(RefreshError::Refused { kind, .. }), Some(claims)) if kind != TokenErrorKind::Revoked => {
            match must_ask(&claims) {
                true => check_live(sessions, claims).await,
                false => Ok(Proceed::Unchanged { live: check.is_made() }),
            }
        }
        (Err(RefreshError::Unavailable), Some(claims)) if !must_ask(&claims) => {
            Ok(Proceed::Unchanged { live: check.is_made() })
        }
        (Err(RefreshError::Refused { kind, clear }), _) => {
            Err(RefreshError::Refused { kind, clear: clear && may_clear })
        }
        (Err(RefreshError::Unavailable), _) => Err(RefreshError::Unavailable),
    }
}

/// Lets a request with cookies of several sessions proceed as the user of the only one that is live: with its access
/// cookie or, without a valid one, by exchanging its refresh token.
///
/// Which sessions these are, the refresh tokens say. The access cookies count as well where refresh tokens have a path of
/// their own, and where no session of a refresh token is live.
async fn only_live<C>(
    sessions: Sessions<C>,
    tokens: Vec<RefreshToken>,
    cookies: Vec<AccessCookie<C>>,
    may_clear: bool,
) -> Answer<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let clear = may_clear && !tokens.is_empty();
    let ended = RefreshError::Refused { kind: TokenErrorKind::Revoked, clear };
    let is_named = |cookie: &AccessCookie<C>| {
        tokens.iter().any(|token| cookie.claims.session_id() == Some(&*token.session_id))
    };
    let (mut own, others): (Vec<_>, Vec<_>) = cookies.into_iter().partition(is_named);
    let mut first: Vec<_> = tokens.into_iter().map(EitherToken::Refresh).collect();
    let mut second: Vec<_> = others.into_iter().map(EitherToken::Access).collect();
    if sessions.inner().authenticator.is_apart() {
        first.append(&mut second);
    }
    let live = match sessions.only_live(first).await? {
        Some(live) => live,
        None => sessions.only_live(second).await?.ok_or(ended)?,
    };
    let token = match live {
        EitherToken::Access(cookie) => return with(sessions, cookie).await,
        EitherToken::Refresh(token) => token,
    };
    own.retain(|cookie| cookie.claims.session_id() == Some(&*token.session_id));
    match own.pop() {
        Some(cookie) if sessions.inner().refreshes_early && is_due(&sessions, &cookie.claims) => {
            match refresh(sessions, token, Some(cookie.claims.clone()), may_clear).await? {
                Proceed::Unchanged { .. } => Ok(Proceed::With(Box::new(cookie))),
                proceed => Ok(proceed),
            }
        }
        // What the cookie says is no longer so, but its session is known now.
        Some(cookie) => match with(sessions.clone(), cookie).await? {
            Proceed::Anew => refresh(sessions, token, None, may_clear).await,
            proceed => Ok(proceed),
        },
        None => refresh(sessions, token, None, may_clear).await,
    }
}

async fn with<C>(sessions: Sessions<C>, cookie: AccessCookie<C>) -> Answer<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    if sessions.inner().session_check.compares_claims() {
        return match check_live(sessions, cookie.claims.clone()).await? {
            Proceed::Unchanged { .. } => Ok(Proceed::With(Box::new(cookie))),
            proceed => Ok(proceed),
        };
    }
    if let Some(sighting) = sessions.sighting(&cookie.claims) {
        sighting.await;
    }
    Ok(Proceed::With(Box::new(cookie)))
}

/// Asks the store whether the session of a valid token is live, and confirms the token's generation.
///
/// What the store has said a moment ago is not asked for again.
async fn check_live<C>(sessions: Sessions<C>, claims: Claims<C>) -> Answer<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let known = match sessions.inner().session_check.known(&claims) {
        Known::Nothing => sessions.sight_live(&claims).await?,
        known => known,
    };
    match known {
        Known::Live => Ok(Proceed::Unchanged { live: true }),
        Known::Changed => Ok(Proceed::Anew),
        Known::Ended | Known::Nothing => {
            Err(RefreshError::Refused { kind: TokenErrorKind::Revoked, clear: false })
        }
    }
}

/// Applies the store's answer to the request, and returns what to do with it: not [`Plan::Confirm`].
///
/// If the refresh token was refused, the request proceeds without a signed-in user; only an outage refuses the request
/// itself. Where the token counts as expired, the store is asked once more, for a new one (`is_first`).
pub(super) fn resume<C>(
    sessions: &Sessions<C>,
    request: &mut Parts,
    answer: Answer<C>,
    is_first: bool,
) -> Plan<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let authenticator = &sessions.inner().authenticator;
    let on_response = match answer {
        Ok(Proceed::As(grant)) => {
            let Grant { claims, answer } = *grant;
            let passed_on = answer.as_ref().and_then(|answer| sessions.passed_on(answer));
            authenticator.grant(request, claims, passed_on.as_deref());
            answer.map(|answer| OnResponse::Set { sessions: sessions.clone(), answer })
        }
        Ok(Proceed::Unchanged { live }) => {
            if live {
                authenticator.confirm_live(request);
            }
            None
        }
        Ok(Proceed::With(cookie)) => {
            authenticator.choose(request, *cookie);
            None
        }
        Ok(Proceed::Anew) => {
            let by_header = authenticator.refuse(request, TokenErrorKind::Expired);
            if is_first && !by_header {
                return plan_for_refresh_cookie(sessions, request, TokenErrorKind::Expired);
            }
            None
        }
        Err(error @ RefreshError::Refused { kind: TokenErrorKind::Ambiguous, .. }) => {
            return Plan::Refuse(error.refusal());
        }
        Err(RefreshError::Refused { kind, clear }) => {
            authenticator.refuse(request, kind);
            clear.then(|| OnResponse::ClearIfRefused { sessions: sessions.clone() })
        }
        Err(error @ RefreshError::Unavailable) => return Plan::Refuse(error.refusal()),
    };
    Plan::Forward(on_response.map(Box::new))
}

/// The cookies that may still go on the response, now that the inner service is done.
pub(super) async fn admit<C>(sessions: Sessions<C>, answer: session::Answer) -> Vec<HeaderValue>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    match sessions.admit(answer).await {
        Ok(Some(issued)) => issued.into_cookies(),
        // Withholding the cookies loses nothing: the client's next request is evaluated anew.
        Ok(None) | Err(_) => Vec::new(),
    }
}
