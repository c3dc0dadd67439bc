//! The one owner of a context: it cancels and it waits.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::panic::Location;
use std::time::Duration;

use crate::counts::Ledger;
use crate::dump::{Activity, Tree, TreeNode};
use crate::node::{Handle, Node, Value};
use crate::reason::{Kind, Label, Reason, ReasonKind, TraceId};
use crate::run::Join;
use crate::{Ctx, Instant};

/// How long [`Scope::stop`] waits for what it has aborted.
const LAST: Duration = Duration::from_millis(250);

/// How long work that has ended may keep something before [`Scope::join_work`] looks whether it ever lets go.
const KEPT: Duration = Duration::from_secs(5);

/// The owner of a context. Only it can cancel, and there is only one; dropping it cancels.
#[must_use = "dropping a Scope cancels everything under it"]
pub struct Scope {
    ctx: Ctx,
}

impl Scope {
    pub(crate) fn new(node: Handle) -> Self {
        Self { ctx: Ctx::new(node) }
    }

    /// The root of a tree: one per process, one per test. Its trace, from which all others are
    /// derived, is random.
    #[track_caller]
    pub fn root(name: &'static str) -> Self {
        // The standard library's only source of randomness; traces need no better one.
        let high = RandomState::new().build_hasher().finish();
        let low = RandomState::new().build_hasher().finish();
        Self::root_with_trace(name, TraceId::from_u128((u128::from(high) << 64) | u128::from(low)))
    }

    /// A root whose traces can be repeated: equal seeds and equal steps give equal traces.
    #[track_caller]
    pub fn root_with_trace(name: &'static str, trace: TraceId) -> Self {
        let ledger = Value::new(Ledger::default());
        Self::new(Node::root(Label::new(Kind::new(name), None), trace, Some(ledger), Location::caller()))
    }

    /// The context, to derive from and to hand out.
    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// Cancels this context and everything below it, for good. The first reason wins: returns
    /// whether it was this one.
    ///
    /// When it returns, every context it reached says so; the work in it is dropped by whoever
    /// polls it. [`Scope::join`] tells when that is done.
    pub fn cancel(&self, reason: impl Into<Reason>) -> bool {
        self.ctx.node().cancel(reason.into())
    }

    /// Waits until nothing is left in this context: no child, no task, no running future; their
    /// destructors have returned. Does not cancel.
    ///
    /// # Errors
    ///
    /// [`JoinInside`], at once, when it is awaited by something that runs in this context or below:
    /// it would wait for itself.
    pub fn join(&self) -> Join<'_> {
        Join::new(self)
    }

    /// Cancels and waits until nothing is left: for at most `grace`, during which what is shielded
    /// goes on. Then that is aborted, too, and gets a last quarter of a second to be dropped.
    ///
    /// So this returns after `grace` and a quarter of a second at the latest. `Ok` means that nothing
    /// is left, and says what was aborted for it.
    ///
    /// # Errors
    ///
    /// [`StillRunning`] with the tree of what has not ended, and with the scope, to go on waiting.
    /// Only what never yields to its runtime gets there: a thread that blocks
    /// ([`Ctx::spawn_blocking`]), a loop without an await, a destructor that takes its time, a scope
    /// or a [`crate::Run`] that somebody keeps and does not poll; or what called this from inside.
    pub async fn stop(self, reason: impl Into<Reason>, grace: Duration) -> Result<Stopped, StillRunning> {
        let started = Instant::now();
        self.cancel(reason);
        let mut end = self.joined_within(grace).await;
        let mut aborted = Vec::new();
        if matches!(end, End::Late) {
            let node = self.ctx.node();
            let kind = node.marked().map_or(ReasonKind::OwnerDropped, |reason| reason.kind());
            aborted = node.abort(Reason::new(kind, format!("aborted after its grace of {grace:?}")));
            // Also when there was nothing to abort: what met its own deadline in this very moment is still to be dropped.
            end = self.joined_within(LAST).await;
        }
        self.finish(end, started, grace, aborted)
    }

    /// [`Scope::stop`] that aborts nothing.
    pub(crate) async fn cancel_and_join(self, reason: Reason, grace: Duration) -> Result<Stopped, StillRunning> {
        let started = Instant::now();
        self.cancel(reason);
        let end = self.joined_within(grace).await;
        self.finish(end, started, grace, Vec::new())
    }

    /// Waits as [`Scope::join`] does, but not for futures and scopes that nobody works on any more: those in the results
    /// of work that has ended, which their owner cannot drop before this returns.
    pub(crate) async fn join_work(&self) {
        while let End::Late = self.joined_within(KEPT).await {
            let tree = self.ctx.dump();
            let works = |node: &TreeNode| match node.activity {
                Activity::Running | Activity::Blocking | Activity::OnCancel => true,
                // A task keeps its scope until it has ended.
                Activity::Idle | Activity::Waiting => node.owned && node.tasks > 0,
            };
            if !tree.nodes().iter().skip(1).any(works) {
                return;
            }
        }
    }

    async fn joined_within(&self, time: Duration) -> End {
        #[expect(clippy::disallowed_methods, reason = "waits for the tree from outside of it")]
        match tokio::time::timeout(time, self.join()).await {
            Ok(Ok(())) => End::Empty,
            Ok(Err(inside)) => End::Inside(inside),
            Err(_) => End::Late,
        }
    }

    fn finish(self, end: End, started: Instant, grace: Duration, aborted: Vec<Label>) -> Result<Stopped, StillRunning> {
        let after = started.elapsed();
        if let Some(ledger) = self.ctx.get::<Ledger>() {
            ledger.joined(self.ctx.label().kind(), after);
        }
        match end {
            End::Empty => Ok(Stopped { after, aborted }),
            End::Late => Err(StillRunning::new(self, grace, None)),
            End::Inside(inside) => Err(StillRunning::new(self, grace, Some(inside))),
        }
    }
}

/// What became of waiting for a scope.
enum End {
    Empty,
    Late,
    Inside(JoinInside),
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({})", self.ctx.label())
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.ctx.node().end();
    }
}

/// Everything in a scope has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// How long that took.
    pub after: Duration,
    /// Clean-up that was cut off because the grace was over: the first hundred by name. Mostly empty.
    pub aborted: Vec<Label>,
}

/// A scope is awaited by what runs inside of it, which would be a wait for itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{scope} cannot be awaited from inside itself, by {by}: await it from above")]
pub struct JoinInside {
    /// The scope that was to be awaited.
    pub scope: Label,
    /// The context that wanted to.
    pub by: Label,
}

/// What did not end within the grace of [`Scope::stop`]. Prints as one line and the tree.
pub struct StillRunning {
    tree: Box<Tree>,
    grace: Duration,
    inside: Option<JoinInside>,
    scope: Scope,
}

impl StillRunning {
    fn new(scope: Scope, grace: Duration, inside: Option<JoinInside>) -> Self {
        Self { tree: Box::new(scope.ctx.dump()), grace, inside, scope }
    }

    /// What is left.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The scope, cancelled, to wait for again. Dropping it gives up waiting, not the cancel.
    pub fn into_scope(self) -> Scope {
        self.scope
    }
}

impl fmt::Display for StillRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inside {
            Some(inside) => writeln!(f, "{inside}:")?,
            None => writeln!(f, "{} still runs {:?} after it was cancelled:", self.scope.ctx.label(), self.grace)?,
        }
        write!(f, "{}", self.tree)
    }
}

impl fmt::Debug for StillRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for StillRunning {}
