//! Trying again, for as long as the context lets.

use std::future::Future;
use std::time::Duration;

use crate::Ctx;
use crate::node::Handle;
use crate::reason::{Stop, split_mix};

/// How often to try again and how long to wait before: exponential, with a bound and with jitter.
///
/// The jitter takes up to half of a wait away, so that callers that failed together do not come back
/// together. It is no dice roll: it follows from the trace, the labels of the context and those above,
/// and the number of the attempt, so that a run can be repeated.
///
/// ```
/// use std::time::Duration;
/// use pando_context::Backoff;
///
/// let patient = Backoff { attempts: None, longest: Duration::from_secs(300), ..Backoff::default() };
/// assert_eq!(patient.first, Duration::from_millis(100));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The wait after the first failure, before jitter. Default: 100 ms.
    pub first: Duration,
    /// What a wait grows by from one failure to the next; below 1 counts as 1. Default: 2.
    pub factor: f64,
    /// What no wait exceeds. Default: 30 s.
    pub longest: Duration,
    /// How many attempts there are, 0 counting as 1; `None`: as many as the context lets. Default: 5.
    pub attempts: Option<u32>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), factor: 2.0, longest: Duration::from_secs(30), attempts: Some(5) }
    }
}

impl Backoff {
    /// The wait after so many failures, for a place in the tree whose jitter is `seed`.
    fn wait(&self, failures: u32, seed: u64) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.first.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        let whole = seconds.min(self.longest.as_secs_f64());
        // 32 bits of the seed as a number from 0 to 1.
        let jitter = f64::from((split_mix(seed ^ u64::from(failures)) >> 32) as u32) / f64::from(u32::MAX);
        Duration::try_from_secs_f64(whole * (1.0 - jitter / 2.0)).unwrap_or(self.longest)
    }
}

/// Why [`Ctx::retry`] has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RetryError<E> {
    /// Every attempt failed.
    #[error("gave up after {attempts} failed attempts, the last one: {last}")]
    Failed {
        /// How many there were.
        attempts: u32,
        /// What the last one said.
        last: E,
    },
    /// The context ended, or its deadline would have passed before the next attempt. No failure:
    /// treat it as the [`Stop`] that it is.
    #[error("{stop} (after {attempts} failed attempts)")]
    Stopped {
        /// Why.
        stop: Stop,
        /// How many attempts had failed by then; the one that was stopped is not among them.
        attempts: u32,
        /// What the last failed one said.
        last: Option<E>,
    },
}

impl<E> RetryError<E> {
    /// Why the context ended the attempts, if it did.
    pub fn stop(&self) -> Option<&Stop> {
        match self {
            Self::Stopped { stop, .. } => Some(stop),
            Self::Failed { .. } => None,
        }
    }

    /// What the last failed attempt said.
    pub fn into_last(self) -> Option<E> {
        match self {
            Self::Failed { last, .. } => Some(last),
            Self::Stopped { last, .. } => last,
        }
    }
}

impl Ctx {
    /// Tries until an attempt succeeds, with waits in between.
    ///
    /// Each attempt runs in this context ([`Ctx::run`]): when that ends, the attempt is dropped at its
    /// next await and is not counted as one that failed. If the wait before the next attempt would
    /// end after the deadline, there is no wait and the result is [`RetryError::Stopped`] at once.
    ///
    /// Every `Err` is tried again. What trying again does not help is an `Ok`, say
    /// `Ok(Err(NotFound))`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pando_context::{Backoff, Kind, Scope};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let root = Scope::root("pando");
    /// let quick = Backoff { first: Duration::from_millis(1), ..Backoff::default() };
    /// let mut asked = 0;
    /// let answer = root
    ///     .ctx()
    ///     .retry(&quick, |_ctx| {
    ///         asked += 1;
    ///         let answer = if asked < 3 { Err("busy") } else { Ok(42) };
    ///         async move { answer }
    ///     })
    ///     .await;
    /// assert_eq!((answer.unwrap(), asked), (42, 3));
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// [`RetryError`], with the last failure.
    pub async fn retry<F, T, E>(
        &self,
        backoff: &Backoff,
        mut attempt: impl FnMut(Self) -> F,
    ) -> Result<T, RetryError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let seed = seed(self.node());
        let mut attempts = 0;
        let mut last = None;
        loop {
            let failure = match self.run(attempt(self.clone())).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(failure)) => failure,
                Err(stop) => return Err(RetryError::Stopped { stop, attempts, last }),
            };
            // An attempt that notices the end by itself says so in its own words.
            if let Err(stop) = self.check() {
                return Err(RetryError::Stopped { stop, attempts, last });
            }
            attempts += 1;
            if backoff.attempts.is_some_and(|most| attempts >= most) {
                return Err(RetryError::Failed { attempts, last: failure });
            }
            last = Some(failure);
            if let Err(stop) = self.sleep(backoff.wait(attempts, seed)).await {
                return Err(RetryError::Stopped { stop, attempts, last });
            }
        }
    }
}

/// A number for a place in the tree and its trace, the same in every run.
fn seed(node: &Handle) -> u64 {
    let trace = node.trace().as_u128();
    let mut seed = split_mix((trace >> 64) as u64 ^ trace as u64);
    let mut at = Some(node);
    while let Some(node) = at {
        let label = node.label();
        let kind = label.kind();
        for byte in kind.as_str().bytes().chain(label.name().unwrap_or_default().bytes()) {
            seed = (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3); // FNV-1a
        }
        at = node.parent();
    }
    split_mix(seed)
}
