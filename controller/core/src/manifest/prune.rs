//! The fields that are not propagated (Karmada 1.19, `pkg/resourceinterpreter/default/native/prune`).

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

/// Ours: Karmada keeps it. See [`super::Manifest::from_template`] for the reasons.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

const DEPLOYMENT_REVISIONS: [&str; 2] =
    ["deployment.kubernetes.io/revision", "deployment.kubernetes.io/revision-history"];
const CONTROLLER_UIDS: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];
const JOB_NAMES: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];
const SERVICE_ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
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
    match text(value, &["kind"]) {
        Some("Deployment") => remove_keys(value, "/metadata/annotations", &DEPLOYMENT_REVISIONS),
        Some("Job") => job(value),
        Some("ServiceAccount") => service_account(value),
        Some("Service") => service(value),
        Some("Secret") => secret(value),
        Some("PersistentVolumeClaim") => remove_keys(value, "/metadata/annotations", &[SELECTED_NODE]),
        _ => {}
    }
    drop_empty_annotations(value);
}

/// A Job's generated selector points at the hub's Job; `ttlSecondsAfterFinished` would let the member remove a
/// finished Job that we then create (and run) again.
fn job(value: &mut Value) {
    if value.pointer("/spec/manualSelector").and_then(Value::as_bool) != Some(true) {
        remove_keys(value, "/spec/selector/matchLabels", &CONTROLLER_UIDS);
        remove_keys(value, "/spec/template/metadata/labels", &CONTROLLER_UIDS);
        remove_keys(value, "/spec/template/metadata/labels", &JOB_NAMES);
    }
    remove_keys(value, "/spec", &["ttlSecondsAfterFinished"]);
}

fn service_account(value: &mut Value) {
    let Some(prefix) = text(value, &["metadata", "name"]).map(|name| format!("{name}-token-")) else {
        return;
    };
    if let Some(secrets) = value.get_mut("secrets").and_then(Value::as_array_mut) {
        secrets.retain(|secret| !text(secret, &["name"]).is_some_and(|name| name.starts_with(&prefix)));
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
