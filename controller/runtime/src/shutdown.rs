//! The end of the process: the first signal asks, the second one insists.

use std::io;
use std::time::Duration;

use pando_context::{Reason, Scope, StillRunning, Stopped};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT of this process, from the moment this is made.
///
/// From then on the signals no longer end the process by themselves: somebody has to wait for them.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// If the system refuses the handler; it then never will allow it.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal, and says which it was.
    pub async fn next(&mut self) -> SignalName {
        tokio::select! {
            _ = self.terminate.recv() => SignalName::Terminate,
            _ = self.interrupt.recv() => SignalName::Interrupt,
        }
    }
}

/// A signal that asks a process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalName {
    /// SIGTERM: from the kubelet, or from `kill`.
    Terminate,
    /// SIGINT: Ctrl-C.
    Interrupt,
}

impl SignalName {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        }
    }

    /// The reason with which the root is cancelled for it.
    pub fn reason(self) -> Reason {
        Reason::shutdown(self.as_str())
    }

    /// 128 plus the number of the signal, as shells have it.
    fn exit_code(self) -> i32 {
        match self {
            Self::Terminate => 128 + 15,
            Self::Interrupt => 128 + 2,
        }
    }
}

/// Cancels the root and waits until nothing is left, for at most `grace`. A further signal ends the
/// process at once, with the tree of what was still running in the log.
///
/// # Errors
///
/// [`StillRunning`] with the tree of what has not ended within `grace`.
pub async fn stop(
    root: Scope,
    reason: Reason,
    grace: Duration,
    signals: &mut Signals,
) -> Result<Stopped, StillRunning> {
    let ctx = root.ctx().clone();
    tracing::info!(%reason, ?grace, "stopping; another signal ends the process at once");
    let stopping = root.stop(reason, grace);
    tokio::select! {
        biased;
        stopped = stopping => stopped,
        again = signals.next() => {
            tracing::error!(tree = %ctx.dump(), "{} again: ending without waiting for", again.as_str());
            std::process::exit(again.exit_code());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use pando_context::{Kind, ReasonKind};

    use super::*;

    #[pando_context::test]
    async fn a_stop_cancels_with_the_reason_and_ends_when_nothing_is_left() {
        let root = Scope::root("pando");
        let work = root.ctx().spawn(&Kind::new("work"), |ctx| async move { ctx.cancelled().await });
        let ctx = root.ctx().clone();
        let mut signals = Signals::listen().unwrap();
        let reason = SignalName::Terminate.reason();
        stop(root, reason, Duration::from_secs(5), &mut signals).await.unwrap();
        assert_eq!(ctx.reason().unwrap().kind(), ReasonKind::Shutdown);
        assert_eq!(ctx.reason().unwrap().to_string(), "shutdown at pando: SIGTERM");
        assert!(work.await.is_err());
    }
}
