//! Runs a reconcile function for the keys of a queue: bounded, traced, timed, and unharmed by what
//! goes wrong in it.
//!
//! ```text
//! queue ──next──► dispatcher ──spawn──► reconcile(ctx, key) ──► Ok(Action) | Err | Stop | panic
//!   ▲                 │ at most `concurrency` at a time              │
//!   └──── verdict ────┴──────────────────────────────────────────────┘
//! ```
//!
//! | outcome | the key | log |
//! |---|---|---|
//! | `Done` | rests until it is added | – |
//! | `After(d)` | comes back after `d` | – |
//! | [`Class::Invalid`] | rests until something changes | warn, once per text |
//! | [`Class::Transient`], deadline, panic | comes back after its back-off | warn, once per text |
//! | [`Class::Superseded`] | comes back after a back-off of at most 1 s | – |
//! | [`Class::Unavailable`] | comes back after 1 s, however often | – |
//! | [`Class::Later`] | comes back when it was told to, within 30 s | – |
//! | [`Class::NotOurs`] | comes back after 30 s | warn, once per text |
//! | the controller is stopped | goes back to the queue as it was | debug |
//! | [`Class::Stopped`]: what it called was stopped | comes back after 1 s, however often | debug |
//!
//! Work that was called off has not failed: it is counted as `cancelled`, earns no back-off and no warning. The
//! module's rule for repeats: an error that says the same as the one before is logged at debug.

#[cfg(test)]
mod tests;
mod work;

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use pando_context::{Ctx, Instant, Kind, Stop, Task, TaskError};
use tracing::Span;

use self::work::Work;
use crate::metrics::Metrics;
#[cfg(doc)]
use crate::priority::Priority;
use crate::queue::{Key, Queue, Taken};

/// The kind of a controller's context. Its name is that of the controller; below it are its reconciles.
pub const CONTROLLER: Kind = Kind::new("controller");

/// The kind of a reconcile's context. Its name is the key.
pub const RECONCILE: Kind = Kind::new("reconcile");

/// How long a key rests whose object is not ours to change: somebody else has to act, and nothing
/// tells us when.
pub const NOT_OURS: Duration = Duration::from_secs(30);

/// How long a key rests when whoever it needs is away.
pub const UNAVAILABLE: Duration = Duration::from_secs(1);

/// The shortest and the longest time that a key rests because it was told to.
const LATER: (Duration, Duration) = (UNAVAILABLE, Duration::from_secs(30));

/// What distinguishes one controller from another.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The name in contexts, spans and metrics: `binding_works`.
    pub name: &'static str,
    /// How many reconciles run at the same time. At least 1.
    pub concurrency: usize,
    /// The deadline of one reconcile.
    pub timeout: Duration,
    /// Where the controller counts.
    pub metrics: Metrics,
}

/// What to do with a key after a reconcile that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing until something changes.
    Done,
    /// Look again after this time, or earlier if something changes.
    After(Duration),
}

/// What an error means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The object says something that cannot be done. Trying again does not help; a change does.
    Invalid,
    /// It may work the next time.
    Transient,
    /// Somebody else wrote first: what was decided on is out of date. As [`Class::Transient`], but
    /// nothing is wrong, so it is no warning and comes back within a second.
    Superseded,
    /// Whoever is needed is away or busy, and the object has no part in it: the key gathers no back-off. Whoever talks
    /// to them sees to the pace ([`Budget`](crate::budget::Budget)), and says what is wrong, once.
    Unavailable,
    /// Whoever is needed has refused this object for now and said for how long. As [`Class::Unavailable`], for that
    /// time, but at most 30 s: "tomorrow" is asked again.
    Later(Duration),
    /// The object belongs to somebody else.
    NotOurs,
    /// The work was called off, here or where it called, and has not failed: [`Class::of_stop`]. If the controller goes
    /// on, as when only a cluster was detached that the work called, this is as [`Class::Unavailable`].
    Stopped,
}

