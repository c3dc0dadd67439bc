//! Keys waiting to be reconciled: each at most once, and never twice at the same time.
//!
//! The semantics are those of client-go's work queue, which every Kubernetes controller relies on: a
//! key that is added while it waits is merged with itself; one that is added while it is processed
//! waits until that has ended and is then processed again. [`state`] holds the rules, without locks
//! or clocks; this file adds the lock, the clock and the waiting.

pub mod state;
#[cfg(test)]
mod tests;

use std::fmt::{self, Debug};
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::future::{Either, select};
use pando_context::{Ctx, Instant, Stop};
use tokio::sync::Notify;

pub use self::state::Depth;
use self::state::{Popped, State};
use crate::backoff::Backoff;
pub use crate::priority::Priority;

/// What can be the key of a queue.
pub trait Key: Clone + Eq + Hash + Debug + Send + 'static {}

impl<K: Clone + Eq + Hash + Debug + Send + 'static> Key for K {}

/// A work queue. Cheap to clone; all clones are the same queue.
pub struct Queue<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    name: &'static str,
    member: Option<Arc<str>>,
    state: Mutex<State<K>>,
    /// Rung when a key may have become ready, or the next delayed one earlier.
    bell: Notify,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> Debug for Queue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({})", self.shared.name)
    }
}

impl<K: Key> Queue<K> {
    /// An empty queue. The name appears in metrics and on the debug page.
    pub fn new(name: &'static str) -> Self {
        Self::with_member(name, None)
    }

    /// An empty queue of one member cluster: each member has its own of the same name.
    pub fn of_member(name: &'static str, member: &str) -> Self {
        Self::with_member(name, Some(member.into()))
    }

    fn with_member(name: &'static str, member: Option<Arc<str>>) -> Self {
        let state = Mutex::new(State::new());
        Self { shared: Arc::new(Shared { name, member, state, bell: Notify::new() }) }
    }

