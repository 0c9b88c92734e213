//! One address before several processes: each connection goes to the next that takes it.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

pub(crate) struct Balancer {
    port: u16,
    backends: Arc<Mutex<Vec<u16>>>,
}

impl Balancer {
    /// Before the processes on these loopback ports, until the test ends.
    pub(crate) fn before(ports: Vec<u16>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let backends = Arc::new(Mutex::new(ports));
        let shared = backends.clone();
        thread::spawn(move || {
            for (turn, client) in listener.incoming().filter_map(Result::ok).enumerate() {
                let ports = shared.lock().expect("no panic holds it").clone();
                thread::spawn(move || carry(client, &ports, turn));
            }
        });
        Self { port, backends }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn replace(&self, former: u16, new: u16) {
        let mut backends = self.backends.lock().expect("no panic holds it");
        backends.iter_mut().filter(|port| **port == former).for_each(|port| *port = new);
    }
}

/// Carries a connection to the next process that accepts it.
fn carry(client: TcpStream, ports: &[u16], turn: usize) {
    let order = ports.iter().cycle().skip(turn % ports.len()).take(ports.len());
    let Some(server) =
        order.map(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port))).find_map(Result::ok)
    else {
        return;
    };
    thread::scope(|scope| {
        scope.spawn(|| pump(&client, &server));
        pump(&server, &client);
    });
}

fn pump(mut from: &TcpStream, mut to: &TcpStream) {
    // However it ends, by an orderly end or because one side is dead, it ends for both.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
