//! What becomes of each object of a cluster that leaves, told before anything is done.

use std::fmt;

use pando_api::work::Work;
use serde_json::Value;

use crate::{
    drift::{self, Desired, ReleaseStep},
    manifest::Identity,
    seen::Seen,
};

/// What becomes of an object when its cluster leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is deleted in the member.
    Removed,
    /// It is deleted, unless it was in the member before and was taken over: only a look at the member can tell.
    RemovedUnlessAdopted,
    /// It stays in the member, and is no longer Pando's.
    Kept {
        /// Why.
        why: String,
    },
    /// It stays in the member although it was to go: nobody could take it away.
    LeftBehind {
        /// Why.
        why: String,
    },
    /// It is not there.
    Gone,
}

/// One word for each; it starts a line of the preview.
impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Removed | Self::RemovedUnlessAdopted => "remove",
            Self::Kept { .. } => "keep",
            Self::LeftBehind { .. } => "leave behind",
            Self::Gone => "gone",
        })
    }
}

impl Fate {
    /// Why, where there is something to say.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Removed | Self::Gone => None,
            Self::RemovedUnlessAdopted => Some("unless it was in the member before Pando took it over"),
            Self::Kept { why } | Self::LeftBehind { why } => Some(why),
        }
    }

    /// Is it to leave the member?
    pub fn is_removal(&self) -> bool {
        matches!(self, Self::Removed | Self::RemovedUnlessAdopted)
    }

    /// The same when nobody can act in the member: what was to go stays.
    #[must_use]
    pub fn without_the_member(self, why: &str) -> Self {
        if self.is_removal() { Self::LeftBehind { why: why.to_owned() } } else { self }
    }
}

/// An object and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fated {
    /// The object; of a Work that cannot be read, the Work.
    pub object: String,
    /// What becomes of it.
    pub fate: Fate,
}

/// The objects of a Work, each with what its release needs; or, when the Work cannot be read, what becomes of it as a
/// whole.
///
/// # Errors
/// The Work is unfit: nobody knows what it stands for, and so it is not taken away.
pub fn objects(federation: &str, work: &Work) -> Result<Vec<Desired>, Fated> {
    Desired::of_work(federation, work).map_err(|unfit| Fated {
        object: format!("Work {}", work.metadata.name.as_deref().unwrap_or_default()),
        fate: Fate::LeftBehind { why: unfit.to_string() },
    })
}

/// What becomes of the objects of a Work. `look` gives the member's object where the member can be asked; without it, and
/// where the read failed, the record on the hub decides.
pub fn foresee<'a>(federation: &str, work: &Work, look: impl Fn(&Identity) -> Option<Seen<&'a Value>>) -> Vec<Fated> {
    let preserve = work.spec.preserve_resources_on_deletion == Some(true);
    let objects = match objects(federation, work) {
        Ok(objects) => objects,
        Err(unfit) => return vec![unfit],
    };
    let fated = objects.iter().map(|desired| {
        let identity = desired.identity();
        let fate = match look(&identity) {
            None | Some(Seen::Unreadable(_)) => by_record(desired, preserve),
            Some(seen) => by_look(drift::release(desired, seen, preserve)),
        };
        Fated { object: identity.to_string(), fate }
    });
    fated.collect()
}

fn by_record(desired: &Desired, preserve: bool) -> Fate {
    match drift::stays(desired, preserve) {
        Some(why) => Fate::Kept { why: why.to_owned() },
        None if desired.overwrite => Fate::RemovedUnlessAdopted,
        None => Fate::Removed,
    }
}

fn by_look(step: ReleaseStep) -> Fate {
    match step {
        ReleaseStep::Delete { .. } | ReleaseStep::Await { .. } | ReleaseStep::Wait(_) => Fate::Removed,
        ReleaseStep::Strip { why, .. } => Fate::Kept { why: why.to_owned() },
        ReleaseStep::Leave { why } => Fate::Kept { why },
        ReleaseStep::Gone => Fate::Gone,
    }
}
