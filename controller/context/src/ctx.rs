//! The handle that work gets: it observes, derives and runs, and cannot cancel.

mod link;

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::dump::{Filter, Tree};
use crate::node::{Birth, Handle, Role, Value};
use crate::reason::{Kind, Label, Reason, ReasonKind, Stop, TraceId};
use crate::run::{self, Run};
use crate::{Instant, Scope};

/// A place in the tree, as seen by the work that runs there.
///
/// Cheap to clone (one reference count) and passed as an argument. A `Ctx` can derive children and
/// run work, but not cancel: that is its [`Scope`]'s alone. Holding a `Ctx` keeps nothing alive.
#[derive(Clone)]
pub struct Ctx {
    node: Handle,
}

impl Ctx {
    pub(crate) fn new(node: Handle) -> Self {
        Self { node }
    }

    pub(crate) fn node(&self) -> &Handle {
        &self.node
    }

    /// The context of the innermost [`Ctx::run`] or task that is being polled on this thread.
    ///
    /// For code that is called through a library which cannot pass a context on, such as a layer of
    /// an HTTP client. Everything else takes a `Ctx` as an argument.
    pub fn current() -> Option<Self> {
        run::current().map(Self::new)
    }

    /// A placeholder for code that does not get a context yet. Nothing ever cancels it.
    #[deprecated = "a placeholder: take a Ctx as an argument"]
    pub fn todo() -> Self {
        static ROOT: OnceLock<Scope> = OnceLock::new();
        ROOT.get_or_init(|| Scope::root("todo")).ctx().clone()
    }

    /// Starts the description of a child; [`Derive::scope`] makes it.
    #[track_caller]
    pub fn derive(&self, kind: &Kind) -> Derive<'_> {
        Derive {
            parent: self,
            kind: *kind,
            name: None,
            deadline: None,
            trace: None,
            now: None,
            value: None,
            shielded: false,
            role: Role::Context,
            place: Location::caller(),
        }
    }

    /// A child: cancelled with this context, or on its own by its scope.
    #[track_caller]
    pub fn child(&self, kind: &Kind) -> Scope {
        self.derive(kind).scope()
    }

    /// A child with a name, for one of several of its kind: `cluster/bj-prod`.
    #[track_caller]
    pub fn child_named(&self, kind: &Kind, name: impl fmt::Display) -> Scope {
        self.derive(kind).named(name).scope()
    }

    /// A child that ends at a moment at the latest. The earlier of this and the context's own
    /// deadline counts; if that is past, the child is born cancelled.
    #[track_caller]
    pub fn with_deadline(&self, kind: &Kind, at: Instant) -> Scope {
        self.derive(kind).deadline(at).scope()
    }

    /// A child that ends after a time at the latest. See [`Ctx::with_deadline`].
    #[track_caller]
    pub fn with_timeout(&self, kind: &Kind, timeout: Duration) -> Scope {
        self.derive(kind).timeout(timeout).scope()
    }

    /// A child in which [`Ctx::get`] finds this value.
    #[track_caller]
    pub fn with_value<T: Send + Sync + 'static>(&self, kind: &Kind, value: T) -> Scope {
        self.derive(kind).value(value).scope()
    }

    /// The nearest value of a type that this context or one above it was given.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.node.value()
    }

    /// Whether this context has been cancelled or its deadline has passed. Never goes back.
    pub fn is_cancelled(&self) -> bool {
        self.node.is_marked() || (self.node.deadline().is_some() && self.node.reason().is_some())
    }

    /// `Err` once this context is cancelled: for loops that compute for long without awaiting.
    pub fn check(&self) -> Result<(), Stop> {
        self.node.stop().map_or(Ok(()), Err)
    }

    /// Why this context is cancelled: the reason given to the nearest cancelled context, at or
    /// above this one. `None` while it is active.
    pub fn reason(&self) -> Option<Arc<Reason>> {
        self.node.reason()
    }

    /// When this context ends at the latest: the earliest deadline here and above.
    pub fn deadline(&self) -> Option<Instant> {
        self.node.deadline()
    }

    /// The time until the deadline, zero once it has passed; `None` without a deadline.
    pub fn remaining(&self) -> Option<Duration> {
        self.node.deadline().map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// The trace this context belongs to.
    pub fn trace_id(&self) -> TraceId {
        self.node.trace()
    }

    /// Kind and name.
    pub fn label(&self) -> &Label {
        self.node.label()
    }

    /// Waits. Ends early when the context does, and at once, without waiting, when the deadline
    /// would pass first: there is no point in sleeping towards a certain stop.
    pub async fn sleep(&self, time: Duration) -> Result<(), Stop> {
        if let Some(left) = self.remaining()
            && time > left
        {
            self.check()?;
            let text = format!("a wait of {time:?} does not fit into the {left:?} that are left");
            let reason = Reason::new(ReasonKind::Deadline, text);
            return Err(Stop::Deadline(reason.stamped(self.label(), self.trace_id())));
        }
        #[expect(clippy::disallowed_methods, reason = "inside `run`: ends with the context")]
        self.run(tokio::time::sleep(time)).await
    }

    /// A call: a child with a deadline, for one future that runs inside the caller's.
    #[track_caller]
    pub fn call(&self, kind: &Kind, timeout: Duration) -> Call {
        Call { scope: self.with_timeout(kind, timeout) }
    }

    /// Runs a future in a child of this context, for at most `timeout`. If the deadline of this
    /// context has passed already, the future is not polled at all.
    #[track_caller]
    pub fn timeout<F: Future>(
        &self,
        kind: &Kind,
        timeout: Duration,
        future: F,
    ) -> impl Future<Output = Result<F::Output, Stop>> + use<F> {
        self.call(kind, timeout).run(future)
    }

    /// What lives at and below this context right now.
    pub fn dump(&self) -> Tree {
        Tree::of(&self.node)
    }

    /// What lives at and below this context right now and is of interest. Contexts above those that
    /// match are in it, too, so that one sees whose they are.
    pub fn dump_where(&self, filter: &Filter) -> Tree {
        Tree::of(&self.node).select(filter)
    }
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ctx({})", self.label())
    }
}

