//! The live tree as a value, to print, to serve and to assert on.

mod filter;
#[cfg(feature = "serde")]
mod json;
mod text;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

pub use self::filter::{Filter, FilterError};
pub use self::text::Stuck;
use crate::Instant;
use crate::node::{Children, Handle, Role};
use crate::reason::{Kind, Label, Reason, TraceId};

/// A snapshot of a context and everything below it, in depth-first order.
///
/// Taken without stopping anybody: each node is as it was when the walk passed it, and no lock was
/// held for more than 64 of them. Prints as text; with the feature `serde` it serialises.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<TreeNode>,
}

/// One context in a [`Tree`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TreeNode {
    /// Levels below the context that was dumped, which has 0.
    pub depth: usize,
    /// A number that no other context of the process has.
    pub id: u64,
    /// Kind and name.
    pub label: Label,
    /// Time since it was made.
    pub age: Duration,
    /// Why and since when it is cancelled; `None` while active.
    pub cancelled: Option<(Arc<Reason>, Duration)>,
    /// Time to its deadline, zero if past.
    pub remaining: Option<Duration>,
    /// What keeps it from having ended: its scope, its children, its futures.
    pub holds: usize,
    /// Whether its scope still exists. If that is all that keeps a cancelled context, somebody has
    /// kept the scope.
    pub owned: bool,
    /// Whether cancels from above pass it by.
    pub shielded: bool,
    /// What goes on in it.
    pub activity: Activity,
    /// Tasks at and below it.
    pub tasks: usize,
    /// Tasks directly below that have panicked so far.
    pub panics: u64,
    /// Which task the last one was, and what it said.
    pub last_panic: Option<String>,
    /// Its trace.
    pub trace: TraceId,
    /// Where in the program it was made.
    pub place: &'static Location<'static>,
    /// Whether it is what was asked for. If not, it is there because something below it is.
    pub matched: bool,
}

/// Whether a context is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// It is.
    Active,
    /// It is cancelled and has not ended yet.
    Stopping,
}

impl State {
    /// The word for it: `active`, `stopping`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Stopping => "stopping",
        }
    }
}

/// What goes on in a context itself, not in those below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activity {
    /// Nothing: it is there for those below it, or for whoever keeps its scope.
    Idle,
    /// Its futures wait for something.
    Waiting,
    /// A thread is in the middle of a poll of one of its futures, or in their destructors.
    Running,
    /// A thread blocks, which nobody can stop.
    Blocking,
    /// Clean-up that waits for the cancel.
    OnCancel,
}

impl Activity {
    /// The word for it: `idle`, `waiting`, `running`, `blocking`, `on_cancel`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Blocking => "blocking",
            Self::OnCancel => "on_cancel",
        }
    }
}

/// One line of a printed tree: see [`Tree::rows`].
#[derive(Clone, Copy, Debug)]
pub enum Row<'a> {
    /// A context.
    Context(&'a TreeNode),
    /// Contexts that look alike.
    More(More),
}

/// Children of one context, of one kind and in one state, of which there are too many to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct More {
    /// Their depth.
    pub depth: usize,
    /// Their kind.
    pub kind: Kind,
    /// Their state.
    pub state: State,
    /// How many of them are left out.
    pub count: usize,
    /// How many contexts below those are left out with them.
    pub below: usize,
    /// The age of the oldest of them.
    pub oldest: Duration,
}

/// Groups of siblings above this are collapsed.
const ALIKE: usize = 200;

/// So many of a collapsed group are shown: the first made.
const SHOWN: usize = 10;

impl Tree {
    pub(crate) fn of(top: &Handle) -> Self {
        let now = Instant::now();
        let mut nodes = Vec::new();
        // (node, depth, trace, its children as far as they have been looked at)
        let mut stack = vec![(top.clone(), 0, top.trace(), None)];
        while let Some((node, depth, trace, children)) = stack.pop() {
            let mut children = children.unwrap_or_else(|| {
                nodes.push(TreeNode::of(&node, depth, trace, now));
                Children::of(&node)
            });
            let few = children.next_few();
            if !few.is_empty() {
                stack.push((node, depth, trace, Some(children)));
                stack.extend(few.into_iter().rev().map(|child| {
                    let own = child.trace_below(trace);
                    (child, depth + 1, own, None)
                }));
            }
        }
        let mut tree = Self { nodes };
        tree.sum_tasks();
        tree
    }

    /// Adds to each node's tasks those below it.
    fn sum_tasks(&mut self) {
        // From the last node on, a parent comes after all that is below it. For each depth, what has
        // been seen of it and not yet been claimed by a parent.
        let mut unclaimed = Vec::<usize>::new();
        for node in self.nodes.iter_mut().rev() {
            if unclaimed.len() < node.depth + 2 {
                unclaimed.resize(node.depth + 2, 0);
            }
            node.tasks += std::mem::take(&mut unclaimed[node.depth + 1]);
            unclaimed[node.depth] += node.tasks;
        }
    }

    /// The contexts, parents before their children.
    pub fn nodes(&self) -> &[TreeNode] {
        &self.nodes
    }

