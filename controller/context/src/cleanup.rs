//! Work that a cancel does not reach, always with a bound: for what has to be finished or undone.

use std::future::Future;
use std::time::Duration;

use futures::future::{Either, select};
use tokio::sync::oneshot;

use crate::Ctx;
use crate::node::Role;
use crate::reason::Kind;
use crate::task::{Task, spawn_in};

impl Ctx {
    /// The longest grace that [`Ctx::shield`] and [`Ctx::on_cancel`] give; a longer one counts as this.
    /// Nothing in a tree is out of reach for ever.
    pub const LONGEST_GRACE: Duration = Duration::from_secs(3600);

    /// Starts work that cancels and deadlines from above do not reach, and that has `grace` in
    /// place of them: for what must be finished or undone in any case. It keeps values and trace.
    ///
    /// It is a task of its own, so it also survives the future that started it, and it starts even
    /// if this context is cancelled already. It stays in the tree: [`crate::Scope::join`] waits for
    /// it, and [`crate::Scope::stop`] aborts it when its own grace is over first. A shield inside a
    /// shield ends with the outer one at the latest.
    ///
    /// If this context has ended, the nearest one above that has not adopts the work; in a tree that
    /// has ended as a whole nothing starts and the result is the [`crate::Stop`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use pando_context::{Kind, ReasonKind, Scope};
    ///
    /// const UNDO: Kind = Kind::new("undo");
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let root = Scope::root("pando");
    /// let cluster = root.ctx().child_named(&Kind::new("cluster"), "bj-prod");
    /// let undo = cluster.ctx().shield(&UNDO, Duration::from_secs(5), |ctx| async move {
    ///     ctx.sleep(Duration::from_millis(10)).await
    /// });
    /// cluster.stop(ReasonKind::Detached, Duration::from_secs(10)).await.unwrap();
    /// assert!(undo.await.unwrap().is_ok(), "it was waited for, not cut off");
    /// # });
    /// ```
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[track_caller]
    pub fn shield<F>(&self, kind: &Kind, grace: Duration, work: impl FnOnce(Self) -> F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.derive(kind).timeout(grace.min(Self::LONGEST_GRACE)).shielded().spawn(work)
    }

    /// Registers work for the moment when this context is cancelled, meets its deadline or ends: it
    /// then runs as [`Ctx::shield`] does, for `grace` at most, in a context that is active. If the
    /// context is cancelled already, it starts at once.
    ///
    /// Dropping the [`OnCancel`] before that takes the work back. So it is held by what needs the
    /// undoing: a future that is dropped *because of* the cancel does not take it back.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pando_context::{Kind, ReasonKind, Scope};
    ///
    /// const UNLOCK: Kind = Kind::new("unlock");
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let root = Scope::root("pando");
    /// let job = root.ctx().child(&Kind::new("job"));
    /// let (unlocked, mut told) = tokio::sync::oneshot::channel();
    /// let guard = job.ctx().on_cancel(&UNLOCK, Duration::from_secs(5), |_ctx| async move {
    ///     unlocked.send("unlocked").unwrap();
    /// });
    /// job.stop(ReasonKind::Requested, Duration::from_secs(5)).await.unwrap();
    /// assert_eq!(told.try_recv(), Ok("unlocked"));
    /// assert!(!guard.deregister(), "too late to take it back");
    /// # });
    /// ```
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[track_caller]
    pub fn on_cancel<F>(&self, kind: &Kind, grace: Duration, work: impl FnOnce(Self) -> F + Send + 'static) -> OnCancel
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (taken_back, mut is_taken_back) = oneshot::channel();
        let (ctx, kind) = (self.clone(), *kind);
        // It has no deadline while it waits, so its place in the tree is taken by a shield with one.
        let waiting = self.derive(&kind).shielded().role(Role::OnCancel);
        let place = waiting.place();
        let task = spawn_in(waiting.scope(), move |_| async move {
            match select(&mut is_taken_back, ctx.cancelled()).await {
                Either::Left((Ok(()), _)) => return,
                Either::Left((Err(_), cancelled)) => drop(cancelled.await), // the guard left it to the context
                Either::Right(_) => {}
            }
            // Decided in this place alone: a guard that comes later is told that it is too late.
            is_taken_back.close();
            if is_taken_back.try_recv().is_ok() {
                return;
            }
            let grace = grace.min(Self::LONGEST_GRACE);
            ctx.derive(&kind).made_at(place).timeout(grace).shielded().spawn(work).detach();
        });
        task.detach();
        OnCancel { take_back: Some(taken_back), ctx: self.clone() }
    }
}

/// Registered clean-up: see [`Ctx::on_cancel`]. Dropping it takes the clean-up back, unless the
/// context is cancelled by then.
#[must_use = "dropping it takes the clean-up back; say `keep` to leave it to the context"]
pub struct OnCancel {
    take_back: Option<oneshot::Sender<()>>,
    ctx: Ctx,
}

impl OnCancel {
    /// Takes the clean-up back. Returns whether it was in time: if not, it has run or will.
    pub fn deregister(mut self) -> bool {
        self.take_back.take().is_some_and(|take_back| take_back.send(()).is_ok())
    }

    /// Leaves the clean-up to the context, for as long as that lives.
    pub fn keep(mut self) {
        self.take_back = None;
    }
}

impl Drop for OnCancel {
    fn drop(&mut self) {
        if let Some(take_back) = self.take_back.take()
            && !self.ctx.is_cancelled()
            && take_back.send(()).is_err()
        {
            // It has started meanwhile: then it runs, as it should.
        }
    }
}

impl std::fmt::Debug for OnCancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OnCancel({})", self.ctx.label())
    }
}
