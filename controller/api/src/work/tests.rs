#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use kube_core::Resource;
use kube_core::object::{HasSpec, HasStatus};
use serde_json::{Value, json};

use super::*;
use crate::policy;
use crate::raw::EmbeddedObject;

/// Reads from text, as the client does: raw parts need it.
fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_str(&value.to_string()).unwrap()
}

fn binding() -> Value {
    json!({
        "apiVersion": "work.karmada.io/v1alpha2",
        "kind": "ResourceBinding",
        "metadata": {"name": "web-deployment", "namespace": "shop"},
        "spec": {
            "resource": {
                "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web",
                "uid": "0b4", "resourceVersion": "17",
            },
            "propagateDeps": true,
            "replicas": 10,
            "replicaRequirements": {
                "nodeClaim": {
                    "hardNodeAffinity": {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]},
                    "nodeSelector": {"disk": "fast"},
                    "tolerations": [{"operator": "Exists"}],
                },
                "resourceRequest": {"cpu": "500m", "memory": "1Gi"},
                "namespace": "shop",
                "priorityClassName": "high",
            },
            "components": [{"name": "main", "replicas": 2, "replicaRequirements": {"resourceRequest": {"cpu": "1"}}}],
            "clusters": [{"name": "bj-prod", "replicas": 5, "components": [{"name": "main", "replicas": 1}]}, {"name": "sh-prod"}],
            "placement": {"clusterAffinity": {"clusterNames": ["bj-prod"]}},
            "gracefulEvictionTasks": [{
                "fromCluster": "sz-prod", "purgeMode": "Directly", "replicas": 2, "reason": "TaintUntolerated",
                "message": "m", "producer": "TaintManager", "gracePeriodSeconds": 600, "suppressDeletion": false,
                "preservedLabelState": {"a": "b"}, "creationTimestamp": "2026-01-02T03:04:05Z",
                "clustersBeforeFailover": ["sz-prod"],
            }],
            "requiredBy": [{"namespace": "shop", "name": "api-deployment", "clusters": [{"name": "bj-prod"}]}],
            "schedulerName": "default-scheduler",
            "failover": {"cluster": {"purgeMode": "Gracefully"}},
            "conflictResolution": "Overwrite",
            "rescheduleTriggeredAt": "2026-01-02T03:04:05Z",
            "suspension": {"dispatching": true, "scheduling": true},
            "preserveResourcesOnDeletion": true,
            "schedulePriority": {"priority": 100},
            "workloadAffinityGroups": {"affinityGroup": "app=web", "antiAffinityGroup": "rival=x"},
        },
        "status": {
            "schedulerObservedGeneration": 3,
            "schedulerObservingAffinityName": "main",
            "lastScheduledTime": "2026-01-02T03:04:05Z",
            "conditions": [{
                "type": "Scheduled", "status": "True", "reason": "Success", "message": "",
                "lastTransitionTime": "2026-01-02T03:04:05Z", "observedGeneration": 3,
            }],
            "aggregatedStatus": [{
                "clusterName": "bj-prod", "status": {"readyReplicas": 5, "unknown": {"kept": true}},
                "applied": true, "appliedMessage": "x", "health": "Healthy",
            }],
        },
    })
}

#[test]
fn a_binding_with_every_field_round_trips() {
    let json = binding();
    assert_eq!(serde_json::to_value(read::<ResourceBinding>(&json)).unwrap(), json);
}

#[test]
fn both_bindings_share_their_types() {
    let namespaced: ResourceBinding = read(&binding());
    let cluster_wide: ClusterResourceBinding = read(&binding());
    assert_eq!(namespaced.spec(), cluster_wide.spec());
    assert_eq!(namespaced.status(), cluster_wide.status());
    assert_eq!(ClusterResourceBinding::url_path(&(), None), "/apis/work.karmada.io/v1alpha2/clusterresourcebindings");
}