    /// How many contexts there are, the top one included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing below the top.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() <= 1
    }

    /// What of the tree is shown, as text and as JSON: of more than 200 children of one context that
    /// are of one kind and in one state, the ten that were made first and the number of the others.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let groups = self.groups();
        let mut rows = Vec::new();
        // The path to the node the walk is at: for each level, the groups there that are collapsed.
        let mut path: Vec<Vec<More>> = Vec::new();
        // Where the walk is below a node that is left out: its depth and its group.
        let mut left_out: Option<(usize, usize)> = None;
        for (node, group) in self.nodes.iter().zip(&groups.of) {
            if let Some((depth, more)) = left_out {
                if node.depth > depth {
                    path[depth][more].below += 1;
                    continue;
                }
                left_out = None;
            }
            while path.len() > node.depth + 1 {
                rows.extend(path.pop().into_iter().flatten().map(Row::More));
            }
            path.resize_with(node.depth + 1, Vec::new);
            let hidden = groups.collapsed.contains(group) && !groups.shown.contains(&node.id);
            if !hidden {
                rows.push(Row::Context(node));
                continue;
            }
            let level = &mut path[node.depth];
            let alike = |more: &More| more.kind == node.label.kind() && more.state == node.state();
            let more = level.iter().position(alike).unwrap_or_else(|| {
                level.push(More {
                    depth: node.depth,
                    kind: node.label.kind(),
                    state: node.state(),
                    count: 0,
                    below: 0,
                    oldest: Duration::ZERO,
                });
                level.len() - 1
            });
            level[more].count += 1;
            level[more].oldest = level[more].oldest.max(node.age);
            left_out = Some((node.depth, more));
        }
        while let Some(level) = path.pop() {
            rows.extend(level.into_iter().map(Row::More));
        }
        rows
    }

    /// Which siblings look alike.
    fn groups(&self) -> Groups {
        let mut known = HashMap::new();
        let mut members: Vec<usize> = Vec::new();
        let mut path: Vec<usize> = Vec::new();
        let mut of = Vec::with_capacity(self.nodes.len());
        for (place, node) in self.nodes.iter().enumerate() {
            path.truncate(node.depth);
            let key = (path.last().copied(), node.label.kind(), node.state());
            path.push(place);
            let group = *known.entry(key).or_insert_with(|| {
                members.push(0);
                members.len() - 1
            });
            members[group] += 1;
            of.push(group);
        }
        let mut oldest: HashMap<usize, Vec<(Reverse<Duration>, u64)>> = HashMap::new();
        for (node, group) in self.nodes.iter().zip(&of) {
            if members[*group] > ALIKE {
                oldest.entry(*group).or_default().push((Reverse(node.age), node.id));
            }
        }
        let mut shown = HashSet::new();
        for ages in oldest.values_mut() {
            ages.sort_unstable();
            shown.extend(ages.iter().take(SHOWN).map(|(_, id)| *id));
        }
        Groups { of, collapsed: oldest.into_keys().collect(), shown }
    }

    /// What is stopping for at least this long and has nothing below it: where the time goes. Those
    /// above wait for these.
    pub fn stuck(&self, after: Duration) -> Vec<Stuck<'_>> {
        let mut path: Vec<&Label> = Vec::new();
        let mut stuck = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            path.truncate(node.depth);
            path.push(&node.label);
            let is_leaf = self.nodes.get(place + 1).is_none_or(|next| next.depth <= node.depth);
            if is_leaf && node.cancelled.as_ref().is_some_and(|(_, since)| *since >= after) {
                stuck.push(Stuck { path: path.clone(), node });
            }
        }
        stuck
    }
}

/// Siblings that look alike, by number.
struct Groups {
    /// The group of each node.
    of: Vec<usize>,
    collapsed: HashSet<usize>,
    /// Those of the collapsed groups that are shown all the same.
    shown: HashSet<u64>,
}

impl TreeNode {
    fn of(node: &Handle, depth: usize, trace: TraceId, now: Instant) -> Self {
        let since = |at: Instant| now.saturating_duration_since(at);
        let held = node.held();
        let (panics, last_panic) = node.panics();
        let activity = match node.role() {
            Role::Blocking => Activity::Blocking,
            Role::OnCancel => Activity::OnCancel,
            Role::Context | Role::Task if node.is_polled() => Activity::Running,
            Role::Context | Role::Task if held.futures > 0 => Activity::Waiting,
            Role::Context | Role::Task => Activity::Idle,
        };
        Self {
            depth,
            id: node.id(),
            label: node.label().clone(),
            age: since(node.created()),
            // A deadline counts from the moment it has passed, seen or not.
            cancelled: node.reason().map(|reason| {
                let ago = reason.at().map(since).unwrap_or_default();
                (reason, ago)
            }),
            remaining: node.deadline().map(|at| at.saturating_duration_since(now)),
            holds: usize::from(held.owned) + held.futures + held.children,
            owned: held.owned,
            shielded: node.is_shielded(),
            activity,
            tasks: usize::from(matches!(node.role(), Role::Task | Role::Blocking)),
            panics,
            last_panic,
            trace,
            place: node.place(),
            matched: true,
        }
    }

    /// Whether it is cancelled.
    pub fn state(&self) -> State {
        match self.cancelled {
            None => State::Active,
            Some(_) => State::Stopping,
        }
    }
}
