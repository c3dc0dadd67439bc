//! Tasks: work beside the caller's, owned by the tree.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::sync::oneshot;

use crate::counts::Ledger;
use crate::node::Role;
use crate::reason::{Kind, Label, Reason, ReasonKind, Stop, TraceId};
use crate::run::Run;
use crate::{Ctx, Derive, Scope};

/// A task that runs in the tree. Awaiting it gives its result; dropping it changes nothing: the task
/// belongs to the context it was spawned in and ends with it at the latest.
#[must_use = "a dropped Task goes on; its result and its panic go unseen. Say so with `detach`"]
pub struct Task<T> {
    result: oneshot::Receiver<Result<T, TaskError>>,
    label: Label,
    trace: TraceId,
}

impl<T> Task<T> {
    /// Says that nobody needs the result. The task still ends with its context.
    pub fn detach(self) {}

    /// Kind and name of the task's context.
    pub fn label(&self) -> &Label {
        &self.label
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(cx).map(|received| {
            received.unwrap_or_else(|_| {
                let reason = Reason::new(ReasonKind::OwnerDropped, "the runtime was dropped");
                Err(TaskError::Stopped(reason.stamped(&self.label, self.trace).into()))
            })
        })
    }
}

/// Why a task has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TaskError {
    /// Its context ended first.
    #[error(transparent)]
    Stopped(#[from] Stop),
    /// It panicked. Nobody else was harmed.
    #[error("{task} panicked: {message}")]
    Panicked {
        /// The task.
        task: Label,
        /// What it said.
        message: String,
    },
}

/// The text of a panic.
fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no text)".to_owned())
}

pin_project! {
    /// What a task does: work in a child context that ends with it, its panics caught, those of its
    /// polls and of its destructors alike. Written out, because an `async fn` keeps a copy of what it
    /// is given beside what it awaits, and tasks are what there is most of.
    pub(crate) struct Body<F> {
        #[pin]
        run: Option<Run<F>>,
        scope: Option<Scope>,
    }
}

impl<F: Future> Body<F> {
    /// Calls what makes the future: a panic there is one of the task's as well.
    fn start(scope: Scope, work: impl FnOnce(Ctx) -> F) -> Result<Self, TaskError> {
        scope.ctx().check()?;
        match catch_unwind(AssertUnwindSafe(|| work(scope.ctx().clone()))) {
            Ok(future) => Ok(Self { run: Some(scope.ctx().run(future)), scope: Some(scope) }),
            Err(panic) => Err(panicked(&scope, message(&*panic))),
        }
    }
}

impl<F: Future> Future for Body<F> {
    type Output = Result<F::Output, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(run) = this.run.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        // A future that panicked is dropped and never polled again: nobody sees it broken.
        let polled = match catch_unwind(AssertUnwindSafe(|| run.poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => Ok(result),
            Err(panic) => Err(panic),
        };
        let dropped = catch_unwind(AssertUnwindSafe(|| this.run.set(None)));
        let result = match (polled, dropped) {
            (Ok(result), Ok(())) => result.map_err(TaskError::Stopped),
            (Err(panic), _) | (_, Err(panic)) => match &*this.scope {
                Some(scope) => Err(panicked(scope, message(&*panic))),
                None => return Poll::Pending, // not reached: it goes with the run
            },
        };
        *this.scope = None; // first gone, then known to be gone
        Poll::Ready(result)
    }
}

pin_project! {
    /// A task in its runtime.
    struct Spawned<F: Future> {
        #[pin]
        body: Body<F>,
        answer: Option<oneshot::Sender<Result<F::Output, TaskError>>>,
    }
}

impl<F: Future> Future for Spawned<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        this.body.poll(cx).map(|result| {
            if let Some(sender) = this.answer.take() {
                answer(sender, result);
            }
        })
    }
}

