//! The same work for many keys, say for many clusters, as one call: with a limit, a policy for when it is over, and a
//! result that says for every key what became of it.
//!
//! ```text
//! caller's context
//! └── fan-out                  cancelled when the policy has decided
//!     ├── part/bj-prod         `fan_out`: a task; `fan_out_local`: a future inside the call
//!     └── part/sg-prod
//! ```
//!
//! To borrow from the caller and to run in parallel cannot be had together: another thread must not hold on to what the
//! caller may drop at any await. Hence two forms with one meaning.

mod outcomes;

use std::fmt::Display;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use self::outcomes::Tally;
pub use self::outcomes::{Outcomes, Unmet};
use crate::reason::Kind;
use crate::task::{self, Task, TaskError};
use crate::{Ctx, Derive, Scope};

const FAN_OUT: Kind = Kind::new("fan-out");
const PART: Kind = Kind::new("part");

/// When a fan-out is over, and what it takes for it to have succeeded.
///
/// Once a policy has decided, no further part starts and those that run are cancelled. A part that ends by itself in that
/// moment still counts as what it is: no failure turns into a cancel, and no result is thrown away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Every part runs to its end, whatever becomes of the others. Met when all are ok.
    #[default]
    All,
    /// As [`Policy::All`], but the first failure or panic cancels the rest ([`crate::ReasonKind::SiblingFailed`]).
    FailFast,
    /// The first success cancels the rest ([`crate::ReasonKind::Requested`]). Met by one: a quorum of 1.
    First,
    /// So many successes cancel the rest ([`crate::ReasonKind::Requested`]). When so many cannot be reached any more, the
    /// rest is of no use and is cancelled as well ([`crate::ReasonKind::SiblingFailed`]). Met by so many; 0 starts nothing.
    Quorum(usize),
}

impl Policy {
    /// The number of successes it takes, of so many parts.
    fn needs(self, parts: usize) -> usize {
        match self {
            Self::All | Self::FailFast => parts,
            Self::First => 1,
            Self::Quorum(needed) => needed,
        }
    }
}

impl Ctx {
    /// Work for many keys in parallel: each part is a task in a child context of its own, `part/<key>`, and at most
    /// `limit` of them run at a time (0 counts as 1).
    ///
    /// ```
    /// use pando_context::Scope;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let root = Scope::root("pando");
    /// let versions = root
    ///     .ctx()
    ///     .fan_out(8)
    ///     .each(["bj-prod", "sg-prod", "fra-prod"], |cluster, _ctx| async move {
    ///         match cluster {
    ///             "sg-prod" => Err("no route to host"),
    ///             _ => Ok("1.33"),
    ///         }
    ///     })
    ///     .run()
    ///     .await;
    ///
    /// assert_eq!(versions.ok, [("bj-prod", "1.33"), ("fra-prod", "1.33")]);
    /// assert_eq!(versions.failed, [("sg-prod", "no route to host")]);
    /// assert_eq!(
    ///     versions.into_result().unwrap_err().to_string(),
    ///     "2 of 3 parts are ok, 3 are needed: sg-prod failed: no route to host"
    /// );
    /// # });
    /// ```
    #[track_caller]
    pub fn fan_out<K, T, E>(&self, limit: usize) -> FanOut<K, T, E> {
        FanOut(Plan::new(self.derive(&FAN_OUT).scope(), limit))
    }

    /// Work for many keys inside the caller's own future, for parts that borrow and mostly wait. Contexts, limit,
    /// policies and result are those of [`Ctx::fan_out`].
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use std::time::Duration;
    /// use pando_context::{Policy, Scope, Stop};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let root = Scope::root("pando");
    /// let mirrors = BTreeMap::from([("near", Duration::ZERO), ("far", Duration::from_secs(60))]);
    /// let mirrors = &mirrors;
    /// let quickest = root
    ///     .ctx()
    ///     .fan_out_local(2)
    ///     .policy(Policy::First)
    ///     .each(mirrors.keys(), move |name, ctx| async move {
    ///         ctx.sleep(mirrors[name]).await?;
    ///         Ok::<_, Stop>(*name)
    ///     })
    ///     .run()
    ///     .await;
    ///
    /// assert_eq!(quickest.ok, [(&"near", "near")]);
    /// assert_eq!(
    ///     quickest.cancelled[0].1.to_string(),
    ///     "stopped: requested at fan-out: 1 of 2 parts are ok, no more are needed"
    /// );
    /// # });
    /// ```
    #[track_caller]
    pub fn fan_out_local<'a, K, T, E>(&self, limit: usize) -> LocalFanOut<'a, K, T, E> {
        LocalFanOut(Plan::new(self.derive(&FAN_OUT).scope(), limit))
    }
}

/// A fan-out whose parts are tasks: they run in parallel and own what they use. Made by [`Ctx::fan_out`].
#[must_use = "a fan-out does nothing until `run`"]
pub struct FanOut<K, T, E>(Plan<K, Remote<T, E>>);

/// A fan-out whose parts are polled inside the call: they take turns on one thread and may borrow from the caller. Made
/// by [`Ctx::fan_out_local`].
#[must_use = "a fan-out does nothing until `run`"]
pub struct LocalFanOut<'a, K, T, E>(Plan<K, Local<'a, T, E>>);

