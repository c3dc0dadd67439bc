#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use serde_json::json;

use super::*;

#[test]
fn a_cluster_with_every_field_round_trips() {
    let json = json!({
        "apiVersion": "cluster.karmada.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "bj-prod"},
        "spec": {
            "id": "b7c", "syncMode": "Push", "apiEndpoint": "https://10.0.0.1:6443",
            "secretRef": {"namespace": "karmada-cluster", "name": "bj-prod"},
            "impersonatorSecretRef": {"namespace": "karmada-cluster", "name": "bj-prod-impersonator"},
            "insecureSkipTLSVerification": true, "proxyURL": "socks5://p", "proxyHeader": {"a": "b"},
            "provider": "p", "region": "r", "zone": "z", "zones": ["z1", "z2"],
            "taints": [{"key": "k", "value": "v", "effect": "NoSchedule", "timeAdded": "2026-01-02T03:04:05Z"}],
            "resourceModels": [{"grade": 0, "ranges": [{"name": "cpu", "min": "0", "max": "1"}]}],
        },
        "status": {
            "kubernetesVersion": "v1.36.4",
            "apiEnablements": [{"groupVersion": "apps/v1", "resources": [{"name": "deployments", "kind": "Deployment"}]}],
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "ClusterReady", "message": "m",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            }],
            "nodeSummary": {"totalNum": 3, "readyNum": 2},
            "resourceSummary": {
                "allocatable": {"cpu": "8"}, "allocating": {"cpu": "1"}, "allocated": {"cpu": "2"},
                "allocatableModelings": [{"grade": 0, "count": 3}],
            },
            "remedyActions": ["TrafficControl"],
        },
    });
    let cluster: Cluster = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(cluster).unwrap(), json);
}

#[test]
fn a_condition_with_an_empty_reason_reads() {
    let status: ClusterStatus = serde_json::from_value(json!({
        "conditions": [{"type": "Ready", "status": "True", "reason": "", "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"}],
    }))
    .unwrap();
    assert_eq!(status.conditions[0].reason, "");
}

#[test]
fn the_mode_is_push_or_pull() {
    assert_eq!(SyncMode::ALL.iter().map(|mode| mode.as_str()).collect::<Vec<_>>(), ["Push", "Pull"]);
    assert!(serde_json::from_value::<ClusterSpec>(json!({"apiEndpoint": "x"})).is_err(), "syncMode is required");
}
