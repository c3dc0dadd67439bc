//! The fields that are not propagated (Karmada 1.19, `pkg/resourceinterpreter/default/native/prune`).
//!
//! Karmada knows kinds by their name alone here; a `Service` or `Job` of another group would lose fields that mean
//! something else there, so the group counts, too. Only the time to live of a Job is taken from Jobs of every group: the
//! field and its harm are the same.

use serde_json::{Map, Value};

use super::text;

const SERVER_METADATA: [&str; 10] = [
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
    "ownerReferences",
    "finalizers",
];

/// kubectl's copy of the whole object, which is not propagated. Ours: Karmada keeps it. See
/// [`super::Manifest::from_template`] for the reasons.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

const DEPLOYMENT_REVISIONS: [&str; 2] =
    ["deployment.kubernetes.io/revision", "deployment.kubernetes.io/revision-history"];
/// Counts the changes of a DaemonSet's pods in one cluster; another cluster counts otherwise, and would differ for ever.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
/// The labels with which a Job finds its pods.
pub(crate) const JOB_LABELS: [&str; 4] =
    ["controller-uid", "batch.kubernetes.io/controller-uid", "job-name", "batch.kubernetes.io/job-name"];
const SERVICE_ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
const TIME_TO_LIVE: &str = "ttlSecondsAfterFinished";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

pub(super) fn prune(value: &mut Value) {
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = map_at(value, "/metadata") {
        for field in SERVER_METADATA {
            metadata.remove(field);
        }
        // A null map would come back from the server as an absent one and differ for ever.
        metadata.retain(|_, field| !field.is_null());
    }
    remove_keys(value, "/metadata/annotations", &[LAST_APPLIED]);
    let group = text(value, &["apiVersion"]).and_then(|version| version.split_once('/')).map_or("", |(group, _)| group);
    match (group, text(value, &["kind"]).unwrap_or_default()) {
        ("apps", "Deployment") => remove_keys(value, "/metadata/annotations", &DEPLOYMENT_REVISIONS),
        ("apps", "DaemonSet") => remove_keys(value, "/metadata/annotations", &[TEMPLATE_GENERATION]),
        ("batch", "Job") => job(value),
        (_, "Job") => remove_keys(value, "/spec", &[TIME_TO_LIVE]),
        ("", "ServiceAccount") => service_account(value),
        ("", "Service") => service(value),
        ("", "Secret") => secret(value),
        ("", "PersistentVolumeClaim") => remove_keys(value, "/metadata/annotations", &[SELECTED_NODE]),
        ("rbac.authorization.k8s.io", "ClusterRole") => cluster_role(value),
        _ => {}
    }
    drop_empty_annotations(value);
}

/// A Job's generated selector points at the hub's Job; `ttlSecondsAfterFinished` would let the member remove a
/// finished Job that we then create (and run) again.
///
/// A Job that says no labels of its own has those of its pods, generated ones included: API servers fill them in.
fn job(value: &mut Value) {
    if value.pointer("/spec/manualSelector").and_then(Value::as_bool) != Some(true) {
        for labels in ["/metadata/labels", "/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
            remove_keys(value, labels, &JOB_LABELS);
        }
        let is_empty = |part: &Value| part.as_object().is_some_and(Map::is_empty);
        if let Some(selector) = map_at(value, "/spec/selector") {
            selector.retain(|_, part| !is_empty(part));
        }
        if value.pointer("/spec/selector").is_some_and(is_empty) {
            remove_keys(value, "/spec", &["selector"]);
        }
    }
    remove_keys(value, "/spec", &[TIME_TO_LIVE]);
}

fn service_account(value: &mut Value) {
    let Some(account) = text(value, &["metadata", "name"]).map(str::to_owned) else {
        return;
    };
    if let Some(secrets) = value.get_mut("secrets").and_then(Value::as_array_mut) {
        secrets.retain(|secret| !is_token_of(&account, secret));
    }
}

/// Whether a reference in a ServiceAccount is to a token that its cluster made.
pub(crate) fn is_token_of(account: &str, secret: &Value) -> bool {
    let token = text(secret, &["name"]).and_then(|name| name.strip_prefix(account));
    token.is_some_and(|token| token.starts_with("-token-"))
}

/// The rules of a role that is put together from others are filled in by every cluster, from the roles it has.
fn cluster_role(value: &mut Value) {
    if value.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
        remove_keys(value, "", &["rules"]);
    }
}

/// Addresses are given out by each cluster; `None` asks for a headless Service and is the user's word.
fn service(value: &mut Value) {
    if text(value, &["spec", "clusterIP"]).is_some_and(|ip| ip != "None") {
        remove_keys(value, "/spec", &["clusterIP", "clusterIPs"]);
    }
}

/// The token of a service account is made by the cluster that checks it.
fn secret(value: &mut Value) {
    if text(value, &["type"]) == Some("kubernetes.io/service-account-token") {
        remove_keys(value, "/metadata/annotations", &[SERVICE_ACCOUNT_UID]);
        remove_keys(value, "", &["data"]);
    }
}

/// A map that we emptied is noise, and a server may or may not return it.
fn drop_empty_annotations(value: &mut Value) {
    if let Some(metadata) = map_at(value, "/metadata")
        && metadata.get("annotations").and_then(Value::as_object).is_some_and(Map::is_empty)
    {
        metadata.remove("annotations");
    }
}

fn remove_keys(value: &mut Value, pointer: &str, keys: &[&str]) {
    if let Some(map) = map_at(value, pointer) {
        for key in keys {
            map.remove(*key);
        }
    }
}

fn map_at<'v>(value: &'v mut Value, pointer: &str) -> Option<&'v mut Map<String, Value>> {
    value.pointer_mut(pointer).and_then(Value::as_object_mut)
}
