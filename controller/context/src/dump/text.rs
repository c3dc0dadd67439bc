//! Trees for people.

use std::fmt;

use super::{Activity, Row, Tree, TreeNode};
use crate::reason::Label;

/// Deeper levels than this are printed with the indentation of this one.
const DEEPEST_INDENT: usize = 32;

impl fmt::Display for TreeNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indent = 2 * self.depth.min(DEEPEST_INDENT);
        write!(f, "{:indent$}{}  {:.1?}  {}", "", self.label, self.age, Doing(self))?;
        if let Some(left) = self.remaining {
            write!(f, "  {left:.1?} left")?;
        }
        if self.tasks > 0 {
            write!(f, "  tasks {}", self.tasks)?;
        }
        if self.shielded {
            write!(f, "  shielded")?;
        }
        if let Some((reason, since)) = &self.cancelled {
            write!(f, "  cancelled {since:.1?} ago: {reason}")?;
        }
        if let Some(last) = &self.last_panic {
            write!(f, "  {} panicked, the last one {last}", self.panics)?;
        }
        write!(f, "  trace {}  [{}:{}]", self.trace, self.place.file(), self.place.line())
    }
}

/// What a context is doing, and what that means for somebody who waits for its end.
struct Doing<'a>(&'a TreeNode);

impl fmt::Display for Doing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(node) = self;
        match node.activity {
            Activity::Blocking => f.write_str("blocking, cannot be stopped"),
            Activity::OnCancel => f.write_str("on cancel"),
            Activity::Idle if node.cancelled.is_some() && node.owned && node.holds == 1 => {
                f.write_str("nothing runs, its scope is kept")
            }
            Activity::Idle | Activity::Waiting | Activity::Running => f.write_str(node.activity.as_str()),
        }
    }
}

/// Prints the rows, one to a line, and more below where there is more than can be read.
impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in self.rows() {
            match row {
                Row::Context(node) => writeln!(f, "{node}")?,
                Row::More(more) => {
                    let indent = 2 * more.depth.min(DEEPEST_INDENT);
                    write!(f, "{:indent$}… and {} more {}, {}", "", more.count, more.kind, more.state.as_str())?;
                    if more.below > 0 {
                        write!(f, ", with {} below", more.below)?;
                    }
                    writeln!(f, ", the oldest {:.1?}", more.oldest)?;
                }
            }
        }
        Ok(())
    }
}

/// A context that should have ended long ago. Prints as one line: what it is and whose, what it does,
/// since when it should be gone and why, where it was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stuck<'a> {
    /// The labels from the context that was dumped to this one.
    pub path: Vec<&'a Label>,
    /// The context.
    pub node: &'a TreeNode,
}

impl fmt::Display for Stuck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, label) in self.path.iter().enumerate() {
            write!(f, "{}{label}", if place == 0 { "" } else { " > " })?;
        }
        let node = self.node;
        write!(f, ": {}", Doing(node))?;
        if let Some((reason, since)) = &node.cancelled {
            write!(f, ", {since:.1?} after {reason}")?;
        }
        write!(f, "; made {:.1?} ago at {}:{}, trace {}", node.age, node.place.file(), node.place.line(), node.trace)
    }
}
