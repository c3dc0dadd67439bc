//! The one way in: counts the calls to a member, keeps them below its [`Limit`], and holds them off while it is lost.
//!
//! First come, first served. A caller that goes away leaves its place in the line; a call that ends, however it ends, makes
//! room for the next. The probe passes by: somebody has to ask when everybody waits. Locks are held for the moment only.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pando_context::{Ctx, Instant};
use tokio::sync::{Notify, oneshot, watch};

use crate::breaker::{Breaker, Sign, State, Turn, Why};
use crate::fault::Fault;
use crate::limit::{Class, Limit, Sample};

/// Longest rest of the whole member after it asked one call to slow down. The object that was refused waits as long as it was
/// told; others are only spaced out, since the refusal may concern this kind of call alone.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// The traffic to one member at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// How the link is.
    pub state: State,
    /// Calls that were sent and have not ended. The probe and the watches are not among them.
    pub in_flight: usize,
    /// The most that ever were.
    pub peak: usize,
    /// How many there may be.
    pub limit: usize,
    /// Calls that wait for room.
    pub waiting: usize,
    /// How often the member was lost.
    pub opened: u64,
}

/// The gate of one member.
#[derive(Debug, Default)]
pub struct Gate {
    line: Mutex<Line>,
    breaker: watch::Sender<Breaker>,
    suspected: Notify,
}

#[derive(Debug, Default)]
struct Line {
    limit: Limit,
    in_flight: usize,
    peak: usize,
    waiting: VecDeque<oneshot::Sender<Pass>>,
    rests_until: Option<Instant>,
}

impl Gate {
    /// The gate of a member that was not probed yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Waits for room for one call.
    ///
    /// # Errors
    /// [`Fault::Lost`] while the member is lost: nothing was sent. [`Fault::Stopped`] when the context ended.
    pub async fn enter(self: &Arc<Self>, ctx: &Ctx) -> Result<Pass, Fault> {
        loop {
            self.check()?;
            let mut pass = match self.step_in() {
                Step::In(pass) => pass,
                // Who is sent away without a pass looks again.
                Step::Wait(turn) => match ctx.run(turn).await.map_err(Fault::Stopped)? {
                    Ok(pass) => pass,
                    Err(_) => continue,
                },
            };
            if let Some(rest) = self.rest() {
                ctx.sleep(rest).await.map_err(Fault::Stopped)?;
            }
            self.check()?;
            (pass.began, pass.outages) = (Instant::now(), self.breaker.borrow().opened());
            return Ok(pass);
        }
    }

    fn check(&self) -> Result<(), Fault> {
        self.breaker.borrow().lost().map_or(Ok(()), |cause| Err(Fault::Lost(cause.to_owned())))
    }

    fn rest(&self) -> Option<Duration> {
        let rest = self.line().rests_until?.checked_duration_since(Instant::now())?;
        (!rest.is_zero()).then_some(rest)
    }

    fn step_in(self: &Arc<Self>) -> Step {
        let mut line = self.line();
        if line.waiting.is_empty() && line.take_room() {
            return Step::In(Pass::of(self));
        }
        let (sender, turn) = oneshot::channel();
        line.waiting.push_back(sender);
        Step::Wait(turn)
    }

    /// Gives the room of a call that has ended to those who wait longest.
    fn leave(self: &Arc<Self>) {
        let mut leaving = true;
        loop {
            let next = {
                let mut line = self.line();
                line.in_flight -= usize::from(std::mem::take(&mut leaving));
                if line.waiting.is_empty() || !line.take_room() {
                    return;
                }
                line.waiting.pop_front()
            };
            let refused = next.map(|next| next.send(Pass::of(self)));
            // Who has gone away gives the turn to the next.
            if let Some(Err(mut pass)) = refused {
                pass.gate = None;
                leaving = true;
            }
        }
    }

    /// Takes in what a call or a connection says about the member as a whole.
    pub fn sign(&self, sign: Sign) {
        if sign == Sign::Answered && self.breaker.borrow().is_calm() {
            return; // by far the most frequent case needs no write lock
        }
        self.tell(|breaker| breaker.sign(sign));
    }

    /// Takes in what a probe found which began when the member had been lost `opened` times ([`outages`](Self::outages)).
    /// True when this changed the state.
    pub fn probed(&self, found: State, opened: u64) -> bool {
        is_news(self.tell(|breaker| breaker.probed(found, opened)))
    }

    /// How often the member was lost so far.
    #[must_use]
    pub fn outages(&self) -> u64 {
        self.breaker.borrow().opened()
    }

