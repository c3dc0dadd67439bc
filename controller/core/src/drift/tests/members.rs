//! Objects of real API servers: what a member makes of ours is not drift.

use super::*;
use crate::interpreter::real::{names, pair};

/// What is desired for a real template, and the member's object with our marks, as our POST left them.
fn real(name: &str) -> (Desired, Value) {
    let (template, mut live) = pair(name);
    let mut manifest = Manifest::from_value(template).unwrap();
    manifest.set_annotation(annotations::TEMPLATE_UID, "template-3");
    manifest.set_annotation(annotations::BINDING, "binding-2");
    let desired = desired_from(manifest.value());
    for map in ["labels", "annotations"] {
        let marks =
            desired.manifest.value()["metadata"].get(map).and_then(Value::as_object).cloned().unwrap_or_default();
        let metadata = live["metadata"].as_object_mut().unwrap();
        metadata.entry(map).or_insert_with(|| json!({})).as_object_mut().unwrap().extend(marks);
    }
    (desired, live)
}

fn planned(desired: &Desired, live: &Value) -> MemberStep {
    plan(desired, Seen::Found(live))
}

#[test]
fn an_object_that_the_member_completed_is_kept() {
    for name in names() {
        let (desired, live) = real(&name);
        assert_eq!(planned(&desired, &live), MemberStep::Keep, "{name}");
    }
}

/// One change of somebody in the member for each kind that can be changed.
const CHANGES: [(&str, &str, &str); 12] = [
    ("cluster_role", "/rules/0/verbs/0", "delete"),
    ("cluster_role_binding", "/subjects/1/name", "everybody"),
    ("cron_job", "/spec/schedule", "0 0 * * *"),
    ("custom_resource_definition", "/spec/versions/0/schema/openAPIV3Schema/properties/spec/type", "array"),
    ("daemon_set", "/spec/template/spec/containers/0/image", "agent:0"),
    ("horizontal_pod_autoscaler", "/spec/metrics/0/pods/target/averageValue", "2"),
    ("ingress", "/spec/rules/0/host", "other.example.com"),
    ("network_policy", "/spec/podSelector/matchLabels/app", "other"),
    ("pod_disruption_budget", "/spec/minAvailable", "1%"),
    ("service", "/spec/selector/app", "other"),
    ("stateful_set", "/spec/template/spec/containers/0/resources/requests/memory", "2Gi"),
    ("validating_webhook_configuration", "/webhooks/0/failurePolicy", "Fail"),
];

#[test]
fn a_change_in_the_member_is_put_back_and_then_kept() {
    for (name, pointer, change) in CHANGES {
        let (desired, live) = real(name);
        let before = live.pointer(pointer).cloned().unwrap_or_else(|| panic!("{name} has no {pointer}"));
        let changed = with(live, pointer, json!(change));
        let MemberStep::Apply { body, why, .. } = planned(&desired, &changed) else { panic!("{name} is not put back") };
        assert_eq!(why.len(), 1, "{name}: {why:?}");
        assert_eq!(body.pointer(pointer), Some(&before), "{name}");
        assert_eq!(planned(&desired, &with(changed, pointer, before)), MemberStep::Keep, "{name}");
    }
}

#[test]
fn what_the_member_gave_out_is_in_every_apply_guarded_by_its_version() {
    for (name, pointer) in [
        ("job", "/spec/selector/matchLabels/batch.kubernetes.io~1controller-uid"),
        ("job", "/spec/template/metadata/labels/batch.kubernetes.io~1controller-uid"),
        ("service", "/spec/clusterIP"),
        ("service", "/spec/healthCheckNodePort"),
        ("persistent_volume_claim", "/spec/volumeName"),
        ("persistent_volume", "/spec/claimRef/uid"),
        ("pod", "/spec/nodeName"),
        ("pod", "/spec/containers/0/volumeMounts/0/mountPath"),
        ("ingress", "/spec/ingressClassName"),
        ("secret_token", "/data/token"),
        ("service_account", "/secrets/1/name"),
    ] {
        let (desired, mut live) = real(name);
        live["metadata"]["annotations"][annotations::MANIFEST_HASH] = json!("old");
        let MemberStep::Apply { body, .. } = planned(&desired, &live) else { panic!("{name} has a new hash") };
        assert!(body.pointer(pointer).is_some(), "{name} has lost {pointer}");
        assert_eq!(body.pointer(pointer), live.pointer(pointer), "{name}");
        assert_eq!(body["metadata"]["resourceVersion"], live["metadata"]["resourceVersion"], "{name}");
    }
}

#[test]
fn the_rules_of_a_role_put_together_from_others_are_the_members() {
    let (desired, live) = real("cluster_role_aggregated");
    assert_eq!(desired.manifest.value().get("rules"), None);
    let other = with(live, "/rules/0/verbs", json!(["get", "list", "watch"]));
    assert_eq!(planned(&desired, &other), MemberStep::Keep);
}

#[test]
fn webhooks_and_tokens_of_others_are_not_drift() {
    let (desired, mut live) = real("validating_webhook_configuration");
    let mut other = live["webhooks"][0].clone();
    other["name"] = json!("b.other.example.com");
    live["webhooks"].as_array_mut().unwrap().insert(0, other);
    assert_eq!(planned(&desired, &live), MemberStep::Keep);

    let (desired, mut live) = real("service_account");
    live["secrets"].as_array_mut().unwrap().remove(0);
    assert_eq!(step_of(&desired, &live), "apply    secrets[pull]", "ours is, when it is missing");
}

#[test]
fn a_toleration_that_the_members_admission_adds_is_not_drift() {
    let (desired, mut live) = real("pod");
    let tolerations = live["spec"]["tolerations"].as_array_mut().unwrap();
    tolerations.insert(0, json!({"key": "zone", "operator": "Exists"}));
    assert_eq!(planned(&desired, &live), MemberStep::Keep);
}

/// A Job's pods cannot be changed, so the member refuses this; what it gave out itself is not in the way.
#[test]
fn an_immutable_edit_is_the_only_thing_that_the_member_can_refuse() {
    let (mut desired, live) = real("job");
    desired.manifest.value_mut()["spec"]["template"]["spec"]["containers"][0]["image"] = json!("busybox:2");
    let MemberStep::Apply { body, why, .. } = planned(&desired, &live) else { panic!("an edit is applied") };
    assert_eq!(why, ["spec.template.spec.containers[sum].image"]);
    assert_eq!(body["spec"]["selector"], live["spec"]["selector"]);
    assert_eq!(body["spec"]["template"]["metadata"], live["spec"]["template"]["metadata"]);
}

fn step_of(desired: &Desired, live: &Value) -> String {
    planned(desired, live).to_string()
}
