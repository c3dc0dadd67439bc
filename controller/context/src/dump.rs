//! The live tree as a value, to print, to serve and to assert on.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::Instant;
use crate::node::Node;
use crate::reason::{Kind, Label, Reason, TraceId};

/// A snapshot of a context and everything below it, in depth-first order.
///
/// Taken without stopping anybody: each node is as it was when the walk passed it.
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
    /// Kind and name.
    pub label: Label,
    /// Time since it was made.
    pub age: Duration,
    /// Why and since when it is cancelled; `None` while active.
    pub cancelled: Option<(Arc<Reason>, Duration)>,
    /// Time to its deadline, zero if past.
    pub remaining: Option<Duration>,
    /// What keeps it from having ended: its scope, its children, its running futures.
    pub holds: usize,
    /// Whether cancels from above pass it by.
    pub shielded: bool,
    /// Its trace.
    pub trace: TraceId,
    /// Where in the program it was made.
    pub place: &'static Location<'static>,
}

impl Tree {
    pub(crate) fn of(top: &Arc<Node>) -> Self {
        let now = Instant::now();
        let mut nodes = Vec::new();
        // (node, depth, where to go on in its list of children)
        let mut stack = vec![(Arc::clone(top), 0, None)];
        while let Some((node, depth, from)) = stack.pop() {
            if from.is_none() {
                nodes.push(TreeNode::of(&node, depth, now));
            }
            let (children, next) = node.children_from(from.unwrap_or(0));
            if next.is_some() {
                stack.push((node, depth, next));
            }
            stack.extend(children.into_iter().rev().map(|child| (child, depth + 1, None)));
        }
        Self { nodes }
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
}

impl TreeNode {
    fn of(node: &Arc<Node>, depth: usize, now: Instant) -> Self {
        let since = |at: Instant| now.saturating_duration_since(at);
        Self {
            depth,
            label: node.label().clone(),
            age: since(node.created()),
            cancelled: node.marked().map(|reason| (Arc::clone(reason), reason.at().map(since).unwrap_or_default())),
            remaining: node.deadline().map(|at| at.saturating_duration_since(now)),
            holds: node.holds(),
            shielded: node.is_shielded(),
            trace: node.trace(),
            place: node.place(),
        }
    }
}

/// So many siblings of one kind are printed.
const SIBLINGS: usize = 100;

/// Deeper levels than this are printed with the indentation of this one.
const DEEPEST_INDENT: usize = 32;

impl fmt::Display for TreeNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indent = 2 * self.depth.min(DEEPEST_INDENT);
        write!(f, "{:indent$}{}  {:.1?}", "", self.label, self.age)?;
        if let Some(left) = self.remaining {
            write!(f, "  {left:.1?} left")?;
        }
        if self.shielded {
            write!(f, "  shielded")?;
        }
        if let Some((reason, since)) = &self.cancelled {
            write!(f, "  cancelled {since:.1?} ago: {reason}")?;
        }
        write!(f, "  [{}:{}]", self.place.file(), self.place.line())
    }
}

/// Prints every context on a line of its own, but of many siblings of one kind only the first.
impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // For each level of the path to the current node: how many of each kind there were.
        let mut path: Vec<BTreeMap<Kind, usize>> = Vec::new();
        // The depth of a node that is left out, while the walk is below it.
        let mut skipping = None;
        for node in &self.nodes {
            if skipping.is_some_and(|depth| node.depth > depth) {
                continue;
            }
            for (depth, kinds) in path.drain((node.depth + 1).min(path.len())..).enumerate().rev() {
                left_out(f, node.depth + 1 + depth, &kinds)?;
            }
            path.resize_with(node.depth + 1, BTreeMap::new);
            let count = path[node.depth].entry(node.label.kind()).or_default();
            *count += 1;
            skipping = (*count > SIBLINGS).then_some(node.depth);
            if skipping.is_none() {
                writeln!(f, "{node}")?;
            }
        }
        for (depth, kinds) in path.iter().enumerate().rev() {
            left_out(f, depth, kinds)?;
        }
        Ok(())
    }
}

/// Says of which kinds there were more siblings than were printed.
fn left_out(f: &mut fmt::Formatter<'_>, depth: usize, kinds: &BTreeMap<Kind, usize>) -> fmt::Result {
    let indent = 2 * depth.min(DEEPEST_INDENT);
    for (kind, count) in kinds {
        if let more @ 1.. = count.saturating_sub(SIBLINGS) {
            writeln!(f, "{:indent$}… and {more} more {kind}", "")?;
        }
    }
    Ok(())
}