    fn tell(&self, learn: impl FnOnce(&mut Breaker) -> Turn) -> Turn {
        let mut turn = Turn::Stays;
        self.breaker.send_if_modified(|breaker| {
            turn = learn(breaker);
            is_news(turn)
        });
        match turn {
            Turn::Stays | Turn::Renamed => {}
            Turn::Suspect => self.suspect(),
            Turn::Opened => {
                self.suspect();
                // Whose sender is dropped looks again, and sees that the member is lost.
                self.line().waiting.clear();
            }
            Turn::Closed if self.breaker.borrow().opened() > 0 => self.line().limit.restart(),
            Turn::Closed => {}
        }
        turn
    }

    /// The present state.
    #[must_use]
    pub fn state(&self) -> State {
        self.breaker.borrow().state().clone()
    }

    /// Is the member known to work at present?
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.breaker.borrow().is_closed()
    }

    /// Follows the breaker: changes of its state only.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Breaker> {
        self.breaker.subscribe()
    }

    /// Asks for a probe now.
    pub fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// Waits until somebody asks for a probe.
    pub async fn suspected(&self) {
        self.suspected.notified().await;
    }

    /// How many calls there may be at the same time.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.line().limit.get()
    }

    /// Lets so many calls in at a time from now on, whatever they say of the member: for tests of load.
    pub fn fix_limit(&self, calls: usize) {
        self.line().limit = Limit::fixed(calls);
    }

    /// What is going on at this moment.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let (state, opened) = {
            let breaker = self.breaker.borrow();
            (breaker.state().clone(), breaker.opened())
        };
        let line = self.line();
        Traffic {
            state,
            in_flight: line.in_flight,
            peak: line.peak,
            limit: line.limit.get(),
            waiting: line.waiting.len(),
            opened,
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Step {
    In(Pass),
    Wait(oneshot::Receiver<Pass>),
}

impl Line {
    fn take_room(&mut self) -> bool {
        let is_room = self.in_flight < self.limit.get();
        if is_room {
            self.in_flight += 1;
            self.peak = self.peak.max(self.in_flight);
        }
        is_room
    }
}

/// Room for one call. Dropping it makes room for the next.
#[derive(Debug)]
pub struct Pass {
    /// `None`: it was handed back already.
    gate: Option<Arc<Gate>>,
    began: Instant,
    /// How often the member had been lost when the call began.
    outages: u64,
}

impl Pass {
    fn of(gate: &Arc<Gate>) -> Self {
        Self { gate: Some(Arc::clone(gate)), began: Instant::now(), outages: 0 }
    }

    /// Takes in how the call ended. A call that was stopped says nothing.
    pub fn ended(&self, class: Class, fault: Option<&Fault>) {
        let (now, Some(gate)) = (Instant::now(), &self.gate) else { return };
        let sample = match fault {
            Some(Fault::Stopped(_) | Fault::Lost(_)) => return,
            Some(
                Fault::Deadline(_)
                | Fault::NotSent(_)
                | Fault::Unreachable(_)
                | Fault::Throttled { .. }
                | Fault::Server { .. },
            ) => Sample::Overload,
            _ => Sample::Answered(class, now.saturating_duration_since(self.began)),
        };
        {
            let mut line = gate.line();
            let in_flight = line.in_flight;
            line.limit.observe(sample, self.began, in_flight, now);
            if let Some(Fault::Throttled { wait, .. }) = fault {
                line.rests_until = Some(now + (*wait).min(LONGEST_REST));
            }
        }
        // A call from before an outage that ends after it says nothing about the member that is back.
        if gate.breaker.borrow().opened() == self.outages {
            gate.sign(sign(class, fault));
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.leave();
        }
    }
}

/// Has the state changed?
fn is_news(turn: Turn) -> bool {
    matches!(turn, Turn::Opened | Turn::Closed | Turn::Renamed)
}

/// What the end of a call says about the member as a whole.
fn sign(class: Class, fault: Option<&Fault>) -> Sign {
    let strike = |why, fault: &Fault| Sign::Strike(why, fault.to_string());
    match fault {
        // It may be the admission webhook of one kind that hangs.
        Some(Fault::Deadline(_)) if class == Class::Write => Sign::Slow,
        Some(fault @ (Fault::Deadline(_) | Fault::NotSent(_) | Fault::Unreachable(_))) => {
            strike(Why::Unreachable, fault)
        }
        Some(fault @ Fault::Unauthorized) => strike(Why::Unauthorized, fault),
        Some(fault @ Fault::NotKubernetes(_)) => strike(Why::NotKubernetes, fault),
        Some(Fault::Server { code: 502..=504, .. }) => Sign::Unwell,
        _ => Sign::Answered,
    }
}

#[cfg(test)]
mod tests;
