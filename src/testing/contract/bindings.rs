//! Device-bound sessions on the store: the key of a device is in the extension of the record.

use std::sync::atomic::Ordering;

use futures_util::future::{join, join_all};
use serde_json::{Map, Value};

use super::{rotation::*, rule::*};
use crate::{
    keys::{Algorithm, Key, KeyRing},
    session::{
        DeviceBinding, Enforcement, SessionInfo,
        device::{Identifier, ProveError, PublicKey, binding},
    },
    store::{RefreshStore, SessionRecord},
};

/// What a proof comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proved {
    Done,
    /// Another challenge is to be answered, for this number of proofs.
    Asked(u32),
    Refused,
}

pub(super) async fn a_device_key_is_kept<S: RefreshStore + Clone>(store: &S) {
    let (table, device) = bound_table(store, "a_device_key_is_kept", Enforcement::Always);
    let before = table.session(Seen::Settled).await;
    let bystander = table.rule.create(table.rule.session()).await;
    table.expect_proof(&device, &before, 0, Proved::Done).await;
    let first = table.rule.expect(&before.id).await;
    table.check_key(&first, &device, 1);
    table.rule.check(first.secret_hash != before.secret_hash, "an enforced binding changes the hash");

    // A challenge is good for one proof, another key for none, and the cookies alone write nothing.
    table.expect_proof(&device, &before, 0, Proved::Asked(1)).await;
    table.expect_proof(&new_device(), &before, 1, Proved::Refused).await;
    let got = table.exchange(&before, CURRENT).await;
    table
        .rule
        .check(got == Answer::Access(first.generation), format_args!("a request is served, not {got:?}"));
    table.rule.check(table.rule.expect(&before.id).await == first, "the record is unchanged");

    table.expect_proof(&device, &before, 1, Proved::Done).await;
    let second = table.rule.expect(&before.id).await;
    table.check_key(&second, &device, 2);
    table.rule.check(second.secret_hash == first.secret_hash, "the hash stays that of the key");
    let [first, second] = [first, second].map(|record| SessionInfo::from(record).device);
    let at = |info: Option<crate::session::DeviceInfo>| info.map(|info| info.bound_at);
    table.rule.check(at(first).is_some() && at(first) == at(second), "the time of the binding is kept");
    table
        .rule
        .check(table.rule.list().await.iter().any(|record| !record.extension.is_empty()), "list has the key");
    table.rule.check(table.rule.expect(&bystander.id).await == bystander, "the other session is unchanged");
    table.rule.finish().await;
}

pub(super) async fn a_device_key_is_kept_by_rotations<S: RefreshStore + Clone>(store: &S) {
    let (table, device) = bound_table(store, "a_device_key_is_kept_by_rotations", Enforcement::Observe);
    let session = table.session(Seen::Settled).await;
    // Before the binding, after it, and after the next proof.
    for proofs in 0..3 {
        let record = table.settle(&session).await;
        let got = table.exchange(&record, record.generation).await;
        let next = record.generation + 1;
        table.rule.check(got == Answer::Pair(next), format_args!("the session rotates, not {got:?}"));
        let rotated = table.rule.expect(&record.id).await;
        table.rule.check(rotated.extension == record.extension, "a rotation keeps the extension");
        table.rule.check(rotated.secret_hash == session.secret_hash, "the hash stays that of the secret");

        table.expect_proof(&device, &rotated, proofs, Proved::Done).await;
        table.check_key(&table.rule.expect(&record.id).await, &device, proofs + 1);
    }
    table.rule.finish().await;
}

