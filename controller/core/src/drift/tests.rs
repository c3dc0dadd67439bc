#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod members;

use pando_api::raw::EmbeddedObject;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const FEDERATION: &str = "fed-1";

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "prod", "labels": {"app": "web"},
            "annotations": {"resourcetemplate.karmada.io/uid": "template-3", "pando.io/binding": "binding-2"},
        },
        "spec": {
            "replicas": 5,
            "template": {"spec": {"containers": [{
                "name": "web", "image": "nginx:1", "resources": {"requests": {"cpu": "1000m"}},
                "env": [{"name": "MODE", "value": "prod"}], "ports": [{"containerPort": 80}],
            }]}},
        },
    })
}

fn work_of(manifest: &Value) -> Work {
    let mut work = Work::default();
    work.metadata.namespace = Some("karmada-es-bj".to_owned());
    work.metadata.name = Some("web-4".to_owned());
    work.metadata.uid = Some("work-uid".to_owned());
    work.spec.workload.manifests = vec![EmbeddedObject::from_value(manifest).unwrap()];
    work
}

fn desired_from(manifest: &Value) -> Desired {
    Desired::of_work(FEDERATION, &work_of(manifest)).unwrap().remove(0)
}

fn desired() -> Desired {
    desired_from(&deployment())
}

/// What the member serves after our POST: normalised, defaulted, with server metadata.
fn live_of(desired: &Desired) -> Value {
    let mut live = desired.manifest.value().clone();
    let metadata = live["metadata"].as_object_mut().unwrap();
    metadata.insert("uid".to_owned(), json!("member-uid"));
    metadata.insert("resourceVersion".to_owned(), json!("100"));
    metadata.insert(
        "managedFields".to_owned(),
        json!([
            {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {}},
            {"manager": "pando", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        ]),
    );
    live
}

fn live() -> Value {
    let mut live = live_of(&desired());
    live["spec"]["progressDeadlineSeconds"] = json!(600);
    let container = &mut live["spec"]["template"]["spec"]["containers"][0];
    container["resources"]["requests"]["cpu"] = json!("1");
    container["imagePullPolicy"] = json!("IfNotPresent");
    container["ports"][0]["protocol"] = json!("TCP");
    live["status"] = json!({"replicas": 5});
    live
}

fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    *value.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = new;
    value
}

fn without(mut value: Value, parent: &str, key: &str) -> Value {
    value.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    value
}

fn step(live: &Value) -> String {
    plan(&desired(), Seen::Found(live)).to_string()
}

mod planning {
    use super::*;

    #[test]
    fn what_is_absent_is_created_as_rendered() {
        let MemberStep::Create { body } = plan(&desired(), Seen::Absent) else { panic!() };
        assert_eq!(&body, desired().manifest.value());
    }

    #[test]
    fn a_failed_read_writes_nothing() {
        let failure = ReadFailure::new("Deployment prod/web in bj", "timed out");
        assert_eq!(plan(&desired(), Seen::Unreadable(failure.clone())), MemberStep::Wait(failure));
    }

    #[test]
    fn defaults_and_normalised_quantities_are_no_drift() {
        assert_eq!(plan(&desired(), Seen::Found(&live())), MemberStep::Keep);
    }

