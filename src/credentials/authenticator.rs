use std::{fmt, sync::Arc};

use http::HeaderMap;
use serde::de::DeserializeOwned;

use super::{Checked, Located, Outcome, PresentedRefresh, RefreshReader, Sources, seen::Seen};
use crate::{
    Claims, Verifier, cookies,
    head::Head,
    token::{Budget, Source, TokenError, TokenErrorKind},
};

/// Finds and verifies a request's access token, once for all the layers that share it.
pub(crate) struct Authenticator<C> {
    pub(crate) verifier: Verifier<C>,
    pub(crate) sources: Arc<Sources>,
    /// With cookie names that a neighbour could set, an access cookie counts only when it belongs to
    /// the session of the refresh cookie.
    companion: Option<RefreshReader>,
}

/// What looking for tokens has left of the budget, and found on the way.
struct Look {
    budget: Budget,
    refresh: Option<PresentedRefresh>,
    token: Located,
}

/// What a request's token says.
pub(crate) struct Presented<C> {
    pub(crate) claims: Result<Claims<C>, TokenErrorKind>,
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
        request.extensions().get::<Checked>().map_or_else(Budget::default, |checked| checked.budget)
    }

    /// The refresh token of the request, where it had to be looked at already.
    pub(crate) fn refresh_token(&self, request: &impl Head) -> Option<PresentedRefresh> {
        request.extensions().get::<Checked>()?.refresh.clone()
    }

    /// Notes what is left of them.
    pub(crate) fn set_budget(&self, request: &mut impl Head, budget: Budget) {
        if let Some(checked) = request.extensions_mut().get_mut::<Checked>() {
            checked.budget = budget;
        }
    }

    fn look(&self, request: &impl Head) -> Look {
        Look { budget: self.budget(request), refresh: None, token: Located::Nowhere }
    }

    pub(crate) fn change_sources(&mut self, change: impl FnOnce(&mut Sources)) {
        change(Arc::make_mut(&mut self.sources));
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Authenticator<C> {
    /// Verifies the request's token, or recalls what the identical verifier has found. Claims of
    /// anybody else are removed from the extensions.
    pub(crate) fn check(&self, request: &mut impl Head) -> Presented<C> {
        if let Some(presented) = self.recall(request) {
            return presented;
        }
        let mut look = self.look(request);
        let (claims, by_header) = self.find(request.headers(), &mut look);
        let outcome = match &claims {
            Ok(claims) => Outcome::Verified(claims.erase(), claims.source()),
            Err(kind) => Outcome::Refused(TokenError::new(*kind)),
        };
        let live = claims.as_ref().is_ok_and(|claims| self.is_known_live(request, claims));
        self.publish(request, claims.as_ref().ok(), outcome, by_header, look);
        if live {
            self.mark_live(request);
        }
        Presented { claims, by_header, live }
    }

    /// Verifies the token of a request without leaving anything behind.
    pub(crate) fn peek(&self, headers: &HeaderMap, budget: Budget) -> Result<Claims<C>, TokenErrorKind> {
        self.find(headers, &mut Look { budget, refresh: None, token: Located::Nowhere }).0
    }

    /// Lets the request go on as the user of `claims`, which the store has just granted.
    pub(crate) fn settle(&self, request: &mut impl Head, claims: Claims<C>, token: &str) {
        let claims = claims.granted();
        let outcome = Outcome::Verified(claims.erase(), Source::Cookie);
        let look = Look { token: Located::Granted(token.into()), ..self.look(request) };
        self.publish(request, Some(&claims), outcome, false, look);
        self.mark_live(request);
    }

    /// Lets the request go on without a user.
    pub(crate) fn settle_refused(&self, request: &mut impl Head, kind: TokenErrorKind) {
        let by_header = request.extensions().get::<Checked>().is_some_and(|checked| checked.by_header);
        let outcome = Outcome::Refused(TokenError::new(kind));
        self.publish(request, None, outcome, by_header, self.look(request));
    }

    /// Lets the request pass without looking at its token.
    pub(crate) fn settle_exempt(&self, request: &mut impl Head) {
        self.publish(request, None, Outcome::Exempt, false, self.look(request));
    }

    pub(crate) fn mark_live(&self, request: &mut impl Head) {
        if let Some(checked) = request.extensions_mut().get_mut::<Checked>() {
            checked.live = true;
        }
    }

    /// Notes that `CookieJwtLayer` has acted on the outcome.
    pub(crate) fn mark_enforced(&self, request: &mut impl Head) {
        if let Some(checked) = request.extensions_mut().get_mut::<Checked>() {
            checked.enforced = true;
        }
    }

    /// Whether the store has confirmed the session of these claims already in this request, for a clone
    /// of the verifier that looks in other places.
    fn is_known_live(&self, request: &impl Head, claims: &Claims<C>) -> bool {
        request.extensions().get::<Checked>().is_some_and(|former| match &former.outcome {
            Outcome::Verified(verified, _) => {
                former.by == self.verifier.id()
                    && former.live
                    && verified.registered.session_id() == claims.session_id()
            }
            Outcome::Refused(_) | Outcome::Exempt => false,
        })
    }

    fn recall(&self, request: &mut impl Head) -> Option<Presented<C>> {
        let checked = request.extensions().get::<Checked>()?;
        // What a refresh has granted stands in no header, so it does not matter where one looks.
        let same_sources = Arc::ptr_eq(&checked.sources, &self.sources)
            || checked.sources == self.sources
            || matches!(checked.token, Located::Granted(_));
        if checked.by != self.verifier.id() || !same_sources {
            return None;
        }
        let (by_header, live) = (checked.by_header, checked.live);
        match &checked.outcome {
            Outcome::Verified(erased, source) => {
                // Something in between may have put other claims there, such as those of the same token that
                // came by another way: then verify again.
                let claims = request.extensions().get::<Claims<C>>();
                let claims = claims.filter(|claims| claims.is(erased) && claims.source() == *source)?;
                Some(Presented { claims: Ok(claims.clone()), by_header, live })
            }
            Outcome::Refused(error) => {
                let kind = error.kind();
                request.extensions_mut().remove::<Claims<C>>();
                Some(Presented { claims: Err(kind), by_header, live })
            }
            Outcome::Exempt => None,
        }
    }

    fn publish(
        &self,
        request: &mut impl Head,
        claims: Option<&Claims<C>>,
        outcome: Outcome,
        by_header: bool,
        look: Look,
    ) {
        match claims {
            Some(claims) => request.extensions_mut().insert(claims.clone()),
            None => request.extensions_mut().remove::<Claims<C>>(),
        };
        let former = request.extensions_mut().remove::<Checked>();
        let others = former.map_or_else(Vec::new, |former| former.others_beside(self.verifier.id()));
        request.extensions_mut().insert(Checked {
            others,
            by: self.verifier.id(),
            sources: self.sources.clone(),
            outcome,
            by_header,
            enforced: false,
            live: false,
            proven: false,
            budget: look.budget,
            refresh: look.refresh,
            token: look.token,
        });
    }

    /// The first source that holds a token decides.
    fn find(&self, headers: &HeaderMap, look: &mut Look) -> (Result<Claims<C>, TokenErrorKind>, bool) {
        for source in &self.sources.order {
            if *source == Source::Cookie {
                if let Some(outcome) = self.check_cookies(headers, look) {
                    return (outcome, false);
                }
            } else if let Some(token) = Sources::in_header(*source, headers) {
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
        look: &mut Look,
    ) -> Option<Result<Claims<C>, TokenErrorKind>> {
        let mut values = cookies::values(headers, &self.sources.cookie);
        let first = values.next()?;
        if let Some(companion) = &self.companion {
            look.refresh = Some(companion.read(headers, &mut look.budget));
        }
        Some(self.choose(first, values, look))
    }

    fn choose<'h>(
        &self,
        first: &'h [u8],
        others: impl Iterator<Item = &'h [u8]>,
        look: &mut Look,
    ) -> Result<Claims<C>, TokenErrorKind> {
        let session = match &look.refresh {
            // Whose access cookie counts cannot be told.
            Some(PresentedRefresh::Ambiguous(_)) => return Err(TokenErrorKind::Ambiguous),
            Some(PresentedRefresh::One(token)) => Some(&*token.session_id),
            _ => None,
        };
        look.budget.take_overdrawn();
        let mut chosen: Option<Claims<C>> = None;
        let mut refused = None;
        let mut seen = Seen::new();
        let mut several = false;
        for (index, token) in std::iter::once(first).chain(others).enumerate() {
            several = index > 0;
            let outcome = seen.first_time(token, &mut look.budget, |budget| {
                self.verifier.verify_within(token, Source::Cookie, budget)
            });
            match outcome {
                None => {}
                Some(Ok(claims)) if session.is_some_and(|own| claims.session_id() != Some(own)) => {}
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
        // Whose the rest are cannot be told. One that is alone belongs to nobody else.
        if look.budget.take_overdrawn() && several {
            return Err(TokenErrorKind::Ambiguous);
        }
        chosen.ok_or(refused.unwrap_or(TokenErrorKind::Missing))
    }
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