pub(super) async fn a_binding_and_a_rotation_do_not_overwrite_each_other<S: RefreshStore + Clone>(store: &S) {
    let name = "a_binding_and_a_rotation_do_not_overwrite_each_other";
    for round in 0..16 {
        let (table, device) = bound_table(store, name, Enforcement::Always);
        let before = table.session(Seen::Settled).await;
        let proofs = async || join_all((0..4).map(|_| table.prove(&device, &before, CURRENT, 0))).await;
        let tabs = async || join_all((0..4).map(|_| table.exchange(&before, CURRENT))).await;
        // Either side may reach the store first.
        let (proofs, tabs) = match round % 2 {
            0 => join(proofs(), tabs()).await,
            _ => {
                let (tabs, proofs) = join(tabs(), proofs()).await;
                (proofs, tabs)
            }
        };
        table.check_one_counts(&proofs, 1);
        for got in tabs {
            table.rule.check(
                matches!(got, Answer::Pair(generation) | Answer::Access(generation) if generation == CURRENT + 1),
                format_args!("every tab is answered for the next generation, not {got:?}"),
            );
        }
        let after = table.rule.expect(&before.id).await;
        table.check_key(&after, &device, 1);
        table.rule.check(
            (after.generation, after.parent) == (CURRENT + 1, CURRENT),
            format_args!("the session is rotated once, not {after:?} after {before:?}"),
        );
        let rotations = table.rotations.load(Ordering::Relaxed);
        table.rule.check(rotations == 1, format_args!("one rotation wins, not {rotations}"));
        let proofs = join_all((0..4).map(|_| table.prove(&device, &after, CURRENT, 1))).await;
        table.check_one_counts(&proofs, 2);
        table.check_key(&table.rule.expect(&before.id).await, &device, 2);
        table.rule.finish().await;
    }
}

/// Sessions that bind devices, and a device.
fn bound_table<'a, S: RefreshStore + Clone>(
    store: &'a S,
    name: &'static str,
    enforcement: Enforcement,
) -> (Table<'a, S>, PublicKey) {
    let settings = DeviceBinding::at("/device").with_enforcement(enforcement);
    // The cookie ends a grace period before its token.
    let table = Table::with(store, name, |builder| {
        builder.with_access_lifetime(2 * GRACE).with_device_binding(settings)
    });
    (table, new_device())
}

fn new_device() -> PublicKey {
    let key = Key::generate(Algorithm::ES256).and_then(KeyRing::new).expect("a key pair");
    let set: Value = serde_json::from_str(&key.public_jwks()).expect("JSON");
    let jwk: Option<&Map<_, _>> = set["keys"][0].as_object();
    PublicKey::from_jwk(jwk.expect("the public key")).expect("it is usable")
}

impl<S: RefreshStore + Clone> Table<'_, S> {
    /// Proves a key by the challenge for this number of proofs. Whether the device has signed it is not the store's business.
    async fn prove(&self, key: &PublicKey, record: &SessionRecord, generation: u32, proofs: u32) -> Proved {
        let device = self.sessions.inner().device.as_deref().expect("the sessions bind devices");
        let identifier = Identifier { session: record.id.clone(), key: key.clone() };
        let challenge = device.tickets.refresh_challenge(&record.id, &key.thumbprint(), proofs, HOUR);
        let challenge = device.tickets.read_refresh(&challenge.expect("it is issued")).expect("it is good");
        let token = token(record, generation, self.secret.clone());
        match self.sessions.prove(device, &identifier, Some(&token), Some(&challenge)).await {
            Ok(_) => Proved::Done,
            Err(ProveError::Challenge { proofs }) => Proved::Asked(proofs),
            Err(ProveError::Refused | ProveError::Refresh(_)) => Proved::Refused,
        }
    }

    async fn expect_proof(&self, key: &PublicKey, record: &SessionRecord, proofs: u32, expected: Proved) {
        let got = self.prove(key, record, record.generation, proofs).await;
        self.rule.check(got == expected, format_args!("proof {proofs} is {expected:?}, not {got:?}"));
    }

    /// Of proofs over the same challenge, one counts, and the others are asked for the next one.
    fn check_one_counts(&self, proofs: &[Proved], next: u32) {
        let count = |outcome| proofs.iter().filter(|proved| **proved == outcome).count();
        self.rule.check(
            (count(Proved::Done), count(Proved::Asked(next))) == (1, proofs.len() - 1),
            format_args!("one of the proofs counts, not {proofs:?}"),
        );
    }

    fn check_key(&self, record: &SessionRecord, key: &PublicKey, proofs: u32) {
        let kept = binding(&record.extension).ok().flatten();
        let kept = kept.map(|kept| (*kept.thumbprint(), kept.bound().proofs));
        self.rule.check(
            kept == Some((key.thumbprint(), proofs)),
            format_args!("the record has the key of the device and {proofs} proofs"),
        );
    }

    /// Writes the session as it is once its generation has been in use for longer than the grace period.
    async fn settle(&self, session: &SessionRecord) -> SessionRecord {
        let mut record = self.rule.expect(&session.id).await;
        record.seen = Some(record.generation);
        record.confirmed_at = session.confirmed_at;
        self.rule.check(self.rule.update(&record).await.is_done(), "the present version is written");
        self.rule.expect(&session.id).await
    }
}
