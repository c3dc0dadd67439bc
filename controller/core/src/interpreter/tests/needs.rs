//! What templates need beside themselves.

use super::*;

fn needs(template: Value) -> Vec<String> {
    let word = |need: &Dependency| {
        assert_eq!(need.namespace.as_deref(), Some("shop"));
        format!("{} {}", need.kind, need.name.as_deref().unwrap_or("by label"))
    };
    dependencies(&manifest(template)).iter().map(word).collect()
}

#[test]
fn real_templates_need_what_their_pods_name() {
    let of = |name: &str| needs(pair(name).0);
    assert_eq!(of("stateful_set"), ["ConfigMap db-config", "Secret db-password"]);
    assert_eq!(of("daemon_set"), ["ServiceAccount bot"]);
    assert_eq!(of("job"), ["ConfigMap sum-config"]);
    assert_eq!(of("cron_job"), ["PersistentVolumeClaim archive", "Secret nightly-key"]);
    assert_eq!(of("ingress"), ["Secret web-tls"]);
    assert_eq!(of("pod"), ["ServiceAccount bot"]);
    for none in ["deployment", "replica_set", "service", "cluster_role", "custom_resource_definition"] {
        assert!(dependencies(&manifest(pair(none).0)).is_empty(), "{none}");
    }
}

#[test]
fn every_way_to_name_something_counts_once() {
    let (mut pod, _) = pair("pod");
    pod["spec"] = json!({
        "serviceAccountName": "default",
        "imagePullSecrets": [{"name": "pull"}, {}],
        "initContainers": [{"name": "i", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "env-map", "key": "a"}}}]}],
        "containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "env-map"}}, {"secretRef": {"name": "env-secret"}}]}],
        "ephemeralContainers": [{"name": "e", "env": [{"name": "B", "valueFrom": {"secretKeyRef": {"name": "key", "key": "b"}}}]}],
        "volumes": [
            {"name": "1", "configMap": {"name": "map"}}, {"name": "2", "secret": {"secretName": "secret"}},
            {"name": "3", "persistentVolumeClaim": {"claimName": "claim"}},
            {"name": "4", "projected": {"sources": [
                {"configMap": {"name": "projected-map"}}, {"secret": {"name": "projected-secret"}},
                {"configMap": {"name": "kube-root-ca.crt"}}, {"serviceAccountToken": {"path": "token"}},
            ]}},
            {"name": "5", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "csi"}}},
            {"name": "6", "azureFile": {"secretName": "azure"}}, {"name": "7", "rbd": {"secretRef": {"name": "rbd"}}},
            {"name": "8", "cephfs": {"secretRef": {"name": "ceph"}}}, {"name": "9", "emptyDir": {}},
        ],
    });
    assert_eq!(
        needs(pod),
        [
            "ConfigMap env-map",
            "ConfigMap map",
            "ConfigMap projected-map",
            "PersistentVolumeClaim claim",
            "Secret azure",
            "Secret ceph",
            "Secret csi",
            "Secret env-secret",
            "Secret key",
            "Secret projected-secret",
            "Secret pull",
            "Secret rbd",
            "Secret secret"
        ]
    );
}

#[test]
fn claims_that_a_stateful_set_makes_itself_are_not_needed() {
    let (mut set, _) = pair("stateful_set");
    let volume = |name: &str| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
    set["spec"]["template"]["spec"]["volumes"] = json!([volume("data"), volume("shared")]);
    assert_eq!(needs(set), ["PersistentVolumeClaim shared", "Secret db-password"]);
}

#[test]
fn an_import_needs_its_derived_service_and_its_endpoints() {
    let import = json!({
        "apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport", "metadata": {"name": "web", "namespace": "shop"},
    });
    assert_eq!(
        serde_json::to_value(dependencies(&manifest(import))).unwrap(),
        json!([
            {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "namespace": "shop",
                "labelSelector": {"matchLabels": {"kubernetes.io/service-name": "derived-web"}},
            },
            {"apiVersion": "v1", "kind": "Service", "namespace": "shop", "name": "derived-web"},
        ])
    );
}
