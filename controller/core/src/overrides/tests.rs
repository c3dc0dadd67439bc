#![allow(clippy::unwrap_used, clippy::unwrap_in_result, clippy::expect_used, clippy::panic, reason = "tests")]

use pando_api::cluster::Cluster;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn web() -> Manifest {
    Manifest::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "prod", "labels": {"app": "web"}},
        "spec": {"replicas": 5, "template": {"spec": {
            "initContainers": [{"name": "init", "image": "busybox:1"}],
            "containers": [
                {"name": "web", "image": "docker.io/library/nginx:1.27", "args": ["-a", "-b"]},
                {"name": "log", "image": "fluent"},
            ],
        }}},
    }))
    .unwrap()
}

fn cluster(name: &str) -> ClusterFacts {
    let object: Cluster = serde_json::from_value(json!({
        "apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster",
        "metadata": {"name": name, "labels": {"site": name}}, "spec": {"syncMode": "Push"},
    }))
    .unwrap();
    ClusterFacts::of(&object).unwrap()
}

fn policy(namespace: &str, name: &str, spec: Value) -> OverridePolicy {
    serde_json::from_value(json!({
        "apiVersion": "policy.karmada.io/v1alpha1", "kind": "OverridePolicy",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    }))
    .unwrap()
}

