//! Nodes without `unsafe`: counted references, a slab of children in each parent.
//!
//! Ordering, in four sentences. A node is cancelled when its `reason` is set, once, and never again
//! active. A canceller sets the reason *before* it takes the node's lock, and everyone who adds a
//! child or a waiter looks at the reason *while* holding that lock: so the newcomer is either found
//! by the canceller or finds the reason itself. `holds` counts what keeps a node from having ended;
//! zero is final, because a hold is only ever taken from a non-zero count. Whoever releases the last
//! hold takes the node out of its parent's list and, if that is empty now, goes on with the list's
//! hold of the parent, in a loop.
//!
//! One lock at a time, and no foreign code (wakers, values, futures) under it.

use std::any::TypeId;
use std::panic::Location;
use std::sync::{Arc, PoisonError};

use slab::Slab;

use super::moment::Moment;
use super::sync::atomic::{AtomicU32, Ordering};
use super::sync::{Mutex, MutexGuard, OnceLock};
use super::wakers::Wakers;
use super::{ABORTED_NAMED, Birth, CHUNK, For, Held, Role, Value, next_id, wake_all};
use crate::counts::{Ledger, Marked};
use crate::reason::{Label, Reason, ReasonKind, TraceId};
use crate::{Instant, Stop};

/// A list of children with room for more than this gives its memory back when it is empty.
const KEPT: usize = 1024;

/// The owner's hold, beside which the others are counted: only the owner is left when `holds` is this.
const OWNER: u32 = 1 << 31;

/// The slot of a node that is in no list: a root, or derived from a context that had ended.
const UNLISTED: u32 = u32::MAX;

/// Shares a node.
pub(crate) type Handle = Arc<Node>;

/// 136 bytes: with the counts of its `Arc`, its place in the parent's slab and the allocator's header
/// below the 192 that a child may cost.
pub(crate) struct Node {
    parent: Option<Arc<Node>>,
    /// The place in the parent's list. Written once, before anybody else has the node.
    slot: AtomicU32,
    label: Label,
    created: Moment,
    place: &'static Location<'static>,
    /// The earlier of the own deadline and the parent's.
    deadline: Option<Instant>,
    extra: Option<Box<Extra>>,
    reason: OnceLock<Arc<Reason>>,
    links: Mutex<Links>,
    id: u64,
    /// [`OWNER`], each future that runs here, and one for the list of children while there are any.
    /// Zero: ended.
    holds: AtomicU32,
    /// How many of its futures are being polled.
    polled: AtomicU32,
    role: Role,
    /// A shielded node is not reached by cancels and deadlines from above.
    shielded: bool,
}

/// What few nodes have.
#[derive(Default)]
struct Extra {
    value: Option<Value>,
    /// The own trace, where it is not the parent's.
    trace: Option<TraceId>,
    /// The parent that was asked for where an ancestor had to adopt: values and trace are its.
    heir_of: Option<Arc<Node>>,
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
    /// Tasks directly below that panicked, and what the last one said.
    panics: Option<Box<(u64, String)>>,
}

impl Links {
    fn get(&mut self) -> &mut Lists {
        self.0.get_or_insert_default()
    }
}

/// How far a cancel reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Not into shields, and not below what somebody else cancels.
    Unshielded,
    /// To everything below.
    All,
}

impl Node {
    pub(crate) fn root(
        label: Label,
        trace: TraceId,
        value: Option<Value>,
        place: &'static Location<'static>,
    ) -> Arc<Self> {
        let now = Moment::about_now();
        let birth = Birth {
            label,
            deadline: None,
            now: None,
            trace: Some(trace),
            shielded: false,
            role: Role::Context,
            value,
            place,
        };
        Arc::new(Self::new(birth, None, None, now))
    }

    fn new(birth: Birth, parent: Option<Arc<Self>>, heir_of: Option<Arc<Self>>, now: Moment) -> Self {
        let Birth { value, trace, .. } = birth;
        let plain = value.is_none() && trace.is_none() && heir_of.is_none();
        Self {
            parent,
            slot: AtomicU32::new(UNLISTED),
            label: birth.label,
            created: now,
            place: birth.place,
            deadline: birth.deadline,
            extra: (!plain).then(|| Box::new(Extra { value, trace, heir_of })),
            reason: OnceLock::new(),
            links: Mutex::new(Links::default()),
            id: next_id(),
            holds: AtomicU32::new(OWNER),
            polled: AtomicU32::new(0),
            role: birth.role,
            shielded: birth.shielded,
        }
    }

