//! Ports that no two servers of these tests ever share, whichever processes start them.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::{Ipv4Addr, TcpListener, UdpSocket},
};

/// A loopback port for a server, also while the server is down.
///
/// Only whoever holds the UDP port of the same number uses it: between finding a TCP port free and the server's binding
/// it, another test could otherwise find it free as well, and both would talk to one server.
pub(super) struct Port {
    number: u16,
    _held: UdpSocket,
}

impl Port {
    /// Finds a free one, below those that the system gives to connections.
    pub(super) fn free() -> Self {
        let first = RandomState::new().hash_one(()) % COUNT;
        (0..COUNT)
            .map(|step| u16::try_from(FIRST + (first + step) % COUNT).expect("below 30,000"))
            .find_map(Self::hold)
            .expect("loopback has a free port")
    }

    fn hold(number: u16) -> Option<Self> {
        let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        // Something else than these tests may listen there.
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self { number, _held: held })
    }

    pub(super) const fn number(&self) -> u16 {
        self.number
    }
}

const FIRST: u64 = 10_000;
const COUNT: u64 = 20_000;
