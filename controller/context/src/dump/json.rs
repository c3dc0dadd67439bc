//! Trees for programs: a flat list, so that no depth is too deep.

use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{More, Row, Tree, TreeNode};
use crate::reason::Reason;

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tasks = self.nodes.first().map_or(0, |top| top.tasks);
        let mut tree = serializer.serialize_struct("Tree", 3)?;
        tree.serialize_field("contexts", &self.nodes.len())?;
        tree.serialize_field("tasks", &tasks)?;
        tree.serialize_field("rows", &self.rows())?;
        tree.end()
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Context(node) => node.serialize(serializer),
            Self::More(more) => more.serialize(serializer),
        }
    }
}

/// Fields without a value are left out.
impl Serialize for TreeNode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_struct("TreeNode", 17)?;
        row.serialize_field("depth", &self.depth)?;
        row.serialize_field("id", &self.id)?;
        row.serialize_field("kind", self.label.kind().as_str())?;
        match self.label.name() {
            Some(name) => row.serialize_field("name", name)?,
            None => row.skip_field("name")?,
        }
        row.serialize_field("state", self.state().as_str())?;
        row.serialize_field("activity", self.activity.as_str())?;
        row.serialize_field("age_seconds", &self.age.as_secs_f64())?;
        match self.remaining {
            Some(left) => row.serialize_field("remaining_seconds", &left.as_secs_f64())?,
            None => row.skip_field("remaining_seconds")?,
        }
        row.serialize_field("tasks", &self.tasks)?;
        row.serialize_field("holds", &self.holds)?;
        row.serialize_field("shielded", &self.shielded)?;
        row.serialize_field("panics", &self.panics)?;
        match &self.last_panic {
            Some(last) => row.serialize_field("last_panic", last)?,
            None => row.skip_field("last_panic")?,
        }
        row.serialize_field("trace", &self.trace.to_string())?;
        row.serialize_field("place", &format!("{}:{}", self.place.file(), self.place.line()))?;
        row.serialize_field("matched", &self.matched)?;
        match &self.cancelled {
            Some((reason, since)) => row.serialize_field("cancelled", &Cancelled(reason, *since))?,
            None => row.skip_field("cancelled")?,
        }
        row.end()
    }
}

struct Cancelled<'a>(&'a Reason, Duration);

impl Serialize for Cancelled<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(reason, since) = self;
        let mut cancelled = serializer.serialize_struct("Cancelled", 5)?;
        cancelled.serialize_field("kind", reason.kind().as_str())?;
        cancelled.serialize_field("text", reason.text())?;
        cancelled.serialize_field("origin", &reason.origin().map(ToString::to_string))?;
        cancelled.serialize_field("trace", &reason.trace_id().map(|trace| trace.to_string()))?;
        cancelled.serialize_field("seconds_ago", &since.as_secs_f64())?;
        cancelled.end()
    }
}

impl Serialize for More {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_struct("More", 6)?;
        row.serialize_field("depth", &self.depth)?;
        row.serialize_field("kind", self.kind.as_str())?;
        row.serialize_field("state", self.state.as_str())?;
        row.serialize_field("more", &self.count)?;
        row.serialize_field("below", &self.below)?;
        row.serialize_field("oldest_seconds", &self.oldest.as_secs_f64())?;
        row.end()
    }
}