    /// A child with one hold, that of its owner. Below a cancelled parent it is born cancelled;
    /// below an ended one it is cancelled and in no list, so that nothing can be added to a tree
    /// that somebody has already seen empty.
    pub(crate) fn child(self: &Arc<Self>, mut birth: Birth) -> Arc<Self> {
        if !birth.shielded {
            birth.deadline = earlier(birth.deadline, self.deadline);
            return self.adopt(birth, None);
        }
        birth.deadline = earlier(birth.deadline, self.shield_deadline());
        // Clean-up outlives what it cleans up: the nearest ancestor that is left adopts it.
        let mut parent = self;
        while !parent.hold() {
            match &parent.parent {
                Some(above) => parent = above,
                None => return self.adopt(birth, None),
            }
        }
        let heir_of = (!parent.is(self)).then(|| Arc::clone(self));
        let child = parent.adopt(birth, heir_of);
        parent.release();
        child
    }

    fn adopt(self: &Arc<Self>, birth: Birth, heir_of: Option<Arc<Self>>) -> Arc<Self> {
        let now = birth.now.map_or_else(Moment::about_now, Moment::from);
        let child = Arc::new(Self::new(birth, Some(Arc::clone(self)), heir_of, now));
        let mut links = self.lock();
        let children = &mut links.get().children;
        if !children.is_empty() || self.hold() {
            let slot = children.insert(Arc::clone(&child));
            // So many children as do not fit would take half a terabyte.
            child.slot.store(u32::try_from(slot).unwrap_or(UNLISTED), Ordering::Relaxed);
            let reason = self.reason.get().filter(|_| !child.shielded).map(Arc::clone);
            drop(links);
            if let Some(reason) = reason {
                // Fails if the canceller has found the child in the list meanwhile.
                drop(child.reason.set(reason));
            }
        } else {
            drop(links);
            let reason = self.reason.get().map(Arc::clone);
            let reason =
                reason.unwrap_or_else(|| Reason::from(ReasonKind::OwnerDropped).stamped(&self.label, self.trace()));
            drop(child.reason.set(reason));
        }
        if child.deadline.is_some_and(|at| Moment::from(at) <= now) {
            child.expire();
        }
        child
    }

    /// The deadline of the nearest shield, here or above: what is shielded inside ends with it.
    fn shield_deadline(&self) -> Option<Instant> {
        let mut node = Some(self);
        while let Some(at) = node {
            if at.shielded && at.deadline.is_some() {
                return at.deadline;
            }
            node = at.parent.as_deref();
        }
        None
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
        self.give_back(1);
    }

    /// The owning scope goes: what is below or still looks at this node is cancelled.
    pub(crate) fn end(self: &Arc<Self>) {
        // Where nobody is left to ask for the reason, none is made: most scopes end like that. Nor is
        // it counted: ending is not being cancelled.
        if !self.is_marked() && (!self.is_empty() || self.is_observed()) {
            let reason = Reason::from(ReasonKind::OwnerDropped).stamped(&self.label, self.trace());
            if self.reason.set(Arc::clone(&reason)).is_ok() {
                self.mark_below(&reason, Marked::default(), Reach::Unshielded);
            }
        }
        self.give_back(OWNER);
    }

    fn give_back(self: &Arc<Self>, hold: u32) {
        let (mut node, mut hold) = (self, hold);
        loop {
            let before = node.holds.fetch_sub(hold, Ordering::AcqRel);
            if before - hold == OWNER {
                return node.wake_joiners();
            }
            if before != hold {
                return;
            }
            let Some(parent) = &node.parent else { return };
            if !parent.unlist(node) {
                return;
            }
            (node, hold) = (parent, 1);
        }
    }

    /// Takes a child out of the list. Returns whether that leaves it empty, and its hold to give back.
    fn unlist(&self, child: &Self) -> bool {
        let slot = child.slot.load(Ordering::Relaxed);
        if slot == UNLISTED {
            return false;
        }
        let mut links = self.lock();
        let children = &mut links.get().children;
        let ended = children.try_remove(slot as usize);
        let empty = children.is_empty();
        if empty && children.capacity() > KEPT {
            *children = Slab::new();
        }
        drop(links);
        drop(ended); // after the lock, like all that may run foreign code
        empty
    }