impl Class {
    /// What a stop means: work that ran out of time has failed for now, work that was called off has not failed.
    #[must_use]
    pub fn of_stop(stop: &Stop) -> Self {
        if stop.is_deadline() { Self::Transient } else { Self::Stopped }
    }
}

/// An error of a reconcile function. Prints as one line that names object, cause and fix.
pub trait ReconcileError: std::error::Error + Send + 'static {
    /// What the error means for the next attempt.
    fn class(&self) -> Class;

    /// One of a few words, for the metric: `conflict`, `unreachable`.
    fn category(&self) -> &'static str;
}

/// A stop on its own is an error of a reconcile.
impl ReconcileError for Stop {
    fn class(&self) -> Class {
        Class::of_stop(self)
    }

    fn category(&self) -> &'static str {
        self.reason().kind().as_str()
    }
}

/// Runs a controller until its context ends.
///
/// Each reconcile runs as a task in a context of its own, which has the controller's timeout, the [`Priority`] of its
/// key and a new trace, and in a span with `controller`, `key`, `trace` and, once it is cancelled, `reason`. No more than
/// `spec.concurrency` run at the same time, and never two of one key.
///
/// Awaiting the task tells when the controller has ended; dropping it changes nothing.
#[track_caller]
pub fn run<K, E, F, Fut>(ctx: &Ctx, spec: Spec, queue: Queue<K>, reconcile: F) -> Task<()>
where
    K: Key + Display + Sync,
    E: ReconcileError,
    F: Fn(Ctx, K) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Action, E>> + Send + 'static,
{
    let concurrency = spec.concurrency;
    run_within(ctx, spec, queue, move || concurrency, reconcile)
}

/// [`run`] with a concurrency that moves: `places` is asked before each key is taken, in place of `spec.concurrency`.
/// More places are noticed when a reconcile ends.
#[track_caller]
pub fn run_within<K, E, F, Fut, P>(ctx: &Ctx, spec: Spec, queue: Queue<K>, places: P, reconcile: F) -> Task<()>
where
    K: Key + Display + Sync,
    E: ReconcileError,
    F: Fn(Ctx, K) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Action, E>> + Send + 'static,
    P: Fn() -> usize + Send + Sync + 'static,
{
    spec.metrics.watch_queue(&queue);
    ctx.spawn_named(&CONTROLLER, spec.name, move |ctx| async move {
        let mut dispatcher =
            Dispatcher { ctx, spec, queue, places: Box::new(places), reconcile, complaints: HashMap::new() };
        let stop = dispatcher.run().await;
        tracing::debug!(controller = dispatcher.spec.name, %stop, "controller ended");
    })
}

struct Dispatcher<K: Key, F> {
    ctx: Ctx,
    spec: Spec,
    queue: Queue<K>,
    places: Box<dyn Fn() -> usize + Send + Sync>,
    reconcile: F,
    /// What was last said of each key that fails.
    complaints: HashMap<K, String>,
}

/// A reconcile that has ended.
struct Ended<K: Key, E> {
    key: K,
    span: Span,
    took: Duration,
    outcome: Result<(Result<Action, E>, Taken<K>), TaskError>,
}

