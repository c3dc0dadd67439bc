//! Ends the process at a chosen write, so that a test can show what a crash at that moment leaves behind.
//!
//! The environment variable [`VARIABLE`] of the controller says where. It works in debug builds only; in a release
//! build nothing of it is left.
//!
//! | value | meaning |
//! |---|---|
//! | `exit-after-write=N` | ends when the N-th write has been answered, before anything is done with the answer |
//! | `exit-before-write=N` | ends before the N-th write is sent |
//! | `count` | writes the running number of every answered write into the log |
//!
//! Writes are all mutating requests to hub and members, counted together from 1 over the life of the process. Events
//! and Leases are not among them: they come when they come, and nothing depends on them. Armed, the number of answered
//! writes is the metric `pando_writes_total`.
//!
//! The end is an abort: no destructor, no flush, no goodbye to a server, as after `kill -9`.

use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::OnceLock;

use prometheus_client::metrics::counter::Counter;

use crate::client::Verb;
use crate::metrics::Metrics;

/// The environment variable that says where the process ends.
pub const VARIABLE: &str = "PANDO_FAILPOINT";

/// Kinds that are written beside the work, whenever it suits them.
const NOT_COUNTED: [&str; 2] = ["events", "leases"];

static ARMED: OnceLock<Armed> = OnceLock::new();

/// The value of [`VARIABLE`] says nothing that is known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{VARIABLE}={0:?} is not a failpoint: use exit-after-write=N or exit-before-write=N with N from 1, count, or unset it"
)]
pub struct InvalidFailpoint(String);

/// Where the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failpoint {
    Count,
    ExitBefore(NonZeroU64),
    ExitAfter(NonZeroU64),
}

impl FromStr for Failpoint {
    type Err = InvalidFailpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |digits: &str| digits.parse().map_err(|_| InvalidFailpoint(text.to_owned()));
        match text.split_once('=') {
            None if text == "count" => Ok(Self::Count),
            Some(("exit-before-write", n)) => number(n).map(Self::ExitBefore),
            Some(("exit-after-write", n)) => number(n).map(Self::ExitAfter),
            _ => Err(InvalidFailpoint(text.to_owned())),
        }
    }
}

struct Armed {
    failpoint: Failpoint,
    sent: Counter,
    answered: Counter,
}

impl Armed {
    const fn new(failpoint: Failpoint, sent: Counter, answered: Counter) -> Self {
        Self { failpoint, sent, answered }
    }

    /// Counts a write about to be sent; its number, if the process must end now.
    fn sending(&self) -> Option<u64> {
        let number = self.sent.inc() + 1;
        matches!(self.failpoint, Failpoint::ExitBefore(end) if end.get() == number).then_some(number)
    }

    /// Counts an answered write: its number, and whether the process must end now.
    fn answered(&self) -> (u64, bool) {
        let number = self.answered.inc() + 1;
        (number, matches!(self.failpoint, Failpoint::ExitAfter(end) if end.get() == number))
    }
}

/// Arms the failpoint that the environment asks for, if it asks for one; once, when the process starts.
///
/// # Errors
/// The variable is set to something else than the documented values.
pub fn arm(metrics: &Metrics) -> Result<(), InvalidFailpoint> {
    if !cfg!(debug_assertions) {
        return Ok(());
    }
    let Some(value) = std::env::var_os(VARIABLE) else { return Ok(()) };
    let failpoint = value.to_string_lossy().parse()?;
    let (sent, answered) = (Counter::default(), Counter::default());
    metrics.register("pando_writes", "Answered mutating requests to hub and members", answered.clone());
    if ARMED.set(Armed::new(failpoint, sent, answered)).is_ok() {
        tracing::warn!(?failpoint, "a failpoint is armed: this process may end without warning");
    }
    Ok(())
}

/// A request is about to be sent.
pub(crate) fn sending(verb: Verb, resource: &str) {
    if let Some(number) = armed(verb, resource).and_then(Armed::sending) {
        tracing::error!(write = number, %verb, resource, "failpoint: the process ends before this write");
        std::process::abort();
    }
}

/// A request has been answered, and nobody has seen the answer yet.
pub(crate) fn answered(verb: Verb, resource: &str) {
    let Some(armed) = armed(verb, resource) else { return };
    let (number, ends) = armed.answered();
    if ends {
        tracing::error!(write = number, %verb, resource, "failpoint: the process ends after this write");
        std::process::abort();
    }
    if armed.failpoint == Failpoint::Count {
        tracing::info!(write = number, %verb, resource, "answered write");
    }
}

/// What is armed, if this request counts.
fn armed(verb: Verb, resource: &str) -> Option<&'static Armed> {
    if !cfg!(debug_assertions) {
        return None;
    }
    ARMED.get().filter(|_| counts(verb, resource))
}

fn counts(verb: Verb, resource: &str) -> bool {
    verb.is_mutating() && !NOT_COUNTED.contains(&resource)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn armed(text: &str) -> Armed {
        Armed::new(text.parse().unwrap(), Counter::default(), Counter::default())
    }

    #[test]
    fn the_documented_values_are_understood() {
        let two = NonZeroU64::new(2).unwrap();
        assert_eq!("count".parse(), Ok(Failpoint::Count));
        assert_eq!("exit-before-write=2".parse(), Ok(Failpoint::ExitBefore(two)));
        assert_eq!("exit-after-write=2".parse(), Ok(Failpoint::ExitAfter(two)));
    }

    #[test]
    fn any_other_value_is_an_error_that_names_the_allowed_ones() {
        for text in
            ["", "exit", "exit-after-write", "exit-after-write=0", "exit-after-write=-1", "count=1", "exit-at=3"]
        {
            let error = text.parse::<Failpoint>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("exit-before-write=N"), "{error}");
        }
    }

    #[test]
    fn the_process_ends_at_the_chosen_write_and_at_no_other() {
        let after = armed("exit-after-write=3");
        let ends: Vec<_> = (0..4).map(|_| after.answered()).collect();
        assert_eq!(ends, [(1, false), (2, false), (3, true), (4, false)]);
        assert_eq!((after.sending(), after.sending(), after.sending()), (None, None, None));

        let before = armed("exit-before-write=2");
        assert_eq!([before.sending(), before.sending(), before.sending()], [None, Some(2), None]);
        assert!((0..4).all(|_| !before.answered().1));
    }

    #[test]
    fn reads_events_and_leases_are_no_writes() {
        assert!(
            counts(Verb::Create, "works") && counts(Verb::Patch, "works/status") && counts(Verb::Delete, "secrets")
        );
        assert!(!counts(Verb::Get, "works") && !counts(Verb::List, "works") && !counts(Verb::Watch, "works"));
        assert!(!counts(Verb::Create, "events") && !counts(Verb::Update, "leases"));
    }
}
