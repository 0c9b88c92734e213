use std::{fmt, sync::Arc};

use http::HeaderMap;
use serde::de::DeserializeOwned;

use super::{
    auth_state::{Checked, Flag, Located, Outcome},
    head::Head,
    refresh_token::{PresentedRefresh, RefreshReader},
    sources::{Carriers, Sources},
};
use crate::token::{Budget, Claims, Seen, Source, TokenError, TokenErrorKind, Verifier};

/// Finds and verifies a request's access token, once for all the layers that share it.
pub(crate) struct Authenticator<C> {
    pub(crate) verifier: Verifier<C>,
    pub(crate) sources: Arc<Sources>,
    /// With cookie names that a neighbour could set, an access cookie counts only when it belongs to
    /// the session of the refresh cookie.
    companion: Option<RefreshReader>,
}

/// What looking for tokens has left of the budget, and found on the way.
#[derive(Default)]
struct Look {
    budget: Budget,
    refresh: Option<Box<PresentedRefresh>>,
    token: Located,
    live: bool,
    enforced: bool,
}

impl Look {
    /// Goes on with the budget that others have left.
    fn beginning(former: Option<&Checked>) -> Self {
        Self { budget: former.map_or_else(Budget::default, |former| former.budget), ..Self::default() }
    }
}

/// Whether a request's token is good; its claims are in the extensions then.
pub(crate) struct Presented {
    pub(crate) verdict: Result<(), TokenErrorKind>,
    /// A header carried the candidate.
    pub(crate) by_header: bool,
    /// The store has confirmed that the session is live.
    pub(crate) live: bool,
}

impl<C> Authenticator<C> {
    pub(crate) fn new(verifier: Verifier<C>, sources: Sources) -> Self {
        Self { verifier, sources: Arc::new(sources), companion: None }
    }

    pub(crate) fn with_companion(mut self, companion: Option<RefreshReader>) -> Self {
        self.companion = companion;
        self
    }

    /// The signature checks that are left for the request.
    pub(crate) fn budget(&self, request: &impl Head) -> Budget {
        Look::beginning(request.extensions().get()).budget
    }

    /// The refresh token of the request, where it had to be looked at already.
    pub(crate) fn refresh_token(&self, request: &impl Head) -> Option<PresentedRefresh> {
        request.extensions().get::<Checked>()?.refresh.as_deref().cloned()
    }

    /// Notes what is left of them.
    pub(crate) fn set_budget(&self, request: &mut impl Head, budget: Budget) {
        if let Some(checked) = request.extensions_mut().get_mut::<Checked>() {
            checked.budget = budget;
        }
    }

    pub(crate) fn change_sources(&mut self, change: impl FnOnce(&mut Sources)) {
        change(Arc::make_mut(&mut self.sources));
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Authenticator<C> {
    /// Verifies the request's token, or recalls what the identical verifier has found. Claims of
    /// anybody else are removed from the extensions.
    pub(crate) fn check(&self, request: &mut impl Head) -> Presented {
        self.judge(request, false)
    }

    /// The same for a `CookieJwtLayer`, which acts on the outcome.
    pub(crate) fn enforce(&self, request: &mut impl Head) -> Presented {
        self.judge(request, true)
    }

    fn judge(&self, request: &mut impl Head, enforced: bool) -> Presented {
        let former = request.extensions().get::<Checked>();
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
        let mut look = Look::beginning(former);
        let (claims, by_header) = self.find(request.headers(), &mut look);
        look.enforced = enforced;
        look.live = claims.as_ref().is_ok_and(|claims| self.is_known_live(former, claims));
        let live = look.live;
        let verdict = match claims {
            Ok(claims) => {
                let outcome = Outcome::Verified(claims.erase(), claims.source());
                self.publish(request, Some(claims), outcome, by_header, look);
                Ok(())
            }
            Err(kind) => {
                self.publish(request, None, Outcome::Refused(TokenError::new(kind)), by_header, look);
                Err(kind)
            }
        };
        Presented { verdict, by_header, live }
    }

    /// The claims that have been found by [`check`](Self::check).
    pub(crate) fn claims<'r>(&self, request: &'r impl Head) -> Option<&'r Claims<C>> {
        request.extensions().get()
    }

    /// Verifies the token of a request without leaving anything behind.
    pub(crate) fn peek(&self, headers: &HeaderMap, budget: Budget) -> Result<Claims<C>, TokenErrorKind> {
        self.find(headers, &mut Look { budget, ..Look::default() }).0
    }

