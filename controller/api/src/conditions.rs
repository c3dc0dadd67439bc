//! Condition types, reasons and messages. Karmada 1.19's, except where a constant says "ours".

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// Binding: clusters have been chosen for the current spec.
pub const SCHEDULED: &str = "Scheduled";
/// [`SCHEDULED`] is true.
pub const SUCCESS: &str = "Success";
/// [`SCHEDULED`] is false: the scheduler itself failed.
pub const SCHEDULER_ERROR: &str = "SchedulerError";
/// [`SCHEDULED`] is false: no cluster passes the filters.
pub const NO_CLUSTER_FIT: &str = "NoClusterFit";
/// [`SCHEDULED`] is false: clusters fit but cannot take the replicas.
pub const UNSCHEDULABLE: &str = "Unschedulable";
/// [`SCHEDULED`] is false: a quota of the namespace is used up.
pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";
/// Ours. Scheduled is False: the policy uses a field that this release does not act on; the message names it.
pub const NOT_SUPPORTED: &str = "NotSupported";
/// Ours. Scheduled is False: the policy breaks a rule; the message says which and what to change.
pub const INVALID_POLICY: &str = "InvalidPolicy";
/// Message of [`SUCCESS`].
pub const SCHEDULED_MESSAGE: &str = "Binding has been scheduled successfully.";

/// Binding: the Work of every chosen cluster has been applied.
pub const FULLY_APPLIED: &str = "FullyApplied";
/// [`FULLY_APPLIED`] is true.
pub const FULLY_APPLIED_SUCCESS: &str = "FullyAppliedSuccess";
/// [`FULLY_APPLIED`] is false.
pub const FULLY_APPLIED_FAILED: &str = "FullyAppliedFailed";
/// Message of [`FULLY_APPLIED_SUCCESS`].
pub const FULLY_APPLIED_SUCCESS_MESSAGE: &str = "All works have been successfully applied";
/// Message of [`FULLY_APPLIED_FAILED`].
pub const FULLY_APPLIED_FAILED_MESSAGE: &str = "Failed to apply all works, see status.aggregatedStatus for details";

/// Binding and Work, ours: the status is as new as the members' last word. Present only while it is False.
pub const STATUS_FRESH: &str = "StatusFresh";
/// Ours. [`STATUS_FRESH`] of a binding is false: a member, or the kind there, is not read; the message says which and since
/// when.
pub const CLUSTER_NOT_READ: &str = "ClusterNotRead";
/// Ours. [`STATUS_FRESH`] of a Work is false: the member answers, but objects of the kind cannot be followed.
pub const KIND_NOT_READ: &str = "KindNotRead";

/// Work: its manifest is in the member as wanted.
pub const APPLIED: &str = "Applied";
/// [`APPLIED`] is true.
pub const APPLIED_SUCCESSFUL: &str = "AppliedSuccessful";
/// [`APPLIED`] is false.
pub const APPLIED_FAILED: &str = "AppliedFailed";
/// Message of [`APPLIED_SUCCESSFUL`].
pub const APPLIED_SUCCESSFUL_MESSAGE: &str = "Manifest has been successfully applied";

/// Message of [`APPLIED_FAILED`]: `applied` of `total` manifests are in the member, `cause` is why
/// not all are.
#[must_use]
pub fn applied_failed_message(applied: usize, total: usize, cause: &str) -> String {
    format!("Failed to apply all manifests ({applied}/{total}): {cause}")
}

/// Work: it may be applied in the member.
pub const DISPATCHING: &str = "Dispatching";
/// [`DISPATCHING`] is true. The reason is the same word as the type.
pub const DISPATCHING_REASON: &str = "Dispatching";
/// [`DISPATCHING`] is false.
pub const SUSPEND_DISPATCHING: &str = "SuspendDispatching";
/// Message of [`DISPATCHING_REASON`].
pub const DISPATCHING_MESSAGE: &str = "Work is being dispatched to member clusters.";
/// Message of [`SUSPEND_DISPATCHING`].
pub const SUSPEND_DISPATCHING_MESSAGE: &str = "Work dispatching is in a suspended state.";

/// Work, ours: the status of every object is there. Present only while it is False.
pub const STATUS_COMPLETE: &str = "StatusComplete";
/// Ours. [`STATUS_COMPLETE`] is false: a status is too large to be kept on the hub; the message says whose.
pub const STATUS_TOO_LARGE: &str = "StatusTooLarge";

/// Work, ours: it is being deleted, and something of it stays in the member; the message says what, and what holds it.
pub const DELETION_BLOCKED: &str = "DeletionBlocked";
/// [`DELETION_BLOCKED`] is true.
pub const OBJECT_REMAINS: &str = "ObjectRemains";

/// Work: declared by Karmada, written by nobody.
pub const PROGRESSING: &str = "Progressing";
/// Work: declared by Karmada, written by nobody.
pub const AVAILABLE: &str = "Available";
/// Work: declared by Karmada, written by nobody.
pub const DEGRADED: &str = "Degraded";

