//! One node of the tree: who is below it, who waits for it, whether and why it is cancelled.
//!
//! There are two implementations with the same behaviour. `safe` has no `unsafe` and is the one to
//! read first. `intrusive` (feature of that name) threads the list of children through the children:
//! one allocation for each child, and nothing in the parent that grows. Both pass the same tests and
//! the same models (`models`). The rest of the crate knows only what this module re-exports:
//!
//! * [`Handle`]: shares a node's memory, and keeps nothing from ending. Clones are cheap.
//! * A *hold*, taken by `hold` and given back by `release`, is what keeps a node from having ended:
//!   its owning scope has one, each future that runs there, and whatever lives below.
//! * [`Waiter`]: one future's place in one of the node's two lists of wakers.
//! * [`Children`]: the way through the children, a few at a time.

use std::any::{Any, TypeId};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use crate::Instant;
use crate::reason::{Label, TraceId};

#[cfg(feature = "intrusive")]
#[expect(unsafe_code, reason = "lists through their members; its first comment says why it is sound")]
#[deny(clippy::undocumented_unsafe_blocks)]
mod intrusive;
#[cfg(all(test, feature = "loom"))]
mod models;
mod moment;
#[cfg(not(feature = "intrusive"))]
mod safe;
mod sync;
mod waiter;
mod wakers;

#[cfg(feature = "intrusive")]
pub(crate) use intrusive::{Children, Handle, Node};
pub(crate) use moment::follow_virtual_time;
#[cfg(not(feature = "intrusive"))]
pub(crate) use safe::{Children, Handle, Node};
pub(crate) use waiter::Waiter;

/// How many children are looked at in one go under a node's lock. In models one: then every walk
/// through more has to let go in between.
const CHUNK: usize = if cfg!(feature = "loom") { 1 } else { 64 };

/// So many labels of what an abort cut off are remembered.
const ABORTED_NAMED: usize = 100;

/// A value and its type, so that asking for it by type needs no downcast that could fail.
pub(crate) struct Value {
    pub(crate) of: TypeId,
    pub(crate) value: Box<dyn Any + Send + Sync>,
}

impl Value {
    pub(crate) fn new<T: Send + Sync + 'static>(value: T) -> Self {
        Self { of: TypeId::of::<T>(), value: Box::new(value) }
    }
}

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A part of somebody's work.
    Context,
    /// A task.
    Task,
    /// A thread that blocks, which nobody can stop.
    Blocking,
    /// Clean-up that waits for the cancel.
    OnCancel,
}

/// What keeps a node from having ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Its owning scope.
    pub(crate) owned: bool,
    /// Futures and streams that run in it.
    pub(crate) futures: usize,
    /// What lives directly below.
    pub(crate) children: usize,
}

/// What distinguishes a child from its parent.
pub(crate) struct Birth {
    pub(crate) label: Label,
    pub(crate) deadline: Option<Instant>,
    /// The moment from which the deadline was computed, to save another look at the clock.
    pub(crate) now: Option<Instant>,
    pub(crate) trace: Option<TraceId>,
    pub(crate) shielded: bool,
    pub(crate) role: Role,
    pub(crate) value: Option<Value>,
    pub(crate) place: &'static Location<'static>,
}

/// Which list of a node a waker is in.
#[derive(Clone, Copy)]
pub(crate) enum For {
    /// The cancel.
    Cancel,
    /// The moment when only the owning scope is left.
    Empty,
}

/// Wakes them all, also when one of them panics: the others have work to end.
fn wake_all(wakers: Vec<Waker>) {
    for waker in wakers {
        if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
            // The panic hook has reported it. There is nobody here to hand it to.
        }
    }
}

/// A number that no other node of this process has. Threads take them in blocks: a counter that all
/// threads write to would be the most contended word of the tree.
fn next_id() -> u64 {
    const BLOCK: u64 = 1024;
    static BLOCKS: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NEXT: Cell<u64> = const { Cell::new(0) };
    }
    NEXT.with(|next| {
        let id = match next.get() {
            used_up if used_up.is_multiple_of(BLOCK) => BLOCKS.fetch_add(1, Ordering::Relaxed) * BLOCK,
            id => id,
        };
        next.set(id + 1);
        id
    })
}
