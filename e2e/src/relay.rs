//! A TCP relay in front of an API server that a test can make worse.
//!
//! The controller under test reaches a member through it, the test itself does not. Works the same for
//! every cluster provider and needs no rights on the machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// How the relay behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything.
    Pass,
    /// Passes everything, each piece this much later, in both directions.
    Delay(Duration),
    /// Accepts and passes nothing; open connections stay open and silent.
    BlackHole,
    /// Ends open connections in an orderly way and every new one at once.
    Cut,
}

#[derive(Clone, Copy, Debug)]
struct Order {
    mode: Mode,
    /// Grows with every reset; connections of an older generation are reset.
    generation: u64,
}

/// A running relay. Stops when it is dropped, with all its connections.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    order: watch::Sender<Order>,
    accepting: AbortHandle,
}

impl Relay {
    /// Starts a relay on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let (order, orders) = watch::channel(Order { mode: Mode::Pass, generation: 0 });
        let accepting = tokio::spawn(accept(listener, target, orders)).abort_handle();
        Ok(Self { address, order, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the behaviour, for open and for new connections.
    pub fn set(&self, mode: Mode) {
        self.order.send_modify(|order| order.mode = mode);
    }

    /// Resets every open connection (RST, no orderly end). New ones are treated as before.
    pub fn reset(&self) {
        self.order.send_modify(|order| order.generation += 1);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, orders: watch::Receiver<Order>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((inward, _)) = accepted {
                connections.spawn(serve(inward, target, orders.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut inward: TcpStream, target: SocketAddr, mut orders: watch::Receiver<Order>) {
    let generation = orders.borrow().generation;
    if orders.borrow().mode == Mode::Cut {
        return;
    }
    // Connecting waits until something may pass: a black hole does not even reach the target.
    let passing = orders.wait_for(|order| order.mode != Mode::BlackHole || order.generation != generation);
    if passing.await.is_err() {
        return;
    }
    let Ok(mut outward) = TcpStream::connect(target).await else {
        return;
    };
    for stream in [&inward, &outward] {
        drop(stream.set_nodelay(true));
    }
    let reset = {
        let (from_client, to_client) = inward.split();
        let (from_server, to_server) = outward.split();
        tokio::select! {
            _ = futures::future::join(
                pump(from_client, to_server, orders.clone()),
                pump(from_server, to_client, orders.clone()),
            ) => false,
            _ = orders.wait_for(|order| order.generation != generation) => true,
        }
    };
    if reset {
        for stream in [&inward, &outward] {
            // Closing with zero linger sends RST instead of an orderly end.
            drop(stream.set_zero_linger());
        }
    }
}

/// One direction of one connection.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut orders: watch::Receiver<Order>) -> Option<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            _ = orders.wait_for(|order| order.mode == Mode::Cut) => 0,
        };
        if count == 0 {
            // The other side hears an orderly end; an error on the way there is an end as well.
            return to.shutdown().await.ok();
        }
        let delay = match orders.borrow().mode {
            Mode::Delay(delay) => delay,
            Mode::Pass | Mode::BlackHole | Mode::Cut => Duration::ZERO,
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let passing = orders.wait_for(|order| order.mode != Mode::BlackHole).await.ok()?.mode;
        if passing != Mode::Cut {
            to.write_all(buffer.get(..count)?).await.ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::time::Instant;

    use super::*;

    /// An echo server behind a relay, and one open connection through it.
    async fn echo() -> (Relay, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let target = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    drop(tokio::io::copy(&mut from, &mut to).await);
                });
            }
        });
        let relay = Relay::start(target).await.unwrap();
        let stream = TcpStream::connect(relay.address()).await.unwrap();
        (relay, stream)
    }

    async fn ask(stream: &mut TcpStream) -> std::io::Result<usize> {
        stream.write_all(b"hello").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"hello");
        Ok(answer.len())
    }

    async fn is_silent(stream: &mut TcpStream) -> bool {
        tokio::time::timeout(Duration::from_millis(200), stream.read(&mut [0; 8])).await.is_err()
    }

    #[tokio::test]
    async fn passes_bytes_both_ways() {
        let (_relay, mut stream) = echo().await;
        assert_eq!(ask(&mut stream).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn delays_each_piece() {
        let (relay, mut stream) = echo().await;
        ask(&mut stream).await.unwrap();
        relay.set(Mode::Delay(Duration::from_millis(100)));
        let start = Instant::now();
        ask(&mut stream).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(200), "once each way");
    }

    #[tokio::test]
    async fn a_black_hole_swallows_and_lets_go_again() {
        let (relay, mut stream) = echo().await;
        ask(&mut stream).await.unwrap();
        relay.set(Mode::BlackHole);
        stream.write_all(b"hello").await.unwrap();
        assert!(is_silent(&mut stream).await);
        let mut late = TcpStream::connect(relay.address()).await.unwrap();
        assert!(is_silent(&mut late).await, "a new connection is accepted and silent");
        relay.set(Mode::Pass);
        stream.read_exact(&mut [0; 5]).await.unwrap();
        assert_eq!(ask(&mut late).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn a_cut_ends_open_and_new_connections_until_it_is_mended() {
        let (relay, mut stream) = echo().await;
        ask(&mut stream).await.unwrap();
        relay.set(Mode::Cut);
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "an orderly end");
        let mut late = TcpStream::connect(relay.address()).await.unwrap();
        assert!(ask(&mut late).await.is_err());
        relay.set(Mode::Pass);
        let mut fresh = TcpStream::connect(relay.address()).await.unwrap();
        assert_eq!(ask(&mut fresh).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn a_reset_is_no_orderly_end_and_new_connections_pass() {
        let (relay, mut stream) = echo().await;
        ask(&mut stream).await.unwrap();
        relay.reset();
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        let mut fresh = TcpStream::connect(relay.address()).await.unwrap();
        assert_eq!(ask(&mut fresh).await.unwrap(), 5);
    }
}
