//! Every request that came through, for tests to count.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::call::Call;

/// One request and how it went.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// When its head had arrived.
    pub at: Instant,
    /// What was asked.
    pub call: Call,
    /// Status of the answer that the client was given; none while there is none.
    pub status: Option<u16>,
    /// Whether a rule made the answer.
    pub faulty: bool,
    /// How many requests of this client were open when it came, itself included. Watches do not count.
    pub in_flight: usize,
    /// When its answer was complete or given up.
    pub ended: Option<Instant>,
}

impl std::fmt::Display for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Call { verb, path, .. } = &self.call;
        let mark = if self.faulty { " (fault)" } else { "" };
        match self.status {
            Some(status) => write!(f, "{verb:?} {path}: {status}{mark}"),
            None => write!(f, "{verb:?} {path}: no answer{mark}"),
        }
    }
}

/// A point in a record: everything before it came earlier.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    index: usize,
    at: Instant,
}

impl Mark {
    /// How long ago it was.
    pub fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }
}

/// All requests. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Record(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    exchanges: Vec<Exchange>,
    open: BTreeMap<String, usize>,
}

impl Record {
    /// Now.
    pub fn mark(&self) -> Mark {
        Mark { index: self.state().exchanges.len(), at: Instant::now() }
    }

    /// Every request that came since then.
    pub fn since(&self, mark: Mark) -> Vec<Exchange> {
        self.state().exchanges.get(mark.index..).unwrap_or_default().to_vec()
    }

    /// The most requests of one client that were open at once since then. Watches do not count.
    pub fn peak(&self, mark: Mark) -> usize {
        self.since(mark).iter().map(|exchange| exchange.in_flight).max().unwrap_or(0)
    }

    /// A request has come.
    pub(super) fn begin(&self, call: Call, faulty: bool) -> Flight {
        let mut state = self.state();
        let counts = !call.is_watch();
        let open = state.open.entry(call.agent.clone()).or_default();
        *open += usize::from(counts);
        let in_flight = *open;
        let flight =
            Flight { record: self.clone(), index: state.exchanges.len(), agent: counts.then(|| call.agent.clone()) };
        state.exchanges.push(Exchange { at: Instant::now(), call, status: None, faulty, in_flight, ended: None });
        flight
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is open. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Flight {
    record: Record,
    index: usize,
    agent: Option<String>,
}

impl Flight {
    pub(super) fn answered(&self, status: u16) {
        if let Some(exchange) = self.record.state().exchanges.get_mut(self.index) {
            exchange.status = Some(status);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut state = self.record.state();
        if let Some(open) = self.agent.as_ref().and_then(|agent| state.open.get_mut(agent)) {
            *open = open.saturating_sub(1);
        }
        if let Some(exchange) = state.exchanges.get_mut(self.index) {
            exchange.ended = Some(Instant::now());
        }
    }
}