    #[test]
    fn each_change_by_hand_is_found_and_named_without_values() {
        let rows = [
            with(live(), "/spec/replicas", json!(50)),
            with(live(), "/spec/template/spec/containers/0/image", json!("evil:latest")),
            with(live(), "/spec/template/spec/containers/0/env/0/value", json!("secret-value")),
            with(live(), "/metadata/labels/app", json!("other")),
            without(live(), "/spec/template/spec/containers/0", "env"),
            with(live(), "/spec/template/spec/containers/0/resources/requests/cpu", json!("2")),
            with(live(), "/spec/template/spec/containers/0/name", json!("renamed")),
        ];
        let steps = rows.iter().map(step).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(steps, @r"
        apply    spec.replicas (older field entries become ours first)
        apply    spec.template.spec.containers[web].image (older field entries become ours first)
        apply    spec.template.spec.containers[web].env[MODE].value (older field entries become ours first)
        apply    metadata.labels.app (older field entries become ours first)
        apply    spec.template.spec.containers[web].env[MODE] (older field entries become ours first)
        apply    spec.template.spec.containers[web].resources.requests.cpu (older field entries become ours first)
        apply    spec.template.spec.containers[web] (older field entries become ours first)
        ");
    }

    #[test]
    fn what_other_managers_add_is_no_drift() {
        let mut crowded = live();
        crowded["metadata"]["labels"]["team"] = json!("them");
        crowded["metadata"]["annotations"]["note"] = json!("x");
        let pod = &mut crowded["spec"]["template"]["spec"];
        pod["containers"].as_array_mut().unwrap().insert(0, json!({"name": "sidecar", "image": "proxy"}));
        pod["nodeSelector"] = json!({"disk": "ssd"});
        assert_eq!(plan(&desired(), Seen::Found(&crowded)), MemberStep::Keep);
    }

    #[test]
    fn a_field_that_left_the_template_is_found_by_the_hash() {
        let earlier = desired_from(&with(
            deployment(),
            "/spec/template/spec/containers/0/env",
            json!([
                {"name": "MODE", "value": "prod"}, {"name": "DEBUG", "value": "1"},
            ]),
        ));
        let step = plan(&desired(), Seen::Found(&live_of(&earlier)));
        assert!(step.to_string().contains("metadata.annotations[pando.io/manifest-hash]"), "{step}");
    }

    #[test]
    fn an_apply_names_the_object_it_means() {
        let MemberStep::Apply { body, .. } = plan(&desired(), Seen::Found(&with(live(), "/spec/replicas", json!(9))))
        else {
            panic!()
        };
        assert_eq!(body["metadata"]["uid"], "member-uid");
        assert_eq!(body["metadata"].get("resourceVersion"), None, "a status update in between must not fail the apply");
        assert_eq!(body["spec"]["replicas"], 5);
    }

    #[test]
    fn a_repeated_live_value_is_guarded_by_its_version() {
        let mut template = deployment();
        template["metadata"]["labels"]["resourcetemplate.karmada.io/retain-replicas"] = json!("true");
        let desired = desired_from(&template);
        let mut live = live_of(&desired);
        live["spec"]["replicas"] = json!(9);
        assert_eq!(plan(&desired, Seen::Found(&live)), MemberStep::Keep, "an autoscaler's replicas are no drift");
        live["metadata"]["labels"]["app"] = json!("other");
        let MemberStep::Apply { body, why, .. } = plan(&desired, Seen::Found(&live)) else { panic!() };
        assert_eq!(why, ["metadata.labels.app"]);
        assert_eq!((&body["spec"]["replicas"], &body["metadata"]["resourceVersion"]), (&json!(9), &json!("100")));
    }

    #[test]
    fn planning_after_the_apply_keeps() {
        let drifted = with(live(), "/spec/replicas", json!(50));
        let MemberStep::Apply { body, .. } = plan(&desired(), Seen::Found(&drifted)) else { panic!() };
        let mut applied = drifted;
        json_patch::merge(&mut applied, &body);
        assert_eq!(plan(&desired(), Seen::Found(&applied)), MemberStep::Keep);
    }

    #[test]
    fn an_object_on_its_way_out_is_waited_for() {
        let mut leaving = live();
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        insta::assert_snapshot!(step(&leaving), @"await    Deployment prod/web in cluster bj is being deleted; it is created again when it is gone");
    }

    #[test]
    fn a_headless_or_addressed_service_is_kept_as_the_member_made_it() {
        let desired = desired_from(&json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "prod"},
            "spec": {"ports": [{"port": 80, "targetPort": 8080}], "selector": {"app": "web"}},
        }));
        let mut live = live_of(&desired);
        live["spec"]["clusterIP"] = json!("10.0.0.7");
        live["spec"]["ports"] = json!([{"port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30001}]);
        assert_eq!(plan(&desired, Seen::Found(&live)), MemberStep::Keep);
        live["spec"]["ports"][0]["targetPort"] = json!(9090);
        assert!(plan(&desired, Seen::Found(&live)).to_string().contains("spec.ports[80/TCP].targetPort"));
    }
}

mod adoption {
    use super::*;

    fn stranger() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "prod", "uid": "their-uid", "resourceVersion": "7", "labels": {"app": "web"}},
            "spec": {"replicas": 1},
        })
    }

    fn overwriting() -> Desired {
        let mut template = deployment();
        template["metadata"]["annotations"]["work.karmada.io/conflict-resolution"] = json!("overwrite");
        desired_from(&template)
    }

    #[test]
    fn abort_leaves_a_foreign_object_and_says_what_to_do() {
        insta::assert_snapshot!(step(&stranger()), @"conflict Deployment prod/web already exists in cluster bj and is not managed by this federation (it has no label karmada.io/managed=true): delete it there, or take it over by annotation work.karmada.io/conflict-resolution=overwrite on the template or conflictResolution: Overwrite in the policy");
    }

    #[test]
    fn overwrite_adopts_exactly_the_object_that_was_seen() {
        let MemberStep::Adopt { body, why } = plan(&overwriting(), Seen::Found(&stranger())) else { panic!() };
        assert_eq!(
            (&body["metadata"]["uid"], &body["metadata"]["resourceVersion"]),
            (&json!("their-uid"), &json!("7"))
        );
        assert!(why.starts_with("it has no label karmada.io/managed=true; its content had hash "), "{why}");
    }

    /// The stranger after it was taken over.
    fn adopted(desired: &Desired) -> Value {
        let live = stranger();
        let MemberStep::Adopt { body, .. } = plan(desired, Seen::Found(&live)) else { panic!() };
        let mut adopted = live;
        json_patch::merge(&mut adopted, &body);
        adopted
    }

    #[test]
    fn what_was_taken_over_stays_when_its_work_goes() {
        let desired = overwriting();
        let live = adopted(&desired);
        let ReleaseStep::Strip { patch, .. } = release(&desired, Seen::Found(&live), false) else { panic!() };
        let mut stripped = live;
        json_patch::merge(&mut stripped, &patch);
        assert_eq!(stripped["metadata"]["annotations"], json!({"work.karmada.io/conflict-resolution": "overwrite"}));
        assert!(matches!(release(&desired, Seen::Found(&stripped), false), ReleaseStep::Leave { .. }));
    }

    #[test]
    fn every_later_write_says_that_the_object_was_taken_over() {
        let desired = overwriting();
        let live = adopted(&desired);
        assert_eq!(plan(&desired, Seen::Found(&live)), MemberStep::Keep);
        let MemberStep::Apply { body, why, .. } = plan(&desired, Seen::Found(&with(live, "/spec/replicas", json!(9))))
        else {
            panic!()
        };
        assert_eq!(why, ["spec.replicas"]);
        assert_eq!(body["metadata"]["annotations"]["pando.io/adopted"], "true");
        assert_eq!(body["metadata"].get("resourceVersion"), None);
    }

    #[test]
    fn a_template_cannot_say_that_its_object_was_taken_over() {
        let mut template = deployment();
        template["metadata"]["annotations"]["pando.io/adopted"] = json!("true");
        let desired = desired_from(&template);
        let live = live_of(&desired);
        assert!(matches!(release(&desired, Seen::Found(&live), false), ReleaseStep::Delete { .. }));
    }

    #[test]
    fn a_namespace_that_exists_is_enough() {
        let desired = desired_from(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod"}}));
        let live = live_of(&desired);
        let mut theirs = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod", "uid": "u", "resourceVersion": "3"}});
        assert_eq!(plan(&desired, Seen::Found(&theirs)), MemberStep::Keep);
        let ReleaseStep::Strip { patch, .. } = release(&desired, Seen::Found(&live), false) else { panic!() };
        let mut stripped = live;
        json_patch::merge(&mut stripped, &patch);
        assert_eq!(plan(&desired, Seen::Found(&stripped)), MemberStep::Keep, "joined again");
        theirs["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(matches!(plan(&desired, Seen::Found(&theirs)), MemberStep::Await { .. }));
    }

    #[test]
    fn an_object_of_another_federation_is_never_adopted() {
        let other = Desired::of_work("fed-9", &work_of(&deployment())).unwrap().remove(0);
        let step = plan(&overwriting(), Seen::Found(&live_of(&other)));
        insta::assert_snapshot!(step, @"conflict Deployment prod/web in cluster bj is managed by another federation (id fed-9) and is never taken over: stop propagating it there, or exclude the cluster here");
    }

    #[test]
    fn removing_our_label_takes_the_object_out_of_our_hands() {
        let released = without(live(), "/metadata/labels", "karmada.io/managed");
        assert!(matches!(plan(&desired(), Seen::Found(&released)), MemberStep::Conflict { .. }));
    }

    #[test]
    fn an_object_of_an_earlier_binding_is_taken_on() {
        let earlier = desired_from(&with(deployment(), "/metadata/annotations/pando.io~1binding", json!("binding-1")));
        assert!(matches!(plan(&desired(), Seen::Found(&live_of(&earlier))), MemberStep::Apply { .. }));
    }
}

mod works {
    use super::*;

    #[test]
    fn a_work_cannot_claim_to_be_another_one() {
        let mut forged = deployment();
        forged["metadata"]["annotations"]["work.karmada.io/name"] = json!("victim");
        forged["metadata"]["annotations"]["pando.io/federation"] = json!("fed-9");
        let record = desired_from(&forged).record;
        assert_eq!((record.work_name.as_str(), record.federation.as_str()), ("web-4", FEDERATION));
        assert_eq!(Record::of(desired_from(&forged).manifest.value()), Some(record));
    }

    #[test]
    fn a_hand_made_work_gets_its_marks() {
        let plain = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}});
        let desired = desired_from(&plain);
        assert_eq!(desired.record.template_uid, "work-uid");
        assert_eq!(plan(&desired, Seen::Found(&live_of(&desired))), MemberStep::Keep);
    }

    #[test]
    fn a_rendered_manifest_passes_through_unchanged() {
        let once = desired();
        let twice = desired_from(once.manifest.value());
        assert_eq!(once, twice);
    }

    #[test]
    fn an_unfit_work_is_named() {
        let mut lost = work_of(&deployment());
        lost.metadata.namespace = Some("default".to_owned());
        insta::assert_snapshot!(Desired::of_work(FEDERATION, &lost).unwrap_err(), @"Work default/web-4 is in no execution namespace; Works belong into karmada-es-<cluster>");
        let bad = work_of(&json!({"apiVersion": "v1", "metadata": {"name": "x"}}));
        insta::assert_snapshot!(Desired::of_work(FEDERATION, &bad).unwrap_err(), @"manifest 0 of Work karmada-es-bj/web-4 is unusable: the object has no kind; a manifest needs apiVersion, kind and metadata.name");
    }
}

