//! What is in a Work.

use super::*;
use crate::ownership::{Proof, Record, prove};

#[test]
fn a_work_is_what_karmada_writes_plus_our_record() {
    let mut world = world().placed([("bj", 5)]).settled();
    let work = serde_json::to_value(world.work("bj")).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&work).unwrap(), @r#"
    {
      "apiVersion": "work.karmada.io/v1alpha1",
      "kind": "Work",
      "metadata": {
        "annotations": {
          "resourcebinding.karmada.io/name": "web-deployment",
          "resourcebinding.karmada.io/namespace": "prod",
          "work.karmada.io/conflict-resolution": "abort"
        },
        "finalizers": [
          "karmada.io/execution-controller"
        ],
        "labels": {
          "resourcebinding.karmada.io/permanent-id": "b-1",
          "work.karmada.io/permanent-id": "febfbf4c-22ca-8955-9f91-9783211257cf"
        },
        "name": "web-658978d877",
        "namespace": "karmada-es-bj",
        "resourceVersion": "101",
        "uid": "work-uid-bj"
      },
      "spec": {
        "preserveResourcesOnDeletion": false,
        "suspendDispatching": false,
        "workload": {
          "manifests": [
            {
              "apiVersion": "apps/v1",
              "kind": "Deployment",
              "metadata": {
                "annotations": {
                  "pando.io/binding": "b-1",
                  "pando.io/federation": "fed-1",
                  "pando.io/manifest-hash": "0de3f5bfe066cbffc95aff555adc3f76",
                  "resourcebinding.karmada.io/name": "web-deployment",
                  "resourcebinding.karmada.io/namespace": "prod",
                  "resourcetemplate.karmada.io/generation": "3",
                  "resourcetemplate.karmada.io/managed-annotations": "pando.io/binding,pando.io/federation,pando.io/manifest-hash,resourcebinding.karmada.io/name,resourcebinding.karmada.io/namespace,resourcetemplate.karmada.io/generation,resourcetemplate.karmada.io/managed-annotations,resourcetemplate.karmada.io/managed-labels,resourcetemplate.karmada.io/uid,work.karmada.io/conflict-resolution,work.karmada.io/name,work.karmada.io/namespace",
                  "resourcetemplate.karmada.io/managed-labels": "app,karmada.io/managed,resourcebinding.karmada.io/permanent-id",
                  "resourcetemplate.karmada.io/uid": "t-1",
                  "work.karmada.io/conflict-resolution": "abort",
                  "work.karmada.io/name": "web-658978d877",
                  "work.karmada.io/namespace": "karmada-es-bj"
                },
                "labels": {
                  "app": "web",
                  "karmada.io/managed": "true",
                  "resourcebinding.karmada.io/permanent-id": "b-1"
                },
                "name": "web",
                "namespace": "prod"
              },
              "spec": {
                "replicas": 5,
                "template": {
                  "spec": {
                    "containers": [
                      {
                        "image": "nginx:1",
                        "name": "web"
                      }
                    ]
                  }
                }
              }
            }
          ]
        }
      }
    }
    "#);
}

#[test]
fn the_member_object_is_provably_ours() {
    let mut world = world().placed([("bj", 5)]).settled();
    let live = manifest(world.work("bj"));
    let record = Record::of(&live).unwrap();
    assert_eq!(prove(&live, &record), Proof::Owned);
    assert_eq!(
        (record.federation.as_str(), record.binding.as_deref(), record.template_uid.as_str()),
        ("fed-1", Some("b-1"), "t-1")
    );
}

#[test]
fn forged_marks_on_a_template_do_not_survive() {
    let mut world = world().placed([("bj", 5)]);
    world.template["metadata"]["annotations"] =
        json!({"pando.io/federation": "other", "work.karmada.io/name": "victim"});
    world.template["metadata"]["labels"]["karmada.io/managed"] = json!("false");
    let mut world = world.settled();
    let record = Record::of(&manifest(world.work("bj"))).unwrap();
    assert_eq!(record.federation, "fed-1");
    assert_eq!(Some(&record.work_name), world.work("bj").metadata.name.as_ref());
    assert_eq!(manifest(world.work("bj"))["metadata"]["labels"]["karmada.io/managed"], "true");
}