/// The description of a child context, made by [`Ctx::derive`].
#[must_use = "the child is made by `scope`"]
pub struct Derive<'a> {
    parent: &'a Ctx,
    kind: Kind,
    name: Option<Arc<str>>,
    deadline: Option<Instant>,
    now: Option<Instant>,
    trace: Option<TraceId>,
    value: Option<Value>,
    shielded: bool,
    role: Role,
    place: &'static Location<'static>,
}

impl Derive<'_> {
    /// A name within the kind.
    pub fn named(mut self, name: impl fmt::Display) -> Self {
        self.name = Some(name.to_string().into());
        self
    }

    /// The child ends at this moment at the latest.
    pub fn deadline(mut self, at: Instant) -> Self {
        self.deadline = Some(self.deadline.map_or(at, |own| own.min(at)));
        self
    }

    /// The child ends after this time at the latest. A time beyond what the clock can express is
    /// no deadline.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let now = Instant::now();
        self.now = Some(now);
        match now.checked_add(timeout) {
            Some(at) => self.deadline(at),
            None => self,
        }
    }

    /// The child starts a trace of its own.
    pub fn new_trace(self) -> Self {
        let trace = self.parent.node.next_trace();
        self.trace(trace)
    }

    /// The child belongs to a trace that came from outside.
    pub fn trace(mut self, trace: TraceId) -> Self {
        self.trace = Some(trace);
        self
    }

    /// [`Ctx::get`] finds this value in the child and below.
    pub fn value<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.value = Some(Value::new(value));
        self
    }

    pub(crate) fn shielded(mut self) -> Self {
        self.shielded = true;
        self
    }

    pub(crate) fn place(&self) -> &'static Location<'static> {
        self.place
    }

    pub(crate) fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Says that the child was made elsewhere than where [`Ctx::derive`] was called.
    pub(crate) fn made_at(mut self, place: &'static Location<'static>) -> Self {
        self.place = place;
        self
    }

    /// Makes the child.
    pub fn scope(self) -> Scope {
        Scope::new(self.parent.node.child(Birth {
            label: Label::new(self.kind, self.name),
            deadline: self.deadline,
            now: self.now,
            trace: self.trace,
            shielded: self.shielded,
            role: self.role,
            value: self.value,
            place: self.place,
        }))
    }
}

/// One call inside the caller's future: see [`Ctx::call`].
#[must_use = "a call does nothing until it runs a future"]
pub struct Call {
    scope: Scope,
}

impl Call {
    /// The context of the call, to hand on to what it calls.
    pub fn ctx(&self) -> &Ctx {
        self.scope.ctx()
    }

    /// Runs the future to its end or to that of the call.
    pub async fn run<F: Future>(self, future: F) -> Result<F::Output, Stop> {
        let run: Run<F> = self.scope.ctx().run(future);
        run.await
    }
}
