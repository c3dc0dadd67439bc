//! Free TCP ports on the loopback interface.
//!
//! They are taken below the range from which the system takes the ports of outgoing connections,
//! so that only another listener can be faster than the process a port is meant for. That still
//! happens; who starts a process tries again with other ports.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;
use std::sync::PoisonError;

use anyhow::{Result, bail};

const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// A port that nobody listens on and that this process has not given out recently.
///
/// # Errors
/// When the whole range is taken.
pub fn free() -> Result<u16> {
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let span = u32::from(LAST - FIRST);
    let mut candidate = next.unwrap_or_else(|| {
        // Runs that start at the same time begin at different places.
        let offset = std::process::id().wrapping_mul(97) % span;
        FIRST + u16::try_from(offset).unwrap_or(0)
    });
    for _ in 0..span {
        let port = candidate;
        candidate = if port + 1 >= LAST { FIRST } else { port + 1 };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            *next = Some(candidate);
            return Ok(port);
        }
    }
    bail!("every TCP port of 127.0.0.1 from {FIRST} to {LAST} is taken; stop what listens there (`ss -ltnp`)")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_port_is_given_out_once_and_taken_ones_are_passed_over() {
        let first = free().unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first + 1));
        let second = free().unwrap();
        assert_ne!(first, second);
        if taken.is_ok() {
            assert_ne!(second, first + 1);
        }
    }
}