#[test]
fn a_cluster_scoped_binding_marks_with_its_own_label_and_annotation() {
    let world = world();
    let template = Template::from_value(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "viewer", "uid": "t-2"},
    }))
    .unwrap();
    let binding: BindingRecord = serde_json::from_value(json!({
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ClusterResourceBinding",
        "metadata": {"name": "viewer-clusterrole", "labels": {"clusterresourcebinding.karmada.io/permanent-id": "c-1"}},
        "spec": {
            "resource": {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "viewer"},
            "clusters": [{"name": "bj"}],
        },
    }))
    .unwrap();
    let plan = plan(&RenderInput {
        federation: "fed-1",
        binding: Binding::of(&binding).unwrap(),
        template: &template,
        overrides: &Selected::default(),
        clusters: &world.clusters,
        works: &[],
        works_complete: true,
    });
    insta::assert_snapshot!(plan, @"create  work viewer in bj   new target");
    let Action::Create(work) = &plan.steps[0].action else { panic!() };
    assert_eq!(work.metadata.labels.as_ref().unwrap()["clusterresourcebinding.karmada.io/permanent-id"], "c-1");
    assert_eq!(
        work.metadata.annotations.as_ref().unwrap()["clusterresourcebinding.karmada.io/name"],
        "viewer-clusterrole"
    );
    assert_eq!(manifest(work)["metadata"]["annotations"].get("resourcetemplate.karmada.io/generation"), None);
}

#[test]
fn suspension_of_all_or_of_some_clusters() {
    let suspended = |suspension: Value| {
        let mut world = world().placed([("bj", 5), ("sh", 5)]).suspended(&suspension).settled();
        ["bj", "sh"].map(|cluster| world.work(cluster).spec.suspend_dispatching)
    };
    assert_eq!(suspended(json!({"dispatching": true})), [Some(true), Some(true)]);
    assert_eq!(suspended(json!({"dispatchingOnClusters": {"clusterNames": ["sh"]}})), [Some(false), Some(true)]);
    assert_eq!(suspended(json!({"scheduling": true})), [Some(false), Some(false)]);
}

#[test]
fn a_switch_of_the_binding_reaches_its_works() {
    let mut world = world().placed([("bj", 5)]).settled();
    world.binding.spec.preserve_resources_on_deletion = Some(true);
    insta::assert_snapshot!(world.plan(), @"replace work web in bj   preserveResourcesOnDeletion changed");
    let world = world.settled().suspended(&json!({"dispatching": true}));
    insta::assert_snapshot!(world.plan(), @"replace work web in bj   dispatching is suspended");
    let world = world.settled().suspended(&json!({"dispatching": false}));
    insta::assert_snapshot!(world.plan(), @"replace work web in bj   dispatching resumes");
}

#[test]
fn the_templates_conflict_resolution_wins_over_the_policys() {
    let resolution = |annotation: Option<&str>, policy: &str| {
        let mut world = world().placed([("bj", 5)]);
        if let Some(annotation) = annotation {
            world.template["metadata"]["annotations"] = json!({"work.karmada.io/conflict-resolution": annotation});
        }
        world.binding.spec.conflict_resolution = serde_json::from_value(json!(policy)).unwrap();
        let mut world = world.settled();
        let on_manifest =
            manifest(world.work("bj"))["metadata"]["annotations"]["work.karmada.io/conflict-resolution"].clone();
        let on_work =
            world.work("bj").metadata.annotations.as_ref().unwrap()["work.karmada.io/conflict-resolution"].clone();
        assert_eq!(on_manifest, on_work);
        on_work
    };
    assert_eq!(resolution(None, "Abort"), "abort");
    assert_eq!(resolution(None, "Overwrite"), "overwrite");
    assert_eq!(resolution(Some("abort"), "Overwrite"), "abort");
    assert_eq!(resolution(Some("overwrite"), "Abort"), "overwrite");
    assert_eq!(resolution(Some("whatever"), "Overwrite"), "overwrite");
}

