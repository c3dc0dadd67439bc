//! A TCP relay in front of an API server that a test can make worse.
//!
//! The controller under test reaches a member through it, the test itself does not. Works the same for
//! every cluster provider and needs no rights on the machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join;
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
    /// Passes one byte a second, in both directions.
    Slow,
    /// Accepts and passes nothing; open connections stay open and silent.
    BlackHole,
    /// Ends open connections in an orderly way and every new one at once.
    Cut,
    /// Resets every connection (RST, no orderly end) that has carried so many bytes towards the client.
    ResetAfter(usize),
}

#[derive(Clone, Copy, Debug)]
struct Order {
    mode: Mode,
    /// Where new connections go.
    target: SocketAddr,
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
        let (order, orders) = watch::channel(Order { mode: Mode::Pass, target, generation: 0 });
        let accepting = tokio::spawn(accept(listener, orders)).abort_handle();
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

    /// Behaves so until the guard is dropped, and passes everything from then on.
    pub fn disturbed(&self, mode: Mode) -> Disturbed<'_> {
        self.set(mode);
        Disturbed(self)
    }

    /// Resets every open connection (RST, no orderly end). New ones are treated as before.
    pub fn reset(&self) {
        self.order.send_modify(|order| order.generation += 1);
    }

    /// Leads to another server from now on. Open connections to the former one are reset. Gives whether it was another one.
    pub fn lead_to(&self, target: SocketAddr) -> bool {
        self.order.send_if_modified(|order| {
            let other = order.target != target;
            if other {
                order.target = target;
                order.generation += 1;
            }
            other
        })
    }
}

/// A relay that is mended whatever happens: what comes next needs it.
#[must_use = "the relay is mended when this is dropped"]
#[derive(Debug)]
pub struct Disturbed<'a>(&'a Relay);

impl Drop for Disturbed<'_> {
    fn drop(&mut self) {
        self.0.set(Mode::Pass);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, orders: watch::Receiver<Order>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((inward, _)) = accepted {
                connections.spawn(serve(inward, orders.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut inward: TcpStream, mut orders: watch::Receiver<Order>) {
    let Order { mode, target, generation } = *orders.borrow();
    if mode == Mode::Cut {
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
        let upwards = Pump { orders: orders.clone(), carried: None };
        let downwards = Pump { orders: orders.clone(), carried: Some(0) };
        tokio::select! {
            ended = try_join(upwards.run(from_client, to_server), downwards.run(from_server, to_client)) => ended.is_err(),
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
struct Pump {
    orders: watch::Receiver<Order>,
    /// Bytes that it has carried, in the direction in which they are limited.
    carried: Option<usize>,
}

/// The connection is to be reset.
struct Reset;

impl Pump {
    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Reset> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = tokio::select! {
                read = from.read(&mut buffer) => read.unwrap_or(0),
                _ = self.orders.wait_for(|order| order.mode == Mode::Cut) => 0,
            };
            let mut rest = buffer.get(..count).unwrap_or_default();
            if rest.is_empty() {
                // The other side hears an orderly end; an error on the way there is an end as well.
                drop(to.shutdown().await);
                return Ok(());
            }
            while !rest.is_empty() {
                let Some(portion) = self.portion(rest.len()).await? else { break };
                let (now, later) = rest.split_at(portion);
                if to.write_all(now).await.is_err() {
                    return Ok(());
                }
                rest = later;
            }
        }
    }

    /// Waits until something may pass; how much of `count` bytes may then. Nothing when the line is cut.
    async fn portion(&mut self, count: usize) -> Result<Option<usize>, Reset> {
        let pause = match self.orders.borrow().mode {
            Mode::Delay(delay) => delay,
            Mode::Slow => Duration::from_secs(1),
            Mode::Pass | Mode::BlackHole | Mode::Cut | Mode::ResetAfter(_) => Duration::ZERO,
        };
        if !pause.is_zero() {
            // What waits for its turn goes on at once when the line is mended.
            let mended = self.orders.wait_for(|order| matches!(order.mode, Mode::Pass));
            drop(tokio::time::timeout(pause, mended).await.map(|ended| ended.is_ok()));
        }
        let Ok(order) = self.orders.wait_for(|order| order.mode != Mode::BlackHole).await.map(|order| *order) else {
            return Ok(None);
        };
        let portion = match order.mode {
            Mode::Cut => return Ok(None),
            Mode::Slow => 1,
            _ => count,
        };
        if let Some(carried) = &mut self.carried {
            *carried += portion;
            if matches!(order.mode, Mode::ResetAfter(limit) if *carried > limit) {
                return Err(Reset);
            }
        }
        Ok(Some(portion))
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

    #[tokio::test]
    async fn a_slow_line_passes_a_byte_a_second_until_it_is_mended() {
        let (relay, mut stream) = echo().await;
        ask(&mut stream).await.unwrap();
        relay.set(Mode::Slow);
        let start = Instant::now();
        stream.write_all(b"hello").await.unwrap();
        let mut answer = [0; 5];
        assert_eq!(stream.read(&mut answer).await.unwrap(), 1, "a byte at a time");
        assert!(start.elapsed() >= Duration::from_secs(2), "a second each way");
        relay.set(Mode::Pass);
        stream.read_exact(&mut answer[1..]).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn every_connection_is_reset_once_it_has_carried_so_much() {
        let (relay, mut stream) = echo().await;
        relay.set(Mode::ResetAfter(12));
        for _ in 0..2 {
            ask(&mut stream).await.unwrap();
            ask(&mut stream).await.unwrap();
            assert_eq!(ask(&mut stream).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
            stream = TcpStream::connect(relay.address()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn led_to_another_server_it_resets_the_way_to_the_former() {
        let (relay, mut stream) = echo().await;
        ask(&mut stream).await.unwrap();
        let (other, _open) = echo().await;
        assert!(relay.lead_to(other.address()));
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        let mut fresh = TcpStream::connect(relay.address()).await.unwrap();
        assert_eq!(ask(&mut fresh).await.unwrap(), 5);
        assert!(!relay.lead_to(other.address()), "it leads there already");
        assert_eq!(ask(&mut fresh).await.unwrap(), 5);
    }
}
