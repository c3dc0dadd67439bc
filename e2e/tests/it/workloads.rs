//! Kinds that run something or hold something: shares of a Job, readiness, refusals, and members that complete what they get.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pando_e2e::federation::Federation;
use pando_e2e::{audit, eventually, workspace};
use serde_json::{Value, json};

use crate::budget::{log, pando, quiet, written_by_a_restart};
use crate::objects;
use crate::subject::{self, SOON};
use crate::world::World;

const MEMBERS: [&str; 3] = ["bj-prod", "sh-prod", "sz-prod"];

fn pod(app: &str, restart: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": app } },
        "spec": { "restartPolicy": restart, "containers": [{ "name": "main", "image": "busybox:1" }] },
    })
}

fn job(namespace: &str, name: &str, completions: i64) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "namespace": namespace, "name": name },
        "spec": { "completions": completions, "parallelism": 10, "template": pod(name, "Never") },
    })
}

/// A policy that divides these kinds 5 : 3 : 2 over the members; what has no replicas goes everywhere.
fn divided(namespace: &str, kinds: &[(&str, &str)]) -> Value {
    let selectors: Vec<_> =
        kinds.iter().map(|(api_version, kind)| json!({ "apiVersion": api_version, "kind": kind })).collect();
    let weights = MEMBERS.iter().zip([5, 3, 2]);
    let weights: Vec<_> = weights
        .map(|(member, weight)| json!({ "targetCluster": { "clusterNames": [member] }, "weight": weight }))
        .collect();
    json!({
        "apiVersion": "policy.karmada.io/v1alpha1", "kind": "PropagationPolicy",
        "metadata": { "namespace": namespace, "name": "divided" },
        "spec": {
            "resourceSelectors": selectors,
            "placement": {
                "clusterAffinity": { "clusterNames": MEMBERS },
                "replicaScheduling": {
                    "replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted",
                    "weightPreference": { "staticWeightList": weights },
                },
            },
        },
    })
}

/// What `pointer` shows in each member, and at last on the hub.
async fn everywhere(federation: &Federation, object: &Value, pointer: &str) -> Result<Vec<Value>> {
    let mut seen = Vec::new();
    for cluster in federation.members.iter().chain([&federation.hub]) {
        let found = objects::get(&cluster.client, object).await?;
        seen.push(found.and_then(|found| found.data.pointer(pointer).cloned()).unwrap_or_default());
    }
    Ok(seen)
}

async fn settles(federation: &Federation, object: &Value, pointer: &str, wanted: [i64; 4]) -> Result<()> {
    let what = format!("{pointer} of {} in bj, sh, sz and on the hub", object["kind"]);
    eventually::equal(SOON, &what, &wanted.map(Value::from).to_vec(), || everywhere(federation, object, pointer)).await
}

pub(crate) async fn a_divided_job_is_done_in_shares_and_completes_as_one(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    subject::namespace(federation, "shares").await?;
    objects::create(hub, &divided("shares", &[("batch/v1", "Job")])).await?;
    let job = job("shares", "sum", 20);
    objects::create(hub, &job).await?;
    settles(federation, &job, "/spec/completions", [10, 6, 4, 20]).await?;
    settles(federation, &job, "/spec/parallelism", [5, 3, 2, 10]).await?;
    settles(federation, &job, "/status/succeeded", [10, 6, 4, 20]).await?;
    eventually::some(SOON, "the Job on the hub to be complete", || async {
        let found = objects::get(hub, &job).await?.context("gone")?;
        let conditions = found.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is_complete = |condition: &Value| condition["type"] == "Complete" && condition["status"] == "True";
        let ends = found.data["status"]["completionTime"].is_string();
        Ok((ends && conditions.iter().any(is_complete)).then_some(()))
    })
    .await
}

