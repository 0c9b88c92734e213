//! Finds and verifies a request's access token, once for all layers that share an [`Authenticator`].

use std::{fmt, sync::Arc, time::SystemTime};

use http::HeaderMap;
use serde::de::DeserializeOwned;

use super::{
    auth_state::{AuthOutcome, AuthState, AuthStatus, Carrier, Flag},
    cookies::cookie_values,
    head::Head,
    refresh_token::{RefreshCookie, RefreshCookieReader},
    session_check::SessionCheck,
    sources::{Sources, TokenHeaders},
};
use crate::{
    keys::MAX_SIGNATURE_CHECKS,
    token::{Budget, Claims, Known, Seen, Source, TokenError, TokenErrorKind, Verifier},
};

/// Finds and verifies access tokens.
pub(crate) struct Authenticator<C> {
    pub(crate) verifier: Verifier<C>,
    sources: Arc<Sources>,
    /// Set if another subdomain could set a cookie with the access cookie's name. An access cookie is then accepted
    /// only if it belongs to the session of the refresh cookie.
    companion: Option<RefreshCookieReader>,
    /// Whether the refresh cookie has a path of its own, so that one on another path must have been planted.
    is_apart: bool,
    check: SessionCheck,
}

/// A valid access token in a cookie.
pub(crate) struct AccessCookie<C> {
    pub(crate) claims: Claims<C>,
    /// The index among the cookies of the name.
    index: usize,
}

/// The results of a search for a token, apart from its claims.
struct Search {
    budget: Budget,
    refresh: Option<Box<RefreshCookie>>,
    carrier: Carrier,
}

impl Search {
    const fn with_budget(budget: Budget) -> Self {
        Self { budget, refresh: None, carrier: Carrier::Nothing }
    }

    /// Starts with the budget that earlier layers have left.
    fn after(former: Option<&AuthState>) -> Self {
        Self::with_budget(former.map_or_else(Budget::default, |former| former.budget))
    }
}

impl<C> Authenticator<C> {
    pub(crate) fn new(verifier: Verifier<C>, sources: Sources) -> Self {
        Self {
            verifier,
            sources: Arc::new(sources),
            companion: None,
            is_apart: false,
            check: SessionCheck::Never,
        }
    }

    /// Sets when the store is asked about the session of a token.
    pub(crate) fn with_session_check(mut self, check: SessionCheck) -> Self {
        self.check = check;
        self
    }

    /// Sets the reader of the refresh cookie with which access cookies are compared, and whether that cookie has a path
    /// of its own.
    pub(crate) fn with_companion(mut self, companion: Option<RefreshCookieReader>, is_apart: bool) -> Self {
        (self.companion, self.is_apart) = (companion, is_apart);
        self
    }

    /// Returns `true` if a refresh cookie does not tell to which session the access cookies belong, because it has a
    /// path of its own.
    pub(crate) const fn is_apart(&self) -> bool {
        self.is_apart
    }

    pub(crate) fn change_sources(&mut self, change: impl FnOnce(&mut Sources)) {
        change(Arc::make_mut(&mut self.sources));
    }

    /// Returns the refresh cookie of a request, and reads it if that has not been done already.
    pub(crate) fn refresh_cookie(
        &self,
        request: &mut impl Head,
        reader: &RefreshCookieReader,
    ) -> RefreshCookie {
        let state = request.extensions().get::<AuthState>();
        if let Some(read) = state.and_then(|state| state.refresh.as_deref()) {
            return read.clone();
        }
        let mut budget = state.map_or_else(Budget::default, |state| state.budget);
        let cookie = reader.read(request.headers(), &mut budget);
        if let Some(state) = request.extensions_mut().get_mut::<AuthState>() {
            state.budget = budget;
        }
        cookie
    }

