//! What carrying out a Work came to: the half of its status that execution knows.

use std::time::Duration;

use pando_core::next::Next;

/// How soon a conflict with somebody else's object is looked at again: nothing tells us when it goes.
const CONFLICT_RETRY: Duration = Duration::from_secs(30);
/// From this many waits in a row on (about three seconds), waiting is reported as a failure to apply.
const PATIENCE: u32 = 5;
/// From this many postponements in a row on for a cause that an object can name, it is reported as a failure to apply.
const POSTPONEMENTS: u32 = 3;
/// A postponement of this time or more is reported at once: people would wonder.
const LONG: Duration = Duration::from_secs(5);
/// The first pause after a postponement that has no pause of its own.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The last outcome of a Work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The Work that was carried out: another one may have its name later.
    pub uid: Option<String>,
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
    /// It waits for something that usually comes by itself (its namespace, its kind, the end of its predecessor). Not a
    /// failure until it has waited for long: see [`Result::settled`].
    Waiting {
        /// For what.
        why: String,
        /// The namespace in the member that the object belongs into.
        namespace: Option<Box<str>>,
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
    /// Not now: what is in the way says nothing about the object (the member did not answer, is overloaded, changes the object
    /// faster than it is read), or it is repaired too often. Its status stays as it is, unless this goes on: a condition
    /// must name the cause at last.
    Postponed {
        /// When to try again.
        retry: Duration,
        /// Object, cluster and cause in one line; `None` for what somebody else tells.
        cause: Option<String>,
        /// How often in a row it was postponed.
        times: u32,
    },
}

impl Result {
    /// Waits double from 100 ms on, so that a namespace that comes right behind is found at once and one that never
    /// comes costs little.
    #[must_use]
    pub fn next(&self) -> Next {
        match self {
            Self::Applied(_) | Self::Failed { retry: None, .. } => Next::await_change(),
            Self::Failed { retry: Some(retry), .. } | Self::Postponed { retry, .. } => Next::after(*retry),
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
            Self::Waiting { why, times, .. } if *times >= PATIENCE => Some(Some(why)),
            Self::Postponed { cause: Some(cause), times, retry } if *times >= POSTPONEMENTS || *retry >= LONG => {
                Some(Some(cause))
            }
            Self::Waiting { .. } | Self::Postponed { .. } => None,
        }
    }

    /// A conflict with somebody else's object.
    #[must_use]
    pub fn conflict(message: String) -> Self {
        Self::Failed { message, retry: Some(CONFLICT_RETRY) }
    }

    /// Was nothing sent because the member was lost, or did something hold it back that somebody else tells?
    #[must_use]
    fn waits_for_member(&self) -> bool {
        matches!(self, Self::Postponed { cause: None, .. })
    }