pub(crate) async fn stateful_sets_and_daemon_sets_report_readiness(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    subject::namespace(federation, "readiness").await?;
    objects::create(hub, &divided("readiness", &[("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet")])).await?;
    let of = |kind: &str, name: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": { "namespace": "readiness", "name": name },
            "spec": { "selector": { "matchLabels": { "app": name } }, "template": pod(name, "Always") },
        })
    };
    let (mut store, agent) = (of("StatefulSet", "store"), of("DaemonSet", "agent"));
    store["spec"]["replicas"] = json!(10);
    store["spec"]["serviceName"] = json!("store");
    store["spec"]["podManagementPolicy"] = json!("Parallel");
    objects::create(hub, &store).await?;
    objects::create(hub, &agent).await?;
    settles(federation, &store, "/status/readyReplicas", [5, 3, 2, 10]).await?;
    // One node each.
    settles(federation, &agent, "/status/numberReady", [1, 1, 1, 3]).await?;
    for name in ["store-statefulset", "agent-daemonset"] {
        eventually::equal(SOON, &format!("health of {name}"), &vec!["Healthy".to_owned(); 3], || async {
            let items = aggregated(federation, "readiness", name).await?;
            Ok(items.iter().filter_map(|item| item["health"].as_str()).map(str::to_owned).collect())
        })
        .await?;
    }
    for object in [&store, &agent] {
        eventually::some(SOON, "the hub's generation to be observed", || async {
            let found = objects::get(hub, object).await?.context("gone")?;
            let observed = found.data["status"]["observedGeneration"].as_i64();
            Ok((observed == found.metadata.generation).then_some(()))
        })
        .await?;
    }
    Ok(())
}

async fn aggregated(federation: &Federation, namespace: &str, binding: &str) -> Result<Vec<Value>> {
    let binding = json!({
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding",
        "metadata": { "namespace": namespace, "name": binding },
    });
    let found = objects::get(&federation.hub.client, &binding).await?.context("no binding")?;
    Ok(found.data["status"]["aggregatedStatus"].as_array().cloned().unwrap_or_default())
}

pub(crate) async fn a_change_that_a_job_cannot_take_is_reported_without_a_storm(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    let member = federation.member("bj-prod")?;
    subject::namespace(federation, "immutable").await?;
    objects::create(hub, &objects::duplicated("immutable", "batch/v1", "Job", "once", &["bj-prod"])).await?;
    let job = job("immutable", "once", 1);
    objects::create(hub, &job).await?;
    eventually::some(SOON, "the Job in the member", || objects::get(&member.client, &job)).await?;
    quiet(federation).await?;

    let mark = log(member)?.mark()?;
    let other_image = json!({
        "apiVersion": "policy.karmada.io/v1alpha1", "kind": "OverridePolicy",
        "metadata": { "namespace": "immutable", "name": "image" },
        "spec": { "overrideRules": [{ "overriders": { "imageOverrider": [
            { "component": "Tag", "operator": "replace", "value": "2" },
        ]}}]},
    });
    objects::create(hub, &other_image).await?;
    eventually::some(SOON, "the refusal on the binding", || async {
        let items = aggregated(federation, "immutable", "once-job").await?;
        let message = items.first().and_then(|item| item["appliedMessage"].as_str()).unwrap_or_default().to_owned();
        ensure!(message.contains("spec.template") && message.contains("immutable"), "items {items:?}");
        Ok(Some(()))
    })
    .await?;
    // The condition under test is a rate: attempts in ten seconds.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let user = pando(member, federation);
    let attempts: Vec<_> = log(member)?
        .since(mark)?
        .into_iter()
        .filter(|entry| entry.user == user && entry.namespace == "immutable" && entry.verb != "get")
        .collect();
    ensure!((1..=15).contains(&attempts.len()), "{} attempts:\n{}", attempts.len(), audit::print(&attempts));

    objects::delete(hub, &other_image).await?;
    eventually::some(SOON, "the Job to be applied again", || async {
        let items = aggregated(federation, "immutable", "once-job").await?;
        Ok(items.first().is_some_and(|item| item["applied"] == true).then_some(()))
    })
    .await
}