    /// Records that the store has confirmed the session of the request as live.
    pub(crate) fn confirm_live(&self, request: &mut impl Head) {
        if let Some(state) = request.extensions_mut().get_mut::<AuthState>() {
            state.live = true;
        }
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Authenticator<C> {
    /// Verifies the request's token, or reuses the outcome of the identical verifier.
    ///
    /// Other claims of the same type are removed from the extensions.
    pub(crate) fn check(&self, request: &mut impl Head) -> AuthStatus {
        self.authenticate(request, false)
    }

    /// Checks the request as [`check`](Self::check) does, and records that a `CookieJwtLayer` acts on the outcome.
    pub(crate) fn enforce(&self, request: &mut impl Head) -> AuthStatus {
        self.authenticate(request, true)
    }

    fn authenticate(&self, request: &mut impl Head, enforced: bool) -> AuthStatus {
        let former = request.extensions().get::<AuthState>();
        if let Some(former) = former
            && let Some(known) = self.recall(former, request)
        {
            if enforced {
                former.enforced.set();
            }
            if known.verdict.is_err() {
                request.extensions_mut().remove::<Claims<C>>();
            }
            return known;
        }
        // Found by a clone of the verifier with other sources.
        let live_session = former.and_then(|former| self.live_session(former));
        let of_cookies = live_session.filter(|_| former.is_some_and(|former| !former.carrier.is_header()));
        let mut search = Search::after(former);
        let found = self.find(request.headers(), of_cookies, &mut search);
        let live = found.as_ref().is_ok_and(|claims| match self.check.compares_claims() {
            // Another token of the session may say something else.
            true => self.check.known(claims) == Known::Live,
            false => live_session.is_some() && claims.session_id() == live_session,
        });
        let by_header = search.carrier.is_header();
        let (verdict, claims, outcome) = match found {
            Ok(claims) => {
                let outcome = AuthOutcome::User(claims.erase(), claims.source());
                (Ok(()), Some(claims), outcome)
            }
            Err(kind) => (Err(kind), None, AuthOutcome::Refused(TokenError::new(kind))),
        };
        self.put(request, claims, outcome, search, live, enforced);
        AuthStatus { verdict, by_header, live }
    }

    /// Returns the claims that [`check`](Self::check) has inserted.
    pub(crate) fn claims<'r>(&self, request: &'r impl Head) -> Option<&'r Claims<C>> {
        request.extensions().get()
    }

    /// Verifies the token of a request without storing anything in its extensions. If the access cookies are ambiguous,
    /// returns one of each session.
    pub(crate) fn peek_each(&self, headers: &HeaderMap, budget: Budget) -> Vec<Claims<C>> {
        match self.peek(headers, budget) {
            Ok(claims) => vec![claims],
            Err(TokenErrorKind::Ambiguous) => {
                let cookies = self.cookies_by_session(headers, &mut Budget::default()).unwrap_or_default();
                cookies.into_iter().map(|cookie| cookie.claims).collect()
            }
            Err(_) => Vec::new(),
        }
    }

    fn peek(&self, headers: &HeaderMap, budget: Budget) -> Result<Claims<C>, TokenErrorKind> {
        self.find(headers, None, &mut Search::with_budget(budget))
    }

    /// Lets the request proceed as the user of `claims`, which the store has just granted. A token to be passed on to
    /// other servers comes along.
    pub(crate) fn grant(&self, request: &mut impl Head, claims: Claims<C>, passed_on: Option<&str>) {
        let claims = claims.granted();
        let outcome = AuthOutcome::User(claims.erase(), Source::Cookie);
        let mut search = Search::after(request.extensions().get());
        search.carrier = Carrier::Granted(passed_on.map(Into::into));
        self.put(request, Some(claims), outcome, search, true, false);
    }

    /// Returns the latest valid access cookie of each session.
    ///
    /// Returns `None` if there are more cookies than the budget allows to verify, or one that names no session: the
    /// store cannot judge these.
    pub(crate) fn access_cookies(&self, request: &mut impl Head) -> Option<Vec<AccessCookie<C>>> {
        let former = request.extensions().get::<AuthState>();
        let mut budget = former.map_or_else(Budget::default, |former| former.budget);
        let found = self.cookies_by_session(request.headers(), &mut budget);
        if let Some(state) = request.extensions_mut().get_mut::<AuthState>() {
            state.budget = budget;
        }
        found
    }