    /// Was nothing learned about the object?
    #[must_use]
    pub fn is_postponed(&self) -> bool {
        matches!(self, Self::Postponed { .. })
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

    /// Is it about the Work with this uid?
    #[must_use]
    pub fn is_of(&self, uid: Option<&str>) -> bool {
        self.uid.as_deref() == uid
    }

    /// Does an object of it wait that belongs into this namespace?
    #[must_use]
    pub fn waits_in(&self, wanted: &str) -> bool {
        self.results().iter().any(|result| match result {
            Result::Waiting { namespace, .. } => namespace.as_deref() == Some(wanted),
            _ => false,
        })
    }

    /// Does an object of it go on when the member is back, and has no pause of its own?
    #[must_use]
    pub fn waits_for_member(&self) -> bool {
        self.results().iter().any(Result::waits_for_member)
    }

    /// Is nothing known of an object of it but that it has to be tried again?
    #[must_use]
    pub fn is_postponed(&self) -> bool {
        self.results().iter().any(Result::is_postponed)
    }

    /// Is it known that the object at `ordinal` is not in the member as wanted?
    #[must_use]
    pub fn has_failed(&self, ordinal: usize) -> bool {
        self.results().get(ordinal).and_then(Result::settled).is_some_and(|cause| cause.is_some())
    }

    fn results(&self) -> &[Result] {
        match &self.dispatch {
            Dispatch::Done(results) => results,
            Dispatch::Suspended => &[],
        }
    }

    /// When to try again an object that failed as it is: from 1 s on, doubling to 30 s while it goes on failing.
    #[must_use]
    pub fn backoff(&self, ordinal: usize) -> Duration {
        let last = match self.results().get(ordinal) {
            Some(Result::Failed { retry: Some(retry), .. }) => *retry,
            _ => Duration::ZERO,
        };
        (last * 2).clamp(Duration::from_secs(1), CONFLICT_RETRY)
    }

    /// How often in a row the object at `ordinal` was found waiting.
    #[must_use]
    pub fn waits(&self, ordinal: usize) -> u32 {
        match self.results().get(ordinal) {
            Some(Result::Waiting { times, .. }) => *times,
            _ => 0,
        }
    }

    /// How often in a row the object at `ordinal` was postponed.
    #[must_use]
    pub fn postponements(&self, ordinal: usize) -> u32 {
        match self.results().get(ordinal) {
            Some(Result::Postponed { times, .. }) => *times,
            _ => 0,
        }
    }
}

/// The pause before an object is tried again that was postponed `times` times before: from 250 ms on, doubling to 30 s.
#[must_use]
pub fn pause(times: u32) -> Duration {
    (FIRST_PAUSE * 2_u32.saturating_pow(times.min(7))).min(CONFLICT_RETRY)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    fn outcome(results: Vec<Result>) -> Outcome {
        Outcome { uid: None, generation: Some(1), dispatch: Dispatch::Done(results) }
    }

    fn waiting(times: u32) -> Result {
        Result::Waiting { why: "namespace \"shop\" does not exist there".into(), namespace: Some("shop".into()), times }
    }

    fn postponed(times: u32, retry: u64, cause: Option<&str>) -> Result {
        Result::Postponed { retry: Duration::from_secs(retry), cause: cause.map(str::to_owned), times }
    }

    #[test]
    fn a_namespace_that_comes_right_behind_is_no_failure() {
        assert_eq!(outcome(vec![waiting(0)]).applied(), None);
        assert_eq!(waiting(0).next(), Next::after(Duration::from_millis(100)));
    }

    #[test]
    fn a_new_namespace_is_news_for_what_waits_in_it_only() {
        assert!(outcome(vec![Result::Applied("kept"), waiting(9)]).waits_in("shop"));
        assert!(!outcome(vec![waiting(9)]).waits_in("pay"));
        assert!(!outcome(vec![Result::Failed { message: "over quota".into(), retry: None }]).waits_in("shop"));
    }

    #[test]
    fn the_return_of_a_member_ends_no_pause_that_an_object_was_given_for_its_own_sake() {
        assert!(outcome(vec![postponed(0, 1, None)]).waits_for_member());
        assert!(!outcome(vec![postponed(4, 8, Some("no answer within 5s"))]).waits_for_member());
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
        assert_eq!(outcome(vec![postponed(1, 1, Some("no answer within 5s"))]).applied(), None);
        assert_eq!(outcome(vec![postponed(9, 1, None)]).applied(), None, "the Cluster says it");
    }

    #[test]
    fn what_is_postponed_again_and_again_or_for_long_names_the_cause() {
        for result in [postponed(3, 1, Some("no answer within 5s")), postponed(1, 30, Some("asked to slow down"))] {
            let (applied, _, cause) = outcome(vec![result]).applied().unwrap();
            assert!(applied == 0 && cause.is_some());
        }
        assert_eq!([0, 1, 2, 6, 7, 99].map(|times| pause(times).as_millis()), [250, 500, 1000, 16_000, 30_000, 30_000]);
    }
}
