//! Whether the process can do its work yet.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A set of named gates; the process is ready when all of them are open. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    gates: Arc<Mutex<BTreeMap<&'static str, Status>>>,
}

#[derive(Clone, Debug)]
enum Status {
    Open,
    Closed { why: String },
}

impl Readiness {
    /// No gates: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a gate, closed. The name says what is waited for: `caches`, `webhook-certificate`.
    #[must_use = "a gate that nobody opens keeps the process from ever being ready"]
    pub fn gate(&self, name: &'static str) -> Gate {
        self.lock().insert(name, Status::Closed { why: "not yet".to_owned() });
        Gate { readiness: self.clone(), name }
    }

    /// Whether every gate is open.
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(|status| matches!(status, Status::Open))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Status>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line per gate, and the sum, in the shape of a Kubernetes API server's `/readyz?verbose`.
impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gates = self.lock().clone();
        let mut ready = true;
        for (name, status) in gates {
            match status {
                Status::Open => writeln!(f, "[+]{name} ok")?,
                Status::Closed { why } => {
                    ready = false;
                    writeln!(f, "[-]{name} failed: {why}")?;
                }
            }
        }
        writeln!(f, "readyz check {}", if ready { "passed" } else { "failed" })
    }
}

/// One condition for being ready.
#[derive(Clone, Debug)]
pub struct Gate {
    readiness: Readiness,
    name: &'static str,
}

impl Gate {
    /// The condition holds.
    pub fn open(&self) {
        self.readiness.lock().insert(self.name, Status::Open);
    }

    /// The condition does not hold (any more); `why` is one line for people.
    pub fn close(&self, why: impl Into<String>) {
        self.readiness.lock().insert(self.name, Status::Closed { why: why.into() });
    }
}
