//! Nodes that are threaded into lists: the only module of the workspace with `unsafe`.
//!
//! # Memory
//!
//! A node is a box that counts its references: a [`Handle`] is one, and the parent's list has one
//! while the node is in it. The last one frees the box, and drops the node's handle of its parent
//! *after* that, in a loop. So a handle is always good to look at, and with it every node above.
//!
//! The raw pointers are `head`, `tail`, the parked cursors and the `links` between siblings. They are
//! written and followed only under the lock of the list that they belong to, and they lead only to
//! nodes in that list, which the list's reference keeps. A node is in at most one list, its parent's;
//! it enters it before anybody else knows it, and leaves it once.
//!
//! # Order
//!
//! One word of a node, `branch`, says whether it is cancelled and has the pointer to what a leaf does
//! not need: the lists of children and wakers. A canceller marks with a compare-exchange, and so
//! learns in the same step whether there is a branch. If there is none, whoever makes one later finds
//! the mark in the word that it changes. If there is one, the canceller takes its lock, and everyone
//! who adds a child or a waker looks at the word under that lock: the newcomer is either found or finds
//! the mark itself. No two words have to be in step, so nothing needs sequential consistency.
//!
//! The reason is stored at the node where `cancel` was called ([`HERE`]). Those below only say
//! [`ABOVE`]; nodes are marked from the top down, so the nearest [`HERE`] on the way up is whose it is.
//! Where there is a branch anyhow, it remembers the way.
//!
//! `holds` counts what keeps a node from having ended; zero is final, because a hold is only ever
//! taken from a non-zero count. A list that is not empty has one hold of its node, however long it
//! is: most children come and go without touching a counter of their parent.
//!
//! One lock at a time, and no foreign code (wakers, values, futures) under it.

use std::any::TypeId;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::{NonNull, null_mut};
use std::sync::{Arc, PoisonError};
use std::task::Waker;

use slab::Slab;

use super::moment::Moment;
use super::sync::atomic::{AtomicPtr, AtomicU32, Ordering, fence};
use super::sync::{Mutex, MutexGuard, OnceLock, UnsafeCell};
use super::wakers::Wakers;
use super::{Birth, CHUNK, For, Role, Value, next_id};
use crate::Instant;
use crate::reason::{Label, Reason, ReasonKind, TraceId};

mod life;

/// The owner's hold, beside which the others are counted: only the owner is left when `holds` is this.
const OWNER: u32 = 1 << 31;

/// More references than this are a leak, and near where the count would overflow.
const MOST: u32 = 1 << 30;

/// States, kept in the low bits of the word that points to the branch.
const ACTIVE: usize = 0;
/// Cancelled, with a reason in the branch.
const HERE: usize = 1;
/// Cancelled with an ancestor, which has the reason.
const ABOVE: usize = 2;
const STATE: usize = 3;

/// Shares a node. Keeps its memory, not its life.
pub(crate) struct Handle(NonNull<Node>);

// SAFETY: what a handle gives access to is shared between threads: atomics, values that are `Send` and
// `Sync` (asserted below), and cells and pointers that are touched under a lock. The count of
// references is atomic, and whoever frees the node comes after all others (`Handle::let_go`).
unsafe impl Send for Handle {}
// SAFETY: as above; a shared handle can do nothing that a clone of it cannot.
unsafe impl Sync for Handle {}

const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<(Label, Value, TraceId, Arc<Reason>, Waker, Role, Moment)>();
};

/// 120 bytes, with the allocator's header one of 128.
pub(crate) struct Node {
    /// Handles, and the list that it is in.
    refs: AtomicU32,
    /// [`OWNER`], each future that runs here, and one for the list of children while there are any.
    /// Zero: ended.
    holds: AtomicU32,
    /// How many of its futures are being polled.
    polled: AtomicU32,
    role: Role,
    /// A shielded node is not reached by cancels and deadlines from above.
    shielded: bool,
    /// Whether it was born into its parent's list.
    listed: bool,
    /// Whether `extra` is its own.
    owns_extra: bool,
    id: u64,
    parent: Option<Handle>,
    /// Belongs to the parent's list and its lock.
    links: UnsafeCell<Links>,
    /// The state, and the branch once there is one.
    branch: AtomicPtr<Branch>,
    label: Label,
    created: Moment,
    /// The earlier of the own deadline and the parent's.
    deadline: Moment,
    place: &'static Location<'static>,
    /// The node's own, or that of the nearest node above that has one.
    extra: NonNull<Extra>,
    #[cfg(feature = "loom")]
    watched: Watched,
}

