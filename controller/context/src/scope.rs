//! The one owner of a context: it cancels and it waits.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::dump::Tree;
use crate::node::Node;
use crate::reason::{Kind, Label, Reason, ReasonKind, TraceId};
use crate::run::{self, Join};
use crate::{Ctx, Instant};

/// The owner of a context. Only it can cancel, and there is only one; dropping it cancels.
#[must_use = "dropping a Scope cancels everything under it"]
pub struct Scope {
    ctx: Ctx,
}

impl Scope {
    pub(crate) fn new(node: Arc<Node>) -> Self {
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
        Self::new(Node::root(Label::new(Kind::new(name), None), trace, Location::caller()))
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
    /// Awaited from inside itself it would wait for ever; [`Scope::stop`] refuses to.
    pub fn join(&self) -> Join<'_> {
        Join::new(self)
    }

    /// Cancels and waits until nothing is left, for at most `grace`.
    ///
    /// # Errors
    ///
    /// [`StillRunning`] with the tree of what has not ended, and with the scope, to go on waiting.
    pub async fn stop(self, reason: impl Into<Reason>, grace: Duration) -> Result<Stopped, StillRunning> {
        let started = Instant::now();
        self.cancel(reason);
        let inside = run::current().is_some_and(|node| self.ctx.node().contains(&node));
        if !inside {
            #[expect(clippy::disallowed_methods, reason = "waits for the tree from outside of it")]
            let joined = tokio::time::timeout(grace, self.join()).await;
            if joined.is_ok() {
                return Ok(Stopped { after: started.elapsed() });
            }
        }
        Err(StillRunning { tree: Box::new(self.ctx.dump()), grace, inside, scope: self })
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({})", self.ctx.label())
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let node = self.ctx.node();
        // Where nobody is left to ask for the reason, none is made: most scopes end like that.
        if node.marked().is_none() && (!node.is_empty() || node.is_observed()) {
            node.cancel(Reason::from(ReasonKind::OwnerDropped));
        }
        node.release();
    }
}

/// Everything in a scope has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// How long that took.
    pub after: Duration,
}

/// What did not end within the grace of [`Scope::stop`]. Prints as one line and the tree.
pub struct StillRunning {
    tree: Box<Tree>,
    grace: Duration,
    inside: bool,
    scope: Scope,
}

impl StillRunning {
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
        let label = self.scope.ctx.label();
        if self.inside {
            writeln!(f, "{label} cannot be awaited from inside itself; stop it from above:")?;
        } else {
            writeln!(f, "{label} still runs {:?} after it was cancelled:", self.grace)?;
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
