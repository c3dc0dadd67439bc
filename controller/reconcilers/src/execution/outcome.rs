//! What carrying out a Work came to: the half of its status that execution knows.

use std::time::Duration;

use pando_core::next::Next;

use super::CONFLICT_RETRY;

/// The last outcome of a Work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Generation of the Work that was carried out.
    pub generation: Option<i64>,
    /// How far it came.
    pub dispatch: Dispatch,
}

/// How far a Work came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dispatch {
    /// `spec.suspendDispatching`: nothing was written.
    Suspended,
    /// One result for each manifest, in order.
    Done(Vec<Result>),
}

/// How one object came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Result {
    /// It is in the member as wanted; the verb says what that took (`created`, `applied`, `kept`, …).
    Applied(&'static str),
    /// It waits for something that usually comes by itself (its namespace, the end of its predecessor). Not a failure
    /// until it has waited for long: see [`Result::settled`].
    Waiting {
        /// For what.
        why: String,
        /// How often in a row it was found waiting.
        times: u32,
    },
    /// It is not in the member as wanted.
    Failed {
        /// Object, cluster, cause and fix in one line.
        message: String,
        /// When to try again without a change; `None`: only a change can help.
        retry: Option<Duration>,
    },
    /// Not now: the cluster as a whole could not be worked with, or the object is repaired too often. Says nothing about
    /// the object, so its status stays as it is.
    Postponed {
        /// When to try again.
        retry: Duration,
    },
}

/// From this many waits in a row on (about three seconds), waiting is reported as a failure to apply.
const PATIENCE: u32 = 5;

impl Result {
    /// Waits double from 100 ms on, so that a namespace that comes right behind is found at once and one that never
    /// comes costs little.
    pub(super) fn next(&self) -> Next {
        match self {
            Self::Applied(_) | Self::Failed { retry: None, .. } => Next::await_change(),
            Self::Failed { retry: Some(retry), .. } | Self::Postponed { retry } => Next::after(*retry),
            Self::Waiting { times, .. } => {
                Next::after((Duration::from_millis(100) * 2_u32.saturating_pow((*times).min(9))).min(CONFLICT_RETRY))
            }
        }
    }

    /// `Some(None)`: applied. `Some(Some(cause))`: not applied, for this cause. `None`: not known yet.
    #[must_use]
    pub fn settled(&self) -> Option<Option<&str>> {
        match self {
            Self::Applied(_) => Some(None),
            Self::Failed { message, .. } => Some(Some(message)),
            Self::Waiting { why, times } if *times >= PATIENCE => Some(Some(why)),
            Self::Waiting { .. } | Self::Postponed { .. } => None,
        }
    }

    /// A conflict with somebody else's object.
    pub(super) fn conflict(message: String) -> Self {
        Self::Failed { message, retry: Some(CONFLICT_RETRY) }
    }
}

impl Outcome {
    /// `None` while something is not known yet: then the conditions in the status stay as they are.
    /// Otherwise how many objects were applied, of how many, and why not all.
    #[must_use]
    pub fn applied(&self) -> Option<(usize, usize, Option<String>)> {
        let Dispatch::Done(results) = &self.dispatch else {
            return None;
        };
        let settled: Option<Vec<_>> = results.iter().map(Result::settled).collect();
        let settled = settled?;
        let causes: Vec<&str> = settled.iter().filter_map(|result| *result).collect();
        let cause = (!causes.is_empty()).then(|| causes.join("; "));
        Some((settled.len() - causes.len(), settled.len(), cause))
    }

    /// Is everything in the member as wanted?
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.applied().is_some_and(|(_, _, cause)| cause.is_none())
    }

    /// Does an object of it wait for something?
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        match &self.dispatch {
            Dispatch::Done(results) => results.iter().any(|result| matches!(result, Result::Waiting { .. })),
            Dispatch::Suspended => false,
        }
    }

    /// When to try again an object that failed as it is: from 1 s on, doubling to 30 s while it goes on failing.
    pub(super) fn backoff(&self, ordinal: usize) -> Duration {
        let last = match &self.dispatch {
            Dispatch::Done(results) => match results.get(ordinal) {
                Some(Result::Failed { retry: Some(retry), .. }) => *retry,
                _ => Duration::ZERO,
            },
            Dispatch::Suspended => Duration::ZERO,
        };
        (last * 2).clamp(Duration::from_secs(1), CONFLICT_RETRY)
    }

    /// How often in a row the object at `ordinal` was found waiting.
    pub(super) fn waits(&self, ordinal: usize) -> u32 {
        match &self.dispatch {
            Dispatch::Done(results) => match results.get(ordinal) {
                Some(Result::Waiting { times, .. }) => *times,
                _ => 0,
            },
            Dispatch::Suspended => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    fn outcome(results: Vec<Result>) -> Outcome {
        Outcome { generation: Some(1), dispatch: Dispatch::Done(results) }
    }

    fn waiting(times: u32) -> Result {
        Result::Waiting { why: "namespace \"shop\" does not exist there".into(), times }
    }

    #[test]
    fn a_namespace_that_comes_right_behind_is_no_failure() {
        assert_eq!(outcome(vec![waiting(0)]).applied(), None);
        assert_eq!(waiting(0).next(), Next::after(Duration::from_millis(100)));
    }

    #[test]
    fn a_namespace_that_never_comes_is_reported() {
        let (applied, total, cause) = outcome(vec![Result::Applied("kept"), waiting(PATIENCE)]).applied().unwrap();
        assert_eq!((applied, total), (1, 2));
        assert!(cause.unwrap().contains("shop"));
        assert_eq!(waiting(40).next(), Next::after(CONFLICT_RETRY));
    }

    #[test]
    fn an_outage_of_the_cluster_says_nothing_about_the_object() {
        assert_eq!(outcome(vec![Result::Postponed { retry: Duration::from_secs(1) }]).applied(), None);
    }
}