mod other_groups {
    use super::*;

    fn drifts(api_version: &str, desired: &Value, live: &Value) -> bool {
        let object = |spec: &Value| json!({"apiVersion": api_version, "kind": "Thing", "spec": spec});
        !compare::differences(&object(desired), &object(live)).is_empty()
    }

    /// Elsewhere the same names mean other things.
    #[test]
    fn names_of_kubernetes_fields_mean_nothing_in_other_groups() {
        let version = |version: &str| json!({"default": {"version": version}});
        let env = |names: &[&str]| json!({"env": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
        for (api_version, is_drift) in
            [("apps/v1", false), ("v1", false), ("networking.k8s.io/v1", false), ("example.io/v1", true)]
        {
            assert_eq!(drifts(api_version, &version("1.10"), &version("1.1")), is_drift, "{api_version}");
            assert_eq!(drifts(api_version, &env(&["a", "b"]), &env(&["b", "a"])), is_drift, "{api_version}");
            assert_eq!(drifts(api_version, &env(&["a"]), &env(&["a", "rivals"])), is_drift, "{api_version}");
        }
    }

    /// Ten thousand items of a keyed list take as many look-ups, not their square: this ends at once.
    #[test]
    fn a_long_list_is_compared_by_key() {
        let items = |order: &mut dyn Iterator<Item = u32>| -> Value {
            json!({"variables": order.map(|number| json!({"name": format!("v{number}")})).collect::<Vec<_>>()})
        };
        let (desired, live) = (items(&mut (0..10_000)), items(&mut (0..10_000).rev()));
        assert!(!drifts("admissionregistration.k8s.io/v1", &desired, &live));
    }
}

mod conversions {
    use super::*;

    fn conversion(live: &Value) -> Option<Conversion> {
        managed_fields::conversion(live, managed_fields::OURS)
    }

    /// The object after the API server has taken the patch.
    fn converted(live: &Value, conversion: Conversion) -> Value {
        let mut converted = live.clone();
        let patch: json_patch::Patch = serde_json::from_value(conversion.patch).unwrap();
        json_patch::patch(&mut converted, &patch).unwrap();
        converted
    }

    /// As Karmada wrote it: its marks, its entries, and a variable that the template no longer has.
    fn karmadas() -> Value {
        let mut live = live();
        for ours in ["pando.io/federation", "pando.io/binding", "pando.io/manifest-hash"] {
            live["metadata"]["annotations"].as_object_mut().unwrap().remove(ours);
        }
        let container = &mut live["spec"]["template"]["spec"]["containers"][0];
        container["env"].as_array_mut().unwrap().push(json!({"name": "DEBUG", "value": "1"}));
        live["metadata"]["managedFields"] = json!([
            {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
            {"manager": "karmada-controller-manager", "operation": "Update", "fieldsV1": {"f:spec": {"f:template": {}}}},
            {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}},
            {"manager": "karmada-agent", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        ]);
        live
    }

    fn managers(live: &Value) -> Vec<String> {
        let entries = live["metadata"]["managedFields"].as_array().unwrap();
        entries
            .iter()
            .map(|entry| format!("{} {}", entry["operation"].as_str().unwrap(), entry["manager"].as_str().unwrap()))
            .collect()
    }

    #[test]
    fn what_karmada_wrote_becomes_ours_so_that_an_apply_can_remove_it() {
        let live = karmadas();
        let MemberStep::Apply { body, convert: Some(convert), .. } = plan(&desired(), Seen::Found(&live)) else {
            panic!()
        };
        let after = converted(&live, convert);
        assert_eq!(managers(&after), ["Update kube-controller-manager", "Apply pando", "Update kubectl"]);
        assert_eq!(
            after["metadata"]["managedFields"][1]["fieldsV1"],
            json!({"f:spec": {"f:template": {}, "f:replicas": {}}}),
            "the fields of both of its entries"
        );
        assert_eq!(
            body["spec"]["template"]["spec"]["containers"][0]["env"],
            json!([{"name": "MODE", "value": "prod"}])
        );
        // A crash between the two requests: the apply is still to be done, the conversion is not.
        assert!(matches!(plan(&desired(), Seen::Found(&after)), MemberStep::Apply { convert: None, .. }));
    }

    #[test]
    fn our_own_entry_takes_up_what_karmada_wrote() {
        let mut live = karmadas();
        let ours = json!({"manager": "pando", "operation": "Apply", "fieldsV1": {"f:data": {}}});
        live["metadata"]["managedFields"].as_array_mut().unwrap().insert(0, ours);
        let MemberStep::Apply { convert: Some(convert), .. } = plan(&desired(), Seen::Found(&live)) else { panic!() };
        let after = converted(&live, convert);
        assert_eq!(managers(&after), ["Apply pando", "Update kube-controller-manager", "Update kubectl"]);
        assert_eq!(
            after["metadata"]["managedFields"][0]["fieldsV1"],
            json!({"f:data": {}, "f:spec": {"f:template": {}, "f:replicas": {}}})
        );
    }

    #[test]
    fn a_karmada_in_the_member_keeps_its_fields_of_our_objects() {
        let mut live = with(live(), "/spec/replicas", json!(9));
        live["metadata"]["managedFields"] = json!([
            {"manager": "pando", "operation": "Apply", "fieldsV1": {}},
            {"manager": "karmada-controller-manager", "operation": "Update", "fieldsV1": {"f:metadata": {}}},
        ]);
        assert!(matches!(plan(&desired(), Seen::Found(&live)), MemberStep::Apply { convert: None, .. }));
    }

    #[test]
    fn our_post_entry_is_converted_and_no_other() {
        assert_eq!(
            conversion(&live()).unwrap().patch,
            json!([
                {"op": "test", "path": "/metadata/resourceVersion", "value": "100"},
                {"op": "replace", "path": "/metadata/managedFields/1/operation", "value": "Apply"},
            ])
        );
    }

    #[test]
    fn after_the_first_apply_there_is_nothing_to_convert() {
        let applied = with(live(), "/metadata/managedFields/1/operation", json!("Apply"));
        assert_eq!(conversion(&applied), None);
        assert_eq!(conversion(&json!({"metadata": {}})), None);
    }

    #[test]
    fn a_second_entry_is_folded_into_the_first() {
        let mut both = live();
        both["metadata"]["managedFields"].as_array_mut().unwrap().push(json!(
            {"manager": "pando", "operation": "Apply", "fieldsV1": {"f:spec": {"f:paused": {}}}}
        ));
        let patched = converted(&both, conversion(&both).unwrap());
        assert_eq!(
            patched["metadata"]["managedFields"].as_array().unwrap()[1..],
            [json!(
                {"manager": "pando", "operation": "Apply", "fieldsV1": {"f:spec": {"f:paused": {}, "f:replicas": {}}}}
            )]
        );
        assert_eq!(conversion(&patched), None);
    }
}

mod releasing {
    use super::*;

    fn release_of(live: &Value, preserve: bool) -> String {
        release(&desired(), Seen::Found(live), preserve).to_string()
    }

    #[test]
    fn what_is_provably_ours_is_deleted_with_both_preconditions() {
        let step = release(&desired(), Seen::Found(&live()), false);
        assert_eq!(step, ReleaseStep::Delete { uid: "member-uid".to_owned(), resource_version: "100".to_owned() });
    }

    #[test]
    fn a_failed_read_deletes_nothing_and_absence_is_the_end() {
        let failure = ReadFailure::new("x", "y");
        let unknown = release(&desired(), Seen::Unreadable(failure.clone()), false);
        assert_eq!(unknown, ReleaseStep::Wait(failure));
        assert_eq!(release(&desired(), Seen::Absent, false), ReleaseStep::Gone);
    }

    #[test]
    fn doubt_leaves_the_object() {
        let unlabelled = without(live(), "/metadata/labels", "karmada.io/managed");
        let recordless = without(live(), "/metadata/annotations", "pando.io/federation");
        let other_template = with(live(), "/metadata/annotations/resourcetemplate.karmada.io~1uid", json!("t-9"));
        let other_binding = with(live(), "/metadata/annotations/pando.io~1binding", json!("b-9"));
        let other_federation = with(live(), "/metadata/annotations/pando.io~1federation", json!("fed-9"));
        let no_version = without(live(), "/metadata", "resourceVersion");
        let steps = [unlabelled, recordless, other_template, other_binding, other_federation, no_version];
        let text = steps.iter().map(|live| release_of(live, false)).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(text, @r"
        leave    it has no label karmada.io/managed=true
        leave    it was written for this template by another controller of this hub
        leave    it was written for an earlier template of this name
        leave    it was written for an earlier binding of this name
        leave    it is managed by another federation (id fed-9)
        leave    the member serves it without uid or resourceVersion
        ");
    }

    #[test]
    fn a_preserved_object_keeps_everything_but_our_marks() {
        let live = live();
        let ReleaseStep::Strip { patch, .. } = release(&desired(), Seen::Found(&live), true) else { panic!() };
        let mut stripped = live;
        json_patch::merge(&mut stripped, &patch);
        assert_eq!(stripped["metadata"]["labels"], json!({"app": "web"}));
        assert_eq!(stripped["metadata"]["annotations"], json!({}));
        assert_eq!(stripped["spec"]["replicas"], 5);
        let again = release(&desired(), Seen::Found(&stripped), true);
        assert!(matches!(again, ReleaseStep::Leave { .. }), "releasing again does nothing: {again}");
    }

    #[test]
    fn namespaces_are_never_deleted() {
        for kind in ["Namespace", "CustomResourceDefinition", "PersistentVolume", "PersistentVolumeClaim"] {
            let desired = desired_from(&json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "prod"}}));
            let step = release(&desired, Seen::Found(&live_of(&desired)), false);
            assert!(matches!(step, ReleaseStep::Strip { .. }), "{kind}: {step}");
        }
    }

    #[test]
    fn a_held_deletion_names_who_holds_it() {
        let mut leaving = live();
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        leaving["metadata"]["finalizers"] = json!(["them.example/backup"]);
        insta::assert_snapshot!(release_of(&leaving, false), @"await    it is being deleted; its finalizers them.example/backup hold it");
    }
}

mod comparing {
    use super::*;