    fn cookies_by_session(&self, headers: &HeaderMap, budget: &mut Budget) -> Option<Vec<AccessCookie<C>>> {
        let mut found: Vec<AccessCookie<C>> = Vec::new();
        let mut seen = Seen::new();
        budget.take_overdrawn();
        for (index, token) in cookie_values(headers, &self.sources.cookie).enumerate() {
            let outcome = seen.first_time(token, budget, |budget| {
                self.verifier.verify_within(token, Source::Cookie, budget)
            });
            let Some(Ok(claims)) = outcome else { continue };
            claims.session_id()?;
            let cookie = AccessCookie { claims, index };
            match found.iter_mut().find(|other| other.claims.session_id() == cookie.claims.session_id()) {
                Some(other) if age(&cookie.claims) > age(&other.claims) => *other = cookie,
                Some(_) => {}
                None => found.push(cookie),
            }
            // Remembered tokens cost no check, but the store would be asked about each session.
            if found.len() > MAX_SIGNATURE_CHECKS {
                return None;
            }
        }
        (!budget.take_overdrawn()).then_some(found)
    }

    /// Lets the request proceed with one of its access cookies, whose session is the only one that is live.
    pub(crate) fn choose(&self, request: &mut impl Head, cookie: AccessCookie<C>) {
        let AccessCookie { claims, index } = cookie;
        let outcome = AuthOutcome::User(claims.erase(), claims.source());
        let mut search = Search::after(request.extensions().get());
        search.carrier = Carrier::Cookie(index);
        self.put(request, Some(claims), outcome, search, true, false);
    }

    /// Lets the request proceed without a user, and returns whether its token was in a header.
    pub(crate) fn refuse(&self, request: &mut impl Head, kind: TokenErrorKind) -> bool {
        let former = request.extensions().get::<AuthState>();
        let mut search = Search::after(former);
        let by_header = former.is_some_and(|former| former.carrier.is_header());
        if by_header {
            search.carrier = Carrier::Header;
        }
        self.put(request, None, AuthOutcome::Refused(TokenError::new(kind)), search, false, false);
        by_header
    }

    /// Lets the request pass without checking its token.
    pub(crate) fn exempt(&self, request: &mut impl Head, enforced: bool) {
        let search = Search::after(request.extensions().get());
        self.put(request, None, AuthOutcome::Exempt, search, false, enforced);
    }

