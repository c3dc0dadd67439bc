//! A context tree: work has an owner, ends when its owner says so, and its end can be awaited.
//!
//! ```text
//! Scope ──owns──► context ◄──observes── Ctx (clones)
//!                  │  reason, deadline, trace, values: inherited downwards
//!                  ├── child context       its own Scope
//!                  ├── Task                in parallel, a child context of its own
//!                  ├── Run, Bound          in place: a future or stream of the caller
//!                  └── shield, on_cancel   clean-up that a cancel does not reach, bounded
//! ```
//!
//! A [`Scope`] owns a context and is the only one that can cancel it; dropping it cancels. Work gets
//! a [`Ctx`]: it derives children ([`Ctx::child`]), runs futures ([`Ctx::run`]), waits
//! ([`Ctx::sleep`]) and spawns ([`Ctx::spawn`]) through it. Go's contexts tell work that it should
//! end and hope; here ending is something that is *done to* a future: it is dropped at its next
//! await, by code that need not know of contexts.
//!
//! # A first example
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
//!
//! # Which call for what
//!
//! | to | use |
//! | --- | --- |
//! | own a part of the program | [`Scope::root`] once, then [`Ctx::child`], [`Ctx::child_named`], [`Ctx::derive`] |
//! | end it, and know that it has ended | [`Scope::stop`]; [`Scope::cancel`] and [`Scope::join`] one by one |
//! | make any future end with a context | [`Ctx::run`]; with a limit of its own: [`Ctx::timeout`], [`Ctx::call`] |
//! | make a stream end, not fail | [`Ctx::bind`] |
//! | wait | [`Ctx::sleep`]; for somebody's cancel: [`Ctx::cancelled`] |
//! | try again | [`Ctx::retry`] |
//! | work in parallel | [`Ctx::spawn`]; on a thread that may block: [`Ctx::spawn_blocking`] |
//! | do the same for many keys | [`Ctx::fan_out`], [`Ctx::fan_out_local`] |
//! | finish or undo something in any case | [`Ctx::shield`] now, [`Ctx::on_cancel`] when it comes to that |
//! | ask in a loop without awaits | [`Ctx::check`] |
//! | hand values down | [`Ctx::with_value`], [`Ctx::get`] |
//! | see what is going on | [`Ctx::dump`], [`Ctx::dump_where`], [`Ctx::counts`], [`Ctx::totals`], [`Tree::stuck`] |
//! | test that nothing is left | [`macro@test`], [`assert_no_leaks!`] |
//!
//! # Flow of a cancel
//!
//! 1. [`Scope::cancel`], a deadline or the drop of the scope sets the reason. The first one wins.
//! 2. Every context below is marked with the same reason, shields and what is below them excepted.
//!    Only then are wakers called, with no lock held, also if one of them panics.
//! 3. Each woken [`Run`] drops its future, gives up its hold, and returns [`Stop`].
//! 4. What was registered with [`Ctx::on_cancel`] starts.
//! 5. A context whose scope is gone and that holds nothing any more leaves its parent's list.
//! 6. [`Scope::join`] and [`Scope::stop`] return when the list is empty: nothing is left, neither
//!    the futures nor what their destructors had to do.
//!
//! # Guarantees
//!
//! * Cancelled is for good. Every descendant reports the reason given to its nearest cancelled
//!   ancestor, with the place it was given at ([`Reason::origin`]) and the trace.
//! * When [`Scope::cancel`] returns true, every context that it reached says
//!   [`Ctx::is_cancelled`]. If somebody else is cancelling a part of it at that moment, that part
//!   may follow a little later; [`Scope::join`] is the barrier for both.
//! * A child of a cancelled context is born cancelled and in the tree; nothing is added to an ended
//!   one.
//! * `deadline = min(parent's, own)`. In a context whose deadline is past no future is polled.
//! * When [`Ctx::run`] returns a [`Stop`], the future has been dropped.
//! * A panic of a task, in its future or its destructors, ends that task ([`TaskError::Panicked`])
//!   and nobody else. Its parent's line in a [`Tree`] and [`Ctx::totals`] keep it on record.
//! * A wait for a scope from inside of it is an error ([`JoinInside`]), not a deadlock.
//! * What a cancel does not reach has a bound: there is no signature without one.
//! * No lock is held while a waker, a value or a future of a user runs or is dropped, and no
//!   operation recurses: a tree may be a million contexts deep or wide.
//!
//! # Assumptions
//!
//! * Tasks, waits and deadlines need a tokio runtime. Contexts as such do not: they are made,
//!   cancelled and dropped anywhere, in any thread, also in destructors and wakers.
//! * The program spawns and waits through the tree. A bare `tokio::spawn` is in no tree; lints can
//!   forbid it, and [`macro@test`] finds it.
//! * Kinds are constants: a handful of words, not one for each name.
//! * A context is passed as an argument. [`Ctx::current`] is for what is called through a library
//!   that cannot pass it on.
//!
//! # Caveats
//!
//! * A future that never yields cannot be dropped; loops that compute ask [`Ctx::check`]. A thread
//!   that blocks cannot be ended at all, and a tree says so.
//! * A request dropped in flight may have been carried out. Its outcome is unknown.
//! * Cleaning up that has to await belongs into [`Ctx::shield`] or [`Ctx::on_cancel`]: destructors
//!   cannot. Nor should they block: a destructor runs on the thread of whoever polls.
//! * A future dropped between two writes leaves one of them. Make it one, or shield them.
//! * A deadline is noticed by whoever waits in or asks the context; if nobody does, nothing happens
//!   at that moment, and nothing needs to.
//! * What has to end in a runtime must not outlive it: tasks that a runtime drops unpolled end, but
//!   clean-up that was registered does not start any more.
//! * `std::mem::forget` of a scope keeps its context in the tree until the process ends.
//!
//! # Errors
//!
//! * [`Stop`]: the context ended, and why. Not a failure: no error in logs, no back-off. Work with
//!   an error type of its own has a variant for it.
//! * [`TaskError`]: a task was stopped, or it panicked.
//! * [`RetryError`]: every attempt failed, or a stop came between.
//! * [`StillRunning`]: what did not end in time, as a tree. [`JoinInside`]: a wait for oneself.
//!
//! # Cost
//!
//! A context is one allocation of less than 160 bytes and its place in the list of its parent; to
//! create and drop one takes some tens of nanoseconds, and asking whether it is cancelled is one load
//! where there is no deadline. Nothing is counted or registered globally. Cancelling visits
//! what is below once, with a lock for at most 64 children at a time.
//!
//! # Features
//!
//! * `serde`: [`Tree`] serialises.
//! * `intrusive` (on by default): the list of children is threaded through the children. Faster and
//!   smaller, same behaviour, and the only `unsafe` code of the crate; without it there is none.

