//! What members report arrives, in few writes, and says how fresh it is.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use pando_e2e::audit::{self, Entry, Mark};
use pando_e2e::eventually;
use pando_e2e::federation::{Federation, cluster_resource};
use pando_e2e::product::Start;
use pando_e2e::provider::Cluster;
use pando_e2e::relay::{Mode, Relay};
use serde_json::{Value, json};

use crate::budget::{log, pando, quiet};
use crate::objects;
use crate::split::{founded, settles};
use crate::subject::{SOON, Subject};
use crate::world::World;

const FLAPS: usize = 50;
const LOST: &str = "sz-prod";

/// Pando's writes on the hub to the objects of one namespace, events left out, by resource and sub-resource.
fn written(federation: &Federation, since: Mark, namespace: &str) -> Result<Vec<Entry>> {
    let user = pando(&federation.hub, federation);
    let mut writes = log(&federation.hub)?.writes_since(since, |by| by == user)?;
    writes.retain(|entry| entry.namespace == namespace && entry.resource != "events");
    Ok(writes)
}

fn statuses(writes: &[Entry], resource: &str) -> usize {
    writes.iter().filter(|entry| entry.resource == resource && entry.is_status()).count()
}

/// Says in the member that a pod is ready, or that it is not.
async fn set_ready(pods: &Api<Pod>, pod: &str, ready: bool) -> Result<()> {
    let status = if ready { "True" } else { "False" };
    let condition = json!({ "type": "Ready", "status": status, "lastTransitionTime": jiff::Timestamp::now() });
    let patch = Patch::Strategic(json!({ "status": { "conditions": [condition] } }));
    pods.patch_status(pod, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// The number of ready replicas that a cluster shows.
async fn ready(cluster: &Cluster, template: &Value) -> Result<i64> {
    let seen = objects::get(&cluster.client, template).await?.context("gone")?;
    Ok(seen.data["status"]["readyReplicas"].as_i64().unwrap_or(0))
}

pub(crate) async fn a_flapping_pod_costs_few_writes_and_ends_right(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let namespace = "flapping";
    crate::subject::namespace(federation, namespace).await?;
    let subject = Subject::new(federation, "bj-prod", objects::deployment(namespace, "web", 2))?;
    subject.arrived().await?;
    let (hub, member) = (&federation.hub, subject.member);
    for cluster in [member, hub] {
        eventually::equal(SOON, "two ready replicas", &2, || ready(cluster, &subject.template)).await?;
    }
    quiet(federation).await?;
    let pods = Api::<Pod>::namespaced(member.client.clone(), namespace);
    let pod = pods.list(&ListParams::default()).await?.items.pop().context("no pods")?;
    let pod = pod.metadata.name.context("no name")?;

    let (mark, start) = (log(hub)?.mark()?, Instant::now());
    for _ in 0..FLAPS {
        set_ready(&pods, &pod, false).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
        set_ready(&pods, &pod, true).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = start.elapsed().as_secs_f64();
    for cluster in [member, hub] {
        eventually::equal(SOON, "two ready replicas again", &2, || ready(cluster, &subject.template)).await?;
    }
    subject.condition("FullyApplied", |condition| condition["status"] == "True").await?;
    quiet(federation).await?;

    let user = pando(hub, federation);
    let writes = log(hub)?.writes_since(mark, |by| by == user)?;
    let [works, bindings, templates] =
        ["works", "resourcebindings", "deployments"].map(|resource| statuses(&writes, resource));
    println!(
        "    {} changes in {took:.1} s: {works} Work, {bindings} binding and {templates} template writes",
        2 * FLAPS
    );
    // A report that is not held back is at least 400 ms later than the one before.
    let most = 6 + (took / 0.4) as usize;
    ensure!(bindings <= most && templates <= most, "at most {most} each:\n{}", audit::print(&writes));
    ensure!(bindings > 0 && templates > 0, "nothing was reported:\n{}", audit::print(&writes));
    let others: Vec<_> = writes.iter().filter(|entry| !entry.is_status() && entry.resource != "events").collect();
    ensure!(others.is_empty(), "more than statuses:\n{}", audit::print(others));
    Ok(())
}

/// Members restart containers; the hub's API server lets none that is not in the spec leave the state `terminated`.
pub(crate) async fn a_container_that_crashed_in_a_member_is_shown_running_again(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let namespace = "crashing";
    crate::subject::namespace(federation, namespace).await?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "namespace": namespace, "name": "app" },
        "spec": { "containers": [{ "name": "app", "image": "busybox:1" }] },
    });
    let subject = Subject::new(federation, "bj-prod", pod)?;
    subject.arrived().await?;
    let (hub, template) = (&federation.hub.client, &subject.template);
    let shows = |what: &'static str, pointer: &'static str| async move {
        eventually::some(SOON, what, || async {
            let pod = objects::get(hub, template).await?.context("gone")?;
            let container = pod.data.pointer("/status/containerStatuses/0").cloned().unwrap_or_default();
            ensure!(container.pointer(pointer).is_some(), "{container}");
            Ok(Some(()))
        })
        .await
    };
    let (running, ended) = ("/state/running", "/state/waiting/reason");
    let pods = Api::<Pod>::namespaced(subject.member.client.clone(), namespace);
    shows("a running container", running).await?;
    for restarts in 1..=2 {
        let end = json!({ "exitCode": 137, "reason": "OOMKilled", "finishedAt": jiff::Timestamp::now() });
        let start = json!({ "startedAt": jiff::Timestamp::now() });
        for (state, last, what, pointer) in [
            (json!({ "terminated": end }), json!({}), "how it ended", ended),
            (json!({ "running": start }), json!({ "terminated": end }), "a running container again", running),
        ] {
            let container = json!({
                "name": "app", "ready": true, "restartCount": restarts, "image": "busybox:1", "imageID": "",
                "state": state, "lastState": last,
            });
            let patch = Patch::Merge(json!({ "status": { "containerStatuses": [container] } }));
            pods.patch_status("app", &PatchParams::default(), &patch).await?;
            shows(what, pointer).await?;
        }
    }
    Ok(())
}