/// Lets loom see that nobody looks at a node while or after it is freed, and that it is freed.
#[cfg(feature = "loom")]
struct Watched {
    access: UnsafeCell<()>,
    _leak: loom::alloc::Track<()>,
}

/// The neighbours in the parent's list. In no list: the node itself is its `prev`.
#[derive(Clone, Copy)]
struct Links {
    prev: Option<NonNull<Node>>,
    next: Option<NonNull<Node>>,
}

/// What few nodes have and all below share: a root's, and that of a node with a value or a trace.
struct Extra {
    trace: TraceId,
    value: Option<Value>,
    /// The nearest one of a node above.
    above: Option<NonNull<Extra>>,
    /// The parent that was asked for where an ancestor had to adopt: `above` comes from there.
    heir_of: Option<Handle>,
}

/// What only nodes have that were cancelled themselves, have children or are waited for.
struct Branch {
    /// Set before the state becomes [`HERE`], and read only in that state.
    reason: OnceLock<Arc<Reason>>,
    /// In the state [`ABOVE`]: the branch of the ancestor whose reason it is, or null while nobody has
    /// said so yet. Spares the way up, which in a deep tree is long.
    cause: AtomicPtr<Branch>,
    lists: Mutex<Lists>,
}

#[derive(Default)]
struct Lists {
    /// The oldest child.
    head: Option<NonNull<Node>>,
    tail: Option<NonNull<Node>>,
    children: usize,
    cursors: Cursors,
    waiters: Wakers,
    joiners: Wakers,
    /// Traces started from this node so far.
    traces: u64,
    /// Tasks directly below that panicked, and what the last one said.
    panics: Option<Box<(u64, String)>>,
}

/// Where walks that let go of the lock will go on: each at a child that is in the list, or at the end.
#[derive(Default)]
struct Cursors(Option<Box<Slab<Option<NonNull<Node>>>>>);

const _: () = assert!(align_of::<Branch>() > STATE, "the state has to fit below the address");

fn state(word: *mut Branch) -> usize {
    word.addr() & STATE
}

fn with_state(word: *mut Branch, state: usize) -> *mut Branch {
    word.map_addr(|address| address & !STATE | state)
}

impl Node {
    pub(crate) fn root(
        label: Label,
        trace: TraceId,
        value: Option<Value>,
        place: &'static Location<'static>,
    ) -> Handle {
        let now = Instant::now();
        let birth = Birth {
            label,
            deadline: None,
            now: Some(now),
            trace: Some(trace),
            shielded: false,
            role: Role::Context,
            value,
            place,
        };
        // SAFETY: it inherits nothing.
        unsafe { Self::new(birth, None, now.into(), Moment::NEVER) }.alone()
    }

    /// A node without a parent yet.
    ///
    /// # Safety
    ///
    /// Before anybody else has the node, it is given a handle of the node that `above` comes from, or
    /// of one below that, as its parent or as what it is heir of.
    unsafe fn new(birth: Birth, above: Option<&Extra>, created: Moment, deadline: Moment) -> Box<Self> {
        let mut node = Box::new(Self {
            refs: AtomicU32::new(1),
            holds: AtomicU32::new(OWNER),
            polled: AtomicU32::new(0),
            role: birth.role,
            shielded: birth.shielded,
            listed: false,
            owns_extra: false,
            id: next_id(),
            parent: None,
            links: UnsafeCell::new(Links { prev: None, next: None }),
            branch: AtomicPtr::new(null_mut()),
            label: birth.label,
            created,
            deadline,
            place: birth.place,
            extra: above.map_or(NonNull::dangling(), NonNull::from),
            #[cfg(feature = "loom")]
            watched: Watched { access: UnsafeCell::new(()), _leak: loom::alloc::Track::new(()) },
        });
        if above.is_none() || birth.value.is_some() || birth.trace.is_some() {
            // Only a root has nothing above, and it is given its trace.
            let trace = birth.trace.or(above.map(|extra| extra.trace)).unwrap_or(TraceId::from_u128(0));
            node.own(Extra { trace, value: birth.value, above: above.map(NonNull::from), heir_of: None });
        }
        node
    }