    /// Returns the session of the request that the store has already confirmed as live.
    fn live_session<'s>(&self, former: &'s AuthState) -> Option<&'s str> {
        match &former.outcome {
            AuthOutcome::User(user, _) if former.verifier == self.verifier.id() && former.live => {
                user.registered.session_id()
            }
            _ => None,
        }
    }

    fn recall(&self, former: &AuthState, request: &impl Head) -> Option<AuthStatus> {
        // A token granted by a refresh is not in the request. It takes the place of the cookie, so it counts wherever
        // cookies do.
        let same_sources = match former.carrier {
            Carrier::Granted(_) => self.sources.order.contains(&Source::Cookie),
            _ => Arc::ptr_eq(&former.sources, &self.sources) || former.sources == self.sources,
        };
        if former.verifier != self.verifier.id() || !same_sources {
            return None;
        }
        let verdict = match &former.outcome {
            AuthOutcome::User(user, source) => {
                // A layer in between may have inserted other claims, such as those of the same token from another
                // source. In that case, verify again.
                let claims = self.claims(request);
                claims.filter(|claims| claims.is(user) && claims.source() == *source)?;
                Ok(())
            }
            AuthOutcome::Refused(error) => Err(error.kind()),
            AuthOutcome::Exempt => return None,
        };
        Some(AuthStatus { verdict, by_header: former.carrier.is_header(), live: former.live })
    }

    fn put(
        &self,
        request: &mut impl Head,
        claims: Option<Claims<C>>,
        outcome: AuthOutcome,
        search: Search,
        live: bool,
        enforced: bool,
    ) {
        let extensions = request.extensions_mut();
        match claims {
            Some(claims) => extensions.insert(claims),
            None => extensions.remove::<Claims<C>>(),
        };
        let former = extensions.insert(AuthState {
            verifier: self.verifier.id(),
            sources: self.sources.clone(),
            outcome,
            carrier: search.carrier,
            refresh: search.refresh,
            budget: search.budget,
            live,
            enforced: Flag::new(enforced),
            xsrf_passed: Flag::new(false),
            outer_users: Vec::new(),
        });
        if let Some(former) = former
            && let Some(state) = extensions.get_mut::<AuthState>()
        {
            state.outer_users = former.outer_users_for(self.verifier.id());
        }
    }

    /// Finds and verifies the token; the first source that holds one decides.
    ///
    /// `session` is the one to which the store says that the cookies belong, if it has been asked.
    fn find(
        &self,
        headers: &HeaderMap,
        session: Option<&str>,
        search: &mut Search,
    ) -> Result<Claims<C>, TokenErrorKind> {
        let token_headers = TokenHeaders::of(headers);
        for source in &self.sources.order {
            if *source == Source::Cookie {
                if let Some(outcome) = self.check_cookies(headers, &token_headers, session, search) {
                    return outcome;
                }
            } else if let Some(token) = token_headers.token(*source) {
                search.carrier = Carrier::Header;
                return self.verifier.verify_within(token, *source, &mut search.budget);
            }
        }
        Err(TokenErrorKind::Missing)
    }

    /// Verifies the cookies of the access cookie's name; returns `None` if there is none.
    ///
    /// If there are several, those that verify count, whatever their order.
    fn check_cookies(
        &self,
        headers: &HeaderMap,
        token_headers: &TokenHeaders<'_>,
        session: Option<&str>,
        search: &mut Search,
    ) -> Option<Result<Claims<C>, TokenErrorKind>> {
        let mut values = token_headers.cookies(&self.sources.cookie);
        let first = values.next()?;
        if session.is_none()
            && let Some(companion) = &self.companion
        {
            search.refresh = Some(Box::new(companion.read(headers, &mut search.budget)));
        }
        Some(match values.next() {
            None => self.check_only(first, session, search),
            Some(second) => self.check_each([first, second].into_iter().chain(values), session, search),
        })
    }

    /// Why an access cookie is not accepted whose session is not that of the refresh cookie.
    const fn of_another(&self) -> TokenErrorKind {
        // A refresh cookie with a path of its own may be on this request only because it was planted.
        if self.is_apart { TokenErrorKind::Ambiguous } else { TokenErrorKind::Missing }
    }

    /// The fast path: there is one cookie of the name.
    fn check_only(
        &self,
        value: &[u8],
        session: Option<&str>,
        search: &mut Search,
    ) -> Result<Claims<C>, TokenErrorKind> {
        let session = own_session(session, search.refresh.as_deref())?;
        let outcome = self.verifier.verify_within(value, Source::Cookie, &mut search.budget);
        search.budget.take_overdrawn(); // with a single cookie, no session can be ambiguous
        let claims = outcome?;
        if is_of_another(session, &claims) {
            return Err(self.of_another());
        }
        search.carrier = Carrier::Cookie(0);
        Ok(claims)
    }

    #[cold]
    fn check_each<'h>(
        &self,
        values: impl Iterator<Item = &'h [u8]>,
        session: Option<&str>,
        search: &mut Search,
    ) -> Result<Claims<C>, TokenErrorKind> {
        let session = own_session(session, search.refresh.as_deref())?;
        search.budget.take_overdrawn();
        let mut chosen: Option<Claims<C>> = None;
        let mut refused = None;
        let mut seen = Seen::new();
        for (index, token) in values.enumerate() {
            let outcome = seen.first_time(token, &mut search.budget, |budget| {
                self.verifier.verify_within(token, Source::Cookie, budget)
            });
            match outcome {
                None => {}
                Some(Ok(claims)) if is_of_another(session, &claims) && self.is_apart => {
                    return Err(TokenErrorKind::Ambiguous);
                }
                Some(Ok(claims)) if is_of_another(session, &claims) => {}
                Some(Ok(claims)) if is_later(chosen.as_ref(), &claims)? => {
                    search.carrier = Carrier::Cookie(index);
                    chosen = Some(claims);
                }
                Some(Ok(_)) => {}
                Some(Err(kind)) if refused.is_none_or(|former| says_more(kind, former)) => {
                    refused = Some(kind)
                }
                Some(Err(_)) => {}
            }
        }
        // The cookies that were not verified may belong to other sessions.
        if search.budget.take_overdrawn() {
            return Err(TokenErrorKind::Ambiguous);
        }
        chosen.ok_or(refused.unwrap_or(TokenErrorKind::Missing))
    }
}