    /// Lets the request go on as the user of `claims`, which the store has just granted.
    pub(crate) fn settle(&self, request: &mut impl Head, claims: Claims<C>, token: &str) {
        let claims = claims.granted();
        let outcome = Outcome::Verified(claims.erase(), Source::Cookie);
        let former = request.extensions().get::<Checked>();
        let look = Look { token: Located::Granted(token.into()), live: true, ..Look::beginning(former) };
        self.publish(request, Some(claims), outcome, false, look);
    }

    /// Lets the request go on without a user.
    pub(crate) fn settle_refused(&self, request: &mut impl Head, kind: TokenErrorKind) {
        let former = request.extensions().get::<Checked>();
        let by_header = former.is_some_and(|former| former.by_header);
        let look = Look::beginning(former);
        self.publish(request, None, Outcome::Refused(TokenError::new(kind)), by_header, look);
    }

    /// Lets the request pass without looking at its token.
    pub(crate) fn settle_exempt(&self, request: &mut impl Head, enforced: bool) {
        let look = Look { enforced, ..Look::beginning(request.extensions().get()) };
        self.publish(request, None, Outcome::Exempt, false, look);
    }

    pub(crate) fn mark_live(&self, request: &mut impl Head) {
        if let Some(checked) = request.extensions_mut().get_mut::<Checked>() {
            checked.live = true;
        }
    }

    /// Whether the store has confirmed the session of these claims already in this request, for a clone
    /// of the verifier that looks in other places.
    fn is_known_live(&self, former: Option<&Checked>, claims: &Claims<C>) -> bool {
        former.is_some_and(|former| match &former.outcome {
            Outcome::Verified(verified, _) => {
                former.by == self.verifier.id()
                    && former.live
                    && verified.registered.session_id() == claims.session_id()
            }
            Outcome::Refused(_) | Outcome::Exempt => false,
        })
    }

    fn recall(&self, former: &Checked, request: &impl Head) -> Option<Presented> {
        // What a refresh has granted stands in no header, so it does not matter where one looks.
        let same_sources = Arc::ptr_eq(&former.sources, &self.sources)
            || former.sources == self.sources
            || matches!(former.token, Located::Granted(_));
        if former.by != self.verifier.id() || !same_sources {
            return None;
        }
        let verdict = match &former.outcome {
            Outcome::Verified(erased, source) => {
                // Something in between may have put other claims there, such as those of the same token that
                // came by another way: then verify again.
                let claims = self.claims(request);
                claims.filter(|claims| claims.is(erased) && claims.source() == *source)?;
                Ok(())
            }
            Outcome::Refused(error) => Err(error.kind()),
            Outcome::Exempt => return None,
        };
        Some(Presented { verdict, by_header: former.by_header, live: former.live })
    }

    fn publish(
        &self,
        request: &mut impl Head,
        claims: Option<Claims<C>>,
        outcome: Outcome,
        by_header: bool,
        look: Look,
    ) {
        let extensions = request.extensions_mut();
        match claims {
            Some(claims) => extensions.insert(claims),
            None => extensions.remove::<Claims<C>>(),
        };
        let former = extensions.insert(Checked {
            others: Vec::new(),
            by: self.verifier.id(),
            sources: self.sources.clone(),
            outcome,
            by_header,
            enforced: Flag::new(look.enforced),
            live: look.live,
            proven: Flag::new(false),
            budget: look.budget,
            refresh: look.refresh,
            token: look.token,
        });
        if let Some(former) = former
            && let Some(checked) = extensions.get_mut::<Checked>()
        {
            checked.others = former.others_beside(self.verifier.id());
        }
    }

    /// The first source that holds a token decides.
    fn find(&self, headers: &HeaderMap, look: &mut Look) -> (Result<Claims<C>, TokenErrorKind>, bool) {
        let carriers = Carriers::of(headers);
        for source in &self.sources.order {
            if *source == Source::Cookie {
                if let Some(outcome) = self.check_cookies(headers, &carriers, look) {
                    return (outcome, false);
                }
            } else if let Some(token) = carriers.in_header(*source) {
                look.token = Located::Header;
                return (self.verifier.verify_within(token, *source, &mut look.budget), true);
            }
        }
        (Err(TokenErrorKind::Missing), false)
    }

