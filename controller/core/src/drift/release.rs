//! A Work goes: what happens to its object in the member.
//!
//! Deleting needs proof on the *live* object and names the uid and resourceVersion the proof was read from. Whatever is in
//! doubt stays.

use std::fmt;

use serde_json::Value;

use super::Desired;
use crate::{
    manifest::text,
    ownership::{self, Proof},
    seen::{ReadFailure, Seen},
};

/// Kinds that a release never deletes: with them would go objects that are not ours, or data. Our marks come off instead.
const NEVER_DELETED: [&str; 4] = ["Namespace", "CustomResourceDefinition", "PersistentVolume", "PersistentVolumeClaim"];

/// What to do with the object of a Work that goes.
#[derive(Clone, Debug, PartialEq)]
pub enum ReleaseStep {
    /// Ours beyond doubt: DELETE with both preconditions and background propagation.
    Delete {
        /// Uid precondition.
        uid: String,
        /// ResourceVersion precondition.
        resource_version: String,
    },
    /// Ours, and it stays: take our labels and annotations off.
    Strip {
        /// Uid of the object, for the log.
        uid: String,
        /// JSON merge patch; carries uid and resourceVersion.
        patch: Value,
        /// Why it stays.
        why: &'static str,
    },
    /// Not ours (any more): hands off.
    Leave {
        /// What the marks say.
        why: String,
    },
    /// It is not there.
    Gone,
    /// It is being deleted already.
    Await {
        /// What is waited for.
        why: String,
    },
    /// Nobody knows whether it is there: read again.
    Wait(ReadFailure),
}

/// One line: the verb and why.
impl fmt::Display for ReleaseStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete { uid, resource_version } => write!(f, "delete   uid {uid} at {resource_version}"),
            Self::Strip { why, .. } => write!(f, "strip    {why}"),
            Self::Leave { why } => write!(f, "leave    {why}"),
            Self::Gone => write!(f, "gone     absent"),
            Self::Await { why } => write!(f, "await    {why}"),
            Self::Wait(failure) => write!(f, "wait     {failure}"),
        }
    }
}

/// Decides the release of one object. `preserve` is the Work's `preserveResourcesOnDeletion`.
pub fn release(desired: &Desired, live: Seen<&Value>, preserve: bool) -> ReleaseStep {
    let live = match live {
        Seen::Found(live) => live,
        Seen::Absent => return ReleaseStep::Gone,
        Seen::Unreadable(failure) => return ReleaseStep::Wait(failure),
    };
    let inherited = match ownership::prove(live, &desired.record) {
        Proof::Owned => None,
        Proof::Inherited(predecessor) => Some(predecessor),
        Proof::Foreign { why } => return ReleaseStep::Leave { why },
        Proof::OtherFederation { federation } => {
            return ReleaseStep::Leave { why: format!("it is managed by another federation (id {federation})") };
        }
    };
    let stays = stays(desired, preserve)
        .or_else(|| ownership::is_adopted(live).then_some("it was there before and was taken over"));
    let metadata = |field| text(live, &["metadata", field]).unwrap_or_default().to_owned();
    let (uid, resource_version) = (metadata("uid"), metadata("resourceVersion"));
    if let Some(why) = stays {
        return ReleaseStep::Strip { uid, patch: ownership::strip_patch(live), why };
    }
    if let Some(predecessor) = inherited {
        return ReleaseStep::Leave { why: predecessor.to_string() };
    }
    if !metadata("deletionTimestamp").is_empty() {
        return ReleaseStep::Await { why: terminating(live) };
    }
    if uid.is_empty() || resource_version.is_empty() {
        return ReleaseStep::Leave { why: "the member serves it without uid or resourceVersion".to_owned() };
    }
    ReleaseStep::Delete { uid, resource_version }
}

/// Why the object stays in the member whatever is found there, if it does. `preserve` is the Work's
/// `preserveResourcesOnDeletion`.
pub fn stays(desired: &Desired, preserve: bool) -> Option<&'static str> {
    if preserve {
        Some("preserveResourcesOnDeletion is set")
    } else if NEVER_DELETED.contains(&desired.manifest.kind()) {
        Some("objects of this kind are never deleted in a member")
    } else {
        None
    }
}

fn terminating(live: &Value) -> String {
    let finalizers = live.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten();
    let names = finalizers.filter_map(Value::as_str).collect::<Vec<_>>();
    if names.is_empty() {
        return "it is being deleted".to_owned();
    }
    format!("it is being deleted; its finalizers {} hold it", names.join(", "))
}