    fn differ(desired: Value, live: Value) -> Vec<String> {
        compare::differences(&desired, &live)
    }

    #[test]
    fn null_and_empty_count_as_absent() {
        assert_eq!(differ(json!({"spec": {"a": null, "b": {}, "c": []}}), json!({"spec": {}})), [""; 0]);
        assert_eq!(differ(json!({"spec": {"a": {"b": null}}}), json!({})), [""; 0]);
    }

    #[test]
    fn zero_and_false_are_said_and_must_be_there() {
        assert_eq!(
            differ(json!({"spec": {"a": false, "b": 0, "c": ""}}), json!({"spec": {}})),
            ["spec.a", "spec.b", "spec.c"]
        );
    }

    #[test]
    fn configuration_is_text_and_no_quantity() {
        assert_eq!(
            differ(json!({"data": {"a": "1000m", "limits": "1000m"}}), json!({"data": {"a": "1", "limits": "1"}})),
            ["data.a", "data.limits"]
        );
    }

    #[test]
    fn quantities_are_compared_by_value_where_quantities_are() {
        let resources =
            |cpu: Value, memory: Value| json!({"spec": {"resources": {"limits": {"cpu": cpu, "memory": memory}}}});
        assert_eq!(differ(resources(json!(1), json!("1Gi")), resources(json!("1"), json!("1024Mi"))), [""; 0]);
        assert_eq!(
            differ(resources(json!("1"), json!("1Gi")), resources(json!("1"), json!("1G"))),
            ["spec.resources.limits.memory"]
        );
    }