impl Ctx {
    /// Spawns a task in a child context of its own.
    ///
    /// The task gets the child's `Ctx`; it ends when it is done, when this context ends (its future
    /// is dropped at the next await), or by a panic, which is caught and becomes
    /// [`TaskError::Panicked`]. When it ends, what it spawned itself is cancelled: a task that wants
    /// its children's work awaits them.
    ///
    /// In a context that has ended, nothing starts and the result is the [`Stop`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[track_caller]
    pub fn spawn<F>(&self, kind: &Kind, work: impl FnOnce(Ctx) -> F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.derive(kind).spawn(work)
    }

    /// [`Ctx::spawn`] with a name within the kind.
    #[track_caller]
    pub fn spawn_named<F>(
        &self,
        kind: &Kind,
        name: impl std::fmt::Display,
        work: impl FnOnce(Ctx) -> F,
    ) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.derive(kind).named(name).spawn(work)
    }

    /// Runs something that blocks the thread, on tokio's threads for that.
    ///
    /// It is in the tree and is waited for, but only it can end itself: long work asks
    /// [`Ctx::check`] now and then, and a tree shows it as `blocking`. If this context ends before a
    /// thread was free, the work does not start.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[track_caller]
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        kind: &Kind,
        work: impl FnOnce(&Ctx) -> T + Send + 'static,
    ) -> Task<T> {
        let scope = self.derive(kind).role(Role::Blocking).scope();
        let (sender, task) = channel(&scope);
        if let Err(stop) = scope.ctx().check() {
            answer(sender, Err(stop.into()));
            return task;
        }
        #[expect(clippy::disallowed_methods, reason = "this is the place that puts it in the tree")]
        let handle = tokio::task::spawn_blocking(move || {
            let result = match scope.ctx().check() {
                Err(stop) => Err(stop.into()),
                Ok(()) => catch_unwind(AssertUnwindSafe(|| work(scope.ctx())))
                    .map_err(|panic| panicked(&scope, message(&*panic))),
            };
            drop(scope); // first gone, then known to be gone
            answer(sender, result);
        });
        drop(handle);
        task
    }
}

impl Derive<'_> {
    /// Makes the child and spawns a task that owns it: [`Ctx::spawn`] with everything that can be
    /// said about a child.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn<F>(self, work: impl FnOnce(Ctx) -> F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn_in(self.role(Role::Task).scope(), work)
    }
}

fn channel<T>(scope: &Scope) -> (oneshot::Sender<Result<T, TaskError>>, Task<T>) {
    let (sender, result) = oneshot::channel();
    let ctx = scope.ctx();
    (sender, Task { result, label: ctx.label().clone(), trace: ctx.trace_id() })
}

fn answer<T>(sender: oneshot::Sender<Result<T, TaskError>>, result: Result<T, TaskError>) {
    // The receiver is gone when nobody needs the result; the tree has the task all the same.
    drop(sender.send(result));
}

/// Records the panic of a task where its parent's line of a tree and the totals show it.
fn panicked(scope: &Scope, message: String) -> TaskError {
    let (ctx, node) = (scope.ctx(), scope.ctx().node());
    node.parent().unwrap_or(node).panicked(format!("{}: {message}", ctx.label()));
    if let Some(ledger) = ctx.get::<Ledger>() {
        ledger.panicked(ctx.label().kind());
    }
    TaskError::Panicked { task: ctx.label().clone(), message }
}

pub(crate) fn spawn_in<F>(scope: Scope, work: impl FnOnce(Ctx) -> F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (sender, task) = channel(&scope);
    match Body::start(scope, work) {
        Ok(body) => {
            #[expect(clippy::disallowed_methods, reason = "this is the place that puts it in the tree")]
            let handle = tokio::spawn(Spawned { body, answer: Some(sender) });
            drop(handle);
        }
        Err(error) => answer(sender, Err(error)),
    }
    task
}

/// What a task does, inside the caller's future.
pub(crate) async fn in_place<F: Future>(scope: Scope, work: impl FnOnce(Ctx) -> F) -> Result<F::Output, TaskError> {
    Body::start(scope, work)?.await
}
