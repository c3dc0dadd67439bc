//! A context tree: work has an owner, ends when its owner says so, and its end can be awaited.
//!
//! ```text
//! Scope ──owns──► context ◄──observes── Ctx (clones)
//!                  │  reason, deadline, trace, value: inherited downwards
//!                  ├── child context (its own Scope)
//!                  ├── Task            spawned: in parallel, its own child context
//!                  └── Run, Bound      in place: a future or stream of the caller
//! ```
//!
//! A [`Scope`] owns a context and is the only one that can cancel it; dropping it cancels. Work gets
//! a [`Ctx`]: it derives children ([`Ctx::child`]), runs futures ([`Ctx::run`]), waits
//! ([`Ctx::sleep`]) and spawns ([`Ctx::spawn`]) through it. Go's contexts tell work that it should
//! end and hope; here ending is something that is *done to* a future: it is dropped at its next
//! await, by code that need not know of contexts.
//!
//! # Flow of a cancel
//!
//! 1. [`Scope::cancel`], a deadline or the drop of the scope sets the reason. The first one wins.
//! 2. Every context below is marked with the same reason. Only then are wakers called.
//! 3. Each woken [`Run`] drops its future, gives up its hold, and returns [`Stop`].
//! 4. A context whose scope is gone and that holds nothing any more leaves its parent's list.
//! 5. [`Scope::join`] and [`Scope::stop`] return when the list is empty: nothing is left, neither
//!    the futures nor what their destructors had to do.
//!
//! # Guarantees
//!
//! * Cancelled is for good. Every descendant reports the reason given to its nearest cancelled
//!   ancestor, with the place it was given at ([`Reason::origin`]) and the trace.
//! * A child of a cancelled context is born cancelled, and nothing is added to an ended one.
//! * `deadline = min(parent's, own)`. In a context whose deadline is past no future is polled.
//! * When [`Ctx::run`] returns a [`Stop`], the future has been dropped.
//! * A panic of a task ends that task ([`TaskError::Panicked`]) and nobody else.
//! * No lock is held while a waker, a value or a future of a user runs or is dropped, and no
//!   operation recurses: a tree may be a million contexts deep or wide.
//!
//! # Caveats
//!
//! * A future that never yields cannot be dropped; loops that compute ask [`Ctx::check`].
//! * A request dropped in flight may have been carried out. Its outcome is unknown.
//! * Cleaning up that has to await belongs into [`Ctx::shield`]: destructors cannot.
//! * A deadline is noticed by whoever waits in or asks the context; if nobody does, nothing happens
//!   at that moment, and nothing needs to.
//! * `std::mem::forget` of a scope keeps its context in the tree until the parent is dropped.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use pando_context::{Kind, Reason, ReasonKind, Scope, TaskError};
//!
//! const CLUSTER: Kind = Kind::new("cluster");
//! const PROBE: Kind = Kind::new("probe");
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let root = Scope::root("pando");
//! let cluster = root.ctx().child_named(&CLUSTER, "bj-prod");
//!
//! // A loop without an exit of its own. It ends with the cluster.
//! let probe = cluster.ctx().spawn(&PROBE, |ctx| async move {
//!     loop {
//!         ctx.sleep(Duration::from_secs(10)).await?;
//!         // ask the cluster how it is
//!     }
//!     #[allow(unreachable_code)]
//!     Ok::<(), pando_context::Stop>(())
//! });
//!
//! // Nothing of the cluster is left when this returns; if it cannot, the error says what is.
//! cluster.stop(Reason::detached("asked for by alice"), Duration::from_secs(5)).await.unwrap();
//!
//! let Err(TaskError::Stopped(stop)) = probe.await else { panic!() };
//! assert_eq!(stop.reason().kind(), ReasonKind::Detached);
//! assert_eq!(stop.to_string(), "stopped: detached at cluster/bj-prod: asked for by alice");
//! # });
//! ```

mod ctx;
mod dump;
mod node;
mod reason;
mod run;
mod scope;
mod task;
#[doc(hidden)]
pub mod testing;

pub use ctx::{Call, Ctx, Derive};
pub use dump::{Tree, TreeNode};
pub use reason::{Kind, Label, Reason, ReasonKind, Stop, TraceId};
pub use run::{Bound, Cancelled, Join, Run};
pub use scope::{Scope, StillRunning, Stopped};
pub use task::{Task, TaskError};
pub use tokio::time::Instant;

/// Makes an `async fn` a test with a tokio runtime and a root context of its own, and fails it if
/// it leaves anything behind: the message is the tree of what is left.
///
/// The function takes nothing, `ctx: Ctx` or `root: &Scope`. The runtime has one thread, so that a
/// test is as deterministic as it can be; tests run beside each other, each with its own root.
///
/// * `#[pando_context::test]`: real time.
/// * `#[pando_context::test(paused)]`: time stands still while something runs, and jumps to the
///   next timer when nothing does. An hour of back-off takes no time.
/// * `foreign_tasks`, in addition: tasks that were spawned past the tree may be left, for libraries
///   that spawn their own.
///
/// ```
/// use pando_context::{Ctx, Kind};
///
/// #[pando_context::test(paused)]
/// async fn an_answer_arrives(ctx: Ctx) {
///     let task = ctx.spawn(&Kind::new("question"), |_| async { 42 });
///     assert_eq!(task.await.unwrap(), 42);
/// }
/// ```
pub use pando_context_macros::test;