    #[test]
    fn numbers_are_equal_by_value() {
        assert_eq!(differ(json!({"spec": {"a": 1.0}}), json!({"spec": {"a": 1}})), [""; 0]);
        assert_eq!(
            differ(
                json!({"spec": {"a": 9_007_199_254_740_993_i64}}),
                json!({"spec": {"a": 9_007_199_254_740_992_i64}})
            ),
            ["spec.a"]
        );
    }

    #[test]
    fn an_additional_entry_of_an_unkeyed_list_is_drift() {
        let binding = |subjects: Value| json!({"roleRef": {"name": "r"}, "subjects": subjects});
        let ours = json!([{"kind": "User", "name": "ann"}]);
        let theirs = json!([{"kind": "User", "name": "ann"}, {"kind": "User", "name": "mallory"}]);
        assert_eq!(differ(binding(ours), binding(theirs)), ["subjects"]);
    }

    #[test]
    fn an_emptied_or_unkeyable_list_is_compared_whole() {
        assert_eq!(differ(json!({"spec": {"args": ["a"]}}), json!({"spec": {"args": []}})), ["spec.args"]);
        let twice = json!({"spec": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}});
        let swapped = json!({"spec": {"env": [{"name": "A", "value": "2"}, {"name": "A", "value": "1"}]}});
        assert_eq!(differ(twice.clone(), twice.clone()), [""; 0]);
        assert_eq!(differ(twice, swapped), ["spec.env[0].value", "spec.env[1].value"]);
    }

