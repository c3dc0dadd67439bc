//! Status of one Work: what applying it came to, and how its objects are doing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pando_api::{
    conditions::{
        APPLIED, APPLIED_FAILED, APPLIED_SUCCESSFUL, APPLIED_SUCCESSFUL_MESSAGE, DISPATCHING, DISPATCHING_MESSAGE,
        DISPATCHING_REASON, STATUS_COMPLETE, STATUS_TOO_LARGE, SUSPEND_DISPATCHING, SUSPEND_DISPATCHING_MESSAGE,
        applied_failed_message,
    },
    raw::EmbeddedObject,
    work::{ManifestStatus, ResourceHealth, ResourceIdentifier, WorkStatus},
};
use serde_json::Value;

use super::same_raw;
use crate::{
    conditions::{self, Verdict},
    interpreter,
    manifest::Identity,
};

/// A status of more bytes than this does not travel to the hub: the Work may have
/// [`MAX_WORK_BYTES`](crate::render::MAX_WORK_BYTES) already, and etcd refuses an object of 1.5 MiB.
pub const MAX_STATUS_BYTES: usize = 64 * 1024;

/// What execution did with a Work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dispatch {
    /// Nothing new: only the objects' status is reported.
    Unchanged,
    /// Dispatching is suspended. What was applied before stays applied.
    Suspended,
    /// Each manifest in order: in the member as desired, or why not.
    Tried(Vec<Result<(), String>>),
}

/// A manifest's object as the member serves it.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveManifest {
    /// Position of the manifest in the Work, from 0.
    pub ordinal: usize,
    /// The manifest's identity.
    pub identity: Identity,
    /// The part of the status that travels to the hub.
    pub status: Option<Value>,
    /// Its health.
    pub health: ResourceHealth,
}

impl LiveManifest {
    /// Interprets a live object.
    pub fn of(ordinal: usize, identity: Identity, live: &Value) -> Self {
        Self { ordinal, identity, status: interpreter::reflect_status(live), health: interpreter::health(live) }
    }
}

/// The Work's next status. A status above [`MAX_STATUS_BYTES`] is left out, which a condition says. `live` is `None` when the objects were not looked at, and lists those that are there
/// otherwise.
pub fn work_status(
    previous: Option<&WorkStatus>,
    dispatch: &Dispatch,
    live: Option<&[LiveManifest]>,
    now: &Time,
) -> WorkStatus {
    let mut status = previous.cloned().unwrap_or_default();
    for verdict in verdicts(dispatch) {
        conditions::set(&mut status.conditions, verdict, now);
    }
    if let Some(live) = live {
        let previous = std::mem::take(&mut status.manifest_statuses);
        let reported = live.iter().map(|manifest| (manifest, manifest_status(manifest, &previous)));
        let mut left_out = Vec::new();
        for (manifest, mut reported) in reported {
            if reported.status.as_ref().is_some_and(|status| status.get().len() > MAX_STATUS_BYTES) {
                reported.status = None;
                left_out.push(manifest.identity.to_string());
            }
            status.manifest_statuses.push(reported);
        }
        if left_out.is_empty() {
            conditions::remove(&mut status.conditions, STATUS_COMPLETE);
        } else {
            conditions::set(&mut status.conditions, incomplete(&left_out), now);
        }
    }
    status
}

fn incomplete(objects: &[String]) -> Verdict {
    let objects = objects.join(", ");
    let message = format!("the status of {objects} has more than {MAX_STATUS_BYTES} bytes and is left out");
    Verdict::fails(STATUS_COMPLETE, STATUS_TOO_LARGE, message)
}

fn verdicts(dispatch: &Dispatch) -> Vec<Verdict> {
    let dispatching = Verdict::holds(DISPATCHING, DISPATCHING_REASON, DISPATCHING_MESSAGE);
    match dispatch {
        Dispatch::Unchanged => Vec::new(),
        Dispatch::Suspended => vec![Verdict::fails(DISPATCHING, SUSPEND_DISPATCHING, SUSPEND_DISPATCHING_MESSAGE)],
        Dispatch::Tried(results) => {
            let causes: Vec<&str> =
                results.iter().filter_map(|result| result.as_ref().err().map(String::as_str)).collect();
            let applied = if causes.is_empty() {
                Verdict::holds(APPLIED, APPLIED_SUCCESSFUL, APPLIED_SUCCESSFUL_MESSAGE)
            } else {
                let succeeded = results.len() - causes.len();
                Verdict::fails(
                    APPLIED,
                    APPLIED_FAILED,
                    applied_failed_message(succeeded, results.len(), &causes.join("; ")),
                )
            };
            vec![dispatching, applied]
        }
    }
}

fn manifest_status(live: &LiveManifest, previous: &[ManifestStatus]) -> ManifestStatus {
    let identity = &live.identity;
    let identifier = ResourceIdentifier {
        ordinal: i64::try_from(live.ordinal).unwrap_or(i64::MAX),
        group: identity.group().to_owned(),
        version: identity.version().to_owned(),
        kind: identity.kind.clone(),
        // Required by the schema and written empty by Karmada 1.19: nobody reads it.
        resource: String::new(),
        namespace: identity.namespace.clone().unwrap_or_default(),
        name: identity.name.clone(),
    };
    // A JSON value always serialises.
    let raw = live.status.as_ref().and_then(|status| EmbeddedObject::from_value(status).ok());
    let known =
        previous.iter().find(|known| known.identifier == identifier && same_raw(known.status.as_ref(), raw.as_ref()));
    let status = known.map_or(raw, |known| known.status.clone());
    ManifestStatus { identifier, status, health: Some(live.health) }
}