    /// The name.
    pub fn name(&self) -> &'static str {
        self.shared.name
    }

    /// The member cluster that it belongs to.
    pub fn member(&self) -> Option<&str> {
        self.shared.member.as_deref()
    }

    /// Adds a key that somebody waits for.
    pub fn add(&self, key: K) {
        self.add_with(key, Priority::Normal);
    }

    /// Adds a key. One that waits already keeps its place or moves up to the higher priority.
    pub fn add_with(&self, key: K, priority: Priority) {
        self.lock().add(key, priority, Instant::now());
        self.shared.bell.notify_one();
    }

    /// Adds a key after a delay. Of several delays of one key, the one that ends first counts; a
    /// key that is added at once in between is still added at the end of the delay.
    pub fn add_after(&self, key: K, delay: Duration) {
        let now = Instant::now();
        match delay.is_zero() {
            true => self.lock().add(key, Priority::Normal, now),
            false => self.lock().add_at(key, Priority::Normal, later(now, delay)),
        }
        self.shared.bell.notify_one();
    }

    /// Forgets the failures of a key, and the delayed retry with them: for a key whose object is
    /// gone.
    pub fn forget(&self, key: &K) {
        self.lock().forget(key);
    }

    /// How much waits and runs right now.
    pub fn depth(&self) -> Depth {
        self.lock().depth(Instant::now())
    }

    /// The next key, when there is one. Ends with the context.
    ///
    /// Dropping the future loses no key.
    pub async fn next(&self, ctx: &Ctx) -> Result<Taken<K>, Stop> {
        loop {
            ctx.check()?;
            // Listen first, look then: a key that is added in between rings.
            let mut bell = pin!(self.shared.bell.notified());
            bell.as_mut().enable();
            let now = Instant::now();
            let (popped, due, more) = {
                let mut state = self.lock();
                (state.pop(now), state.next_due(), state.has_ready())
            };
            if let Some(Popped { key, priority, waited }) = popped {
                if more {
                    // One ring may stand for several keys; another worker may take the next one.
                    self.shared.bell.notify_one();
                }
                let (queue, taker) = (self.clone(), ctx.clone());
                return Ok(Taken { queue, taker, key, priority, waited, given_back: false });
            }
            match due {
                None => ctx.run(bell).await?,
                Some(due) => {
                    let wait = pin!(ctx.sleep(due.saturating_duration_since(now)));
                    match ctx.run(select(bell, wait)).await? {
                        Either::Left(((), _)) => {}
                        Either::Right((slept, _)) => slept?,
                    }
                }
            }
        }
    }

    /// A way to ask for the depth that does not keep the queue alive.
    pub(crate) fn gauge(&self) -> impl Fn() -> Option<Depth> + Send + Sync + use<K> {
        let shared: Weak<Shared<K>> = Arc::downgrade(&self.shared);
        move || shared.upgrade().map(|shared| Self { shared }.depth())
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // A panic under the lock can only come from a key's own Hash or Eq.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a delay; of one that the clock cannot express, a day.
fn later(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or(now + Duration::from_secs(86_400))
}

/// A key that is being processed. Nobody else gets it until this is given back.
///
/// Dropping it is a failure: work that panicked or ran out of time comes back after the key's back-off, so that no key is
/// lost. Unless the context that it was taken in has ended: then the work was called off, and the key is put back as it was.
#[must_use = "a dropped key counts as failed"]
pub struct Taken<K: Key> {
    queue: Queue<K>,
    taker: Ctx,
    key: K,
    priority: Priority,
    waited: Duration,
    given_back: bool,
}

impl<K: Key> Taken<K> {
    /// How urgent it is.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// How long it was ready before it was taken.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Processed. It was a success: earlier failures are forgotten.
    pub fn done(mut self) {
        self.give_back(|state, key, _| state.succeeded(key));
    }

    /// Processed; look again after this time. Earlier failures are forgotten.
    pub fn done_for(mut self, delay: Duration) {
        self.give_back(|state, key, now| {
            state.succeeded(key);
            state.again_at(key, later(now, delay));
        });
    }

    /// Processed, and not worth another look until something changes. Says nothing of earlier
    /// failures.
    pub fn set_aside(mut self) {
        self.give_back(|_, _, _| ());
    }

    /// Not processed, and not failed: the work was called off. The key is ready again, as urgent as it was.
    pub fn put_back(mut self) {
        self.back_as_it_was();
    }

    fn back_as_it_was(&mut self) {
        let priority = self.priority;
        self.give_back(|state, key, now| state.add(key.clone(), priority, now));
    }

    /// Failed; look again after this time, whatever the back-off says.
    pub fn retry_after(mut self, delay: Duration) {
        self.give_back(|state, key, now| state.again_at(key, later(now, delay)));
    }

    /// Failed: comes back after the key's back-off, which is returned.
    pub fn failed(self) -> Duration {
        self.failed_with(Backoff::KEY)
    }

    /// Somebody else was faster: as [`Taken::failed`], with delays that stay short.
    pub fn contended(self) -> Duration {
        self.failed_with(Backoff::CONTENDED)
    }

    fn failed_with(mut self, backoff: Backoff) -> Duration {
        self.give_back(|state, key, now| state.failed(key, backoff, now)).unwrap_or_default()
    }

    fn give_back<R>(&mut self, verdict: impl FnOnce(&mut State<K>, &K, Instant) -> R) -> Option<R> {
        if std::mem::replace(&mut self.given_back, true) {
            return None;
        }
        let now = Instant::now();
        let result = {
            let mut state = self.queue.lock();
            let result = verdict(&mut state, &self.key, now);
            state.release(&self.key, now);
            result
        };
        self.queue.shared.bell.notify_one();
        Some(result)
    }
}

impl<K: Key> std::ops::Deref for Taken<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.key
    }
}

impl<K: Key> Drop for Taken<K> {
    fn drop(&mut self) {
        if self.taker.is_cancelled() {
            self.back_as_it_was();
        }
        self.give_back(|state, key, now| state.failed(key, Backoff::KEY, now));
    }
}
