//! How nodes end and are cancelled, without a pointer.

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;

use super::super::moment::Moment;
use super::super::sync::atomic::Ordering;
use super::super::wakers::Wakers;
use super::super::{ABORTED_NAMED, For, Held, Role, wake_all};
use super::{Branch, HERE, Handle, Lists, MOST, OWNER, Walk};
use crate::counts::{Ledger, Marked};
use crate::reason::{Label, Reason, ReasonKind, TraceId};
use crate::{Instant, Stop};

impl Handle {
    /// The deadline of the nearest shield, here or above: what is shielded inside ends with it.
    pub(super) fn shield_deadline(&self) -> Moment {
        let mut node = Some(self);
        while let Some(at) = node {
            if at.node().shielded && at.node().deadline != Moment::NEVER {
                return at.node().deadline;
            }
            node = at.parent();
        }
        Moment::NEVER
    }

    /// Takes a hold, unless the node has ended.
    pub(crate) fn hold(&self) -> bool {
        let more = |holds: u32| (holds > 0 && holds & !OWNER < MOST).then_some(holds + 1);
        self.node().holds.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    /// Gives a hold back; the last one ends the node, and with it perhaps those above.
    pub(crate) fn release(&self) {
        self.give_back(1);
    }

    /// The owning scope goes: what is below or still looks at this node is cancelled.
    pub(crate) fn end(&self) {
        // Where nobody is left to ask for the reason, none is made: most scopes end like that. Nor is
        // it counted: ending is not being cancelled.
        if !self.is_marked() && (!self.is_empty() || self.is_observed()) {
            let reason = Reason::from(ReasonKind::OwnerDropped).stamped(self.label(), self.trace());
            if self.mark_here(&reason) {
                let mut sweep = Sweep::default();
                self.mark_below(&mut sweep);
                sweep.finish(self, reason.kind());
            }
        }
        self.give_back(OWNER);
    }

    fn give_back(&self, hold: u32) {
        let (mut at, mut hold) = (self, hold);
        loop {
            let left = at.node().holds.fetch_sub(hold, Ordering::AcqRel).wrapping_sub(hold);
            if left == OWNER {
                return at.wake_joiners();
            }
            if left != 0 {
                return;
            }
            let Some(parent) = at.unlist() else { return };
            (at, hold) = (parent, 1);
        }
    }

    fn wake_joiners(&self) {
        // Whoever waits makes the branch first and then looks at `holds`. `holds` has been written, so
        // they see it, or we see the branch.
        if let Some(branch) = self.node().branch_or_settled() {
            let mut wakers = Vec::new();
            branch.lock().joiners.take(&mut wakers);
            wake_all(wakers);
        }
    }

    /// Whether only the owning scope is left.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.node().holds.load(Ordering::Acquire), 0 | OWNER)
    }

    /// Cancels this node and everything below it, unless it is cancelled already. Returns whether
    /// this call was the one. All nodes are marked before the first waker runs.
    pub(crate) fn cancel(&self, reason: Reason) -> bool {
        if self.is_marked() {
            return false;
        }
        let reason = reason.stamped(self.label(), self.trace());
        if !self.mark_here(&reason) {
            return false;
        }
        let mut sweep = Sweep::default();
        sweep.marked.add(self.label().kind());
        self.mark_below(&mut sweep);
        sweep.finish(self, reason.kind());
        true
    }

    /// Cancels what no cancel has reached below this node: what is shielded. Returns the first of
    /// the shields by name.
    pub(crate) fn abort(&self, reason: Reason) -> Vec<Label> {
        let reason = reason.stamped(self.label(), self.trace());
        let (mut sweep, mut shields) = (Sweep::default(), Vec::new());
        let mut queue = VecDeque::from([self.clone()]);
        while let Some(node) = queue.pop_front() {
            if !node.is(self) && node.mark_here(&reason) {
                sweep.marked.add(node.label().kind());
                if node.is_shielded() && shields.len() < ABORTED_NAMED {
                    shields.push(node.label().clone());
                }
                node.mark_below(&mut sweep);
            }
            node.each_child(
                |_| (),
                |child| {
                    if !child.is_marked() || child.node().branch_if_any().is_some() {
                        queue.push_back(child.clone());
                    }
                },
            );
        }
        sweep.finish(self, reason.kind());
        shields
    }

    /// Marks this node alone, with a reason of its own. Cancels of one node take turns, so that those
    /// who come too late find it marked.
    pub(super) fn mark_here(&self, reason: &Arc<Reason>) -> bool {
        let node = self.node();
        let branch = node.branch();
        let turn = branch.lock();
        let won = !node.is_marked() && {
            // A reason that was set before is one that lost to a cancel above, and then it is marked.
            let _set = branch.reason.set(Arc::clone(reason));
            node.mark(HERE).is_some()
        };
        drop(turn);
        won
    }

    /// The second half of a cancel: this node is marked, what is below follows.
    fn mark_below(&self, sweep: &mut Sweep) {
        let Sweep { wakers, marked } = sweep;
        // A queue of our own and a cursor in each list: depth and breadth cost neither call stack nor
        // a long hold of a lock.
        let mut queue = VecDeque::from([self.clone()]);
        while let Some(node) = queue.pop_front() {
            let each = |child: &Self| {
                if child.is_shielded() {
                    return;
                }
                // Marked before: whoever did it marks what is below.
                let Some(has_branch) = child.follow() else { return };
                marked.add(child.label().kind());
                if has_branch {
                    queue.push_back(child.clone());
                }
            };
            node.each_child(|lists| lists.waiters.take(wakers), each);
        }
    }