pub(crate) async fn what_somebody_else_writes_into_a_status_is_set_right(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let namespace = "meddled";
    crate::subject::namespace(federation, namespace).await?;
    let subject = Subject::new(federation, "bj-prod", objects::deployment(namespace, "web", 2))?;
    subject.arrived().await?;
    let hub = &federation.hub;
    eventually::equal(SOON, "two ready replicas", &2, || ready(hub, &subject.template)).await?;
    quiet(federation).await?;
    let right = subject.binding().await?.context("no binding")?.data["status"].clone();

    let mark = log(hub)?.mark()?;
    let wrong = json!({ "status": { "readyReplicas": 1, "availableReplicas": 1 } });
    let name = subject.template["metadata"]["name"].as_str().context("no name")?;
    let templates = objects::api_of(&hub.client, &subject.template)?;
    templates.patch_status(name, &PatchParams::default(), &Patch::Merge(&wrong)).await?;
    let bindings = objects::api_of(&hub.client, &probe(namespace, "web-deployment"))?;
    let wrong = json!({ "status": { "aggregatedStatus": [{ "clusterName": "bj-prod", "applied": false }] } });
    bindings.patch_status("web-deployment", &PatchParams::default(), &Patch::Merge(&wrong)).await?;

    eventually::equal(SOON, "two ready replicas again", &2, || ready(hub, &subject.template)).await?;
    eventually::equal(SOON, "the binding's status as it was", &right, || async {
        Ok(subject.binding().await?.context("no binding")?.data["status"].clone())
    })
    .await?;
    quiet(federation).await?;
    let writes = written(federation, mark, namespace)?;
    ensure!(writes.len() == 2 && writes.iter().all(Entry::is_status), "one each:\n{}", audit::print(&writes));
    Ok(())
}