/// Cluster: the member is healthy and takes work.
pub const READY: &str = "Ready";
/// [`READY`] is true.
pub const CLUSTER_READY: &str = "ClusterReady";
/// [`READY`] is false: the member answers but says it is not healthy.
pub const CLUSTER_NOT_READY: &str = "ClusterNotReady";
/// [`READY`] is false: there is no connection to the member.
pub const CLUSTER_NOT_REACHABLE: &str = "ClusterNotReachable";
/// [`READY`] is false: the member is healthy but its status could not be read.
pub const STATUS_COLLECTION_FAILED: &str = "StatusCollectionFailed";
/// [`READY`] is unknown: a pull member stopped reporting.
pub const CLUSTER_STATUS_UNKNOWN: &str = "ClusterStatusUnknown";
/// [`READY`] is unknown: a pull member has never reported.
pub const CLUSTER_STATUS_NEVER_UPDATED: &str = "ClusterStatusNeverUpdated";
/// Message of [`CLUSTER_READY`].
pub const CLUSTER_READY_MESSAGE: &str = "cluster is healthy and ready to accept workloads";
/// Message of [`CLUSTER_NOT_READY`].
pub const CLUSTER_NOT_READY_MESSAGE: &str = "cluster is reachable but health endpoint responded without ok";
/// Message of [`CLUSTER_NOT_REACHABLE`].
pub const CLUSTER_NOT_REACHABLE_MESSAGE: &str = "cluster is not reachable";

/// Cluster: `status.apiEnablements` lists every API of the member.
pub const COMPLETE_API_ENABLEMENTS: &str = "CompleteAPIEnablements";
/// [`COMPLETE_API_ENABLEMENTS`] is true.
pub const API_ENABLEMENTS_COMPLETE: &str = "Complete";
/// [`COMPLETE_API_ENABLEMENTS`] is false: some groups could not be read; their old list is kept.
pub const API_ENABLEMENTS_PARTIAL: &str = "Partial";
/// [`COMPLETE_API_ENABLEMENTS`] is false: nothing could be read.
pub const API_ENABLEMENTS_EMPTY: &str = "Empty";

/// Cluster: service names resolve inside the member (written by a node agent).
pub const SERVICE_DOMAIN_NAME_RESOLUTION_READY: &str = "ServiceDomainNameResolutionReady";

/// Cluster, ours: False while the member cannot be worked with; the message says why. Unlike [`READY`] it follows at once and
/// moves nothing. It is not there while all is well.
pub const CONNECTED: &str = "Connected";
/// [`CONNECTED`] is false.
pub const LINK_LOST: &str = "LinkLost";
/// Cluster, ours: the cluster is being removed; the message says what is still there and what keeps it. True as long as it
/// takes.
pub const DETACHING: &str = "Detaching";
/// Reason of [`DETACHING`]: it goes on by itself.
pub const DETACH_IN_PROGRESS: &str = "InProgress";
/// Reason of [`DETACHING`]: something keeps it that does not pass by itself; the message names it.
pub const DETACH_BLOCKED: &str = "Blocked";
/// Reason of [`DETACHING`]: the member cannot be reached; it is waited for.
pub const DETACH_MEMBER_UNREACHABLE: &str = "MemberUnreachable";
/// Reason of [`DETACHING`]: the deadline that somebody set has passed. Nothing is given up for that.
pub const DETACH_DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// Reason of [`DETACHING`]: somebody wants it gone at the price of leaving objects in the member; the message says who.
pub const DETACH_FORCED: &str = "Forced";

/// `status` of a condition that holds.
pub const TRUE: &str = "True";
/// `status` of a condition that does not hold.
pub const FALSE: &str = "False";
/// `status` of a condition nobody can judge at the moment.
pub const UNKNOWN: &str = "Unknown";

/// Schema of a list of conditions as Kubernetes wants them.
pub(crate) struct StrictConditions;

/// Schema of a list of conditions with an empty reason allowed. Karmada serves `Cluster` without a
/// schema, so its controllers and users write such conditions.
pub(crate) struct RelaxedConditions;

impl JsonSchema for StrictConditions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Conditions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = list(&["lastTransitionTime", "message", "reason", "status", "type"]);
        if let Some(reason) = schema.pointer_mut("/items/properties/reason").and_then(|reason| reason.as_object_mut()) {
            reason.insert("minLength".into(), 1.into());
            reason.insert("pattern".into(), "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$".into());
        }
        schema
    }
}

impl JsonSchema for RelaxedConditions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RelaxedConditions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        list(&["status", "type"])
    }
}

fn list(required: &[&str]) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "description": "One aspect of the object's state and since when it holds.",
            "required": required,
            "properties": {
                "type": {
                    "type": "string",
                    "description": "Which aspect this is about.",
                    "maxLength": 316,
                },
                "status": {
                    "type": "string",
                    "description": "Whether it holds.",
                    "enum": [TRUE, FALSE, UNKNOWN],
                },
                "reason": {
                    "type": "string",
                    "description": "One word for programs that says why the status is as it is.",
                    "maxLength": 1024,
                },
                "message": {
                    "type": "string",
                    "description": "A sentence for people with the details; may be empty.",
                    "maxLength": 32768,
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When the status last changed.",
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "Generation of the object this was judged on; an older one than metadata.generation is out of date.",
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_a_failed_work_counts_manifests_as_karmada_does() {
        assert_eq!(
            applied_failed_message(0, 1, "namespaces \"shop\" not found"),
            "Failed to apply all manifests (0/1): namespaces \"shop\" not found"
        );
    }
}