/// The templates of the unit tests that live in a namespace, as a user would write them.
fn real_templates(namespace: &str) -> Result<Vec<Value>> {
    let folder = workspace::root().join("controller/core/src/interpreter/native/testdata");
    let mut templates = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let both: Value = serde_json::from_slice(&std::fs::read(file?.path())?)?;
        let mut template = both["template"].clone();
        // A quota would refuse pods of the others.
        if template["kind"] == "ResourceQuota" || template.pointer("/metadata/namespace").is_none() {
            continue;
        }
        template["metadata"] = json!({ "namespace": namespace, "name": template["metadata"]["name"] });
        if template["kind"] == "Secret" {
            template["metadata"]["annotations"] = json!({ "kubernetes.io/service-account.name": "bot" });
        }
        let object = template.as_object_mut().context("no object")?;
        object.remove("status");
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            match both["template"]["kind"].as_str() {
                Some("Job") => {
                    spec.remove("selector");
                    spec["template"]["metadata"] = json!({});
                }
                // Ports and addresses are given out again.
                Some("Service") if spec.get("clusterIP") != Some(&json!("None")) => {
                    for field in ["clusterIP", "clusterIPs", "healthCheckNodePort"] {
                        spec.remove(field);
                    }
                    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                        port.as_object_mut().context("no port")?.remove("nodePort");
                    }
                }
                _ => {}
            }
        }
        templates.push(template);
    }
    // A token without its account is removed.
    templates.sort_by_key(|template| template["kind"] != "ServiceAccount");
    Ok(templates)
}

/// Waits until every member has all templates with this label, applied.
async fn arrive(federation: &Federation, templates: &[Value], round: &str) -> Result<()> {
    for template in templates {
        let text = |pointer: &str| template.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let binding = format!("{}-{}", text("/metadata/name"), text("/kind").to_lowercase());
        eventually::some(SOON, &format!("round {round} of {binding} in three members"), || async {
            let items = aggregated(federation, "rest", &binding).await?;
            let applied = items.iter().filter(|item| item["applied"] == true).count();
            ensure!(applied == MEMBERS.len(), "items {items:?}");
            for member in &federation.members {
                let found = objects::get(&member.client, template).await?.context("not there")?;
                let labels = found.metadata.labels.unwrap_or_default();
                ensure!(labels.get("round").is_some_and(|seen| seen == round), "{} has {labels:?}", member.name);
            }
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}

pub(crate) async fn what_members_make_of_any_kind_survives_an_edit_and_is_not_written_again(
    world: &World,
) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    subject::namespace(federation, "rest").await?;
    let templates = real_templates("rest")?;
    let mut kinds: Vec<_> = templates
        .iter()
        .filter_map(|template| Some((template["apiVersion"].as_str()?, template["kind"].as_str()?)))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut policy = divided("rest", &kinds);
    policy["spec"]["placement"]["replicaScheduling"] = json!({ "replicaSchedulingType": "Duplicated" });
    objects::create(hub, &policy).await?;
    let labelled = |round: &str| json!({ "metadata": { "labels": { "round": round } } });
    for template in &templates {
        let mut first = template.clone();
        first["metadata"]["labels"] = labelled("1")["metadata"]["labels"].clone();
        objects::create(hub, &first).await?;
    }
    arrive(federation, &templates, "1").await?;
    quiet(federation).await?;
    // From here on it is server-side apply, and what the members gave out and cannot take back has to be in it.
    for template in &templates {
        objects::merge(hub, template, &labelled("2")).await?;
    }
    arrive(federation, &templates, "2").await?;
    quiet(federation).await?;
    // A controller that starts compares everything once more.
    for (cluster, mut writes) in written_by_a_restart(federation).await? {
        writes.retain(|entry| !entry.is_status());
        ensure!(writes.is_empty(), "writes in {}:\n{}", cluster.name, audit::print(&writes));
    }
    objects::delete(hub, &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "rest" } })).await
}
