#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use serde_json::json;

use super::*;

fn deployment_from_a_server() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "prod", "uid": "0a1b", "resourceVersion": "4711", "generation": 7,
            "creationTimestamp": "2026-01-02T03:04:05Z", "selfLink": "/x", "finalizers": ["a/b"],
            "ownerReferences": [{"kind": "X"}], "managedFields": [{"manager": "kubectl"}],
            "labels": {"app": "web"},
            "annotations": {
                "deployment.kubernetes.io/revision": "3",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "team": "shop",
            },
        },
        "spec": {"replicas": 10, "template": {"metadata": {"creationTimestamp": null, "labels": {"app": "web"}}}},
        "status": {"replicas": 10},
    })
}

#[test]
fn a_manifest_has_nothing_a_server_fills_in() {
    let manifest = Manifest::from_value(deployment_from_a_server()).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(manifest.value()).unwrap(), @r#"
    {
      "apiVersion": "apps/v1",
      "kind": "Deployment",
      "metadata": {
        "annotations": {
          "team": "shop"
        },
        "labels": {
          "app": "web"
        },
        "name": "web",
        "namespace": "prod"
      },
      "spec": {
        "replicas": 10,
        "template": {
          "metadata": {
            "creationTimestamp": null,
            "labels": {
              "app": "web"
            }
          }
        }
      }
    }
    "#);
}

#[test]
fn pruning_a_manifest_again_changes_nothing() {
    let once = Manifest::from_value(deployment_from_a_server()).unwrap();
    let twice = Manifest::from_template(&once.to_bytes()).unwrap();
    assert_eq!(once, twice);
    assert_eq!(once.hash(), twice.hash());
}

#[test]
fn the_template_keeps_what_pruning_would_lose() {
    let template = Template::from_value(deployment_from_a_server()).unwrap();
    assert_eq!((template.uid.as_str(), template.generation, template.resource_version.as_str()), ("0a1b", 7, "4711"));
    assert!(!template.deleting);
}

#[test]
fn the_order_of_keys_does_not_change_the_hash() {
    let left = Manifest::from_template(
        br#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c"},"data":{"a":"1","b":"2"}}"#,
    );
    let right = Manifest::from_template(
        br#"{"data":{"b":"2","a":"1"},"metadata":{"name":"c"},"apiVersion":"v1","kind":"ConfigMap"}"#,
    );
    assert_eq!(left.unwrap().hash(), right.unwrap().hash());
}

#[test]
fn one_changed_value_changes_the_hash() {
    let manifest = |value: &str| {
        Manifest::from_value(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": value}}),
        )
        .unwrap()
    };
    assert_ne!(manifest("1").hash(), manifest("2").hash());
    assert_eq!(manifest("1").hash().len(), 32);
}

#[test]
fn debug_output_names_the_object_and_hides_its_content() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}, "data": {"p": "aHVudGVyMg=="}});
    let printed = format!(
        "{:?}",
        Template::from_value({
            let mut value = secret;
            value["metadata"]["uid"] = json!("u");
            value
        })
        .unwrap()
    );
    assert!(printed.contains("Secret n/s"), "{printed}");
    assert!(!printed.contains("aHVudGVyMg"), "{printed}");
}

#[test]
fn what_is_no_object_is_refused_with_the_reason() {
    let reason = |raw: &str| Manifest::from_template(raw.as_bytes()).unwrap_err().to_string();
    insta::assert_snapshot!(reason("{"), @"the object is not valid JSON: EOF while parsing an object at line 1 column 1; fix the object at its source");
    insta::assert_snapshot!(reason("[]"), @"the object is not a JSON object; a manifest needs apiVersion, kind and metadata.name");
    insta::assert_snapshot!(reason(r#"{"apiVersion":"v1","kind":"","metadata":{"name":"x"}}"#), @"the object has no kind; a manifest needs apiVersion, kind and metadata.name");
    insta::assert_snapshot!(reason(r#"{"apiVersion":"v1","kind":"A"}"#), @"the object has no metadata.name; a manifest needs apiVersion, kind and metadata.name");
    insta::assert_snapshot!(reason(r#"{"apiVersion":"v1","kind":"A","metadata":{"name":"x","labels":{"a":1}}}"#), @"metadata.labels of the object is not a map of strings; fix the object at its source");
}

#[test]
fn a_service_gives_up_its_addresses_unless_it_is_headless() {
    let service = |ip: &str| {
        Manifest::from_value(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": []},
        }))
        .unwrap()
        .into_value()
    };
    assert_eq!(service("10.0.0.7")["spec"], json!({"ports": []}));
    assert_eq!(service("None")["spec"]["clusterIP"], "None");
}

#[test]
fn a_service_account_token_stays_in_its_cluster() {
    let manifest = Manifest::from_value(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.uid": "u"}},
        "data": {"token": "eA=="},
    }))
    .unwrap();
    assert_eq!(
        manifest.value(),
        &json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token", "metadata": {"name": "t"},
        })
    );
}