#[test]
fn overrides_are_recorded_on_the_work_and_leave_with_their_policy() {
    const RECORD: &str = "policy.karmada.io/applied-overrides";
    let mut world = world()
        .placed([("bj", 5), ("sh", 5)])
        .overridden(
            &json!({"imageOverrider": [{"component": "Registry", "operator": "replace", "value": "m.example"}]}),
            &["bj"],
        )
        .settled();
    let record = world.work("bj").metadata.annotations.as_ref().unwrap()[RECORD].clone();
    assert_eq!(
        record,
        r#"[{"policyName":"op","overriders":{"imageOverrider":[{"component":"Registry","operator":"replace","value":"m.example"}]}}]"#
    );
    assert_eq!(manifest(world.work("bj"))["spec"]["template"]["spec"]["containers"][0]["image"], "m.example/nginx:1");
    assert_eq!(manifest(world.work("bj"))["metadata"]["annotations"].get(RECORD), None, "members need not know");
    assert!(!world.work("sh").metadata.annotations.as_ref().unwrap().contains_key(RECORD));
    world.overrides.clear();
    insta::assert_snapshot!(world.plan(), @r"
    replace work web in bj   manifest changed
    keep    work web in sh   as desired
    ");
    let mut world = world.settled();
    assert!(!world.work("bj").metadata.annotations.as_ref().unwrap().contains_key(RECORD));
}

#[test]
fn a_huge_record_of_overrides_is_cut_to_names() {
    let world = world().placed([("bj", 5)]).overridden(
        &json!({"annotationsOverrider": [{"operator": "add", "value": {"big": "x".repeat(70_000)}}]}),
        &["bj"],
    );
    let mut world = world.settled();
    assert_eq!(
        world.work("bj").metadata.annotations.as_ref().unwrap()["policy.karmada.io/applied-overrides"],
        r#"[{"policyName":"op"}]"#
    );
}

#[test]
fn the_permanent_id_of_a_work_is_a_stable_uuid_of_its_own() {
    let id = |world: &mut World, cluster: &str| {
        world.work(cluster).metadata.labels.as_ref().unwrap()["work.karmada.io/permanent-id"].clone()
    };
    let mut first = world().placed([("bj", 5), ("sh", 5)]).settled();
    let mut second = world().placed([("bj", 1)]).settled();
    assert_eq!(id(&mut first, "bj"), id(&mut second, "bj"));
    assert_ne!(id(&mut first, "bj"), id(&mut first, "sh"));
    let uuid = id(&mut first, "bj");
    assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{uuid}");
    assert_eq!(&uuid[14..15], "8", "{uuid}");
    assert!("89ab".contains(&uuid[19..20]), "{uuid}");
}

#[test]
fn several_components_have_no_one_number_to_write() {
    let mut world = world().placed([("bj", 3)]);
    world.binding.spec.components = vec![Default::default(); 2];
    let mut world = world.settled();
    assert_eq!(manifest(world.work("bj"))["spec"]["replicas"], 10, "as the template says");
}

#[test]
fn kinds_without_replicas_are_the_same_everywhere() {
    let mut world = world().placed([("bj", 0), ("sh", 0)]);
    world.template = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "prod", "uid": "t-1"}, "data": {"a": "1"}});
    world.binding.spec.replicas = 0;
    insta::assert_snapshot!(world.plan(), @r"
    create  work web in bj   new target
    create  work web in sh   new target
    ");
    let mut world = world.settled();
    assert_eq!(manifest(world.work("bj"))["data"], json!({"a": "1"}));
}
