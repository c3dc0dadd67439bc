//! How much the hub is asked to write at the same time, and what goes first.
//!
//! ```text
//! write ──enter(priority)──► lanes ──turn──► Permit ──► request ──ended(outcome)──► next turn
//!                              │ while paused, nobody        │
//!                              └ cancelled: leaves at once   └ 429, 5xx, late, away: fewer at the same time
//! ```
//!
//! * At most so many writes are under way. The most urgent goes first ([`Priority`]), and every eighth is whoever has
//!   waited longest, so nobody starves.
//! * The number follows the hub: a failure or a late answer makes it smaller, good answers make it grow back one by
//!   one. Nothing is dropped; it takes longer.
//! * `Retry-After` is a pause for all writes, but of at most 1 s: the refusal may concern one kind of write alone (an
//!   aggregated API, one admission webhook). The refused key itself waits as long as it was asked to. While others are
//!   answered, further refusals are no pause for anybody else.
//! * A hub that cannot be reached is tried by one write at a time, at most every 2 s; all others wait here without
//!   failing, so that their keys gather no back-off of their own for a fault that is the hub's. One that takes eight
//!   writes in a row and answers none of them in time is away as well.
//! * Waiting here comes before a request's deadline, not out of it.
//!
//! Events have a budget of their own ([`crate::events`]).

mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::future::{Either, select};
use pando_context::{Ctx, Instant, Stop};
use tokio::sync::Notify;

use self::state::{Granted, Lesson, Notice, State};
use crate::client::{RequestError, Sent};
use crate::metrics::{LoadGauge, Metrics};
use crate::priority::{Place, Priority};

/// How many writes may be under way at the same time, unless told otherwise. A kube-apiserver with one core's worth of
/// etcd does its best at 16; beyond twice that, more only wait in its queues instead of here.
pub const MOST: usize = 32;

/// A budget of writes to one API server. Cheap to clone; all clones are one budget.
#[derive(Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State<Arc<Slot>>>,
    metrics: Metrics,
}

/// Where a waiting write finds its permit.
#[derive(Default)]
struct Slot {
    permit: Mutex<Option<Permit>>,
    /// Rung when the permit is there, and when a pause begins.
    bell: Notify,
}

impl Slot {
    fn take(&self) -> Option<Permit> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// How much a budget does right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Writes that are under way.
    pub in_flight: usize,
    /// How many may be.
    pub limit: usize,
    /// Writes that wait, in the order of [`Priority::ALL`].
    pub waiting: [usize; Priority::COUNT],
}

/// What became of a write, as far as it says something about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server did its work; the answer may be a refusal.
    Answered,
    /// The server failed.
    Overloaded,
    /// No answer in time.
    Late,
    /// The server wants to be asked again after this time.
    Later(Duration),
    /// The server could not be reached.
    Unreachable,
    /// Nobody waited for the answer.
    Abandoned,
}

impl Outcome {
    /// What this result of a request says.
    pub fn of<T>(result: &Result<T, kube::Error>) -> Self {
        result.as_ref().err().map_or(Self::Answered, Self::of_error)
    }

    /// What this error of a request says.
    pub fn of_error(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                match status.code {
                    429 | 503 if seconds > 0 => Self::Later(Duration::from_secs(seconds.into())),
                    // The server is well; a webhook of one kind, or what it runs on, is not.
                    500 if status.message.contains("failed calling webhook") => Self::Answered,
                    429 | 500.. => Self::Overloaded,
                    _ => Self::Answered,
                }
            }
            kube::Error::HyperError(_) | kube::Error::Service(_) => match RequestError::of(error) {
                Some(RequestError::Deadline { sent: Sent::InFlight, .. }) => Self::Late,
                Some(RequestError::TooLarge { .. } | RequestError::Silent { .. }) => Self::Answered,
                Some(RequestError::Closed { .. } | RequestError::Stopped { .. }) => Self::Abandoned,
                Some(
                    RequestError::Deadline { sent: Sent::NotSent, .. }
                    | RequestError::Connect { .. }
                    | RequestError::Failed { .. },
                )
                | None => Self::Unreachable,
            },
            // Of the request or the answer, not of the server.
            _ => Self::Answered,
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({:?})", self.load())
    }
}

