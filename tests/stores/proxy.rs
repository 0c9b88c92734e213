//! A TCP proxy between a node and its store, whose faults are switched while it runs.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

/// What the proxy does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Holds all bytes back until the mode changes, as a network does that loses packets for a while.
    Hold,
    /// Holds answers back: what is asked is done.
    HoldAnswers,
    /// Loses all bytes. A connection that has lost some never carries any again, without any signal to
    /// its ends, as when a firewall has forgotten it.
    BlackHole,
    /// Each read of bytes arrives later by this.
    Delay(Duration),
    /// Cuts every n-th answer of all connections in the middle, and its connection: what was asked
    /// has been done.
    LoseAnswers {
        every: usize,
    },
    /// The server's half of each connection ends; what is asked is done.
    HalfClosed,
    /// New connections are reset.
    Refuse,
}

/// Listens on a free loopback port until it is dropped.
pub(crate) struct Proxy {
    port: u16,
    wire: Arc<Wire>,
    accepting: JoinHandle<()>,
}

struct Wire {
    server: AtomicU16,
    /// The ports that answers name, and those that are named instead.
    renamed: OnceLock<Vec<(u16, u16)>>,
    mode: watch::Sender<Mode>,
    /// Counts the cuts: every connection watches it.
    cuts: watch::Sender<u64>,
    answers: AtomicUsize,
    /// The number of reads that have been held, lost or cut.
    disturbed: AtomicU64,
}

impl Proxy {
    /// Starts a proxy for the server on this loopback port.
    pub(crate) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let wire = Arc::new(Wire {
            server: AtomicU16::new(server),
            renamed: OnceLock::new(),
            mode: watch::Sender::new(Mode::Pass),
            cuts: watch::Sender::new(0),
            answers: AtomicUsize::new(0),
            disturbed: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, wire.clone()));
        Self { port, wire, accepting }
    }

    /// Starts a proxy for each node of a Redis Cluster; clients of one hear of the others instead of the nodes.
    pub(crate) async fn before_cluster(servers: &[u16]) -> Vec<Self> {
        let proxies = join_all(servers.iter().map(|server| Self::before(*server))).await;
        let renamed: Vec<_> = servers.iter().copied().zip(proxies.iter().map(Self::port)).collect();
        for proxy in &proxies {
            proxy.wire.renamed.set(renamed.clone()).expect("it is new");
        }
        proxies
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.wire.mode.send_replace(mode);
    }

    /// Leads new connections to the server on this loopback port.
    pub(crate) fn lead_to(&self, server: u16) {
        self.wire.server.store(server, Ordering::Relaxed);
    }

    /// Resets all connections; new ones are accepted.
    pub(crate) fn cut(&self) {
        self.wire.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Returns the number of reads that have been held, lost or cut.
    pub(crate) fn disturbed(&self) -> u64 {
        self.wire.disturbed.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, wire: Arc<Wire>) {
    loop {
        // A failure is the client's that gave up meanwhile.
        if let Ok((client, _)) = listener.accept().await {
            tokio::spawn(carry(client, wire.clone()));
        }
    }
}

/// Carries one connection until one of its ends or the proxy has had enough, then resets it.
async fn carry(mut client: TcpStream, wire: Arc<Wire>) {
    let mut cuts = wire.cuts.subscribe();
    // Whatever closes it: the other end shall not take it for an orderly end.
    let _ = client.set_zero_linger();
    if *wire.mode.borrow() == Mode::Refuse {
        return;
    }
    let address = (Ipv4Addr::LOCALHOST, wire.server.load(Ordering::Relaxed));
    let Ok(mut server) = TcpStream::connect(address).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true), server.set_zero_linger());
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let requests = Pump::new(&wire, Direction::Requests).run(from_client, to_server);
    let answers = Pump::new(&wire, Direction::Answers).run(from_server, to_client);
    tokio::select! {
        _ = async { tokio::try_join!(requests, answers) } => {}
        _ = cuts.changed() => {
            wire.disturbed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Answers,
}

/// Carries the bytes of one direction.
struct Pump<'a> {
    wire: &'a Wire,
    mode: watch::Receiver<Mode>,
    direction: Direction,
}

impl<'a> Pump<'a> {
    fn new(wire: &'a Wire, direction: Direction) -> Self {
        Self { wire, mode: wire.mode.subscribe(), direction }
    }

    /// An error when the connection is to be cut.
    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let mode = *self.mode.borrow_and_update();
            if mode == Mode::HalfClosed && self.direction == Direction::Answers {
                self.disturb();
                to.shutdown().await?;
                return Ok(());
            }
            let count = tokio::select! {
                count = from.read(&mut buffer) => count?,
                _ = self.mode.changed() => continue,
            };
            if count == 0 {
                self.released().await;
                return to.shutdown().await;
            }
            self.pass(&buffer[..count], &mut to).await?;
        }
    }

    async fn pass(&mut self, bytes: &[u8], to: &mut WriteHalf<'_>) -> io::Result<()> {
        self.released().await;
        let mode = *self.mode.borrow();
        match mode {
            Mode::BlackHole => {
                self.disturb();
                // Later bytes without these would be nonsense: the connection is dead for good.
                std::future::pending().await
            }
            Mode::Delay(by) => sleep(by).await,
            Mode::LoseAnswers { every } if self.is_lost(every) => {
                self.disturb();
                to.write_all(&bytes[..bytes.len() / 2]).await?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            _ => {}
        }
        match self.wire.renamed.get() {
            Some(renamed) if self.direction == Direction::Answers => {
                to.write_all(&with_ports(bytes.to_vec(), renamed)).await
            }
            _ => to.write_all(bytes).await,
        }
    }

    /// Waits while bytes of this direction are held back.
    async fn released(&mut self) {
        let direction = self.direction;
        let held = move |mode: &Mode| {
            *mode == Mode::Hold || *mode == Mode::HoldAnswers && direction == Direction::Answers
        };
        if held(&self.mode.borrow()) {
            self.disturb();
            // The sender lives as long as the connection does.
            let _ = self.mode.wait_for(|mode| !held(mode)).await;
        }
    }

    /// Returns whether this answer gets lost: one in `every` does.
    fn is_lost(&self, every: usize) -> bool {
        self.direction == Direction::Answers
            && self.wire.answers.fetch_add(1, Ordering::Relaxed) % every == every - 1
    }

    fn disturb(&self) {
        self.wire.disturbed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Replaces ports at the ends of lines, where `CLUSTER SLOTS` and redirections have them: all have five digits.
fn with_ports(mut bytes: Vec<u8>, renamed: &[(u16, u16)]) -> Vec<u8> {
    for (from, to) in renamed {
        let (from, to) = (format!(":{from}\r\n").into_bytes(), format!(":{to}\r\n").into_bytes());
        assert_eq!(from.len(), to.len(), "ports of five digits");
        for at in 0..(bytes.len() + 1).saturating_sub(from.len()) {
            if bytes[at..].starts_with(&from) {
                bytes[at..at + to.len()].copy_from_slice(&to);
            }
        }
    }
    bytes
}
