#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn cluster(name: &str, status: Value) -> Cluster {
    serde_json::from_value(json!({
        "apiVersion": "cluster.karmada.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name, "creationTimestamp": "2026-11-23T11:55:00Z"},
        "spec": {"syncMode": "Push", "apiEndpoint": "https://10.0.0.1:6443", "region": "north", "zones": ["z1", "z2"]},
        "status": status,
    }))
    .unwrap()
}

fn ready(status: &str, reason: &str, message: &str) -> Value {
    json!({"kubernetesVersion": "v1.36.4", "conditions": [{
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-11-23T11:56:00Z"
    }]})
}

fn binding(namespace: &str, name: &str, clusters: Value, scheduled: &str) -> ResourceBinding {
    serde_json::from_value(json!({
        "apiVersion": "work.karmada.io/v1alpha2",
        "kind": "ResourceBinding",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": "2026-11-23T11:59:30Z"},
        "spec": {
            "resource": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web-service", "namespace": namespace},
            "replicas": 10,
            "clusters": clusters,
        },
        "status": {"conditions": [
            {"type": "Scheduled", "status": scheduled, "reason": "NoClusterFit", "message": "0/3 clusters fit",
             "lastTransitionTime": "2026-11-23T11:59:31Z"},
        ]},
    }))
    .unwrap()
}

#[test]
fn clusters_have_karmadas_columns() {
    let clusters = [cluster("bj-prod", ready("True", "ClusterReady", "")), cluster("sh-prod", Value::Null)];
    insta::assert_snapshot!(clusters::table(&clusters, false, now()), @r"
    NAME      VERSION   MODE   READY     AGE
    bj-prod   v1.36.4   Push   True      5m
    sh-prod   <none>    Push   Unknown   5m
    ");
}

#[test]
fn the_wide_form_says_why_a_cluster_is_not_ready() {
    let clusters = [cluster("bj-prod", ready("False", "ClusterNotReachable", "connection refused"))];
    insta::assert_snapshot!(clusters::table(&clusters, true, now()), @r"
    NAME      VERSION   MODE   READY   AGE   ZONES   REGION   PROVIDER   API-ENDPOINT            MESSAGE
    bj-prod   v1.36.4   Push   False   5m    z1,z2   north    <none>     https://10.0.0.1:6443   ClusterNotReachable: connection refused
    ");
}

#[test]
fn a_leaving_cluster_is_marked() {
    let mut leaving = cluster("bj-prod", ready("True", "ClusterReady", ""));
    leaving.metadata.deletion_timestamp = leaving.metadata.creation_timestamp.clone();
    assert!(clusters::table(&[leaving], false, now()).contains("True,Leaving"));
}

#[test]
fn bindings_show_where_the_replicas_went() {
    let split = json!([{"name": "bj-prod", "replicas": 5}, {"name": "sh-prod", "replicas": 3}, {"name": "sz-prod", "replicas": 2}]);
    let everywhere = json!([{"name": "bj-prod"}, {"name": "sh-prod"}]);
    let bindings = [
        binding("default", "web-service-deployment", split, "True"),
        binding("team-a", "settings-configmap", everywhere, "True"),
        binding("team-a", "stuck-deployment", json!([]), "False"),
    ];
    let rows = || bindings.iter().map(bindings::Row::namespaced).collect();
    insta::assert_snapshot!(bindings::table(rows(), false, now()), @r"
    NAMESPACE   NAME                     SCHEDULED   FULLYAPPLIED   CLUSTERS                        AGE
    default     web-service-deployment   True        Unknown        bj-prod:5,sh-prod:3,sz-prod:2   30s
    team-a      settings-configmap       True        Unknown        bj-prod,sh-prod                 30s
    team-a      stuck-deployment         False       Unknown        <none>                          30s
    ");
    let wide = bindings::table(rows(), true, now());
    assert!(wide.contains("NoClusterFit: 0/3 clusters fit"), "{wide}");
    assert!(wide.contains("apps/v1/Deployment web-service"), "{wide}");
}

#[test]
fn the_wide_form_says_for_how_long_a_member_has_not_been_read() {
    let since = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": message,
               "lastTransitionTime": "2026-11-23T11:56:00Z"})
    };
    let row = |conditions: Value| {
        let mut binding = binding("default", "web-deployment", json!([{"name": "bj-prod"}]), "True");
        binding.status.as_mut().unwrap().conditions = serde_json::from_value(conditions).unwrap();
        let table = bindings::table(vec![bindings::Row::namespaced(&binding)], true, now());
        table.lines().nth(1).unwrap().split_once("web-service   10").unwrap().1.trim().to_owned()
    };
    let applied = since("FullyApplied", "True", "FullyAppliedSuccess", "");
    let stale = since("StatusFresh", "False", "ClusterNotRead", "not read: bj-prod");
    assert_eq!(row(json!([applied])), "True    <none>");
    assert_eq!(row(json!([applied, stale])), "False 4m   ClusterNotRead: not read: bj-prod");
    assert_eq!(row(json!([])), "Unknown   <none>");
}

#[test]
fn one_name_gives_the_object_and_several_give_a_list() {
    let clusters = [cluster("bj-prod", Value::Null)];
    let shown = || Shown::of(&clusters, String::new()).unwrap();
    let args = |names: &[&str], output| GetArgs {
        kind: GetKind::Clusters,
        names: names.iter().map(ToString::to_string).collect(),
        hub: crate::args::HubArgs::default(),
        namespace: None,
        all_namespaces: false,
        output: Some(output),
    };
    let one: Value = serde_json::from_str(&shown().text(&args(&["bj-prod"], ListFormat::Json)).unwrap()).unwrap();
    assert_eq!(one["kind"], "Cluster");
    let all: Value = serde_json::from_str(&shown().text(&args(&[], ListFormat::Json)).unwrap()).unwrap();
    assert_eq!((&all["kind"], &all["items"][0]["metadata"]["name"]), (&json!("List"), &json!("bj-prod")));
    let names = shown().text(&args(&[], ListFormat::Name)).unwrap();
    assert_eq!(names, "cluster.cluster.karmada.io/bj-prod\n");
}

#[test]
fn a_name_that_does_not_exist_is_an_error() {
    let clusters = vec![cluster("bj-prod", Value::Null)];
    let missing = named("clusters", clusters.clone(), &["bj-prod".into(), "xx".into()]).unwrap_err();
    assert!(missing.to_string().starts_with("clusters \"xx\" not found"), "{missing}");
    assert_eq!(named("clusters", clusters, &["bj-prod".into()]).unwrap().len(), 1);
}

#[test]
fn a_binding_of_all_namespaces_must_be_in_one_of_the_two_lists() {
    let namespaced = vec![binding("default", "web-deployment", json!([]), "True")];
    let wide: ClusterResourceBinding = serde_json::from_value(json!({
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ClusterResourceBinding", "metadata": {"name": "reader-clusterrole"},
        "spec": {"resource": {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "reader"}},
    }))
    .unwrap();
    let found = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let found = named_in_either("bindings", namespaced.clone(), vec![wide.clone()], &names);
        found.map(|(namespaced, wide)| (namespaced.len(), wide.len()))
    };
    assert_eq!(found(&[]).unwrap(), (1, 1));
    assert_eq!(found(&["reader-clusterrole"]).unwrap(), (0, 1));
    assert_eq!(found(&["web-deployment", "reader-clusterrole"]).unwrap(), (1, 1));
    let missing = found(&["web-deployment", "xx"]).unwrap_err().to_string();
    assert_eq!(missing, "bindings \"xx\" not found; `pando get bindings -A` lists what there is");
}
