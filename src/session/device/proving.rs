//! Registration and proofs: applies the rules of device-bound sessions to the store.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    super::{
        binding::{self, Proof, Verdict},
        events::SessionEvent,
        exchange::{By, RefreshError},
        issue::Issued,
        records::{MAX_ROUNDS, Unavailable},
        rotation::{Decision, decide},
        sessions::Sessions,
    },
    key::{DeviceKey, Enforcement},
    options::Device,
    tickets::{Identifier, RefreshChallenge},
};
use crate::{request::RefreshToken, store::Snapshot};

/// Why a proof brings no access cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProveError {
    /// The client must prove itself over a challenge for this number of proofs.
    Challenge {
        proofs: u32,
    },
    /// The session is bound to another key, or to none although it should be.
    Refused,
    Refresh(RefreshError),
}

impl From<RefreshError> for ProveError {
    fn from(error: RefreshError) -> Self {
        Self::Refresh(error)
    }
}

impl From<Unavailable> for ProveError {
    fn from(error: Unavailable) -> Self {
        Self::Refresh(error.into())
    }
}

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> Sessions<C> {
    /// Renews the access cookie of a session by a proof of the key in `identifier`, which is the key of the session from the
    /// first proof on. Without a proof, says which challenge is to be answered.
    ///
    /// The client also presents its refresh token, unless the settings let a proof suffice.
    pub(crate) async fn prove(
        &self,
        device: &Device,
        identifier: &Identifier,
        token: Option<&RefreshToken>,
        proof: Option<&RefreshChallenge>,
    ) -> Result<Issued, ProveError> {
        for round in 0..MAX_ROUNDS {
            let (snapshot, waited) = self.inner().records.read_timed(&identifier.session).await?;
            let Snapshot { record, now } = snapshot;
            let record = record.filter(|record| record.is_live(now)).ok_or(RefreshError::ENDED)?;
            let bound = self.binding_of(&record)?;
            match token {
                Some(token) => self.check_secret(&record, token)?,
                // Binding needs the refresh token: script may know the challenge, but cannot read the cookie.
                None if bound.is_none() => return Err(ProveError::Refused),
                None => {}
            }
            let thumbprint = identifier.key.thumbprint();
            let proofs = bound.as_ref().map_or(0, |key| key.bound().proofs);
            let Some(proof) = proof else { return Err(ProveError::Challenge { proofs }) };
            if bound.as_ref().is_some_and(|key| *key.thumbprint() != thumbprint) {
                let (subject, session) = (&*record.subject, &record.id);
                self.raise(SessionEvent::BindingConflict { subject, session, thumbprint });
                return Err(ProveError::Refused);
            }
            if !proof.is_for(&record.id, &thumbprint, proofs) {
                return Err(ProveError::Challenge { proofs });
            }
            let rules = self.inner().rules;
            let decision = match token {
                Some(token) => decide(token.generation, &record, now, waited, rules),
                None => Decision::RenewAccess,
            };
            let verdict = binding::verdict(
                decision,
                bound.as_ref().map(DeviceKey::bound),
                Proof::Good,
                now,
                waited,
                rules,
            );
            let verdict = if round == 0 { verdict } else { verdict.of_later_look() };
            let Verdict::Decided(decision) = verdict else {
                return Err(RefreshError::too_late().into());
            };
            let enforcement = enforcement(device, token, bound.as_ref());
            let key = DeviceKey::proven(bound.as_ref(), &identifier.key, now, enforcement);
            let by = By::Proof { key: &key, is_first: bound.is_none() };
            let grant = self.carry_out(decision, token, record, now, by).await?;
            let Some(answer) = grant.and_then(|grant| grant.answer) else { continue };
            if let Some(issued) = self.admit(answer).await? {
                return Ok(issued);
            }
        }
        Err(Unavailable::contended().into())
    }
}

/// Returns the rule that the session is under from now on. Without the refresh token, it stays as it is: the hash of the
/// secret cannot be changed to that of another rule.
fn enforcement(device: &Device, token: Option<&RefreshToken>, bound: Option<&DeviceKey>) -> Enforcement {
    match (token, bound) {
        (None, Some(key)) if key.bound().is_enforced => Enforcement::Always,
        (None, Some(_)) => Enforcement::Observe,
        _ => device.settings.enforcement,
    }
}
