//! A TCP proxy that can lead elsewhere, and lose an answer.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[derive(Clone)]
pub(super) struct Gate {
    port: u16,
    target: Arc<AtomicU16>,
    loses_next: Arc<AtomicBool>,
}

impl Gate {
    /// A gate to the server on `target`.
    pub(super) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let gate = Self { port, target: Arc::new(AtomicU16::new(target)), loses_next: Arc::default() };
        tokio::spawn(gate.clone().serve(listener));
        gate
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Leads new connections to `target`; those that are there stay.
    pub(super) fn lead_to(&self, target: u16) {
        self.target.store(target, Ordering::SeqCst);
    }

    /// Closes the connection instead of passing on what the server says next.
    pub(super) fn lose_next_answer(&self) {
        self.loses_next.store(true, Ordering::SeqCst);
    }

    /// Returns whether an answer is still to be lost.
    pub(super) fn will_lose(&self) -> bool {
        self.loses_next.load(Ordering::SeqCst)
    }

    async fn serve(self, listener: TcpListener) {
        while let Ok((client, _)) = listener.accept().await {
            let gate = self.clone();
            tokio::spawn(async move { gate.pass(client).await });
        }
    }

    async fn pass(self, mut client: TcpStream) -> std::io::Result<()> {
        let target = self.target.load(Ordering::SeqCst);
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
        let (mut sent, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
        loop {
            tokio::select! {
                len = client.read(&mut sent) => match len? {
                    0 => return Ok(()),
                    len => server.write_all(&sent[..len]).await?,
                },
                len = server.read(&mut answered) => match len? {
                    0 => return Ok(()),
                    _ if self.loses_next.swap(false, Ordering::SeqCst) => return Ok(()),
                    len => client.write_all(&answered[..len]).await?,
                },
            }
        }
    }
}
