//! The flow of DBSC §3.2 without a store: what each request brings, and what the record then holds.

use super::{
    super::{
        extension::binding,
        key::{DeviceKey, Enforcement, folded, secret_hash},
        proof::{Algorithms, refresh, registration},
        tickets::{DEFAULT_CHALLENGE_LIFETIME, Identifier, Tickets},
    },
    DAY, Device, Hands, id, now, ring, tickets,
};
use crate::request::SessionSecret;

/// What the device service answers to a registration: the session identifier.
fn register(tickets: &Tickets, device: &Device, offered: &str) -> String {
    let read = registration(&device.registration(offered), Algorithms::Es256).expect("it is good");
    let challenge = tickets.read_registration(&read.challenge).expect("it is good");
    tickets.identifier(&challenge.session, &read.key, challenge.absolute_expires_at).expect("it is issued")
}

fn ask(tickets: &Tickets, identifier: &Identifier, proofs: u32) -> String {
    let (session, thumbprint) = (&identifier.session, identifier.key.thumbprint());
    tickets.refresh_challenge(session, &thumbprint, proofs, DEFAULT_CHALLENGE_LIFETIME).expect("it is issued")
}

/// Whether the proof answers the challenge for this number of proofs.
fn counts(tickets: &Tickets, identifier: &Identifier, proof: &str, proofs: u32) -> bool {
    let challenge = refresh(proof, &identifier.key).expect("the signature is good");
    let challenge = tickets.read_refresh(&challenge).expect("it is good");
    challenge.is_for(&identifier.session, &identifier.key.thumbprint(), proofs)
}

#[test]
fn the_first_proof_binds_and_each_challenge_counts_once() {
    let (device, secret) = (Device::es256(), SessionSecret::generate());
    let tickets = tickets(&ring(), &Hands::new());
    let offered = tickets.registration_challenge(&id(), now() + DAY).expect("it is issued");
    let identifier = register(&tickets, &device, &offered);
    let identifier = tickets.read_identifier(&identifier).expect("it is good");

    let first = device.proof(&ask(&tickets, &identifier, 0));
    assert!(counts(&tickets, &identifier, &first, 0));
    let key = DeviceKey::proven(None, &identifier.key, now(), Enforcement::Always);
    let (extension, hash) = (key.to_extension(), secret_hash(Some(&key), &secret));

    // The same proof again, as after a lost answer.
    let read = binding(&extension).expect("it is well-formed").expect("it is bound");
    assert!(!counts(&tickets, &identifier, &first, read.bound().proofs));
    let second = device.proof(&ask(&tickets, &identifier, read.bound().proofs));
    assert!(counts(&tickets, &identifier, &second, read.bound().proofs));
    let read = DeviceKey::proven(Some(&read), &identifier.key, now(), Enforcement::Always);
    assert_eq!((read.bound().proofs, secret_hash(Some(&read), &secret)), (2, hash));
    assert_ne!(secret.hash(), hash, "who does not see the binding finds the wrong secret");
}

/// `two_keys_for_one_session`, `registration_by_page_script`
#[test]
fn a_second_key_of_the_session_has_another_thumbprint() {
    let [one, other] = [Device::es256(), Device::es256()];
    let tickets = tickets(&ring(), &Hands::new());
    let offered = tickets.registration_challenge(&id(), now() + DAY).expect("it is issued");
    let [first, second] = [&one, &other]
        .map(|device| tickets.read_identifier(&register(&tickets, device, &offered)).expect("it is good"));
    let bound = DeviceKey::proven(None, &first.key, now(), Enforcement::Always);
    assert_eq!(first.session, second.session);
    assert_eq!(*bound.thumbprint(), first.key.thumbprint());
    assert_ne!(*bound.thumbprint(), second.key.thumbprint());
    // Neither identifier is good for the proof of the other device, nor for its challenge.
    let asked = ask(&tickets, &first, 1);
    assert!(refresh(&other.proof(&asked), &first.key).is_err());
    assert!(!counts(&tickets, &second, &other.proof(&asked), 1));
    let secret = SessionSecret::generate();
    assert_ne!(folded(&secret, bound.thumbprint()), folded(&secret, &second.key.thumbprint()));
}