    #[test]
    fn a_changed_type_is_drift() {
        assert_eq!(differ(json!({"spec": {"a": {"b": 1}}}), json!({"spec": {"a": "x"}})), ["spec.a"]);
        assert_eq!(differ(json!({"spec": {"a": [1]}}), json!({"spec": {"a": {"0": 1}}})), ["spec.a"]);
    }

    #[test]
    fn a_long_list_of_differences_is_counted() {
        let data = (0..20).map(|n| (format!("k{n:02}"), json!("v"))).collect::<serde_json::Map<_, _>>();
        let found = differ(json!({ "data": data }), json!({}));
        assert_eq!((found.len(), found.last().unwrap().as_str()), (13, "and 8 more"));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z]{0,4}".prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,3}|name|containers|env|ports", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Server-side apply, as far as a merge can stand in for it.
    fn applied(live: &Value, body: &Value) -> Value {
        let mut applied = live.clone();
        json_patch::merge(&mut applied, body);
        applied
    }

    proptest! {
        #[test]
        fn applying_the_step_settles(wanted in any_json(), there in any_json()) {
            let template = |spec: &Value| json!({
                "apiVersion": "x.example/v1", "kind": "Thing", "metadata": {"name": "t", "namespace": "n"}, "spec": {"field": spec},
            });
            let desired = desired_from(&template(&wanted));
            let live = live_of(&desired_from(&template(&there)));
            if let MemberStep::Apply { body, .. } = plan(&desired, Seen::Found(&live)) {
                let step = plan(&desired, Seen::Found(&applied(&live, &body)));
                prop_assert_eq!(step, MemberStep::Keep);
            } else {
                prop_assert_eq!(wanted, there);
            }
        }

        #[test]
        fn an_object_never_differs_from_itself(spec in any_json()) {
            let object = json!({"spec": spec, "metadata": {"labels": {"a": "b"}}});
            prop_assert_eq!(differ(object.clone(), object), [""; 0]);
        }

        #[test]
        fn additional_fields_of_others_never_differ(spec in any_json(), extra in any_json()) {
            let mut crowded = json!({"spec": {"ours": spec.clone(), "theirs": extra.clone()}, "theirs": extra});
            crowded["metadata"] = json!({"annotations": {"x": "y"}});
            prop_assert_eq!(differ(json!({"spec": {"ours": spec}}), crowded), [""; 0]);
        }
    }
}
