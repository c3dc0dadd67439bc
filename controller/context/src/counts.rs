//! How many contexts there are and how many were cancelled: what a metrics endpoint asks for.
//!
//! Live contexts are counted when somebody asks, by a walk through the tree: a counter for each kind
//! would be one more contended word for every context that is made, to save a millisecond for every
//! ten thousand contexts on each scrape. What only grows is counted where it happens, once for each
//! cancel and not for each context, and kept at the root: there is no registry of all trees.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::node::{Children, Handle, Role};
use crate::reason::{Kind, ReasonKind};
use crate::{Ctx, Instant};

/// The contexts that exist, by kind: see [`Ctx::counts`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Only kinds of which there are any.
    pub kinds: BTreeMap<Kind, KindCounts>,
}

/// How many contexts of one kind exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindCounts {
    /// Active ones.
    pub live: usize,
    /// Cancelled ones that have not ended.
    pub stopping: usize,
    /// Those of either that are tasks, threads that block included.
    pub tasks: usize,
    /// The longest time that one of them has been stopping; zero if none is.
    pub longest_stopping: Duration,
}

impl Counts {
    pub(crate) fn of(top: &Handle) -> Self {
        let now = Instant::now();
        let mut counts = Self::default();
        let mut stack = vec![Children::of(top)];
        counts.add(top, now);
        while let Some(mut children) = stack.pop() {
            let few = children.next_few();
            if few.is_empty() {
                continue;
            }
            stack.push(children);
            for child in few {
                counts.add(&child, now);
                stack.push(Children::of(&child));
            }
        }
        counts
    }

    fn add(&mut self, node: &Handle, now: Instant) {
        let count = self.kinds.entry(node.label().kind()).or_default();
        // A deadline counts from the moment it has passed, seen or not.
        match node.reason() {
            None => count.live += 1,
            Some(reason) => {
                count.stopping += 1;
                let since = reason.at().map(|at| now.saturating_duration_since(at)).unwrap_or_default();
                count.longest_stopping = count.longest_stopping.max(since);
            }
        }
        count.tasks += usize::from(matches!(node.role(), Role::Task | Role::Blocking));
    }

    /// Active contexts of all kinds.
    pub fn live(&self) -> usize {
        self.kinds.values().map(|count| count.live).sum()
    }

    /// Contexts of all kinds that are cancelled and have not ended.
    pub fn stopping(&self) -> usize {
        self.kinds.values().map(|count| count.stopping).sum()
    }

    /// Tasks of all kinds.
    pub fn tasks(&self) -> usize {
        self.kinds.values().map(|count| count.tasks).sum()
    }
}

/// What has happened in a tree since its root was made: see [`Ctx::totals`]. Only grows.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Totals {
    /// Contexts that a cancel or a deadline has reached, by kind and by the kind of the reason. A
    /// scope that simply ends is not counted; what it leaves below and thereby cancels is.
    pub cancelled: BTreeMap<(Kind, ReasonKind), u64>,
    /// Panics caught at the edge of a task, by the kind of the task.
    pub panicked: BTreeMap<Kind, u64>,
    /// How long [`crate::Scope::stop`] took, by the kind of the scope, successful or not.
    pub joins: BTreeMap<Kind, Joins>,
}

/// A histogram of seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Joins {
    /// How many there were.
    pub count: u64,
    /// Their sum.
    pub seconds: f64,
    /// How many there were up to each of [`Joins::BOUNDS`] and above the one before; the last
    /// counts what is above all.
    pub buckets: [u64; Self::BOUNDS.len() + 1],
}

impl Joins {
    /// The upper bounds of the buckets in seconds.
    pub const BOUNDS: [f64; 8] = [0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

    fn add(&mut self, seconds: f64) {
        self.count += 1;
        self.seconds += seconds;
        self.buckets[Self::BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
    }
}

impl Ctx {
    /// Counts the contexts at and below this one, by kind. A walk without copies, which holds no
    /// lock for more than 64 contexts at a time: some milliseconds for a hundred thousand.
    pub fn counts(&self) -> Counts {
        Counts::of(self.node())
    }

    /// What has been counted in the whole tree since its root was made.
    pub fn totals(&self) -> Totals {
        self.get::<Ledger>().map(Ledger::read).unwrap_or_default()
    }
}

/// Where a tree keeps its totals: a value of its root.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Totals>);

impl Ledger {
    fn change(&self, how: impl FnOnce(&mut Totals)) {
        how(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn read(&self) -> Totals {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn panicked(&self, kind: Kind) {
        self.change(|totals| *totals.panicked.entry(kind).or_default() += 1);
    }

    pub(crate) fn joined(&self, kind: Kind, after: Duration) {
        self.change(|totals| totals.joins.entry(kind).or_default().add(after.as_secs_f64()));
    }
}

/// What one cancel has marked so far. There are few kinds, and what is marked in a row is mostly of
/// one: a short list is searched faster than a map, and one kind needs no list.
#[derive(Default)]
pub(crate) struct Marked {
    first: Option<(Kind, u64)>,
    others: Vec<(Kind, u64)>,
}

impl Marked {
    pub(crate) fn add(&mut self, kind: Kind) {
        let (first, count) = self.first.get_or_insert((kind, 0));
        if *first == kind {
            *count += 1;
        } else {
            match self.others.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, count)) => *count += 1,
                None => self.others.push((kind, 1)),
            }
        }
    }

    pub(crate) fn note(self, ledger: &Ledger, reason: ReasonKind) {
        if self.first.is_none() {
            return;
        }
        ledger.change(|totals| {
            for (kind, count) in self.first.into_iter().chain(self.others) {
                *totals.cancelled.entry((kind, reason)).or_default() += count;
            }
        });
    }
}