    /// Several cookies of one name: those that verify count, whatever their order. `None` when there is
    /// no cookie of the name.
    fn check_cookies(
        &self,
        headers: &HeaderMap,
        carriers: &Carriers<'_>,
        look: &mut Look,
    ) -> Option<Result<Claims<C>, TokenErrorKind>> {
        let mut values = carriers.cookies(&self.sources.cookie);
        let first = values.next()?;
        if let Some(companion) = &self.companion {
            look.refresh = Some(Box::new(companion.read(headers, &mut look.budget)));
        }
        Some(match values.next() {
            None => self.check_only(first, look),
            Some(second) => self.choose([first, second].into_iter().chain(values), look),
        })
    }

    /// One cookie of the name, as nearly always.
    fn check_only(&self, value: &[u8], look: &mut Look) -> Result<Claims<C>, TokenErrorKind> {
        let session = companion_session(look.refresh.as_deref())?;
        let outcome = self.verifier.verify_within(value, Source::Cookie, &mut look.budget);
        look.budget.take_overdrawn(); // a cookie that is alone belongs to nobody else
        let claims = outcome?;
        if is_of_another(session, &claims) {
            return Err(TokenErrorKind::Missing);
        }
        look.token = Located::Cookie(0);
        Ok(claims)
    }

    #[cold]
    fn choose<'h>(
        &self,
        values: impl Iterator<Item = &'h [u8]>,
        look: &mut Look,
    ) -> Result<Claims<C>, TokenErrorKind> {
        let session = companion_session(look.refresh.as_deref())?;
        look.budget.take_overdrawn();
        let mut chosen: Option<Claims<C>> = None;
        let mut refused = None;
        let mut seen = Seen::new();
        for (index, token) in values.enumerate() {
            let outcome = seen.first_time(token, &mut look.budget, |budget| {
                self.verifier.verify_within(token, Source::Cookie, budget)
            });
            match outcome {
                None => {}
                Some(Ok(claims)) if is_of_another(session, &claims) => {}
                Some(Ok(claims)) if later(chosen.as_ref(), &claims)? => {
                    look.token = Located::Cookie(index);
                    chosen = Some(claims);
                }
                Some(Ok(_)) => {}
                Some(Err(kind)) if refused.is_none_or(|former| says_more(kind, former)) => {
                    refused = Some(kind)
                }
                Some(Err(_)) => {}
            }
        }
        // Whose the rest are cannot be told.
        if look.budget.take_overdrawn() {
            return Err(TokenErrorKind::Ambiguous);
        }
        chosen.ok_or(refused.unwrap_or(TokenErrorKind::Missing))
    }
}

/// The session that an access cookie must belong to, where its name alone could be set by a neighbour.
fn companion_session(refresh: Option<&PresentedRefresh>) -> Result<Option<&str>, TokenErrorKind> {
    match refresh {
        // Whose access cookie counts cannot be told.
        Some(PresentedRefresh::Ambiguous(_)) => Err(TokenErrorKind::Ambiguous),
        Some(PresentedRefresh::One(token)) => Ok(Some(&token.session_id)),
        Some(PresentedRefresh::Nothing | PresentedRefresh::Expired) | None => Ok(None),
    }
}

fn is_of_another<C>(session: Option<&str>, claims: &Claims<C>) -> bool {
    session.is_some_and(|own| claims.session_id() != Some(own))
}

/// Whether `kind` tells more about a request than what another of its cookies has told: one that could
/// not be judged may be good, and "expired" is ours, unlike garbage.
fn says_more(kind: TokenErrorKind, former: TokenErrorKind) -> bool {
    let weight = |kind| match kind {
        TokenErrorKind::KeysUnavailable => 2,
        TokenErrorKind::Expired => 1,
        _ => 0,
    };
    weight(kind) > weight(former)
}

/// Whether `claims` are the later of two tokens of one session; two sessions are ambiguous (cookie
/// tossing).
fn later<C>(former: Option<&Claims<C>>, claims: &Claims<C>) -> Result<bool, TokenErrorKind> {
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
    let age = |claims: &Claims<C>| (claims.issued_at(), claims.generation());
    Ok(age(claims) > age(former))
}

impl<C> Clone for Authenticator<C> {
    fn clone(&self) -> Self {
        Self {
            verifier: self.verifier.clone(),
            sources: self.sources.clone(),
            companion: self.companion.clone(),
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
