//! How members are written, request by request: the facts that the decision about it rests on.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::DynamicObject;
use pando_e2e::audit::{self, Entry, Mark};
use pando_e2e::eventually;
use pando_e2e::federation::Federation;
use pando_e2e::provider::Cluster;
use serde_json::{Value, json};

use crate::budget::{log, pando, quiet};
use crate::objects;
use crate::world::World;

const SOON: Duration = Duration::from_secs(60);
const MEMBER: &str = "bj-prod";

/// An object in one member, and its namespace there.
async fn propagated<'a>(federation: &'a Federation, namespace: &str, object: &Value) -> Result<&'a Cluster> {
    let hub = &federation.hub.client;
    objects::namespace(hub, namespace).await?;
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let policy = objects::duplicated(namespace, text("/apiVersion"), text("/kind"), text("/metadata/name"), &[MEMBER]);
    objects::create(hub, &policy).await?;
    objects::create(hub, object).await?;
    let member = federation.member(MEMBER)?;
    eventually::some(SOON, "the object in the member", || objects::get(&member.client, object)).await?;
    quiet(federation).await?;
    Ok(member)
}

/// Waits until `probe` holds for the object in the member.
async fn until(member: &Cluster, object: &Value, what: &str, probe: impl Fn(&DynamicObject) -> bool) -> Result<()> {
    eventually::some(SOON, what, || async {
        let seen = objects::get(&member.client, object).await?.context("gone")?;
        ensure!(probe(&seen), "{}", seen.data);
        Ok(Some(()))
    })
    .await
}

/// What Pando changed at an object since then, refused attempts included.
fn changes(federation: &Federation, member: &Cluster, since: Mark, object: &Value) -> Result<Vec<Entry>> {
    let user = pando(member, federation);
    let (namespace, name) = (&object["metadata"]["namespace"], &object["metadata"]["name"]);
    let mut entries = log(member)?.since(since)?;
    entries.retain(|entry| {
        entry.user == user
            && namespace == &entry.namespace
            && name == &entry.name
            && !matches!(entry.verb.as_str(), "get" | "list" | "watch")
    });
    Ok(entries)
}

fn verbs(entries: &[Entry]) -> Vec<(&str, u16)> {
    entries.iter().map(|entry| (entry.verb.as_str(), entry.code)).collect()
}

pub(crate) async fn the_first_change_costs_two_requests_and_later_ones_one(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    let mut object = objects::config_map("writing", "counted");
    object["data"] = json!({ "a": "1", "b": "1", "c": "1" });
    let member = propagated(federation, "writing", &object).await?;

    let first = log(member)?.mark()?;
    objects::merge(hub, &object, &json!({ "data": { "a": null } })).await?;
    until(member, &object, "a to be gone", |seen| seen.data["data"] == json!({ "b": "1", "c": "1" })).await?;
    quiet(federation).await?;
    let seen = changes(federation, member, first, &object)?;
    ensure!(verbs(&seen) == [("patch", 200), ("patch", 200)], "convert, apply:\n{}", audit::print(&seen));

    let later = log(member)?.mark()?;
    objects::merge(hub, &object, &json!({ "data": { "b": null } })).await?;
    until(member, &object, "b to be gone", |seen| seen.data["data"] == json!({ "c": "1" })).await?;
    quiet(federation).await?;
    let seen = changes(federation, member, later, &object)?;
    ensure!(verbs(&seen) == [("patch", 200)], "one apply:\n{}", audit::print(&seen));
    Ok(())
}

pub(crate) async fn an_edited_field_is_taken_back_and_other_peoples_fields_stay(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let object = objects::config_map("writing-edit", "edited");
    let member = propagated(federation, "writing-edit", &object).await?;
    let theirs = json!({ "metadata": { "annotations": { "example.io/theirs": "kept" } }, "data": { "key": "edited" } });
    objects::merge(&member.client, &object, &theirs).await?;
    until(member, &object, "the value to be ours again", |seen| seen.data["data"]["key"] == "value").await?;
    until(member, &object, "their annotation", |seen| json!(seen.metadata.annotations)["example.io/theirs"] == "kept")
        .await
}

pub(crate) async fn a_removed_label_of_ours_is_put_back(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let object = objects::config_map("writing-label", "labelled");
    let member = propagated(federation, "writing-label", &object).await?;
    let managed = |seen: &DynamicObject| json!(seen.metadata.labels)["karmada.io/managed"] == "true";
    until(member, &object, "our label", managed).await?;
    let before = log(member)?.mark()?;
    objects::merge(&member.client, &object, &json!({ "metadata": { "labels": { "karmada.io/managed": null } } }))
        .await?;
    until(member, &object, "our label again", managed).await?;
    quiet(federation).await?;
    let seen = changes(federation, member, before, &object)?;
    ensure!(!seen.is_empty() && seen.len() <= 3, "no storm:\n{}", audit::print(&seen));
    Ok(())
}