mod cleanup;
mod counts;
mod ctx;
mod dump;
mod fan_out;
mod node;
mod reason;
mod retry;
mod run;
mod scope;
mod task;
#[doc(hidden)]
pub mod testing;

pub use cleanup::OnCancel;
pub use counts::{Counts, Joins, KindCounts, Totals};
pub use ctx::{Call, Ctx, Derive};
pub use dump::{Activity, Filter, FilterError, More, Row, State, Stuck, Tree, TreeNode};
pub use fan_out::{FanOut, LocalFanOut, Outcomes, Policy, Unmet};
pub use reason::{Kind, Label, Reason, ReasonKind, Stop, TraceId};
pub use retry::{Backoff, RetryError};
pub use run::{Bound, Cancelled, Join, Run};
pub use scope::{JoinInside, Scope, StillRunning, Stopped};
pub use task::{Task, TaskError};
pub use tokio::time::Instant;

/// Panics with the printed tree if anything is left in a [`Scope`]: for the middle of a test, after
/// what should have ended. Takes anything that derefs to a scope reference.
///
/// ```
/// use pando_context::{Kind, Scope, assert_no_leaks};
///
/// let root = Scope::root("pando");
/// let job = root.ctx().child(&Kind::new("job"));
/// drop(job);
/// assert_no_leaks!(root);
/// ```
#[macro_export]
macro_rules! assert_no_leaks {
    ($scope:expr) => {
        $crate::testing::assert_no_leaks(&$scope)
    };
}

/// Makes an `async fn` a test with a tokio runtime and a root context of its own, and fails it if
/// it leaves anything behind: the message is the tree of what is left.
///
/// The function takes nothing, `ctx: Ctx` or `root: &Scope`. The runtime has one thread, so that a
/// test is as deterministic as it can be; tests run beside each other, each with its own root.
///
/// At the end the root is cancelled. Then there must be no context left in it within five seconds,
/// and no task left in the runtime, not even one that was spawned past the tree.
///
/// * `#[pando_context::test]`: real time.
/// * `#[pando_context::test(paused)]`: time stands still while something runs, and jumps to the
///   next timer when nothing does. An hour of back-off takes no time.
/// * `foreign_tasks`, in addition: tasks that were spawned past the tree may be left, for libraries
///   that spawn their own.
/// * `sockets`, in addition: no socket may be left open either (on Linux). Sockets belong to the
///   process, so such a test waits until it has the process to itself; other tests of the same
///   binary that open sockets must use this attribute, too.
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
