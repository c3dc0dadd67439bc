//! How urgent work is: of a key in a queue, and of a write that waits for its turn.

mod lanes;

pub(crate) use self::lanes::{Lanes, Place};

/// How urgent something is, from the least to the most urgent.
///
/// A reconcile finds the priority of its key in its context ([`Ctx::get`](pando_context::Ctx::get)), and what it asks
/// for inherits it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Nobody waits for it: the first list after a start, a periodic check.
    Background,
    /// Tells people what is the case.
    Status,
    /// Something around the object changed: a policy, a cluster, what a member runs.
    Reaction,
    /// Somebody changed the object.
    #[default]
    Normal,
    /// It is on its way out, or was called off.
    Removal,
}

impl Priority {
    /// How many there are.
    pub const COUNT: usize = 5;

    /// All, the most urgent first.
    pub const ALL: [Self; Self::COUNT] = [Self::Removal, Self::Normal, Self::Reaction, Self::Status, Self::Background];

    /// As it is called in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Removal => "removal",
            Self::Normal => "normal",
            Self::Reaction => "reaction",
            Self::Status => "status",
            Self::Background => "background",
        }
    }

    const fn lane(self) -> usize {
        match self {
            Self::Removal => 0,
            Self::Normal => 1,
            Self::Reaction => 2,
            Self::Status => 3,
            Self::Background => 4,
        }
    }
}
