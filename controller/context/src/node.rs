//! One node of the tree: who is below it, who waits for it, whether and why it is cancelled.
//!
//! Ordering, in four sentences. A node is cancelled when its `reason` is set, once, and never again
//! active. A canceller sets the reason *before* it takes the node's lock, and everyone who adds a
//! child or a waiter looks at the reason *while* holding that lock: so the newcomer is either found
//! by the canceller or finds the reason itself. `holds` counts what keeps a node from having ended;
//! zero is final, because a hold is only ever taken from a non-zero count. Whoever releases the last
//! hold takes the node out of its parent and goes on with the parent's hold, in a loop.
//!
//! One lock at a time, and no foreign code (wakers, values, futures) under it.

use std::any::{Any, TypeId};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use slab::Slab;

use crate::reason::{Label, Reason, ReasonKind, TraceId};
use crate::{Instant, Stop};

/// How many children are looked at in one go under a node's lock.
const CHUNK: usize = 64;

/// A list of children with room for more than this gives its memory back when it is empty.
const KEPT: usize = 1024;

pub(crate) struct Node {
    parent: Option<Arc<Node>>,
    /// The place in the parent's list; `None` if this node is in none (roots, and what was derived
    /// from a context that had already ended).
    slot: Option<usize>,
    label: Label,
    trace: TraceId,
    created: Instant,
    place: &'static Location<'static>,
    /// The earlier of the own deadline and the parent's.
    deadline: Option<Instant>,
    /// A shielded node is not reached by cancels and deadlines from above.
    shielded: bool,
    value: Option<Value>,
    /// The owning scope, each child in the list, each future that runs here. Zero: ended.
    holds: AtomicUsize,
    reason: OnceLock<Arc<Reason>>,
    links: Mutex<Links>,
}

/// A value and its type, so that asking for it by type needs no downcast that could fail.
pub(crate) struct Value {
    pub(crate) of: TypeId,
    pub(crate) value: Box<dyn Any + Send + Sync>,
}

/// Boxed on first use: most nodes are leaves that nobody waits for.
#[derive(Default)]
struct Links(Option<Box<Lists>>);

#[derive(Default)]
struct Lists {
    children: Slab<Arc<Node>>,
    waiters: Wakers,
    joiners: Wakers,
    /// Traces started from this node so far.
    traces: u64,
}

/// Wakers that can be taken back. The list is emptied when it is woken and its places are used
/// again, so a place alone does not say whose it is: a ticket does.
#[derive(Default)]
struct Wakers {
    list: Slab<(u64, Waker)>,
    tickets: u64,
}

/// The way back to a waker in a list.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    slot: usize,
    number: u64,
}

impl Wakers {
    fn add(&mut self, waker: Waker) -> Ticket {
        self.tickets += 1;
        Ticket { slot: self.list.insert((self.tickets, waker)), number: self.tickets }
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Waker> {
        let (number, _) = self.list.get(ticket.slot)?;
        (*number == ticket.number).then(|| self.list.remove(ticket.slot).1)
    }

    fn wakes(&self, ticket: Ticket, waker: &Waker) -> bool {
        let entry = self.list.get(ticket.slot);
        entry.is_some_and(|(number, known)| *number == ticket.number && known.will_wake(waker))
    }

    fn take(&mut self) -> impl Iterator<Item = Waker> {
        self.list.drain().map(|(_, waker)| waker)
    }
}

impl Links {
    fn get(&mut self) -> &mut Lists {
        self.0.get_or_insert_default()
    }
}

/// What distinguishes a child from its parent.
pub(crate) struct Birth {
    pub(crate) label: Label,
    pub(crate) deadline: Option<Instant>,
    pub(crate) trace: Option<TraceId>,
    pub(crate) shielded: bool,
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

impl Node {
    pub(crate) fn root(label: Label, trace: TraceId, place: &'static Location<'static>) -> Arc<Self> {
        Arc::new(Self {
            parent: None,
            slot: None,
            label,
            trace,
            created: Instant::now(),
            place,
            deadline: None,
            shielded: false,
            value: None,
            holds: AtomicUsize::new(1),
            reason: OnceLock::new(),
            links: Mutex::default(),
        })
    }