#[test]
fn one_record_is_either_kind_by_its_namespace() {
    let mut either: Binding = read(&binding());
    assert_eq!(serde_json::to_value(&either).unwrap(), binding());
    let ids = [
        ("resourcebinding.karmada.io/permanent-id", "id"),
        ("clusterresourcebinding.karmada.io/permanent-id", "wide-id"),
    ];
    either.metadata.labels = Some(ids.into_iter().map(|(label, id)| (label.to_owned(), id.to_owned())).collect());
    assert_eq!((either.kind(), either.permanent_id()), ("ResourceBinding", Some("id")));
    either.metadata.namespace = None;
    assert_eq!((either.kind(), either.permanent_id()), ("ClusterResourceBinding", Some("wide-id")));
    assert_eq!(serde_json::to_value(&either).unwrap()["kind"], "ClusterResourceBinding");
}

#[test]
fn a_small_binding_is_written_small() {
    let resource =
        ObjectReference { api_version: "v1".into(), kind: "ConfigMap".into(), name: "c".into(), ..Default::default() };
    let binding = ResourceBinding::new("c-configmap", ResourceBindingSpec { resource, ..Default::default() });
    assert_eq!(
        serde_json::to_value(binding).unwrap(),
        json!({
            "apiVersion": "work.karmada.io/v1alpha2",
            "kind": "ResourceBinding",
            "metadata": {"name": "c-configmap"},
            "spec": {
                "resource": {"apiVersion": "v1", "kind": "ConfigMap", "name": "c"},
                "conflictResolution": "Abort",
            },
        })
    );
}

#[test]
fn a_work_keeps_its_manifest_byte_for_byte() {
    let manifest = r#"{"kind":"Deployment","apiVersion":"apps/v1","spec":{"z":1.50,"a":[null]}}"#;
    let text = format!(
        r#"{{"apiVersion":"work.karmada.io/v1alpha1","kind":"Work","metadata":{{"name":"w"}},"spec":{{"workload":{{"manifests":[{manifest}]}},"suspendDispatching":true}},"status":{{"manifestStatuses":[{{"identifier":{{"ordinal":0,"version":"v1","kind":"Deployment","resource":"","name":"web"}},"health":"Unknown"}}]}}}}"#
    );
    let work: Work = serde_json::from_str(&text).unwrap();
    assert_eq!(work.spec.workload.manifests[0].get(), manifest);
    assert_eq!(serde_json::to_string(&work).unwrap(), text);
}

#[test]
fn an_absent_or_null_member_status_is_none() {
    let absent: AggregatedStatusItem = read(&json!({"clusterName": "bj"}));
    let null: AggregatedStatusItem = read(&json!({"clusterName": "bj", "status": null}));
    assert_eq!(absent, null);
    assert_eq!(absent.status, None);
    assert_eq!(absent.health, None, "not judged is not the same as Unknown");
}

#[test]
fn debug_of_a_work_shows_no_manifest() {
    let mut work = Work::new("w", WorkSpec::default());
    let secret = json!({"kind": "Secret", "data": {"password": "aHVudGVyMg=="}});
    work.spec.workload.manifests.push(EmbeddedObject::from_value(&secret).unwrap());
    work.status = Some(WorkStatus {
        manifest_statuses: vec![ManifestStatus {
            status: work.spec.workload.manifests.first().cloned(),
            ..Default::default()
        }],
        ..Default::default()
    });
    let text = format!("{work:?}");
    assert!(!text.contains("aHVudGVyMg") && !text.contains("password"), "{text}");
}

#[test]
fn the_suspension_of_a_policy_becomes_that_of_a_binding() {
    let from = policy::Suspension { dispatching: Some(true), dispatching_on_clusters: None };
    let suspension = Suspension::from(from);
    assert_eq!((suspension.dispatching, suspension.scheduling), (Some(true), None));
}

#[test]
fn health_is_one_of_three_words() {
    let words: Vec<&str> = ResourceHealth::ALL.iter().map(|health| health.as_str()).collect();
    assert_eq!(words, ["Healthy", "Unhealthy", "Unknown"]);
}