    fn extra(&self) -> &Extra {
        // SAFETY: it is the node's own, freed by its drop, or that of a node to which this one has a
        // handle, by way of its parent or of what it is heir of, and its ancestors (`new`).
        unsafe { self.extra.as_ref() }
    }

    /// Gives a fresh node an extra of its own.
    fn own(&mut self, extra: Extra) {
        self.extra = NonNull::from(Box::leak(Box::new(extra)));
        self.owns_extra = true;
    }

    /// Lets a fresh node keep what it inherits from somebody who will not be its parent.
    fn inherit(&mut self, from: &Handle) {
        let (trace, above) = (self.extra().trace, Some(self.extra));
        let (value, above) = match self.disown() {
            Some(own) => (own.value, own.above),
            None => (None, above),
        };
        self.own(Extra { trace, value, above, heir_of: Some(from.clone()) });
    }

    /// Takes the node's own extra out, for good: for its drop.
    fn disown(&mut self) -> Option<Box<Extra>> {
        let own = std::mem::take(&mut self.owns_extra);
        // SAFETY: leaked from a box by `own`. Whoever has the node mutably has it alone, and nobody
        // below it is left who could look at the extra: they would have a handle.
        own.then(|| unsafe { Box::from_raw(self.extra.as_ptr()) })
    }

    /// A node in no list.
    fn alone(self: Box<Self>) -> Handle {
        let node = NonNull::from(Box::leak(self));
        // SAFETY: nobody else has the node yet, so nobody else is in its cell.
        unsafe { node.as_ref().links.with_mut(|links| (*links).prev = Some(node)) };
        Handle(node)
    }

    fn is_marked(&self) -> bool {
        state(self.branch.load(Ordering::Acquire)) != ACTIVE
    }

    /// The branch in a word.
    ///
    /// # Safety
    ///
    /// `word` was read from `self.branch`, or written to it.
    unsafe fn branch_in(&self, word: *mut Branch) -> Option<&Branch> {
        // SAFETY: without the state, a word is null or a branch that `branch` leaked into it. That is
        // freed by this node's drop alone, and `self` is borrowed for as long as the result.
        unsafe { with_state(word, 0).as_ref() }
    }

    fn branch_if_any(&self) -> Option<&Branch> {
        // SAFETY: read this moment.
        unsafe { self.branch_in(self.branch.load(Ordering::Acquire)) }
    }

    /// The branch, made if there is none.
    fn branch(&self) -> &Branch {
        let mut word = self.branch.load(Ordering::Acquire);
        let mut unused = None;
        loop {
            // SAFETY: read from there, above or by the exchange below.
            if let Some(branch) = unsafe { self.branch_in(word) } {
                return branch;
            }
            let mut fresh = unused.take().unwrap_or_else(Branch::new);
            if state(word) == ABOVE {
                fresh.cause = AtomicPtr::new(self.cause().map_or(null_mut(), Branch::address));
            }
            let made = Box::into_raw(fresh);
            let tagged = with_state(made, state(word));
            match self.branch.compare_exchange(word, tagged, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: it was leaked a moment ago and is the node's from now on: see `branch_in`.
                Ok(_) => return unsafe { &*made },
                Err(now) => {
                    // SAFETY: leaked above, and nobody has seen it.
                    unused = Some(unsafe { Box::from_raw(made) });
                    word = now;
                }
            }
        }
    }

    /// The branch with the reason, here or above; `None` while active.
    fn cause(&self) -> Option<&Branch> {
        let mut node = self;
        loop {
            let word = node.branch.load(Ordering::Acquire);
            // SAFETY: read this moment.
            let branch = unsafe { node.branch_in(word) };
            match state(word) {
                HERE => return branch,
                ABOVE => {
                    let cause = branch.map_or(null_mut(), |branch| branch.cause.load(Ordering::Acquire));
                    // SAFETY: null, or the branch of an ancestor, which this node keeps.
                    if let Some(cause) = unsafe { cause.as_ref() } {
                        return Some(cause);
                    }
                    node = node.parent.as_ref()?.node();
                }
                _ => return None,
            }
        }
    }