    /// Whether only the owning scope is left.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.holds.load(Ordering::Acquire), 0 | OWNER)
    }

    /// Cancels this node and everything below it, unless it is cancelled already. Returns whether
    /// this call was the one. All nodes are marked before the first waker runs.
    pub(crate) fn cancel(self: &Arc<Self>, reason: Reason) -> bool {
        let reason = reason.stamped(&self.label, self.trace());
        if self.reason.set(Arc::clone(&reason)).is_err() {
            return false;
        }
        let mut marked = Marked::default();
        marked.add(self.label.kind());
        self.mark_below(&reason, marked, Reach::Unshielded);
        true
    }

    /// Cancels what no cancel has reached below this node: what is shielded. Returns the first of
    /// the shields by name.
    pub(crate) fn abort(self: &Arc<Self>, reason: Reason) -> Vec<Label> {
        let reason = reason.stamped(&self.label, self.trace());
        self.mark_below(&reason, Marked::default(), Reach::All)
    }

    /// The second half of a cancel: this node is marked, what is below follows.
    fn mark_below(self: &Arc<Self>, reason: &Arc<Reason>, mut marked: Marked, reach: Reach) -> Vec<Label> {
        let mut wakers = Vec::new();
        let mut shields = Vec::new();
        // A stack of our own, with a position in each node's list: depth and breadth cost neither
        // call stack nor a long hold of a lock. No memory is taken where there is nothing below.
        let mut stack = Vec::new();
        let mut chunk = Vec::new();
        let mut next = Some((Arc::clone(self), 0));
        while let Some((node, from)) = next.take().or_else(|| stack.pop()) {
            let more = {
                let mut links = node.lock();
                let Some(lists) = &mut links.0 else { continue };
                if from == 0 {
                    lists.waiters.take(&mut wakers);
                }
                let to = lists.children.capacity().min(from + CHUNK);
                chunk.extend((from..to).filter_map(|slot| lists.children.get(slot).cloned()));
                (to < lists.children.capacity()).then_some(to)
            };
            if let Some(more) = more {
                stack.push((node, more));
            }
            for child in chunk.drain(..) {
                if child.shielded && reach == Reach::Unshielded {
                    continue;
                }
                if child.reason.set(Arc::clone(reason)).is_ok() {
                    marked.add(child.label.kind());
                    if child.shielded && shields.len() < ABORTED_NAMED {
                        shields.push(child.label.clone());
                    }
                } else if reach == Reach::Unshielded {
                    continue; // already cancelled: whoever did it marks what is below
                }
                stack.push((child, 0));
            }
        }
        if let Some(ledger) = self.value::<Ledger>() {
            marked.note(ledger, reason.kind());
        }
        wake_all(wakers);
        shields
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

    /// Does something with one of the two lists of wakers, under the lock.
    pub(super) fn wakers<R>(&self, what: For, action: impl FnOnce(&mut Wakers) -> R) -> R {
        action(self.lock().get().wakers(what))
    }

    fn wake_joiners(&self) {
        let mut wakers = Vec::new();
        if let Some(lists) = &mut self.lock().0 {
            lists.joiners.take(&mut wakers);
        }
        wake_all(wakers);
    }

    /// The trace that the next piece of work below this node starts.
    pub(crate) fn next_trace(&self) -> TraceId {
        let mut links = self.lock();
        let lists = links.get();
        lists.traces += 1;
        let number = lists.traces;
        drop(links);
        self.trace().nth(number)
    }

    /// Where values and the trace come from that this node has not itself.
    fn heritage(&self) -> Option<&Self> {
        let given = self.extra.as_deref().and_then(|extra| extra.heir_of.as_deref());
        given.or(self.parent.as_deref())
    }

    /// The nearest value of a type, here or above.
    pub(crate) fn value<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let mut node = Some(self);
        while let Some(at) = node {
            if let Some(Extra { value: Some(value), .. }) = at.extra.as_deref()
                && value.of == TypeId::of::<T>()
            {
                return value.value.downcast_ref();
            }
            node = at.heritage();
        }
        None
    }

    pub(crate) fn trace(&self) -> TraceId {
        let mut node = Some(self);
        while let Some(at) = node {
            if let Some(Extra { trace: Some(trace), .. }) = at.extra.as_deref() {
                return *trace;
            }
            node = at.heritage();
        }
        TraceId::from_u128(0) // not reached: a root has one
    }

    /// [`Node::trace`] for who knows the parent's, without the walk: for snapshots of deep trees.
    pub(crate) fn trace_below(&self, parents: TraceId) -> TraceId {
        match self.extra.as_deref() {
            Some(Extra { trace: Some(own), .. }) => *own,
            Some(Extra { heir_of: Some(_), .. }) => self.trace(),
            _ => parents,
        }
    }

    /// Whether `other` is this node or below it.
    pub(crate) fn contains(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut node = Some(other);
        while let Some(at) = node {
            if self.is(at) {
                return true;
            }
            node = at.parent.as_ref();
        }
        false
    }

    /// Whether both are the same node.
    pub(crate) fn is(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other)
    }

    pub(crate) fn parent(&self) -> Option<&Handle> {
        self.parent.as_ref()
    }

    /// Whether the node is marked cancelled: one load, no look at the clock.
    pub(crate) fn is_marked(&self) -> bool {
        self.reason.get().is_some()
    }

    /// Reads the reason without looking at the clock.
    pub(crate) fn marked(&self) -> Option<&Arc<Reason>> {
        self.reason.get()
    }

    /// A future of this node begins to be polled.
    pub(crate) fn enter(&self) {
        self.polled.fetch_add(1, Ordering::Relaxed);
    }

    /// The end of [`Node::enter`].
    pub(crate) fn leave(&self) {
        self.polled.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a future of this node is being polled at this moment.
    pub(crate) fn is_polled(&self) -> bool {
        self.polled.load(Ordering::Relaxed) > 0
    }

    /// Remembers that a task directly below panicked.
    pub(crate) fn panicked(&self, message: String) {
        let mut links = self.lock();
        let panics = links.get().panics.get_or_insert_default();
        panics.0 += 1;
        let before = std::mem::replace(&mut panics.1, message);
        drop(links);
        drop(before);
    }

    /// How many tasks directly below panicked, and what the last one said.
    pub(crate) fn panics(&self) -> (u64, Option<String>) {
        let links = self.lock();
        match links.0.as_ref().and_then(|lists| lists.panics.as_deref()) {
            Some((count, last)) => (*count, Some(last.clone())),
            None => (0, None),
        }
    }

    pub(crate) fn label(&self) -> &Label {
        &self.label
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn created(&self) -> Instant {
        self.created.instant().unwrap_or_else(Instant::now)
    }

    pub(crate) fn place(&self) -> &'static Location<'static> {
        self.place
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn is_shielded(&self) -> bool {
        self.shielded
    }

    /// Whether anybody but the owning scope and the parent's list has a handle.
    pub(crate) fn is_observed(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 + usize::from(self.slot.load(Ordering::Relaxed) != UNLISTED)
    }

    pub(crate) fn held(&self) -> Held {
        let links = self.lock();
        let children = links.0.as_ref().map_or(0, |lists| lists.children.len());
        let holds = self.holds.load(Ordering::Acquire);
        drop(links);
        let others = (holds & !OWNER).saturating_sub(u32::from(children > 0));
        Held { owned: holds & OWNER != 0, futures: others as usize, children }
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Lists {
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
        let (mut up, mut more) = (self.parent.take(), Vec::new());
        more.extend(self.extra.as_mut().and_then(|extra| extra.heir_of.take()));
        while let Some(parent) = up.or_else(|| more.pop()) {
            up = Arc::into_inner(parent).and_then(|mut node| {
                more.extend(node.extra.as_mut().and_then(|extra| extra.heir_of.take()));
                node.parent.take()
            });
        }
    }
}

/// The way through the children of a node: at most a chunk of them at a time.
pub(crate) struct Children {
    node: Handle,
    /// Where to go on; `None` at the end.
    from: Option<usize>,
}

impl Children {
    pub(crate) fn of(node: &Handle) -> Self {
        Self { node: Arc::clone(node), from: Some(0) }
    }

    /// The next few, and none at the end. Children that come while the walk is under way may be in
    /// it; those that stay are in it once.
    pub(crate) fn next_few(&mut self) -> Vec<Handle> {
        let links = self.node.lock();
        let mut found = Vec::new();
        while let (true, Some(from), Some(lists)) = (found.is_empty(), self.from, &links.0) {
            let to = lists.children.capacity().min(from + CHUNK);
            found.extend((from..to).filter_map(|slot| lists.children.get(slot).cloned()));
            self.from = (to < lists.children.capacity()).then_some(to);
        }
        found
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::Node;

    #[test]
    fn a_node_is_small() {
        assert!(size_of::<Node>() <= 136, "{} bytes", size_of::<Node>());
    }
}