fn cluster_policy(name: &str, spec: Value) -> ClusterOverridePolicy {
    serde_json::from_value(json!({
        "apiVersion": "policy.karmada.io/v1alpha1", "kind": "ClusterOverridePolicy",
        "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap()
}

fn selecting(selector: Value, overriders: Value) -> Value {
    let mut base = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    json_patch::merge(&mut base, &selector);
    json!({"resourceSelectors": [base], "overrideRules": [{"overriders": overriders}]})
}

fn label(value: &str) -> Value {
    json!({"labelsOverrider": [{"operator": "add", "value": {"by": value}}]})
}

/// Applies one set of overriders to `web` in cluster `bj`.
fn apply(overriders: Value) -> Result<Value, OverrideError> {
    let policies = [policy("prod", "p", json!({"overrideRules": [{"overriders": overriders}]}))];
    let selected = select([], &policies, &web());
    selected.apply(web(), &cluster("bj")).map(|(object, _)| object.into_value())
}

fn images(object: &Value) -> Vec<String> {
    let containers = object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    containers.iter().map(|container| container["image"].as_str().unwrap().to_owned()).collect()
}

fn image(component: &str, operator: &str, value: &str) -> Vec<String> {
    let overrider = json!({"component": component, "operator": operator, "value": value});
    images(&apply(json!({"imageOverrider": [overrider]})).unwrap())
}

mod selection {
    use super::*;

    fn order(cluster_policies: &[ClusterOverridePolicy], policies: &[OverridePolicy]) -> Vec<String> {
        select(cluster_policies, policies, &web()).policies.iter().map(|(policy, _)| policy.to_string()).collect()
    }

    #[test]
    fn cluster_policies_first_then_the_more_specific_later_then_by_name() {
        let all = || json!({"overrideRules": [{"overriders": {}}]});
        let by_kind = || selecting(json!({}), json!({}));
        let by_label = || selecting(json!({"labelSelector": {"matchLabels": {"app": "web"}}}), json!({}));
        let by_name = || selecting(json!({"name": "web"}), json!({}));
        let order = order(
            &[cluster_policy("z-name", by_name()), cluster_policy("y-all", all())],
            &[
                policy("prod", "a-name", by_name()),
                policy("prod", "b-label", by_label()),
                policy("prod", "c-kind", by_kind()),
                policy("prod", "b-all", all()),
            ],
        );
        insta::assert_snapshot!(order.join("\n"), @r"
        ClusterOverridePolicy y-all
        ClusterOverridePolicy z-name
        OverridePolicy prod/b-all
        OverridePolicy prod/c-kind
        OverridePolicy prod/b-label
        OverridePolicy prod/a-name
        ");
    }

    #[test]
    fn policies_of_other_namespaces_names_and_kinds_do_not_count() {
        let order = order(
            &[cluster_policy("other-namespace", selecting(json!({"namespace": "dev"}), json!({})))],
            &[
                policy("dev", "elsewhere", selecting(json!({"name": "web"}), json!({}))),
                policy("prod", "other-name", selecting(json!({"name": "api"}), json!({}))),
                policy("prod", "other-kind", selecting(json!({"kind": "StatefulSet"}), json!({}))),
                policy(
                    "prod",
                    "other-label",
                    selecting(json!({"labelSelector": {"matchLabels": {"app": "api"}}}), json!({})),
                ),
            ],
        );
        assert_eq!(order, [""; 0]);
    }

    #[test]
    fn the_more_specific_policy_wins() {
        let policies = [
            policy("prod", "z-kind", selecting(json!({}), label("kind"))),
            policy("prod", "a-name", selecting(json!({"name": "web"}), label("name"))),
        ];
        let (object, _) = select([], &policies, &web()).apply(web(), &cluster("bj")).unwrap();
        assert_eq!(object.label("by"), Some("name"));
    }

    #[test]
    fn without_policies_the_object_stays_as_it_is() {
        let selected = select([], [], &web());
        assert!(selected.is_empty());
        assert_eq!(selected.apply(web(), &cluster("bj")).unwrap(), (web(), AppliedOverrides::default()));
    }

    #[test]
    fn rules_apply_to_their_clusters() {
        let spec = json!({"overrideRules": [
            {"targetCluster": {"clusterNames": ["bj"]}, "overriders": label("bj")},
            {"targetCluster": {"labelSelector": {"matchLabels": {"site": "sh"}}}, "overriders": label("sh")},
        ]});
        let policies = [policy("prod", "p", spec)];
        let selected = select([], &policies, &web());
        let by = |name| selected.apply(web(), &cluster(name)).unwrap().0.label("by").map(str::to_owned);
        assert_eq!((by("bj").as_deref(), by("sh").as_deref(), by("sz").as_deref()), (Some("bj"), Some("sh"), None));
    }

    #[test]
    fn the_deprecated_form_is_one_rule() {
        let policies =
            [policy("prod", "old", json!({"targetCluster": {"clusterNames": ["bj"]}, "overriders": label("old")}))];
        let selected = select([], &policies, &web());
        assert_eq!(selected.apply(web(), &cluster("bj")).unwrap().0.label("by"), Some("old"));
        assert_eq!(selected.apply(web(), &cluster("sh")).unwrap(), (web(), AppliedOverrides::default()));
    }

    #[test]
    fn the_record_has_what_was_said_in_karmadas_form() {
        let policies = [policy("prod", "p", json!({"overrideRules": [{"overriders": label("x")}]}))];
        let cluster_policies = [cluster_policy("c", json!({"overrideRules": [{"overriders": label("y")}]}))];
        let (_, applied) = select(&cluster_policies, &policies, &web()).apply(web(), &cluster("bj")).unwrap();
        assert_eq!(
            serde_json::to_value(&applied.namespaced).unwrap(),
            json!([{"policyName": "p", "overriders": {"labelsOverrider": [{"operator": "add", "value": {"by": "x"}}]}}])
        );
        assert_eq!(applied.cluster[0].policy_name, "c");
    }
}

mod broken {
    use super::*;

    fn error(policies: &[OverridePolicy], cluster_policies: &[ClusterOverridePolicy]) -> String {
        let selected = select(cluster_policies, policies, &web());
        if selected.is_empty() {
            return "not selected".to_owned();
        }
        let outcome = |name| {
            selected.apply(web(), &cluster(name)).map_or_else(|error| error.to_string(), |_| "applied".to_owned())
        };
        assert_eq!(outcome("bj"), outcome("sh"), "for every cluster");
        outcome("bj")
    }

    fn of(spec: Value) -> String {
        error(&[policy("prod", "p", spec)], &[])
    }

    #[test]
    fn a_policy_that_cannot_be_applied_holds_every_cluster() {
        let unknown_operator = json!({"matchExpressions": [{"key": "site", "operator": "in", "values": ["bj"]}]});
        let yaml =
            json!({"fieldOverrider": [{"fieldPath": "/data/a", "yaml": [{"subPath": "/a", "operator": "remove"}]}]});
        let rows = [
            of(
                json!({"overrideRules": [{"targetCluster": {"labelSelector": unknown_operator}, "overriders": label("x")}]}),
            ),
            of(json!({"overrideRules": [{"overriders": {}}], "overriders": label("old")})),
            of(json!({"overrideRules": [{"targetCluster": {"clusterNames": ["sz"]}, "overriders": yaml}]})),
        ];
        insta::assert_snapshot!(rows.join("\n"), @r#"
        OverridePolicy prod/p cannot be applied: spec.overrideRules[0].targetCluster.labelSelector.matchExpressions[0].operator: unknown operator "in": use In, NotIn, Exists or DoesNotExist
        OverridePolicy prod/p cannot be applied: spec.overriders: it is deprecated and excludes overrideRules: move it into a rule
        OverridePolicy prod/p cannot be applied: spec.overrideRules.overriders.fieldOverrider.yaml is not supported by this release, and ignoring it could do harm: remove it to go on
        "#);
    }

    #[test]
    fn a_sound_policy_does_not_make_up_for_a_broken_one() {
        let sound = || policy("prod", "sound", selecting(json!({"name": "web"}), label("x")));
        let broken =
            || cluster_policy("broken", json!({"overrideRules": [{"overriders": {}}], "overriders": label("old")}));
        assert_eq!(error(&[sound()], &[]), "applied");
        assert!(error(&[sound()], &[broken()]).starts_with("ClusterOverridePolicy broken cannot be applied: "));
    }

    #[test]
    fn a_broken_selector_counts_for_whatever_it_may_mean() {
        let odd = || json!({"matchExpressions": [{"key": "app", "operator": "in", "values": ["api"]}]});
        let holds = |selector: Value| of(selecting(selector, label("x"))) != "not selected";
        let holds_in = |namespace: &str| {
            let spec = selecting(json!({"namespace": namespace, "labelSelector": odd()}), label("x"));
            error(&[], &[cluster_policy("c", spec)]) != "not selected"
        };
        assert!(holds(json!({"labelSelector": odd()})));
        assert!(holds(json!({"namespace": "dev"})), "a namespace that the policy may not select");
        assert!(holds(json!({"apiVersion": ""})));
        assert!(holds_in("prod"));
        assert!(!holds_in("dev"), "that part is sound");
        assert!(!holds(json!({"kind": "StatefulSet", "labelSelector": odd()})));
        assert!(!holds(json!({"name": "api", "labelSelector": odd()})), "a name makes labels irrelevant");
    }

    #[test]
    fn a_broken_policy_for_other_objects_holds_nothing() {
        let spec = json!({
            "resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}],
            "overrideRules": [{"overriders": {}}], "overriders": label("old"),
        });
        assert_eq!(of(spec), "not selected");
    }
}

mod images {
    use super::*;

    /// One overrider on an image that has a tag and a digest.
    fn pinned(component: &str, operator: &str, value: &str) -> String {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "prod"}, "spec": {
            "containers": [{"name": "c", "image": format!("docker.io/a/b:1.2@{DIGEST}")}],
        }});
        let pod = Manifest::from_value(pod).unwrap();
        let overrider = json!({"component": component, "operator": operator, "value": value});
        let spec = json!({"overrideRules": [{"overriders": {"imageOverrider": [overrider]}}]});
        let policies = [policy("prod", "p", spec)];
        let (pod, _) = select([], &policies, &pod).apply(pod.clone(), &cluster("bj")).unwrap();
        pod.value()["spec"]["containers"][0]["image"].as_str().unwrap().replace(DIGEST, "DIGEST")
    }

    const DIGEST: &str = "sha256:50d858e0985ecc7f60418aaf0cc5ab587f42c2570a884095a9e8ccacd0f6545c";

    #[test]
    fn a_digest_is_lost_only_with_its_tag() {
        assert_eq!(pinned("Registry", "replace", "m.example:5000"), "m.example:5000/a/b:1.2@DIGEST");
        assert_eq!(pinned("Repository", "add", "-slim"), "docker.io/a/b-slim:1.2@DIGEST");
        assert_eq!(pinned("Tag", "replace", "1.3"), "docker.io/a/b:1.3");
        assert_eq!(pinned("Tag", "add", "-alpine"), "docker.io/a/b:1.2-alpine");
        assert_eq!(pinned("Tag", "replace", DIGEST), "docker.io/a/b@DIGEST");
        assert_eq!(pinned("Tag", "remove", ""), "docker.io/a/b");
    }

    #[test]
    fn each_part_can_be_replaced_extended_and_removed() {
        let rows = [
            ("Registry", "replace", "mirror.example:5000"),
            ("Registry", "add", ".cn"),
            ("Registry", "remove", ""),
            ("Repository", "replace", "acme/web"),
            ("Repository", "add", "-slim"),
            ("Tag", "replace", "1.28"),
            ("Tag", "replace", "sha256:50d858e0985ecc7f60418aaf0cc5ab587f42c2570a884095a9e8ccacd0f6545c"),
            ("Tag", "add", "-alpine"),
            ("Tag", "remove", ""),
        ];
        let text = rows.map(|(component, operator, value)| {
            // The second container's image has no tag: "-alpine" alone is none.
            let result = apply(json!({"imageOverrider": [{
                "component": component, "operator": operator, "value": value,
                "predicate": {"path": "/spec/template/spec/containers/0/image"},
            }]}));
            format!("{component} {operator} {value}: {}", super::images(&result.unwrap())[0])
        });
        insta::assert_snapshot!(text.join("\n"), @r"
        Registry replace mirror.example:5000: mirror.example:5000/library/nginx:1.27
        Registry add .cn: docker.io.cn/library/nginx:1.27
        Registry remove : library/nginx:1.27
        Repository replace acme/web: docker.io/acme/web:1.27
        Repository add -slim: docker.io/library/nginx-slim:1.27
        Tag replace 1.28: docker.io/library/nginx:1.28
        Tag replace sha256:50d858e0985ecc7f60418aaf0cc5ab587f42c2570a884095a9e8ccacd0f6545c: docker.io/library/nginx@sha256:50d858e0985ecc7f60418aaf0cc5ab587f42c2570a884095a9e8ccacd0f6545c
        Tag add -alpine: docker.io/library/nginx:1.27-alpine
        Tag remove : docker.io/library/nginx
        ");
    }

    #[test]
    fn without_a_predicate_all_containers_change_and_no_init_container() {
        let object =
            apply(json!({"imageOverrider": [{"component": "Registry", "operator": "replace", "value": "m.example"}]}))
                .unwrap();
        assert_eq!(super::images(&object), ["m.example/library/nginx:1.27", "m.example/fluent"]);
        assert_eq!(object["spec"]["template"]["spec"]["initContainers"][0]["image"], "busybox:1");
    }

    #[test]
    fn an_untagged_image_gets_a_tag() {
        assert_eq!(image("Tag", "replace", "v2")[1], "fluent:v2");
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        let error = apply(json!({"imageOverrider": [{"component": "Tag", "operator": "add", "value": "-alpine"}]}))
            .unwrap_err();
        insta::assert_snapshot!(error, @"OverridePolicy prod/p: imageOverrider at /spec/template/spec/containers/1/image failed for Deployment prod/web: the result is neither a tag nor a digest; fix the overrider or the template");
    }

    #[test]
    fn a_predicate_that_leads_nowhere_is_an_error() {
        let error = apply(json!({"imageOverrider": [{
            "component": "Tag", "operator": "replace", "value": "1", "predicate": {"path": "/spec/image"},
        }]}));
        insta::assert_snapshot!(error.unwrap_err(), @"OverridePolicy prod/p: imageOverrider at /spec/image failed for Deployment prod/web: there is no such field; fix the overrider or the template");
    }

    #[test]
    fn kinds_without_pods_are_left_alone() {
        let map = Manifest::from_value(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "prod"}}),
        )
        .unwrap();
        let policies = [policy(
            "prod",
            "p",
            json!({"overrideRules": [{"overriders": {
                "imageOverrider": [{"component": "Tag", "operator": "replace", "value": "1"}],
            }}]}),
        )];
        assert_eq!(select([], &policies, &map).apply(map.clone(), &cluster("bj")).unwrap().0, map);
    }
}

