//! Work → member: what one object needs, given what is there.
//!
//! The first write decides adoption. An object without our ownership record is created by POST, which fails when somebody
//! else was first; ours are from then on applied by server-side apply with uid and force. Comparing finds what somebody
//! changed; the hash in our annotation finds what the template no longer says.

mod compare;
mod managed_fields;
mod release;
#[cfg(test)]
mod tests;

use std::fmt;

use pando_api::{
    annotations,
    names::{ClusterName, ExecutionNamespace},
    work::Work,
};
use serde_json::Value;
use thiserror::Error;

pub use managed_fields::Conversion;
pub use release::{ReleaseStep, release, stays};

use crate::{
    manifest::{Identity, InvalidManifest, Manifest, text},
    ownership::{self, Predecessor, Proof, Record},
    retain,
    seen::{ReadFailure, Seen},
};

/// One object as a member shall have it.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The member.
    pub cluster: ClusterName,
    /// The sealed manifest: marks, inventories and hash included.
    pub manifest: Manifest,
    /// The ownership record in it.
    pub record: Record,
    /// Whether an object of somebody else may be taken over.
    pub overwrite: bool,
}

/// Why a Work cannot be applied as it is.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UnfitWork {
    /// The Work is not in an execution namespace.
    #[error("Work {work} is in no execution namespace; Works belong into karmada-es-<cluster>")]
    NotInExecutionNamespace {
        /// Namespace and name of the Work.
        work: String,
    },
    /// A manifest cannot be read.
    #[error("manifest {ordinal} of Work {work} is unusable: {cause}")]
    BadManifest {
        /// Namespace and name of the Work.
        work: String,
        /// Position of the manifest, from 0.
        ordinal: usize,
        /// What is wrong.
        cause: InvalidManifest,
    },
}

impl Desired {
    /// The manifests of a Work, in their order.
    ///
    /// The record is taken from the Work's identity, never from the manifest's word for it: whoever can write a Work
    /// cannot claim another Work's objects. A Work that somebody wrote by hand gets its marks here, as Karmada's webhook
    /// would add them.
    ///
    /// # Errors
    /// [`UnfitWork`] when the Work is in the wrong place or a manifest is no object.
    pub fn of_work(federation: &str, work: &Work) -> Result<Vec<Self>, UnfitWork> {
        let namespace = work.metadata.namespace.as_deref().unwrap_or_default();
        let name = work.metadata.name.as_deref().unwrap_or_default();
        let path = || format!("{namespace}/{name}");
        let cluster = ExecutionNamespace::parse(namespace)
            .map(|namespace| namespace.cluster())
            .ok_or_else(|| UnfitWork::NotInExecutionNamespace { work: path() })?;
        let manifests = work.spec.workload.manifests.iter().enumerate();
        manifests
            .map(|(ordinal, raw)| {
                let mut manifest = Manifest::from_template(raw.get().as_bytes())
                    .map_err(|cause| UnfitWork::BadManifest { work: path(), ordinal, cause })?;
                let template_uid = manifest.annotation(annotations::TEMPLATE_UID).filter(|uid| !uid.is_empty());
                let record = Record {
                    federation: federation.to_owned(),
                    binding: manifest.annotation(annotations::BINDING).map(str::to_owned),
                    template_uid: template_uid.or(work.metadata.uid.as_deref()).unwrap_or_default().to_owned(),
                    work_namespace: namespace.to_owned(),
                    work_name: name.to_owned(),
                };
                record.mark(&mut manifest);
                // Only the object in the member can say that it was there before.
                manifest.remove_annotation(annotations::ADOPTED);
                ownership::seal(&mut manifest);
                let overwrite = manifest.annotation(annotations::CONFLICT_RESOLUTION)
                    == Some(annotations::CONFLICT_RESOLUTION_OVERWRITE);
                Ok(Self { cluster: cluster.clone(), manifest, record, overwrite })
            })
            .collect()
    }

    /// Group, version, kind, namespace and name.
    pub fn identity(&self) -> Identity {
        self.manifest.identity()
    }
}

/// What to do with one object in a member.
#[derive(Clone, Debug, PartialEq)]
pub enum MemberStep {
    /// Not there: POST, so that an object that appears meanwhile is a conflict and not overwritten.
    Create {
        /// The object.
        body: Value,
    },
    /// Ours, and different: server-side apply with force. The body carries the uid, so it can neither hit a stranger nor
    /// resurrect a deleted object, and the resourceVersion where it repeats values of the live object.
    Apply {
        /// The object, with `metadata.uid`.
        body: Value,
        /// To be sent before the apply, when the live object still has an entry of our POST, or of the Karmada that wrote it
        /// before us. It makes a new version: where the body has a resourceVersion, the one of its reply takes the place.
        convert: Option<Conversion>,
        /// Paths that differ, without values: they may be secret.
        why: Vec<String>,
    },
    /// Somebody else's, and the conflict resolution is overwrite: as [`MemberStep::Apply`], guarded by the resourceVersion.
    /// Fields of the other manager that we do not desire stay (Karmada's full write would drop them). The body marks the
    /// object as adopted: when the Work goes, it stays.
    Adopt {
        /// The object, with `metadata.uid` and `metadata.resourceVersion`.
        body: Value,
        /// Whose it was.
        why: String,
    },
    /// There and right.
    Keep,
    /// Somebody else's, and it stays theirs.
    Conflict {
        /// Object, cluster, cause and fix.
        message: String,
    },
    /// Nothing to do until the member changes: the old object is on its way out.
    Await {
        /// What is waited for.
        why: String,
    },
    /// Nobody knows what is there: read again.
    Wait(ReadFailure),
}