impl Budget {
    /// A budget of at most `most` writes at the same time, and at least one; [`MOST`] is usual.
    pub fn new(most: usize, metrics: Metrics) -> Self {
        let budget = Self { shared: Arc::new(Shared { state: Mutex::new(State::new(most)), metrics }) };
        budget.shared.metrics.watch_budget(&budget);
        budget
    }

    /// Waits for the turn of a write.
    ///
    /// Dropping the future leaves the line at once.
    ///
    /// # Errors
    /// The context ended, or will have ended before a pause is over.
    pub async fn enter(&self, ctx: &Ctx, priority: Priority) -> Result<Permit, Stop> {
        let slot = Arc::new(Slot::default());
        let place = self.lock().enter(priority, Arc::clone(&slot), Instant::now());
        let waiter = Waiter { budget: self, slot, priority, place };
        self.grant();
        ctx.run(waiter.granted(ctx)).await?
    }

    /// How much it does right now.
    pub fn load(&self) -> Load {
        let state = self.lock();
        Load { in_flight: state.in_flight(), limit: state.limit(), waiting: state.waiting() }
    }

    /// Whether the server is taken to be away: writes wait, and one at a time tries.
    pub fn is_away(&self) -> bool {
        self.lock().is_away()
    }

    /// A way to ask for the load that does not keep the budget alive.
    pub(crate) fn gauge(&self) -> LoadGauge {
        let shared: Weak<Shared> = Arc::downgrade(&self.shared);
        Box::new(move || shared.upgrade().map(|shared| Self { shared }.load()))
    }

    /// Hands out the permits that may be.
    fn grant(&self) {
        let now = Instant::now();
        loop {
            // One lock for each: a permit that nobody takes any more comes back through the same lock.
            let Some(Granted { waiter, priority, waited }) = self.lock().grant(now) else { return };
            self.shared.metrics.write_waited(priority, waited);
            let permit = Permit { budget: self.clone(), sent: now, open: true };
            *waiter.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
            waiter.bell.notify_one();
        }
    }

    fn ended(&self, sent: Instant, outcome: Outcome) {
        let now = Instant::now();
        let Lesson { slowed, notice } = {
            let mut state = self.lock();
            let lesson = state.ended(sent, outcome, now);
            if state.pause(now).is_some() {
                // Whoever waits must know of the pause, to look again at its end.
                state.waiters().for_each(|slot| slot.bell.notify_one());
            }
            lesson
        };
        if let Some(cause) = slowed {
            self.shared.metrics.writes_slowed(cause.as_str());
        }
        match notice {
            Some(Notice::Paused { asked, granted }) if granted < asked => {
                tracing::warn!(
                    ?asked,
                    ?granted,
                    "the hub asks for a pause that is too long, writes wait for a part of it"
                );
            }
            Some(Notice::Paused { asked, .. }) => tracing::info!(?asked, "the hub asks for a pause, writes wait"),
            Some(Notice::Away) => tracing::warn!("the hub cannot be reached, writes wait"),
            Some(Notice::Back) => tracing::info!("the hub answers writes again"),
            None => {}
        }
        self.grant();
    }

    fn lock(&self) -> MutexGuard<'_, State<Arc<Slot>>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write in line.
struct Waiter<'a> {
    budget: &'a Budget,
    slot: Arc<Slot>,
    priority: Priority,
    place: Place,
}

impl Waiter<'_> {
    async fn granted(&self, ctx: &Ctx) -> Result<Permit, Stop> {
        loop {
            if let Some(permit) = self.slot.take() {
                return Ok(permit);
            }
            let pause = self.budget.lock().pause(Instant::now());
            let bell = self.slot.bell.notified();
            let Some(left) = pause else {
                bell.await;
                continue;
            };
            if let Either::Right((slept, _)) = select(pin!(bell), pin!(ctx.sleep(left))).await {
                slept?;
                self.budget.grant();
            }
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.budget.lock().leave(self.priority, self.place);
    }
}

/// The right to have one write under way. Dropping it without a word frees the place.
#[must_use = "a dropped permit is a write that was given up"]
pub struct Permit {
    budget: Budget,
    sent: Instant,
    open: bool,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

impl Permit {
    /// The write has ended, and this is what it says about the server.
    pub fn ended(mut self, outcome: Outcome) {
        self.open = false;
        self.budget.ended(self.sent, outcome);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.open {
            self.budget.ended(self.sent, Outcome::Abandoned);
        }
    }
}