impl<K, E, F, Fut> Dispatcher<K, F>
where
    K: Key + Display + Sync,
    E: ReconcileError,
    F: Fn(Ctx, K) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Action, E>> + Send + 'static,
{
    async fn run(&mut self) -> Stop {
        let queue = self.queue.clone();
        let ctx = self.ctx.clone();
        let mut running = FuturesUnordered::new();
        loop {
            let concurrency = (self.places)().max(1);
            tokio::select! {
                // Ended ones first: they free places and may want their key back.
                biased;
                Some(ended) = running.next(), if !running.is_empty() => self.settle(ended),
                taken = queue.next(&ctx), if running.len() < concurrency => match taken {
                    Ok(taken) => running.push(self.start(taken)),
                    Err(stop) => return stop,
                },
            }
        }
    }

    /// Spawns one reconcile.
    fn start(&self, taken: Taken<K>) -> impl Future<Output = Ended<K, E>> + Send + use<K, E, F, Fut> {
        let key = K::clone(&taken);
        self.spec.metrics.queue_waited(self.queue.name(), taken.waited());
        let started = Instant::now();
        let mut span = Span::none();
        let task = self
            .ctx
            .derive(&RECONCILE)
            .named(&key)
            .timeout(self.spec.timeout)
            .new_trace()
            .value(taken.priority())
            .spawn(|ctx| {
                span = work::span(self.spec.name, &key, &ctx);
                let work = (self.reconcile)(ctx.clone(), key.clone());
                // The key goes with the work: the queue gets it back when that has ended, however it ends, and not before.
                let work = async move { (work.await, taken) };
                Work::new(ctx, self.ctx.clone(), self.spec.clone(), span.clone(), work)
            });
        async move {
            let outcome = task.await;
            Ended { key, span, took: started.elapsed(), outcome }
        }
    }

    /// Gives the key back with a verdict, counts, and says what is worth saying.
    fn settle(&mut self, ended: Ended<K, E>) {
        let Ended { key, span, took, outcome } = ended;
        let _entered = span.enter();
        let result = match outcome {
            Ok((Ok(action), taken)) => {
                self.complaints.remove(&key);
                match action {
                    Action::Done => {
                        taken.done();
                        "success"
                    }
                    Action::After(delay) => {
                        taken.done_for(delay);
                        "requeue_after"
                    }
                }
            }
            Ok((Err(error), taken)) => self.settle_error(&key, taken, &error),
            // Below, the key has gone back to the queue with the dropped work.
            Err(TaskError::Stopped(_)) if self.ctx.is_cancelled() => return, // the work has said and counted it
            Err(TaskError::Stopped(stop)) => {
                let timeout = self.spec.timeout;
                self.complain(&key, "deadline", &format_args!("not done within {timeout:?} ({stop})"));
                "deadline"
            }
            Err(TaskError::Panicked { message, .. }) => {
                self.complain(&key, "panic", &format_args!("panicked: {message}"));
                "panic"
            }
        };
        self.spec.metrics.reconciled(self.spec.name, result, took);
    }

    fn settle_error(&mut self, key: &K, taken: Taken<K>, error: &E) -> &'static str {
        match error.class() {
            // Whatever it ran into on its way out.
            _ if self.ctx.is_cancelled() => {
                taken.put_back();
                tracing::debug!(%error, "reconcile cancelled");
                "cancelled"
            }
            Class::Stopped => {
                taken.retry_after(UNAVAILABLE);
                tracing::debug!(%error, "what it called was cancelled, tried again soon");
                "cancelled"
            }
            Class::Superseded => {
                let delay = taken.contended();
                tracing::debug!(?delay, %error, "superseded, decided again after");
                "superseded"
            }
            Class::Unavailable => {
                taken.retry_after(UNAVAILABLE);
                tracing::debug!(%error, "unavailable, tried again soon");
                "unavailable"
            }
            Class::Later(asked) => {
                let (shortest, longest) = LATER;
                taken.retry_after(asked.clamp(shortest, longest));
                tracing::debug!(?asked, %error, "refused for now, tried again later");
                "unavailable"
            }
            Class::Transient => {
                let delay = taken.failed();
                tracing::trace!(?delay, "tried again after");
                self.complain(key, error.category(), error);
                "error"
            }
            Class::Invalid => {
                taken.set_aside();
                self.complain(key, error.category(), error);
                "invalid"
            }
            Class::NotOurs => {
                taken.retry_after(NOT_OURS);
                self.complain(key, error.category(), error);
                "not_ours"
            }
        }
    }

    /// Logs an error as a warning the first time and at debug while it stays the same.
    fn complain(&mut self, key: &K, category: &'static str, error: &dyn Display) {
        self.spec.metrics.reconcile_failed(self.spec.name, category);
        let text = error.to_string();
        if self.complaints.get(key) == Some(&text) {
            tracing::debug!(category, error = %text, "reconcile failed as before");
        } else {
            tracing::warn!(category, error = %text, "reconcile failed");
            self.complaints.insert(key.clone(), text);
        }
    }
}