/// Spawns a part as the child that is described.
type Remote<T, E> = Box<dyn FnOnce(Derive<'_>) -> Task<Result<T, E>> + Send>;
/// Makes the future of a part.
type Local<'a, T, E> = Box<dyn FnOnce(Ctx) -> BoxFuture<'a, Result<T, E>> + Send + 'a>;

impl<K, T, E> FanOut<K, T, E> {
    /// When it is over: [`Policy::All`] unless said otherwise.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.0.policy = policy;
        self
    }

    /// Adds a part. Its work gets the part's own context and starts when `run` comes to it, in the order of adding.
    #[track_caller]
    pub fn add<F>(mut self, key: K, work: impl FnOnce(Ctx) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        // The work is called inside the task, where a panic of it is caught.
        self.0.add(key, Box::new(|part| part.spawn(|ctx| async move { work(ctx).await })));
        self
    }

    /// Adds the same work for each key.
    #[track_caller]
    pub fn each<F>(
        mut self,
        keys: impl IntoIterator<Item = K>,
        work: impl Fn(K, Ctx) -> F + Send + Sync + 'static,
    ) -> Self
    where
        K: Clone + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let work = Arc::new(work);
        for key in keys {
            let (work, own) = (Arc::clone(&work), key.clone());
            self = self.add(key, move |ctx| work(own, ctx));
        }
        self
    }

    /// Runs the parts and gives every key back in exactly one list of the result.
    ///
    /// When it returns, the parts are gone, with everything they had spawned and with their destructors: a part that
    /// never yields keeps it waiting, [`Ctx::timeout`] around the call bounds that. Dropped before, it cancels the
    /// parts; they are in the tree of the context it was made from, whose [`Scope::join`] waits for them.
    ///
    /// A part's context ends with the part. What it returns is therefore to be bound to the caller's context, not to the
    /// part's: of that, nothing but a [`crate::Stop`] comes any more, and as long as a result holds on to it (a
    /// [`crate::Bound`], a [`crate::Run`], a [`Scope`]), this waits for five seconds before it gives the results back.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn run(self) -> Outcomes<K, T, E>
    where
        K: Display,
    {
        self.0.run(|part, spawn| spawn(part)).await
    }
}

impl<'a, K, T, E> LocalFanOut<'a, K, T, E> {
    /// When it is over: [`Policy::All`] unless said otherwise.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.0.policy = policy;
        self
    }

    /// Adds a part. Its work gets the part's own context and starts when `run` comes to it, in the order of adding.
    #[track_caller]
    pub fn add<F>(mut self, key: K, work: impl FnOnce(Ctx) -> F + Send + 'a) -> Self
    where
        F: Future<Output = Result<T, E>> + Send + 'a,
    {
        // The work is called by the first poll, where a panic of it is caught.
        self.0.add(key, Box::new(|ctx| Box::pin(async move { work(ctx).await })));
        self
    }

    /// Adds the same work for each key.
    #[track_caller]
    pub fn each<F>(mut self, keys: impl IntoIterator<Item = K>, work: impl Fn(K, Ctx) -> F + Send + Sync + 'a) -> Self
    where
        K: Clone + Send + 'a,
        F: Future<Output = Result<T, E>> + Send + 'a,
    {
        let work = Arc::new(work);
        for key in keys {
            let (work, own) = (Arc::clone(&work), key.clone());
            self = self.add(key, move |ctx| work(own, ctx));
        }
        self
    }

    /// Runs the parts and gives every key back in exactly one list of the result.
    ///
    /// When it returns, the parts are gone, with everything they had spawned and with their destructors. Dropped before,
    /// it drops the parts that run.
    ///
    /// For parts that return what is bound to their contexts, see [`FanOut::run`].
    pub async fn run(self) -> Outcomes<K, T, E>
    where
        K: Display,
    {
        self.0.run(|part, work| task::in_place(part.scope(), work)).await
    }
}

/// What both forms have in common. `W` starts a part.
struct Plan<K, W> {
    scope: Scope,
    limit: usize,
    policy: Policy,
    parts: Vec<(K, W, &'static Location<'static>)>,
}

impl<K, W> Plan<K, W> {
    fn new(scope: Scope, limit: usize) -> Self {
        Self { scope, limit: limit.max(1), policy: Policy::default(), parts: Vec::new() }
    }

    #[track_caller]
    fn add(&mut self, key: K, work: W) {
        self.parts.push((key, work, Location::caller()));
    }

    async fn run<T, E, F>(self, start: impl Fn(Derive<'_>, W) -> F) -> Outcomes<K, T, E>
    where
        K: Display,
        F: Future<Output = Result<Result<T, E>, TaskError>>,
    {
        let Self { scope, limit, policy, parts } = self;
        let mut tally = Tally::new(policy, parts.len());
        let mut waiting = parts.into_iter().enumerate();
        let mut running = FuturesUnordered::new();
        loop {
            if let Some(reason) = tally.verdict() {
                scope.cancel(reason);
            }
            while running.len() < limit
                && let Some((place, (key, work, added))) = waiting.next()
            {
                // After a cancel, ours or one from above, nothing is started: the rest goes straight into its list.
                if let Err(stop) = scope.ctx().check() {
                    tally.add(place, key, Err(stop.into()));
                    continue;
                }
                let part = start(scope.ctx().derive(&PART).named(&key).made_at(added), work);
                running.push(async move { (place, key, part.await) });
            }
            match running.next().await {
                Some((place, key, end)) => tally.add(place, key, end),
                None => break,
            }
        }
        // The parts have ended; what they spawned and did not wait for is cancelled and may still be ending. Nobody but
        // the parts is inside, so it is not awaited from there.
        // Results may hold contexts of parts, which the caller can only drop when it has them.
        scope.join_work().await;
        tally.into_outcomes()
    }
}
