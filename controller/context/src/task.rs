//! Tasks: work beside the caller's, owned by the tree.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::sync::oneshot;

use crate::reason::{Kind, Label, Reason, ReasonKind, Stop, TraceId};
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
    /// Catches the panics of a future, of its polls and of its destructor alike.
    struct Caught<F> {
        #[pin]
        future: Option<F>,
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, String>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        // A future that panicked is dropped and never polled again: nobody sees it broken.
        let polled = catch_unwind(AssertUnwindSafe(|| future.poll(cx)));
        if matches!(polled, Ok(Poll::Pending)) {
            return Poll::Pending;
        }
        let dropped = catch_unwind(AssertUnwindSafe(|| this.future.set(None)));
        Poll::Ready(match (polled, dropped) {
            (Ok(Poll::Ready(output)), Ok(())) => Ok(output),
            (Ok(Poll::Pending), _) => return Poll::Pending,
            (Err(panic), _) | (_, Err(panic)) => Err(message(&*panic)),
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
        spawn_in(self.child(kind), work)
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
        spawn_in(self.child_named(kind, name), work)
    }

    /// Runs something that blocks the thread, on tokio's threads for that.
    ///
    /// It is in the tree and is waited for, but only it can end itself: long work asks
    /// [`Ctx::check`] now and then.
    #[track_caller]
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        kind: &Kind,
        work: impl FnOnce(&Ctx) -> T + Send + 'static,
    ) -> Task<T> {
        let scope = self.child(kind);
        let (sender, task) = channel(&scope);
        if let Err(stop) = scope.ctx().check() {
            answer(sender, Err(stop.into()));
            return task;
        }
        #[expect(clippy::disallowed_methods, reason = "this is the place that puts it in the tree")]
        let handle = tokio::task::spawn_blocking(move || {
            let result = catch_unwind(AssertUnwindSafe(|| work(scope.ctx())));
            let result = result
                .map_err(|panic| TaskError::Panicked { task: scope.ctx().label().clone(), message: message(&*panic) });
            drop(scope);
            answer(sender, result);
        });
        drop(handle);
        task
    }

    /// Starts work that cancels and deadlines from above do not reach, and that has `grace` in
    /// place of them: for what must be finished or undone in any case.
    ///
    /// It is a task of its own, so it also survives the future that started it, and it starts even
    /// if this context is cancelled already. It stays in the tree: [`Scope::join`] waits for it.
    #[track_caller]
    pub fn shield<F>(&self, kind: &Kind, grace: Duration, work: impl FnOnce(Ctx) -> F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn_in(self.derive(kind).timeout(grace).shielded().scope(), work)
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
        spawn_in(self.scope(), work)
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

fn spawn_in<F>(scope: Scope, work: impl FnOnce(Ctx) -> F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (sender, task) = channel(&scope);
    if let Err(stop) = scope.ctx().check() {
        answer(sender, Err(stop.into()));
        return task;
    }
    let run = scope.ctx().run(work(scope.ctx().clone()));
    #[expect(clippy::disallowed_methods, reason = "this is the place that puts it in the tree")]
    let handle = tokio::spawn(async move {
        let result = match (Caught { future: Some(run) }).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(stop)) => Err(TaskError::Stopped(stop)),
            Err(message) => Err(TaskError::Panicked { task: scope.ctx().label().clone(), message }),
        };
        drop(scope); // first gone, then known to be gone
        answer(sender, result);
    });
    drop(handle);
    task
}