fn probe(namespace: &str, binding: &str) -> Value {
    json!({
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding",
        "metadata": { "namespace": namespace, "name": binding },
    })
}

/// A controller that calls a member lost after a few seconds, in place of the usual one.
fn impatient() -> Start {
    let flags =
        ["--cluster-failure-threshold=3s", "--cluster-success-threshold=1s", "--cluster-status-update-frequency=1s"];
    Start { flags: flags.map(str::to_owned).to_vec(), ..Start::default() }
}

async fn controller(federation: &Federation, start: &Start) -> Result<()> {
    federation.controller().terminate().await?;
    federation.start_controller_with(start).await
}

/// Status of the founding sample's binding.
async fn binding(federation: &Federation, namespace: &str) -> Result<Value> {
    let probe = probe(namespace, "web-service-deployment");
    let binding = objects::get(&federation.hub.client, &probe).await?.context("no binding")?;
    Ok(binding.data["status"].clone())
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Health and ready replicas of each member, in the order of their names.
fn parts(status: &Value) -> Vec<(String, i64)> {
    let items = status["aggregatedStatus"].as_array().into_iter().flatten();
    items
        .map(|item| {
            let health = item["health"].as_str().unwrap_or_default();
            (health.to_owned(), item["status"]["readyReplicas"].as_i64().unwrap_or(0))
        })
        .collect()
}

fn healths(healths: [&str; 3]) -> Vec<(String, i64)> {
    healths.map(str::to_owned).into_iter().zip([5, 3, 2]).collect()
}

pub(crate) async fn a_member_that_cannot_be_read_is_unknown_since_then_and_heals(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let relay = federation.member(LOST)?.relay.as_ref().context("tests have relays")?;
    controller(federation, &impatient()).await?;
    let outcome = outage(federation, relay).await;
    // The usual controller would call it lost for another half minute.
    let ready = is_ready(federation).await;
    controller(federation, &Start::default()).await?;
    outcome.and(ready)
}

async fn is_ready(federation: &Federation) -> Result<()> {
    let clusters = Api::<DynamicObject>::all_with(federation.hub.client.clone(), &cluster_resource());
    eventually::some(SOON, "the member to be ready again", || async {
        let status = clusters.get(LOST).await?.data["status"].clone();
        let ready = condition(&status, "Ready").with_context(|| format!("status {status}"))?;
        ensure!(ready["status"] == "True", "condition {ready}");
        Ok(Some(()))
    })
    .await
}

async fn outage(federation: &Federation, relay: &Relay) -> Result<()> {
    let (hub, namespace) = (&federation.hub, "stale");
    let (template, _) = founded(federation, namespace).await?;
    eventually::equal(SOON, "three healthy members", &healths(["Healthy"; 3]), || async {
        Ok(parts(&binding(federation, namespace).await?))
    })
    .await?;
    quiet(federation).await?;

    let mark = log(hub)?.mark()?;
    let silence = relay.disturbed(Mode::BlackHole);
    let stale = is_stale(federation, namespace).await?;
    println!("    {}", stale["message"]);
    let status = binding(federation, namespace).await?;
    ensure!(parts(&status) == healths(["Healthy", "Healthy", "Unknown"]), "parts {status}");
    ensure!(condition(&status, "FullyApplied").is_some_and(|fully| fully["status"] == "True"), "status {status}");
    ensure!(ready(hub, &template).await? == 10, "the template's numbers do not stay");
    quiet(federation).await?;
    let writes = written(federation, mark, namespace)?;
    let statuses = (statuses(&writes, "resourcebindings"), writes.len());
    ensure!(statuses == (1, 1), "one write says it:\n{}", audit::print(&writes));
    let shown = shown(federation, namespace).await?;
    ensure!(shown.contains("False ") && shown.contains(LOST), "{shown}");

    a_restart_says_nothing_again(federation).await?;
    let generation = an_edit_is_not_observed(federation, &template).await?;

    drop(silence);
    eventually::some(SOON, "the condition to be gone", || async {
        let status = binding(federation, namespace).await?;
        ensure!(condition(&status, "StatusFresh").is_none(), "status {status}");
        Ok(Some(()))
    })
    .await?;
    settles(federation, namespace, "web-service", [5, 3, 2]).await?;
    eventually::equal(SOON, "three healthy members again", &healths(["Healthy"; 3]), || async {
        Ok(parts(&binding(federation, namespace).await?))
    })
    .await?;
    eventually::equal(SOON, "the edit to be observed", &generation, || observed(hub, &template)).await
}

async fn is_stale(federation: &Federation, namespace: &str) -> Result<Value> {
    eventually::some(SOON, "the binding to say that a member is not read", || async {
        let status = binding(federation, namespace).await?;
        let stale = condition(&status, "StatusFresh").with_context(|| format!("status {status}"))?;
        let said = format!("{LOST} since ");
        let as_wanted = stale["status"] == "False"
            && stale["reason"] == "ClusterNotRead"
            && stale["message"].as_str().is_some_and(|message| message.contains(&said) && !message.contains("bj-prod"));
        ensure!(as_wanted, "condition {stale}");
        Ok(Some(stale.clone()))
    })
    .await
}

async fn shown(federation: &Federation, namespace: &str) -> Result<String> {
    let kubeconfig = federation.hub.admin_kubeconfig.display().to_string();
    federation.product.run(&["get", "bindings", "-n", namespace, "-o", "wide", "--kubeconfig", &kubeconfig]).await
}

/// A controller that starts while the member is away writes nothing: what is to say is said.
async fn a_restart_says_nothing_again(federation: &Federation) -> Result<()> {
    let hub = &federation.hub;
    let mark = log(hub)?.mark()?;
    federation.controller().kill().await?;
    federation.start_controller_with(&impatient()).await?;
    // Ready, and then for longer than it takes to call a member lost.
    tokio::time::sleep(Duration::from_secs(6)).await;
    quiet(federation).await?;
    let user = pando(hub, federation);
    let mut writes = log(hub)?.writes_since(mark, |by| by == user)?;
    writes.retain(|entry| entry.resource != "events");
    ensure!(writes.is_empty(), "written after a restart:\n{}", audit::print(&writes));
    Ok(())
}

/// An edit reaches the others; the template does not count it as observed, and keeps its numbers. Gives its generation.
async fn an_edit_is_not_observed(federation: &Federation, template: &Value) -> Result<i64> {
    let hub = &federation.hub;
    let before = observed(hub, template).await?;
    let image = json!([
        { "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "nginx:1.30" },
    ]);
    let edited = objects::json_patch(&hub.client, template, image).await?;
    let generation = edited.metadata.generation.context("no generation")?;
    for name in ["bj-prod", "sh-prod"] {
        let member = federation.member(name)?;
        eventually::some(SOON, &format!("the rolled out edit in {name}"), || async {
            let seen = objects::get(&member.client, template).await?.context("gone")?;
            let status = &seen.data["status"];
            let wanted = &seen.data["spec"]["replicas"];
            let is_new = seen.data["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1.30";
            ensure!(is_new && status["updatedReplicas"] == *wanted && status["readyReplicas"] == *wanted, "{status}");
            Ok(Some(()))
        })
        .await?;
    }
    quiet(federation).await?;
    ensure!(before < generation, "the edit is generation {generation}, {before} was observed before it");
    ensure!(observed(hub, template).await? == before, "an edit counts as observed that a member has not seen");
    ensure!(ready(hub, template).await? == 10, "the template's numbers do not stay");
    Ok(generation)
}

async fn observed(hub: &Cluster, template: &Value) -> Result<i64> {
    let seen = objects::get(&hub.client, template).await?.context("gone")?;
    Ok(seen.data["status"]["observedGeneration"].as_i64().unwrap_or(0))
}