/// Returns the session that an access cookie must belong to: the one that the store has `confirmed` or, if another
/// subdomain could set a cookie of its name, that of the refresh cookie.
fn own_session<'s>(
    confirmed: Option<&'s str>,
    refresh: Option<&'s RefreshCookie>,
) -> Result<Option<&'s str>, TokenErrorKind> {
    if confirmed.is_some() {
        return Ok(confirmed);
    }
    match refresh {
        // It is unknown which session the access cookie must belong to.
        Some(RefreshCookie::Several(_) | RefreshCookie::TooMany(_)) => Err(TokenErrorKind::Ambiguous),
        Some(RefreshCookie::Valid(token)) => Ok(Some(&token.session_id)),
        Some(RefreshCookie::Absent | RefreshCookie::Expired) | None => Ok(None),
    }
}

fn is_of_another<C>(session: Option<&str>, claims: &Claims<C>) -> bool {
    session.is_some_and(|own| claims.session_id() != Some(own))
}

/// Returns `true` if `kind` is the more informative error of two cookies of a request.
///
/// A token that could not be checked may be valid, and an expired one was signed by this crate, unlike garbage.
fn says_more(kind: TokenErrorKind, former: TokenErrorKind) -> bool {
    let weight = |kind| match kind {
        TokenErrorKind::KeysUnavailable => 2,
        TokenErrorKind::Expired => 1,
        _ => 0,
    };
    weight(kind) > weight(former)
}

/// Returns `true` if `claims` are the later of two tokens of one session, or the first.
///
/// Tokens of two sessions are ambiguous, since one of the cookies may have been tossed by another subdomain.
fn is_later<C>(former: Option<&Claims<C>>, claims: &Claims<C>) -> Result<bool, TokenErrorKind> {
    let Some(former) = former else {
        return Ok(true);
    };
    let same_session = match (former.session_id(), claims.session_id()) {
        (None, None) => former.subject().is_some() && former.subject() == claims.subject(),
        (one, other) => one == other,
    };
    if !same_session {
        return Err(TokenErrorKind::Ambiguous);
    }
    Ok(age(claims) > age(former))
}

/// Orders tokens of one session: the greater is the later.
fn age<C>(claims: &Claims<C>) -> (Option<SystemTime>, Option<u32>) {
    (claims.issued_at(), claims.generation())
}

impl<C> Clone for Authenticator<C> {
    fn clone(&self) -> Self {
        Self {
            verifier: self.verifier.clone(),
            sources: self.sources.clone(),
            companion: self.companion.clone(),
            is_apart: self.is_apart,
            check: self.check.clone(),
        }
    }
}

impl<C> fmt::Debug for Authenticator<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("verifier", &self.verifier)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}