    /// A child with one hold, that of its owner. Below a cancelled parent it is born cancelled;
    /// below an ended one it is cancelled and in no list, so that nothing can be added to a tree
    /// that somebody has already seen empty.
    pub(crate) fn child(self: &Arc<Self>, birth: Birth) -> Arc<Self> {
        let mut parent = self;
        let mut listed = parent.hold();
        while !listed && birth.shielded {
            // Clean-up outlives what it cleans up: the nearest ancestor that is left adopts it.
            let Some(above) = &parent.parent else { break };
            parent = above;
            listed = parent.hold();
        }
        let deadline = match (birth.deadline, parent.deadline) {
            (own, _) if birth.shielded => own,
            (Some(own), Some(above)) => Some(own.min(above)),
            (own, above) => own.or(above),
        };
        let mut node = Self {
            parent: Some(Arc::clone(parent)),
            slot: None,
            label: birth.label,
            trace: birth.trace.unwrap_or(self.trace),
            created: Instant::now(),
            place: birth.place,
            deadline,
            shielded: birth.shielded,
            value: birth.value,
            holds: AtomicUsize::new(1),
            reason: OnceLock::new(),
            links: Mutex::default(),
        };
        let node = if listed {
            let mut links = parent.lock();
            let entry = links.get().children.vacant_entry();
            node.slot = Some(entry.key());
            if !node.shielded
                && let Some(reason) = parent.reason.get()
            {
                node.reason = OnceLock::from(Arc::clone(reason));
            }
            Arc::clone(entry.insert(Arc::new(node)))
        } else {
            node.reason = OnceLock::from(parent.reason.get().map_or_else(
                || Reason::from(ReasonKind::OwnerDropped).stamped(&parent.label, parent.trace),
                Arc::clone,
            ));
            Arc::new(node)
        };
        if node.deadline.is_some_and(|at| at <= node.created) {
            node.expire();
        }
        node
    }

    fn lock(&self) -> MutexGuard<'_, Links> {
        // No code that can panic runs under the lock but the allocator.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a hold, unless the node has ended.
    pub(crate) fn hold(&self) -> bool {
        self.holds.fetch_update(Ordering::AcqRel, Ordering::Acquire, |holds| (holds > 0).then_some(holds + 1)).is_ok()
    }

    /// Gives a hold back; the last one ends the node, and with it perhaps those above.
    pub(crate) fn release(self: &Arc<Self>) {
        let mut node = Arc::clone(self);
        loop {
            match node.holds.fetch_sub(1, Ordering::AcqRel) {
                1 => {}
                2 => return wake_all(node.take_wakers(For::Empty)),
                _ => return,
            }
            let (Some(parent), Some(slot)) = (node.parent.clone(), node.slot) else {
                return;
            };
            let ended = parent.lock().get().remove_child(slot);
            drop(ended); // after the lock: it may be the last handle of a user's value
            node = parent;
        }
    }

    /// Whether only the owning scope is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.holds.load(Ordering::Acquire) <= 1
    }

    /// Cancels this node and everything below it, unless it is cancelled already. Returns whether
    /// this call was the one. All nodes are marked before the first waker runs.
    pub(crate) fn cancel(self: &Arc<Self>, reason: Reason) -> bool {
        let reason = reason.stamped(&self.label, self.trace);
        if self.reason.set(Arc::clone(&reason)).is_err() {
            return false;
        }
        let mut wakers = Vec::new();
        // A stack of our own, with a position in each node's list: depth and breadth cost neither
        // call stack nor a long hold of a lock.
        let mut stack = vec![(Arc::clone(self), 0)];
        let mut chunk = Vec::with_capacity(CHUNK);
        while let Some((node, from)) = stack.pop() {
            let next = {
                let mut links = node.lock();
                let Some(lists) = &mut links.0 else { continue };
                if from == 0 {
                    wakers.extend(lists.waiters.take());
                }
                let to = lists.children.capacity().min(from + CHUNK);
                chunk.extend((from..to).filter_map(|slot| lists.children.get(slot).cloned()));
                (to < lists.children.capacity()).then_some(to)
            };
            if let Some(next) = next {
                stack.push((node, next));
            }
            for child in chunk.drain(..) {
                // Already cancelled: whoever did it marks what is below.
                if !child.shielded && child.reason.set(Arc::clone(&reason)).is_ok() {
                    stack.push((child, 0));
                }
            }
        }
        wake_all(wakers);
        true
    }

    /// Cancels at the node whose deadline has passed: this one or the ancestor it comes from.
    pub(crate) fn expire(self: &Arc<Self>) {
        let mut owner = self;
        while !owner.shielded
            && let Some(above) = &owner.parent
            && above.deadline == owner.deadline
        {
            owner = above;
        }
        owner.cancel(Reason::new(ReasonKind::Deadline, "its deadline passed"));
        // The owner may have been cancelled by somebody else a moment ago who has not come here yet.
        if self.reason.get().is_none() {
            self.cancel(Reason::new(ReasonKind::Deadline, "its deadline passed"));
        }
    }

    /// Why this node is cancelled, if it is. A deadline counts from the moment it has passed, even
    /// if no timer has fired yet.
    pub(crate) fn reason(self: &Arc<Self>) -> Option<Arc<Reason>> {
        if self.reason.get().is_none() && self.deadline.is_some_and(|at| at <= Instant::now()) {
            self.expire();
        }
        self.reason.get().cloned()
    }