    /// Goes from active to another state: `None` if somebody else did, or else the branch, if there
    /// is one. If there is none yet, whoever makes it finds the state.
    fn mark(&self, to: usize) -> Option<Option<&Branch>> {
        let mut word = self.branch.load(Ordering::Relaxed);
        while state(word) == ACTIVE {
            let marked = with_state(word, to);
            match self.branch.compare_exchange(word, marked, Ordering::AcqRel, Ordering::Relaxed) {
                // SAFETY: it was the node's word until this exchange.
                Ok(_) => return Some(unsafe { self.branch_in(word) }),
                Err(now) => word = now,
            }
        }
        None
    }

    /// The branch, if any was made *before* what comes next, or *after* what came before: a write of
    /// the word, so that of two threads one sees what the other did earlier.
    fn branch_or_settled(&self) -> Option<&Branch> {
        let mut word = self.branch.load(Ordering::Acquire);
        loop {
            // SAFETY: read from there, above or by the exchange below.
            if let Some(branch) = unsafe { self.branch_in(word) } {
                return Some(branch);
            }
            match self.branch.compare_exchange(word, word, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return None,
                Err(now) => word = now,
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let branch = with_state(self.branch.load(Ordering::Relaxed), 0);
        if !branch.is_null() {
            // SAFETY: `branch` leaked it into this word, and nobody else has the node any more.
            drop(unsafe { Box::from_raw(branch) });
        }
        drop(self.disown());
    }
}

impl Branch {
    fn new() -> Box<Self> {
        Box::new(Self {
            reason: OnceLock::new(),
            cause: AtomicPtr::new(null_mut()),
            lists: Mutex::new(Lists::default()),
        })
    }

    fn address(&self) -> *mut Self {
        std::ptr::from_ref(self).cast_mut()
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        // No code that can panic runs under the lock but the allocator.
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lists {
    fn wakers(&mut self, what: For) -> &mut Wakers {
        match what {
            For::Cancel => &mut self.waiters,
            For::Empty => &mut self.joiners,
        }
    }

    /// Puts a child at the end of the list.
    ///
    /// # Safety
    ///
    /// `self` is the list of `child`'s parent. The child is in no list, nobody else has it yet, and the
    /// list is given one of its references.
    unsafe fn push(&mut self, child: NonNull<Node>) {
        let links = Links { prev: self.tail, next: None };
        // SAFETY: nobody else has the child, so nobody else is in its cell.
        unsafe { child.as_ref().links.with_mut(|own| *own = links) };
        match self.tail {
            // SAFETY: the list's reference keeps `tail`, and its links belong to the lock that guards `self`.
            Some(tail) => unsafe { tail.as_ref().links.with_mut(|links| (*links).next = Some(child)) },
            None => self.head = Some(child),
        }
        self.tail = Some(child);
        self.children += 1;
    }

    /// Takes a child out of the list and moves the cursors on that stand at it. Returns false if it
    /// was in no list (any more); or else the list's reference is the caller's.
    ///
    /// # Safety
    ///
    /// `self` is the list of `child`'s parent, and the caller has a handle of the child.
    unsafe fn remove(&mut self, child: NonNull<Node>) -> bool {
        let out = Links { prev: Some(child), next: None };
        // SAFETY: the caller's handle keeps the child, and the lock that guards `self` its links.
        let links = unsafe { child.as_ref().links.with_mut(|links| std::mem::replace(&mut *links, out)) };
        if links.prev == Some(child) {
            return false;
        }
        match links.prev {
            // SAFETY: a neighbour is in the same list, whose reference keeps it; the same lock.
            Some(prev) => unsafe { prev.as_ref().links.with_mut(|own| (*own).next = links.next) },
            None => self.head = links.next,
        }
        match links.next {
            // SAFETY: as for `prev`.
            Some(next) => unsafe { next.as_ref().links.with_mut(|own| (*own).prev = links.prev) },
            None => self.tail = links.prev,
        }
        self.cursors.leave(child, links.next);
        self.children -= 1;
        true
    }
}

impl Cursors {
    /// Takes a cursor back: the child at which its walk goes on; `None` if that is the end by now.
    fn take(&mut self, key: usize) -> Option<NonNull<Node>> {
        let parked = self.0.as_mut()?;
        let at = parked.try_remove(key).flatten();
        if parked.is_empty() {
            self.0 = None;
        }
        at
    }

    fn park(&mut self, at: NonNull<Node>) -> usize {
        self.0.get_or_insert_default().insert(Some(at))
    }

    /// A child leaves the list: those who stand at it go on to the next.
    fn leave(&mut self, child: NonNull<Node>, next: Option<NonNull<Node>>) {
        let parked = self.0.iter_mut().flat_map(|parked| parked.iter_mut());
        parked.filter(|(_, at)| **at == Some(child)).for_each(|(_, at)| *at = next);
    }
}

/// A walk through the children that a node has at its start: a few under each lock.
struct Walk {
    at: At,
    /// Children to come at most. Those that are added later come after them.
    left: usize,
}

enum At {
    Start,
    Cursor(usize),
    End,
}

impl Walk {
    fn new() -> Self {
        Self { at: At::Start, left: usize::MAX }
    }

    /// Shows the next few children. Returns whether there may be more.
    fn few(&mut self, lists: &mut Lists, mut each: impl FnMut(&Handle)) -> bool {
        let mut at = match self.at {
            At::Start => {
                self.left = lists.children;
                lists.head
            }
            At::Cursor(key) => lists.cursors.take(key),
            At::End => None,
        };
        let mut room = CHUNK;
        while let Some(child) = at.filter(|_| room > 0 && self.left > 0) {
            (room, self.left) = (room - 1, self.left - 1);
            // SAFETY: heads, cursors and neighbours are in the list, whose reference keeps them, and
            // `lists` comes from under the list's lock.
            at = unsafe { child.as_ref().links.with(|links| (*links).next) };
            // Borrows the list's reference for the time of the call.
            each(&ManuallyDrop::new(Handle(child)));
        }
        self.at = match at.filter(|_| self.left > 0) {
            Some(at) => At::Cursor(lists.cursors.park(at)),
            None => At::End,
        };
        matches!(self.at, At::Cursor(_))
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        let before = self.node().refs.fetch_add(1, Ordering::Relaxed);
        if before > MOST {
            // A program with a thousand million handles of one node leaks them. Going on would let
            // the count overflow and free what is in use.
            std::process::abort();
        }
        Self(self.0)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.let_go() {
            return;
        }
        let (mut next, mut more) = (Some(self.0), Vec::new());
        while let Some(node) = next {
            // SAFETY: this was the last reference, so nobody else can reach the node; it was leaked
            // from a box (`alone`, `adopt`).
            let mut node = unsafe { Box::from_raw(node.as_ptr()) };
            #[cfg(feature = "loom")]
            node.watched.access.with_mut(|_| ());
            // A loop in place of the recursion that dropping a chain of parents would be.
            let (parent, mut extra) = (node.parent.take(), node.disown());
            more.extend(extra.as_mut().and_then(|extra| extra.heir_of.take()));
            drop((node, extra));
            next = parent.and_then(Self::into_last);
            while let (None, Some(other)) = (next, more.pop()) {
                next = other.into_last();
            }
        }
    }
}

impl Handle {
    fn node(&self) -> &Node {
        // SAFETY: a handle is a reference of a node that was leaked from a box and is freed with the
        // last reference. Nobody has it mutably: what changes is atomic or in a cell.
        let node = unsafe { self.0.as_ref() };
        #[cfg(feature = "loom")]
        node.watched.access.with(|_| ());
        node
    }

    /// Gives the reference back; whether it was the last. All that others did with theirs came before.
    fn let_go(&self) -> bool {
        let last = self.node().refs.fetch_sub(1, Ordering::Release) == 1;
        if last {
            fence(Ordering::Acquire);
        }
        last
    }

    /// [`Handle::let_go`] without the rest of its drop: the node to free, if it was the last.
    fn into_last(self) -> Option<NonNull<Node>> {
        let handle = ManuallyDrop::new(self);
        handle.let_go().then_some(handle.0)
    }

    /// A child with one hold, that of its owner. Below a cancelled parent it is born cancelled;
    /// below an ended one it is cancelled and in no list, so that nothing can be added to a tree
    /// that somebody has already seen empty.
    pub(crate) fn child(&self, birth: Birth) -> Self {
        let created = birth.now.map_or_else(Moment::about_now, Moment::from);
        let from_above = if birth.shielded { self.shield_deadline() } else { self.node().deadline };
        let deadline = from_above.min(birth.deadline.into());
        let shielded = birth.shielded;
        // SAFETY: `adopt` and `stillborn` make this node its parent; if another one adopts it, `inherit`
        // has made it this one's heir.
        let mut child = unsafe { Node::new(birth, Some(self.node().extra()), created, deadline) };
        let mut parent = self;
        let child = loop {
            child = match parent.adopt(child) {
                Ok(child) => break child,
                Err(child) => child,
            };
            // Clean-up outlives what it cleans up: the nearest ancestor that is left adopts it.
            match parent.parent() {
                Some(above) if shielded => {
                    if parent.is(self) {
                        child.inherit(self);
                    }
                    parent = above;
                }
                _ => break self.stillborn(child),
            }
        };
        if deadline <= created {
            child.expire();
        }
        child
    }

    /// Puts a fresh node into the list of children, or gives it back if this node has ended.
    fn adopt(&self, mut child: Box<Node>) -> Result<Self, Box<Node>> {
        let mut lists = self.node().branch().lock();
        if lists.children == 0 && !self.hold() {
            return Err(child);
        }
        child.parent = Some(self.clone());
        child.listed = true;
        child.refs = AtomicU32::new(2);
        if !child.shielded && self.is_marked() {
            child.branch = AtomicPtr::new(with_state(null_mut(), ABOVE));
        }
        let child = NonNull::from(Box::leak(child));
        // SAFETY: it is our list, nobody else has the child, and of its two references one is the list's.
        unsafe { lists.push(child) };
        Ok(Self(child))
    }

    /// A child for which nobody is left: cancelled, and in no list.
    fn stillborn(&self, mut child: Box<Node>) -> Self {
        child.parent = Some(self.clone());
        if self.is_marked() {
            child.branch = AtomicPtr::new(with_state(null_mut(), ABOVE));
            return child.alone();
        }
        let child = child.alone();
        child.mark_here(&Reason::from(ReasonKind::OwnerDropped).stamped(self.label(), self.trace()));
        child
    }

    /// Marks a node whose parent is marked, and lets it remember whose reason it is. Returns whether
    /// it has a branch, with children to follow perhaps; `None` if it was marked before.
    fn follow(&self) -> Option<bool> {
        let branch = self.node().mark(ABOVE)?;
        if let (Some(branch), Some(parent)) = (branch, self.parent()) {
            let cause = parent.node().cause().map_or(null_mut(), Branch::address);
            branch.cause.store(cause, Ordering::Release);
        }
        Some(branch.is_some())
    }

    /// Takes the node out of its parent's list. If that is empty now, returns the parent, whose hold
    /// the list has had.
    fn unlist(&self) -> Option<&Self> {
        let parent = self.parent()?;
        let mut lists = parent.node().branch_if_any()?.lock();
        // SAFETY: the list is that of the node's parent, and `self` is a handle.
        let was_listed = unsafe { lists.remove(self.0) };
        let empty = lists.children == 0;
        drop(lists);
        if was_listed {
            drop(Self(self.0)); // the list's reference
        }
        (was_listed && empty).then_some(parent)
    }

    /// The nearest value of a type, here or above.
    pub(crate) fn value<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let mut extra = self.node().extra();
        loop {
            if let Some(value) = extra.value.as_ref().filter(|value| value.of == TypeId::of::<T>()) {
                return value.value.downcast_ref();
            }
            // SAFETY: as for `Node::extra`: it is that of a node which the owner of this one has a handle to.
            extra = unsafe { extra.above?.as_ref() };
        }
    }

    pub(crate) fn parent(&self) -> Option<&Self> {
        self.node().parent.as_ref()
    }
}

/// The way through the children of a node: at most a chunk of them at a time.
pub(crate) struct Children {
    node: Handle,
    walk: Walk,
}

impl Children {
    pub(crate) fn of(node: &Handle) -> Self {
        Self { node: node.clone(), walk: Walk::new() }
    }

    /// The next few of the children that there were at the start, and none at the end.
    pub(crate) fn next_few(&mut self) -> Vec<Handle> {
        let mut found = Vec::new();
        if let Some(branch) = self.node.node().branch_if_any() {
            self.walk.few(&mut branch.lock(), |child| found.push(child.clone()));
        }
        found
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        if let (At::Cursor(key), Some(branch)) = (&self.walk.at, self.node.node().branch_if_any()) {
            branch.lock().cursors.take(*key);
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::Node;

    #[test]
    fn a_node_is_small() {
        assert!(size_of::<Node>() <= 120, "{} bytes", size_of::<Node>());
    }
}
