//! The trees that are compared: one interface, so that they do the same work.

use std::future::{Future, pending, ready};
use std::time::Duration;

use pando_context::{Kind, Reason, Scope};
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The time that a call gets; its answer comes at once.
const CALL_TIME: Duration = Duration::from_secs(30);

const CHILD: Kind = Kind::new("child");
const CALL: Kind = Kind::new("call");
const TASK: Kind = Kind::new("task");

/// The owner of a place in a tree.
pub trait Tree: Send + Sync + Sized + 'static {
    /// What tasks are counted in, where the tree does not do it.
    type Tasks: Default + Send + Sync + 'static;

    /// A new tree.
    fn root() -> Self;

    /// A child.
    fn child(&self) -> Self;

    /// Ends it and everything below.
    fn cancel(&self);

    /// Whether it was ended.
    fn is_cancelled(&self) -> bool;

    /// Spawns a task that waits in a child of its own until it is cancelled, and then calls `seen`.
    fn spawn_waiting(&self, tasks: &Self::Tasks, seen: impl FnOnce() + Send + 'static);

    /// Waits until all tasks are gone.
    fn join(&self, tasks: &Self::Tasks) -> impl Future<Output = ()> + Send;

    /// A call with a deadline and an answer that is there at once.
    fn call(&self) -> impl Future<Output = bool> + Send;

    /// A call with a deadline and an answer at the second poll.
    fn call_pending(&self) -> impl Future<Output = bool> + Send;
}

impl Tree for CancellationToken {
    type Tasks = TaskTracker;

    fn root() -> Self {
        Self::new()
    }

    fn child(&self) -> Self {
        self.child_token()
    }

    fn cancel(&self) {
        self.cancel();
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled()
    }

    fn spawn_waiting(&self, tasks: &TaskTracker, seen: impl FnOnce() + Send + 'static) {
        let token = self.child_token();
        drop(tasks.spawn(async move {
            token.cancelled().await;
            seen();
        }));
    }

    async fn join(&self, tasks: &TaskTracker) {
        tasks.close();
        tasks.wait().await;
    }

    async fn call(&self) -> bool {
        let token = self.child_token();
        tokio::time::timeout(CALL_TIME, token.run_until_cancelled(ready(()))).await == Ok(Some(()))
    }

    async fn call_pending(&self) -> bool {
        let token = self.child_token();
        tokio::time::timeout(CALL_TIME, token.run_until_cancelled(yield_now())).await == Ok(Some(()))
    }
}

impl Tree for Scope {
    type Tasks = ();

    fn root() -> Self {
        Self::root("bench")
    }

    fn child(&self) -> Self {
        self.ctx().child(&CHILD)
    }

    fn cancel(&self) {
        self.cancel(Reason::detached("the cluster leaves"));
    }

    fn is_cancelled(&self) -> bool {
        self.ctx().is_cancelled()
    }

    fn spawn_waiting(&self, (): &(), seen: impl FnOnce() + Send + 'static) {
        let seen = OnDrop(Some(seen));
        let wait = move |_| async move {
            let _seen = seen;
            pending::<()>().await;
        };
        self.ctx().spawn(&TASK, wait).detach();
    }

    async fn join(&self, (): &()) {
        let _joined = self.join().await;
    }

    async fn call(&self) -> bool {
        self.ctx().call(&CALL, CALL_TIME).run(ready(())).await.is_ok()
    }

    async fn call_pending(&self) -> bool {
        self.ctx().call(&CALL, CALL_TIME).run(yield_now()).await.is_ok()
    }
}

/// Calls something when it is dropped: how work of ours notices its end.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(seen) = self.0.take() {
            seen();
        }
    }
}