    pub(crate) fn stop(self: &Arc<Self>) -> Option<Stop> {
        self.reason().map(Stop::from)
    }

    /// Puts a waker into a list, in place of the one it put there before. Returns false, and leaves
    /// nothing behind, if there is nothing to wait for any more.
    pub(crate) fn wait(&self, what: For, ticket: &mut Option<Ticket>, waker: &Waker) -> bool {
        let over = || match what {
            For::Cancel => self.reason.get().is_some(),
            For::Empty => self.is_empty(),
        };
        if let Some(ticket) = *ticket
            && self.lock().get().wakers(what).wakes(ticket, waker)
            && !over()
        {
            return true; // polled again by the same task, as most futures are
        }
        let fresh = waker.clone(); // foreign code: before the lock
        let mut links = self.lock();
        let over = over();
        let wakers = links.get().wakers(what);
        let old = ticket.take().and_then(|ticket| wakers.remove(ticket));
        let unused = if over {
            Some(fresh)
        } else {
            *ticket = Some(wakers.add(fresh));
            None
        };
        drop(links);
        drop((old, unused)); // foreign code: after the lock
        !over
    }

    /// Takes a waker back out of a list.
    pub(crate) fn unwait(&self, what: For, ticket: Ticket) {
        let mut links = self.lock();
        let old = links.get().wakers(what).remove(ticket);
        drop(links);
        drop(old);
    }

    fn take_wakers(&self, what: For) -> Vec<Waker> {
        let mut links = self.lock();
        match &mut links.0 {
            Some(lists) => lists.wakers(what).take().collect(),
            None => Vec::new(),
        }
    }

    /// The trace that the next piece of work below this node starts.
    pub(crate) fn next_trace(&self) -> TraceId {
        let mut links = self.lock();
        let lists = links.get();
        lists.traces += 1;
        self.trace.nth(lists.traces)
    }

    /// Children from a position on, at most a chunk of them, and the position to go on from.
    pub(crate) fn children_from(&self, from: usize) -> (Vec<Arc<Self>>, Option<usize>) {
        let links = self.lock();
        let Some(lists) = &links.0 else {
            return (Vec::new(), None);
        };
        let to = lists.children.capacity().min(from + CHUNK);
        let found = (from..to).filter_map(|slot| lists.children.get(slot).cloned()).collect();
        (found, (to < lists.children.capacity()).then_some(to))
    }

    /// The nearest value of a type, here or above.
    pub(crate) fn value<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let mut node = Some(self);
        while let Some(at) = node {
            if let Some(value) = &at.value
                && value.of == TypeId::of::<T>()
            {
                return value.value.downcast_ref();
            }
            node = at.parent.as_deref();
        }
        None
    }

    /// Whether `other` is this node or below it.
    pub(crate) fn contains(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut node = Some(other);
        while let Some(at) = node {
            if Arc::ptr_eq(self, at) {
                return true;
            }
            node = at.parent.as_ref();
        }
        false
    }

    /// Reads the reason without looking at the clock.
    pub(crate) fn marked(&self) -> Option<&Arc<Reason>> {
        self.reason.get()
    }

    pub(crate) fn label(&self) -> &Label {
        &self.label
    }

    pub(crate) fn trace(&self) -> TraceId {
        self.trace
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn created(&self) -> Instant {
        self.created
    }

    pub(crate) fn place(&self) -> &'static Location<'static> {
        self.place
    }

    pub(crate) fn is_shielded(&self) -> bool {
        self.shielded
    }

    /// Whether anybody but the owning scope and the parent's list has a handle.
    pub(crate) fn is_observed(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 + usize::from(self.slot.is_some())
    }

    pub(crate) fn holds(&self) -> usize {
        self.holds.load(Ordering::Acquire)
    }
}

impl Lists {
    fn remove_child(&mut self, slot: usize) -> Option<Arc<Node>> {
        let child = self.children.try_remove(slot);
        if self.children.is_empty() && self.children.capacity() > KEPT {
            self.children = Slab::new();
        }
        child
    }

    fn wakers(&mut self, what: For) -> &mut Wakers {
        match what {
            For::Cancel => &mut self.waiters,
            For::Empty => &mut self.joiners,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A loop in place of the recursion that dropping a chain of parents would be.
        let mut up = self.parent.take();
        while let Some(parent) = up {
            up = Arc::into_inner(parent).and_then(|mut node| node.parent.take());
        }
    }
}

/// Wakes them all, also when one of them panics: the others have work to end.
fn wake_all(wakers: Vec<Waker>) {
    for waker in wakers {
        if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
            // The panic hook has reported it. There is nobody here to hand it to.
        }
    }
}