/// One line: the verb and why. Contains no value of any field.
impl fmt::Display for MemberStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { .. } => write!(f, "create   absent"),
            Self::Apply { why, convert, .. } => {
                write!(f, "apply    {}", why.join(", "))?;
                if convert.is_some() { write!(f, " (older field entries become ours first)") } else { Ok(()) }
            }
            Self::Adopt { why, .. } => write!(f, "adopt    {why}"),
            Self::Keep => write!(f, "keep     as desired"),
            Self::Conflict { message } => write!(f, "conflict {message}"),
            Self::Await { why } => write!(f, "await    {why}"),
            Self::Wait(failure) => write!(f, "wait     {failure}"),
        }
    }
}

/// Decides one object. `live` is the whole object as the member serves it, managedFields included.
pub fn plan(desired: &Desired, live: Seen<&Value>) -> MemberStep {
    let live = match live {
        Seen::Found(live) => live,
        Seen::Absent => {
            return MemberStep::Create { body: desired.manifest.value().clone() };
        }
        Seen::Unreadable(failure) => return MemberStep::Wait(failure),
    };
    let proof = ownership::prove(live, &desired.record);
    if let Proof::OtherFederation { federation } = &proof {
        return MemberStep::Conflict { message: other_federation(desired, federation) };
    }
    if let Proof::Foreign { why } = &proof
        && !desired.overwrite
        && !is_namespace(desired)
    {
        return MemberStep::Conflict { message: foreign(desired, why) };
    }
    if text(live, &["metadata", "deletionTimestamp"]).is_some() {
        let why = format!(
            "{} in cluster {} is being deleted; it is created again when it is gone",
            desired.identity(),
            desired.cluster
        );
        return MemberStep::Await { why };
    }
    match proof {
        // A namespace that exists is enough to put objects into; whose it is and what it says stays as it is.
        Proof::Foreign { .. } if !desired.overwrite => MemberStep::Keep,
        Proof::Foreign { why } => {
            // What was there is gone after this write: the hash lets somebody who kept a copy recognise it.
            let before = Manifest::from_value(live.clone()).map_or_else(|_| "unknown".to_owned(), |live| live.hash());
            let why = format!("{why}; its content had hash {before}");
            let mut body = with_preconditions(retain::retain(&desired.manifest, live).value, live, true);
            ownership::mark_adopted(&mut body);
            MemberStep::Adopt { body, why }
        }
        Proof::Inherited(Predecessor::Karmada) => ours(desired, live, managed_fields::OURS_AND_KARMADAS),
        // Other federations were answered above.
        Proof::Owned | Proof::Inherited(_) | Proof::OtherFederation { .. } => ours(desired, live, managed_fields::OURS),
    }
}

/// What an object of ours needs. What `managers` wrote counts as written by us.
fn ours(desired: &Desired, live: &Value, managers: &[&str]) -> MemberStep {
    let mut retained = retain::retain(&desired.manifest, live);
    if ownership::is_adopted(live) {
        ownership::mark_adopted(&mut retained.value);
    }
    let why = compare::differences(&retained.value, live);
    if why.is_empty() {
        return MemberStep::Keep;
    }
    MemberStep::Apply {
        body: with_preconditions(retained.value, live, retained.from_live),
        convert: managed_fields::conversion(live, managers),
        why,
    }
}

fn is_namespace(desired: &Desired) -> bool {
    (desired.manifest.api_version(), desired.manifest.kind()) == ("v1", "Namespace")
}

fn with_preconditions(mut body: Value, live: &Value, guarded: bool) -> Value {
    let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) else {
        return body;
    };
    let fields: &[&str] = if guarded { &["uid", "resourceVersion"] } else { &["uid"] };
    for field in fields {
        if let Some(found) = text(live, &["metadata", field]) {
            metadata.insert((*field).to_owned(), Value::from(found));
        }
    }
    body
}

fn foreign(desired: &Desired, why: &str) -> String {
    format!(
        "{} already exists in cluster {} and is not managed by this federation ({why}): delete it there, or take it over by \
         annotation {}={} on the template or conflictResolution: Overwrite in the policy",
        desired.identity(),
        desired.cluster,
        annotations::CONFLICT_RESOLUTION,
        annotations::CONFLICT_RESOLUTION_OVERWRITE,
    )
}

fn other_federation(desired: &Desired, federation: &str) -> String {
    format!(
        "{} in cluster {} is managed by another federation (id {federation}) and is never taken over: stop propagating it \
         there, or exclude the cluster here",
        desired.identity(),
        desired.cluster,
    )
}