#[test]
fn an_ordinary_secret_keeps_its_data() {
    let manifest = Manifest::from_value(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "t"}, "data": {"k": "eA=="},
    }))
    .unwrap();
    assert_eq!(manifest.value()["data"]["k"], "eA==");
}

#[test]
fn a_job_loses_its_generated_selector_and_its_ttl() {
    let manifest = Manifest::from_value(json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"},
        "spec": {
            "ttlSecondsAfterFinished": 60,
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
            "template": {"metadata": {"labels": {"controller-uid": "u", "job-name": "j", "app": "a"}}},
        },
    }))
    .unwrap();
    assert_eq!(manifest.value()["spec"], json!({"template": {"metadata": {"labels": {"app": "a"}}}}));
}

#[test]
fn a_job_gives_up_labels_that_the_hub_generated_and_keeps_a_selector_of_its_own() {
    let job = |manual: bool| {
        Manifest::from_value(json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "j", "labels": {"job-name": "j", "batch.kubernetes.io/controller-uid": "u", "team": "t"}},
            "spec": {"manualSelector": manual, "selector": {"matchLabels": {"controller-uid": "u"}}},
        }))
        .unwrap()
        .into_value()
    };
    assert_eq!(job(false)["metadata"]["labels"], json!({"team": "t"}));
    assert_eq!(job(false)["spec"], json!({"manualSelector": false}));
    assert_eq!(job(true)["spec"]["selector"], json!({"matchLabels": {"controller-uid": "u"}}));
    assert_eq!(job(true)["metadata"]["labels"]["job-name"], "j");
}

#[test]
fn what_each_cluster_counts_or_puts_together_itself_stays_there() {
    let set = Manifest::from_value(json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "d", "annotations": {"deprecated.daemonset.template.generation": "3"}},
    }));
    assert_eq!(set.unwrap().value()["metadata"], json!({"name": "d"}));
    let role = |aggregation: Value| {
        Manifest::from_value(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"},
            "aggregationRule": aggregation, "rules": [{"verbs": ["get"]}],
        }))
        .unwrap()
        .into_value()
    };
    assert_eq!(role(json!({"clusterRoleSelectors": []})).get("rules"), None);
    assert_eq!(role(Value::Null)["rules"], json!([{"verbs": ["get"]}]));
}

#[test]
fn kinds_of_other_groups_keep_their_fields() {
    let object = |api_version: &str, kind: &str, spec: Value| {
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": spec});
        Manifest::from_value(object).unwrap().into_value()["spec"].clone()
    };
    assert_eq!(object("x.example/v1", "Service", json!({"clusterIP": "1.2.3.4"})), json!({"clusterIP": "1.2.3.4"}));
    let job = json!({"selector": {"matchLabels": {"controller-uid": "u"}}, "ttlSecondsAfterFinished": 5});
    assert_eq!(object("batch.example/v1", "Job", job), json!({"selector": {"matchLabels": {"controller-uid": "u"}}}));
}

#[test]
fn generated_token_references_leave_a_service_account() {
    let manifest = Manifest::from_value(json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot"},
        "secrets": [{"name": "bot-token-x7"}, {"name": "pull"}, {"name": "bot-token-y8"}],
    }))
    .unwrap();
    assert_eq!(manifest.value()["secrets"], json!([{"name": "pull"}]));
}

#[test]
fn marks_can_be_set_where_no_map_was() {
    let mut manifest =
        Manifest::from_value(json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "x"}})).unwrap();
    manifest.set_label("k", "1");
    manifest.set_annotation("b", "2");
    manifest.set_annotation("a/b", "3");
    assert_eq!(manifest.label("k"), Some("1"));
    assert_eq!(manifest.annotation("a/b"), Some("3"));
    assert_eq!(manifest.annotations().collect::<Vec<_>>(), [("a/b", "3"), ("b", "2")]);
    manifest.remove_annotation("b");
    assert_eq!(manifest.annotation("b"), None);
}

#[test]
fn an_identity_prints_as_people_say_it() {
    let identity = Manifest::from_value(deployment_from_a_server()).unwrap().identity();
    assert_eq!(identity.to_string(), "Deployment prod/web");
    assert_eq!((identity.group(), identity.version()), ("apps", "v1"));
    let namespace =
        Manifest::from_value(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod"}}))
            .unwrap()
            .identity();
    assert_eq!(namespace.to_string(), "Namespace prod");
    assert_eq!((namespace.group(), namespace.version()), ("", "v1"));
}