    /// Goes through the children, with the lock taken for a few of them at a time.
    fn each_child(&self, first: impl FnOnce(&mut Lists), mut each: impl FnMut(&Self)) {
        let Some(branch) = self.node().branch_if_any() else {
            return;
        };
        let mut walk = Walk::new();
        let mut lists = branch.lock();
        first(&mut lists);
        while walk.few(&mut lists, &mut each) {
            drop(lists);
            lists = branch.lock();
        }
    }

    /// Cancels at the node whose deadline has passed: this one or the ancestor it comes from.
    pub(crate) fn expire(&self) {
        let mut owner = self;
        while !owner.is_shielded()
            && let Some(above) = owner.parent()
            && above.node().deadline == owner.node().deadline
        {
            owner = above;
        }
        owner.cancel(Reason::new(ReasonKind::Deadline, "its deadline passed"));
        // The owner may have been cancelled by somebody else a moment ago who has not come here yet.
        if !self.is_marked() {
            self.cancel(Reason::new(ReasonKind::Deadline, "its deadline passed"));
        }
    }

    /// Why this node is cancelled, if it is. A deadline counts from the moment it has passed, even
    /// if no timer has fired yet.
    pub(crate) fn reason(&self) -> Option<Arc<Reason>> {
        let deadline = self.node().deadline;
        if deadline != Moment::NEVER && !self.is_marked() && deadline <= Moment::from(Instant::now()) {
            self.expire();
        }
        self.marked().cloned()
    }

    pub(crate) fn stop(&self) -> Option<Stop> {
        self.reason().map(Stop::from)
    }

    /// Whether the node is marked cancelled: one load, no look at the clock.
    pub(crate) fn is_marked(&self) -> bool {
        self.node().is_marked()
    }

    /// Reads the reason without looking at the clock.
    pub(crate) fn marked(&self) -> Option<&Arc<Reason>> {
        self.node().cause()?.reason.get()
    }

    /// Does something with one of the two lists of wakers, under the lock.
    pub(in crate::node) fn wakers<R>(&self, what: For, action: impl FnOnce(&mut Wakers) -> R) -> R {
        action(self.node().branch().lock().wakers(what))
    }

    /// The trace that the next piece of work below this node starts.
    pub(crate) fn next_trace(&self) -> TraceId {
        let mut lists = self.node().branch().lock();
        lists.traces += 1;
        let number = lists.traces;
        drop(lists);
        self.trace().nth(number)
    }

    pub(crate) fn trace(&self) -> TraceId {
        self.node().extra().trace
    }

    /// [`Handle::trace`] for who knows the parent's, which is of no help here.
    pub(crate) fn trace_below(&self, _parents: TraceId) -> TraceId {
        self.trace()
    }

    /// Whether `other` is this node or below it.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let mut node = Some(other);
        while let Some(at) = node {
            if self.is(at) {
                return true;
            }
            node = at.parent();
        }
        false
    }

    /// Whether both are the same node.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// A future of this node begins to be polled.
    pub(crate) fn enter(&self) {
        self.node().polled.fetch_add(1, Ordering::Relaxed);
    }

    /// The end of [`Handle::enter`].
    pub(crate) fn leave(&self) {
        self.node().polled.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a future of this node is being polled at this moment.
    pub(crate) fn is_polled(&self) -> bool {
        self.node().polled.load(Ordering::Relaxed) > 0
    }

    /// Remembers that a task directly below panicked.
    pub(crate) fn panicked(&self, message: String) {
        let mut lists = self.node().branch().lock();
        let panics = lists.panics.get_or_insert_default();
        panics.0 += 1;
        let before = std::mem::replace(&mut panics.1, message);
        drop(lists);
        drop(before);
    }

    /// How many tasks directly below panicked, and what the last one said.
    pub(crate) fn panics(&self) -> (u64, Option<String>) {
        let Some(branch) = self.node().branch_if_any() else {
            return (0, None);
        };
        match branch.lock().panics.as_deref() {
            Some((count, last)) => (*count, Some(last.clone())),
            None => (0, None),
        }
    }

    pub(crate) fn label(&self) -> &Label {
        &self.node().label
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.node().deadline.instant()
    }

    pub(crate) fn created(&self) -> Instant {
        self.node().created.instant().unwrap_or_else(Instant::now)
    }

    pub(crate) fn place(&self) -> &'static Location<'static> {
        self.node().place
    }

    pub(crate) fn id(&self) -> u64 {
        self.node().id
    }

    pub(crate) fn role(&self) -> Role {
        self.node().role
    }

    pub(crate) fn is_shielded(&self) -> bool {
        self.node().shielded
    }

    /// Whether anybody but the owning scope and the parent's list has a handle.
    pub(crate) fn is_observed(&self) -> bool {
        let node = self.node();
        node.refs.load(Ordering::Acquire) > 1 + u32::from(node.listed)
    }

    pub(crate) fn held(&self) -> Held {
        let lists = self.node().branch_if_any().map(Branch::lock);
        let children = lists.as_ref().map_or(0, |lists| lists.children);
        let holds = self.node().holds.load(Ordering::Acquire);
        drop(lists);
        let others = (holds & !OWNER).saturating_sub(u32::from(children > 0));
        Held { owned: holds & OWNER != 0, futures: others as usize, children }
    }
}

/// What a cancel gathers on its way.
#[derive(Default)]
struct Sweep {
    wakers: Vec<Waker>,
    marked: Marked,
}

impl Sweep {
    fn finish(self, top: &Handle, why: ReasonKind) {
        if let Some(ledger) = top.value::<Ledger>() {
            self.marked.note(ledger, why);
        }
        wake_all(self.wakers);
    }
}