mod others {
    use super::*;

    #[test]
    fn plaintext_is_a_json_patch() {
        let object = apply(json!({"plaintext": [
            {"path": "/spec/replicas", "operator": "replace", "value": 7},
            {"path": "/spec/paused", "operator": "add", "value": true},
            {"path": "/metadata/labels/app", "operator": "remove"},
        ]}))
        .unwrap();
        assert_eq!((&object["spec"]["replicas"], &object["spec"]["paused"]), (&json!(7), &json!(true)));
        assert_eq!(object["metadata"]["labels"], json!({}));
    }

    #[test]
    fn a_patch_of_a_missing_field_names_policy_overrider_and_path() {
        let error =
            apply(json!({"plaintext": [{"path": "/spec/nothing/here", "operator": "replace", "value": "hunter2"}]}))
                .unwrap_err();
        insta::assert_snapshot!(error, @"OverridePolicy prod/p: plaintext at /spec/nothing/here failed for Deployment prod/web: there is no such field; fix the overrider or the template");
    }

    #[test]
    fn a_broken_pointer_is_named() {
        let error =
            apply(json!({"plaintext": [{"path": "spec.replicas", "operator": "replace", "value": 1}]})).unwrap_err();
        insta::assert_snapshot!(error, @r#"OverridePolicy prod/p cannot be applied: spec.overrideRules[0].overriders.plaintext[0].path: "spec.replicas" is not a JSON pointer: begin it with a slash"#);
    }

    #[test]
    fn labels_are_added_anywhere_and_replaced_or_removed_only_where_they_are() {
        let object = apply(json!({"labelsOverrider": [
            {"operator": "replace", "value": {"app": "web2", "absent": "x"}},
            {"operator": "add", "value": {"new": "1"}},
            {"operator": "remove", "value": {"absent": "x"}},
        ]}))
        .unwrap();
        assert_eq!(object["metadata"]["labels"], json!({"app": "web2", "new": "1"}));
    }

    #[test]
    fn annotations_get_their_map() {
        let object = apply(json!({"annotationsOverrider": [{"operator": "add", "value": {"a/b": "1"}}]})).unwrap();
        assert_eq!(object["metadata"]["annotations"], json!({"a/b": "1"}));
        let object = apply(json!({"annotationsOverrider": [{"operator": "replace", "value": {"a/b": "1"}}]})).unwrap();
        assert_eq!(object["metadata"].get("annotations"), None);
    }

    #[test]
    fn command_lines_gain_and_lose_words() {
        let object = apply(json!({
            "commandOverrider": [{"containerName": "web", "operator": "add", "value": ["run"]}],
            "argsOverrider": [
                {"containerName": "web", "operator": "remove", "value": ["-a"]},
                {"containerName": "web", "operator": "add", "value": ["-c"]},
                {"containerName": "nobody", "operator": "add", "value": ["-x"]},
            ],
        }))
        .unwrap();
        let container = &object["spec"]["template"]["spec"]["containers"][0];
        assert_eq!((&container["command"], &container["args"]), (&json!(["run"]), &json!(["-b", "-c"])));
    }

    fn config(document: &str, field: Value) -> Result<Value, OverrideError> {
        let map = Manifest::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "prod"}, "data": {"app.json": document},
        }))
        .unwrap();
        let policies = [policy("prod", "p", json!({"overrideRules": [{"overriders": {"fieldOverrider": [field]}}]}))];
        let selected = select([], &policies, &map);
        selected.apply(map.clone(), &cluster("bj")).map(|(object, _)| object.into_value())
    }

    #[test]
    fn a_json_document_inside_a_field_is_patched() {
        let field = json!({"fieldPath": "/data/app.json", "json": [{"subPath": "/db/host", "operator": "replace", "value": "b"}]});
        assert_eq!(config(r#"{"db": {"host": "a"}}"#, field).unwrap()["data"]["app.json"], r#"{"db":{"host":"b"}}"#);
    }

    #[test]
    fn a_document_that_is_not_json_is_named_and_not_quoted() {
        let field = json!({"fieldPath": "/data/app.json", "json": [{"subPath": "/a", "operator": "add", "value": 1}]});
        insta::assert_snapshot!(config("password: hunter2", field).unwrap_err(), @"OverridePolicy prod/p: fieldOverrider at /data/app.json failed for ConfigMap prod/c: no JSON at line 1 column 1; fix the overrider or the template");
    }

    #[test]
    fn yaml_documents_are_refused_and_not_ignored() {
        let field = json!({"fieldPath": "/data/app.json", "yaml": [{"subPath": "/a", "operator": "add", "value": 1}]});
        insta::assert_snapshot!(config("a: 1", field).unwrap_err(), @"OverridePolicy prod/p cannot be applied: spec.overrideRules.overriders.fieldOverrider.yaml is not supported by this release, and ignoring it could do harm: remove it to go on");
    }

    #[test]
    fn inside_a_rule_plaintext_has_the_last_word() {
        let object = apply(json!({
            "plaintext": [{"path": "/metadata/labels/by", "operator": "replace", "value": "plaintext"}],
            "labelsOverrider": [{"operator": "add", "value": {"by": "labels"}}],
        }))
        .unwrap();
        assert_eq!(object["metadata"]["labels"]["by"], "plaintext");
    }
}

mod rejection {
    use super::*;

    #[test]
    fn overrides_change_neither_what_an_object_is_nor_whose() {
        let rows = [
            json!({"plaintext": [{"path": "/kind", "operator": "replace", "value": "ClusterRoleBinding"}]}),
            json!({"plaintext": [{"path": "/apiVersion", "operator": "replace", "value": "rbac.authorization.k8s.io/v1"}]}),
            json!({"plaintext": [{"path": "/metadata/namespace", "operator": "replace", "value": "kube-system"}]}),
            json!({"plaintext": [{"path": "/metadata/namespace", "operator": "remove"}]}),
            json!({"plaintext": [{"path": "/metadata/name", "operator": "replace", "value": "other"}]}),
            json!({"labelsOverrider": [{"operator": "add", "value": {"karmada.io/managed": "false"}}]}),
            json!({"annotationsOverrider": [{"operator": "add", "value": {"pando.io/federation": "mine"}}]}),
            json!({"plaintext": [{"path": "/metadata", "operator": "replace", "value": {"name": "web", "namespace": "prod", "labels": {"a": 1}}}]}),
        ];
        let text = rows.map(|row| {
            apply(row)
                .unwrap_err()
                .to_string()
                .replace("OverridePolicy prod/p: override rejected for Deployment prod/web: ", "")
        });
        insta::assert_snapshot!(text.join("\n"), @r"
        it changes kind; overrides may change neither the identity of an object nor Pando's marks
        it changes apiVersion; overrides may change neither the identity of an object nor Pando's marks
        it changes metadata.namespace; overrides may change neither the identity of an object nor Pando's marks
        it changes metadata.namespace; overrides may change neither the identity of an object nor Pando's marks
        it changes metadata.name; overrides may change neither the identity of an object nor Pando's marks
        it changes label karmada.io/managed; overrides may change neither the identity of an object nor Pando's marks
        it changes annotation pando.io/federation; overrides may change neither the identity of an object nor Pando's marks
        metadata.labels of the object is not a map of strings; fix the object at its source
        ");
    }

    #[test]
    fn an_api_version_may_change_inside_its_group() {
        let object =
            apply(json!({"plaintext": [{"path": "/apiVersion", "operator": "replace", "value": "apps/v1beta2"}]}))
                .unwrap();
        assert_eq!(object["apiVersion"], "apps/v1beta2");
    }

    #[test]
    fn what_a_server_fills_in_cannot_come_back() {
        let object = apply(json!({"plaintext": [
            {"path": "/metadata/finalizers", "operator": "add", "value": ["a/b"]},
            {"path": "/metadata/uid", "operator": "add", "value": "forged"},
            {"path": "/status", "operator": "add", "value": {"replicas": 1}},
        ]}))
        .unwrap();
        assert_eq!(&object, web().value());
    }

    proptest! {
        /// Whatever a plaintext override says: the result is the same object, or an error.
        #[test]
        fn the_identity_survives_any_patch(
            path in "(/(metadata|name|namespace|labels|annotations|kind|apiVersion|spec|karmada.io~1managed|pando.io~1binding|0)){1,3}",
            operator in prop_oneof![Just("add"), Just("replace"), Just("remove")],
            value in prop_oneof![Just(json!("x")), Just(json!({})), Just(json!({"name": "web"})), Just(Value::Null), Just(json!([1]))],
        ) {
            if let Ok(object) = apply(json!({"plaintext": [{"path": path, "operator": operator, "value": value}]})) {
                let object = Manifest::from_value(object).unwrap();
                let (old, new) = (web().identity(), object.identity());
                prop_assert_eq!((old.group(), &old.kind, &old.namespace, &old.name), (new.group(), &new.kind, &new.namespace, &new.name));
                for key in OUR_LABELS {
                    prop_assert_eq!(object.label(key), None);
                }
                for key in OUR_ANNOTATIONS {
                    prop_assert_eq!(object.annotation(key), None);
                }
            }
        }
    }
}
