//! What became of the parts of a fan-out, and when that decides it.

use std::fmt;

use super::Policy;
use crate::reason::{Reason, ReasonKind, Stop};
use crate::task::TaskError;

/// What became of every part of a fan-out: each key that was added is in exactly one of the lists, and each list is in
/// the order of adding.
#[derive(Clone, Debug)]
#[must_use = "failures are only in here"]
pub struct Outcomes<K, T, E> {
    /// Parts that returned `Ok`.
    pub ok: Vec<(K, T)>,
    /// Parts that returned `Err`.
    pub failed: Vec<(K, E)>,
    /// Parts that were stopped, by the policy or from above, or that had not started by then. The reason says which.
    /// No failures: but what a stopped part had done by then is unknown.
    pub cancelled: Vec<(K, Stop)>,
    /// Parts that panicked, and what they said.
    pub panicked: Vec<(K, String)>,
    policy: Policy,
}

impl<K, T, E> Outcomes<K, T, E> {
    /// The number of parts.
    pub fn len(&self) -> usize {
        self.ok.len() + self.failed.len() + self.cancelled.len() + self.panicked.len()
    }

    /// Whether there was no part at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there were as many successes as the policy takes.
    pub fn is_met(&self) -> bool {
        self.ok.len() >= self.policy.needs(self.len())
    }

    /// The successes, if the policy is met by them.
    ///
    /// # Errors
    ///
    /// [`Unmet`] with everything that is known, the successes too.
    pub fn into_result(self) -> Result<Vec<(K, T)>, Unmet<K, T, E>> {
        match self.is_met() {
            true => Ok(self.ok),
            false => Err(Unmet(Box::new(self))),
        }
    }
}

/// A fan-out with fewer successes than its policy takes. Prints as one line that names each failed and panicked part,
/// and counts the cancelled ones.
#[derive(Clone, Debug)]
pub struct Unmet<K, T, E>(Box<Outcomes<K, T, E>>);

impl<K, T, E> Unmet<K, T, E> {
    /// Everything that is known.
    pub fn into_outcomes(self) -> Outcomes<K, T, E> {
        *self.0
    }
}

impl<K: fmt::Display, T, E: fmt::Display> fmt::Display for Unmet<K, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = &*self.0;
        let (parts, needed) = (all.len(), all.policy.needs(all.len()));
        write!(f, "{} of {parts} parts are ok, {needed} are needed", all.ok.len())?;
        let mut separator = ": ";
        for (key, error) in &all.failed {
            write!(f, "{separator}{key} failed: {error}")?;
            separator = "; ";
        }
        for (key, message) in &all.panicked {
            write!(f, "{separator}{key} panicked: {message}")?;
            separator = "; ";
        }
        match all.cancelled.as_slice() {
            [] => Ok(()),
            [(key, stop)] => write!(f, "{separator}{key} {stop}"),
            [(_, stop), ..] => write!(f, "{separator}{} parts {stop}", all.cancelled.len()),
        }
    }
}

impl<K, T, E> std::error::Error for Unmet<K, T, E>
where
    K: fmt::Display + fmt::Debug,
    T: fmt::Debug,
    E: fmt::Display + fmt::Debug,
{
}

/// How a part ended: by itself, or as a task does.
type End<T, E> = Result<Result<T, E>, TaskError>;

/// The books of a fan-out that runs.
pub(super) struct Tally<K, T, E> {
    policy: Policy,
    parts: usize,
    /// With the place in the order of adding.
    ended: Vec<(usize, K, End<T, E>)>,
    ok: usize,
    /// What failed first, for the reason that its siblings get.
    culprit: Option<String>,
    decided: bool,
}

impl<K: fmt::Display, T, E> Tally<K, T, E> {
    pub(super) fn new(policy: Policy, parts: usize) -> Self {
        Self { policy, parts, ended: Vec::with_capacity(parts), ok: 0, culprit: None, decided: false }
    }

    pub(super) fn add(&mut self, place: usize, key: K, end: End<T, E>) {
        let fault = match &end {
            Ok(Ok(_)) => {
                self.ok += 1;
                None
            }
            Ok(Err(_)) => Some("failed"),
            Err(TaskError::Panicked { .. }) => Some("panicked"),
            Err(TaskError::Stopped(_)) => None,
        };
        if let Some(fault) = fault {
            self.culprit.get_or_insert_with(|| format!("{key} {fault}"));
        }
        self.ended.push((place, key, end));
    }

    /// Why the rest is to be cancelled: once, when the policy has decided.
    pub(super) fn verdict(&mut self) -> Option<Reason> {
        let (parts, ok, needed) = (self.parts, self.ok, self.policy.needs(self.parts));
        let open = parts.saturating_sub(self.ended.len());
        if self.decided || open == 0 {
            return None;
        }
        let sibling = |text: String| Reason::new(ReasonKind::SiblingFailed, text);
        let reason = match self.policy {
            Policy::All => None,
            Policy::FailFast => self.culprit.clone().map(sibling),
            Policy::First | Policy::Quorum(_) if ok >= needed => {
                Some(Reason::requested(format!("{ok} of {parts} parts are ok, no more are needed")))
            }
            Policy::First | Policy::Quorum(_) if ok + open < needed => {
                let last = self.culprit.as_deref().map_or(String::new(), |culprit| format!(" after {culprit}"));
                Some(sibling(format!("{needed} of {parts} parts cannot be ok any more{last}")))
            }
            Policy::First | Policy::Quorum(_) => None,
        };
        self.decided = reason.is_some();
        reason
    }

    pub(super) fn into_outcomes(mut self) -> Outcomes<K, T, E> {
        self.ended.sort_unstable_by_key(|(place, ..)| *place);
        let mut all = Outcomes {
            ok: Vec::with_capacity(self.ok),
            failed: Vec::new(),
            cancelled: Vec::new(),
            panicked: Vec::new(),
            policy: self.policy,
        };
        for (_, key, end) in self.ended {
            match end {
                Ok(Ok(value)) => all.ok.push((key, value)),
                Ok(Err(error)) => all.failed.push((key, error)),
                Err(TaskError::Stopped(stop)) => all.cancelled.push((key, stop)),
                Err(TaskError::Panicked { message, .. }) => all.panicked.push((key, message)),
            }
        }
        all
    }
}