pub(crate) async fn a_namespace_deleted_in_a_member_comes_back_with_its_objects(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let object = objects::config_map("writing-namespace", "inside");
    let member = propagated(federation, "writing-namespace", &object).await?;
    let before = objects::get(&member.client, &object).await?.context("propagated")?;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "writing-namespace" } });
    objects::delete(&member.client, &namespace).await?;
    eventually::some(SOON, "another ConfigMap in another namespace", || async {
        let seen = objects::get(&member.client, &object).await?;
        Ok(seen.filter(|seen| seen.metadata.uid != before.metadata.uid).map(drop))
    })
    .await
}

pub(crate) async fn duplicate_list_keys_are_written_and_dropped_fields_still_go(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    let mut object = objects::deployment("writing-twice", "twice", 1);
    let env = |list: Value| json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/env", "value": list }]);
    object["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{ "name": "A", "value": "1" }, { "name": "A", "value": "2" }, { "name": "B", "value": "1" }]);
    let member = propagated(federation, "writing-twice", &object).await?;
    let env_is = |wanted: Value| {
        move |seen: &DynamicObject| seen.data["spec"]["template"]["spec"]["containers"][0]["env"] == wanted
    };

    let twice = json!([{ "name": "A", "value": "1" }, { "name": "A", "value": "3" }, { "name": "B", "value": "1" }]);
    objects::json_patch(hub, &object, env(twice.clone())).await?;
    until(member, &object, "the changed duplicate", env_is(twice)).await?;
    let once = json!([{ "name": "A", "value": "3" }, { "name": "B", "value": "1" }]);
    objects::json_patch(hub, &object, env(once.clone())).await?;
    until(member, &object, "no duplicate", env_is(once)).await?;
    let less = json!([{ "name": "A", "value": "3" }]);
    objects::json_patch(hub, &object, env(less.clone())).await?;
    until(member, &object, "B to be gone", env_is(less)).await
}

pub(crate) async fn replicas_of_an_autoscaler_survive_our_writes(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    let mut object = objects::deployment("writing-scale", "scaled", 2);
    object["metadata"]["labels"] = json!({ "resourcetemplate.karmada.io/retain-replicas": "true" });
    let member = propagated(federation, "writing-scale", &object).await?;
    // What a HorizontalPodAutoscaler does.
    let scale = kube::api::Patch::Merge(json!({ "spec": { "replicas": 7 } }));
    let api = objects::api_of(&member.client, &object)?;
    api.patch_subresource("scale", "scaled", &kube::api::PatchParams::default(), &scale).await.map(drop).or_else(
        // The answer is a Scale, which is not a Deployment; that it was written is what counts.
        |error| if matches!(error, kube::Error::SerdeError(_)) { Ok(()) } else { Err(error) },
    )?;
    let edit = json!([
        { "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "nginx:1.30" },
    ]);
    objects::json_patch(hub, &object, edit).await?;
    until(member, &object, "the new image", |seen| {
        seen.data["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1.30"
    })
    .await?;
    quiet(federation).await?;
    until(member, &object, "the autoscaler's replicas", |seen| seen.data["spec"]["replicas"] == 7).await
}

pub(crate) async fn a_member_that_mutates_our_writes_is_not_written_in_a_loop(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    let member = federation.member(MEMBER)?;
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
        "metadata": { "name": "stubborn" },
        "spec": {
            "reinvocationPolicy": "Never",
            "matchConstraints": { "resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                "operations": ["CREATE", "UPDATE"],
            }]},
            "matchConditions": [{ "name": "ours", "expression": "object.metadata.namespace == 'writing-mutated'" }],
            "mutations": [{
                "patchType": "ApplyConfiguration",
                "applyConfiguration": { "expression": "Object{data: {'key': 'as the member likes it'}}" },
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": { "name": "stubborn" },
        "spec": { "policyName": "stubborn" },
    });
    pando_e2e::install::apply(&member.client, &policy).await?;
    pando_e2e::install::apply(&member.client, &binding).await?;
    // It takes effect when it mutates something.
    objects::namespace(hub, "writing-mutated").await?;
    let probe = objects::config_map("writing-mutated", "probe");
    eventually::some(SOON, "the mutation to take effect", || async {
        let params = kube::api::PostParams { dry_run: true, ..Default::default() };
        let seen =
            objects::api_of(&member.client, &probe)?.create(&params, &serde_json::from_value(probe.clone())?).await?;
        Ok((seen.data["data"]["key"] != "value").then_some(()))
    })
    .await?;

    let object = objects::config_map("writing-mutated", "mutated");
    let before = log(member)?.mark()?;
    objects::create(hub, &objects::duplicated("writing-mutated", "v1", "ConfigMap", "mutated", &[MEMBER])).await?;
    objects::create(hub, &object).await?;
    eventually::some(SOON, "the object in the member", || objects::get(&member.client, &object)).await?;
    quiet(federation).await?;
    let seen = changes(federation, member, before, &object)?;
    ensure!(!seen.is_empty() && seen.len() <= 3, "no loop:\n{}", audit::print(&seen));
    Ok(())
}
