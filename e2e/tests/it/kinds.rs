//! Any kind that the hub serves: cluster-wide ones and namespaced ones, built in and defined by CRDs that come and go.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Event;
use kube::api::{DeleteParams, DynamicObject, ListParams};
use kube::{Api, Client};
use pando_e2e::eventually;
use pando_e2e::federation::Federation;
use serde_json::{Value, json};

use crate::objects;
use crate::subject::{self, SOON};
use crate::world::World;

/// Where the tests' objects go; the third member gets none.
const PLACES: [&str; 2] = ["bj-prod", "sh-prod"];
/// How long a second list of a kind that was refused may take to be tried again, and then some.
const RETRIED: Duration = Duration::from_secs(90);

/// A CRD for a namespaced kind with a size and a status.
fn definition(kind: &str) -> Value {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.kinds.example.io") },
        "spec": {
            "group": "kinds.example.io", "scope": "Namespaced",
            "names": { "kind": kind, "plural": plural, "singular": singular, "listKind": format!("{kind}List") },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                    "spec": { "type": "object", "properties": { "size": { "type": "integer" } } },
                    "status": { "type": "object", "properties": { "phase": { "type": "string" } } },
                }}},
            }],
        },
    })
}

fn custom(namespace: &str, kind: &str, size: i64) -> Value {
    json!({
        "apiVersion": "kinds.example.io/v1", "kind": kind,
        "metadata": { "namespace": namespace, "name": "one" }, "spec": { "size": size },
    })
}

/// A policy without a namespace that copies objects by apiVersion, kind and name.
fn cluster_policy(name: &str, selects: &[(&str, &str, &str)]) -> Value {
    let selectors: Vec<_> = selects
        .iter()
        .map(|(api_version, kind, name)| json!({ "apiVersion": api_version, "kind": kind, "name": name }))
        .collect();
    json!({
        "apiVersion": "policy.karmada.io/v1alpha1", "kind": "ClusterPropagationPolicy",
        "metadata": { "name": name },
        "spec": {
            "resourceSelectors": selectors,
            "placement": { "clusterAffinity": { "clusterNames": PLACES } },
        },
    })
}

/// The policy of one namespaced template, of its name and kind.
fn policy(template: &Value) -> Value {
    let text = |pointer: &str| template.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name, kind) = (text("/metadata/namespace"), text("/metadata/name"), text("/kind"));
    let mut policy = objects::duplicated(namespace, text("/apiVersion"), kind, name, &PLACES);
    policy["metadata"]["name"] = format!("{name}-{}", kind.to_lowercase()).into();
    policy
}

/// The name of the binding of a template: a ResourceBinding or a ClusterResourceBinding.
fn binding(template: &Value) -> Value {
    let text = |pointer: &str| template.pointer(pointer).and_then(Value::as_str);
    let name = text("/metadata/name").unwrap_or_default().replace(':', ".");
    let name = format!("{name}-{}", text("/kind").unwrap_or_default()).to_lowercase();
    let (kind, metadata) = match text("/metadata/namespace") {
        Some(namespace) => ("ResourceBinding", json!({ "namespace": namespace, "name": name })),
        None => ("ClusterResourceBinding", json!({ "name": name })),
    };
    json!({ "apiVersion": "work.karmada.io/v1alpha2", "kind": kind, "metadata": metadata })
}

/// Waits until every place has the template, applied and in this health as its binding says; gives the binding.
async fn arrived(federation: &Federation, template: &Value, health: &str) -> Result<DynamicObject> {
    let what = format!("{} {} in {PLACES:?}, {health}", template["kind"], template["metadata"]["name"]);
    eventually::some(SOON, &what, || async {
        let found = objects::get(&federation.hub.client, &binding(template)).await?.context("no binding")?;
        let items = found.data["status"]["aggregatedStatus"].as_array().cloned().unwrap_or_default();
        let in_place: Vec<_> = items
            .iter()
            .filter(|item| item["applied"] == true && item["health"] == health)
            .filter_map(|item| item["clusterName"].as_str())
            .collect();
        ensure!(in_place == PLACES, "status {}", found.data["status"]);
        for place in PLACES {
            objects::get(&federation.member(place)?.client, template)
                .await?
                .with_context(|| format!("not in {place}"))?;
        }
        Ok(Some(found))
    })
    .await
}

/// Waits until the status of the template on the hub has this.
async fn reports(hub: &Client, template: &Value, pointer: &str, wanted: Value) -> Result<()> {
    let what = format!("{pointer} of {} on the hub", template["kind"]);
    eventually::equal(SOON, &what, &wanted, || async {
        let found = objects::get(hub, template).await?.context("no template")?;
        Ok(found.data.pointer(pointer).cloned().unwrap_or(Value::Null))
    })
    .await
}

/// Writes the status of an object in a member, as its controller there would.
async fn acts(federation: &Federation, place: &str, template: &Value, status: Value) -> Result<()> {
    let api = objects::api_of(&federation.member(place)?.client, template)?;
    let name = template["metadata"]["name"].as_str().context("no name")?;
    let patch = kube::api::Patch::Merge(json!({ "status": status }));
    api.patch_status(name, &Default::default(), &patch).await?;
    Ok(())
}

/// Waits until neither the places nor the bindings know the template.
async fn gone(federation: &Federation, template: &Value) -> Result<()> {
    let what = format!("{} {} to be gone", template["kind"], template["metadata"]["name"]);
    eventually::some(SOON, &what, || async {
        for place in PLACES {
            let found = objects::get(&federation.member(place)?.client, template).await?;
            ensure!(found.is_none(), "it is in {place}");
        }
        let found = objects::get(&federation.hub.client, &binding(template)).await?;
        ensure!(found.is_none(), "its binding is there");
        Ok(Some(()))
    })
    .await
}

/// Waits for a Warning event with this reason about a policy without a namespace.
async fn warned(federation: &Federation, policy: &str, reason: &str, words: &str) -> Result<()> {
    let events = Api::<Event>::namespaced(federation.hub.client.clone(), "default");
    let fields = format!("type=Warning,reason={reason},involvedObject.name={policy}");
    eventually::some(SOON, &format!("a warning {reason} with {words:?}"), || async {
        let found = events.list(&ListParams::default().fields(&fields)).await?;
        let messages: Vec<_> = found.items.into_iter().filter_map(|event| event.message).collect();
        ensure!(messages.iter().any(|message| message.contains(words)), "{messages:?}");
        Ok(Some(()))
    })
    .await
}

fn containers() -> Value {
    json!({ "containers": [{ "name": "main", "image": "busybox" }] })
}

fn stateful_set(namespace: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "namespace": namespace, "name": "store" },
        "spec": {
            "replicas": 2, "serviceName": "store", "selector": { "matchLabels": { "app": "store" } },
            "template": { "metadata": { "labels": { "app": "store" } }, "spec": containers() },
        },
    })
}

fn job(namespace: &str) -> Value {
    let mut pod = containers();
    pod["restartPolicy"] = "Never".into();
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "namespace": namespace, "name": "once" },
        "spec": { "completions": 2, "parallelism": 2, "template": { "spec": pod } },
    })
}

fn ingress(namespace: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "namespace": namespace, "name": "door" },
        "spec": { "defaultBackend": { "service": { "name": "web", "port": { "number": 80 } } } },
    })
}

fn cluster_role() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "kinds:reader" },
        "rules": [{ "apiGroups": ["kinds.example.io"], "resources": ["*"], "verbs": ["get", "list"] }],
    })
}

pub(crate) async fn any_kind_propagates_reports_and_cleans_up(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    subject::namespace(federation, "kinds").await?;
    let (definition, role) = (definition("Widget"), cluster_role());
    let wide = cluster_policy(
        "kinds",
        &[
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.kinds.example.io"),
            ("rbac.authorization.k8s.io/v1", "ClusterRole", "kinds:reader"),
        ],
    );
    let widget = custom("kinds", "Widget", 3);
    let inside = [widget.clone(), stateful_set("kinds"), job("kinds"), ingress("kinds")];
    let start = Instant::now();
    objects::create(hub, &wide).await?;
    objects::create(hub, &role).await?;
    objects::create(hub, &definition).await?;
    for template in &inside[1..] {
        objects::create(hub, &policy(template)).await?;
        objects::create(hub, template).await?;
    }
    objects::create(hub, &policy(&widget)).await?;
    eventually::some(SOON, "the hub to take a Widget", || async { objects::create(hub, &widget).await.map(Some) })
        .await?;
    let [_, store, once, door] = &inside;
    arrived(federation, &definition, "Healthy").await?;
    arrived(federation, &role, "Healthy").await?;
    arrived(federation, &widget, "Healthy").await?;
    println!("    CRD, custom resource and ClusterRole in two members after {:.1} s", start.elapsed().as_secs_f64());
    arrived(federation, store, "Healthy").await?;
    arrived(federation, once, "Healthy").await?;
    arrived(federation, door, "Unhealthy").await?;

    reports(hub, store, "/status/readyReplicas", json!(4)).await?;
    reports(hub, once, "/status/succeeded", json!(4)).await?;
    acts(federation, "bj-prod", door, json!({ "loadBalancer": { "ingress": [{ "ip": "192.0.2.7" }] } })).await?;
    reports(hub, door, "/status/loadBalancer/ingress/0/ip", json!("192.0.2.7")).await?;
    acts(federation, "sh-prod", &widget, json!({ "phase": "Round" })).await?;
    eventually::some(SOON, "the Widget's status on its binding", || async {
        let found = objects::get(hub, &binding(&widget)).await?.context("no binding")?;
        let items = found.data["status"]["aggregatedStatus"].as_array().cloned().unwrap_or_default();
        Ok(items.iter().any(|item| item["status"]["phase"] == "Round").then_some(()))
    })
    .await?;

    for template in &inside {
        // An API server leaves dependents of a Job behind unless it is told otherwise, as kubectl does.
        let name = template["metadata"]["name"].as_str().context("no name")?;
        objects::api_of(hub, template)?.delete(name, &DeleteParams::background()).await?;
    }
    objects::delete(hub, &role).await?;
    for template in inside.iter().chain([&role]) {
        gone(federation, template).await?;
    }
    // A definition takes all its objects along, also those of others: in members it only loses our marks.
    objects::delete(hub, &definition).await?;
    eventually::some(SOON, "the definition to be let go", || async {
        ensure!(objects::get(hub, &binding(&definition)).await?.is_none(), "its binding is there");
        for place in PLACES {
            let found = objects::get(&federation.member(place)?.client, &definition).await?;
            let labels = found.with_context(|| format!("{place} has lost it"))?.metadata.labels;
            ensure!(labels.is_none_or(|labels| !labels.contains_key("karmada.io/managed")), "marked in {place}");
        }
        Ok(Some(()))
    })
    .await?;
    // A policy for a kind that is gone is told so by every controller that starts: other tests count what those write.
    objects::delete(hub, &policy(&widget)).await?;
    objects::delete(hub, &wide).await
}

pub(crate) async fn a_policy_may_come_before_the_definition_of_its_kind(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    subject::namespace(federation, "early").await?;
    let (definition, gadget) = (definition("Gadget"), custom("early", "Gadget", 1));
    let wide = cluster_policy(
        "early",
        &[
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "gadgets.kinds.example.io"),
            ("kinds.example.io/v1", "Gadget", "one"),
        ],
    );
    objects::create(hub, &wide).await?;
    let words = "the hub does not serve Gadget of kinds.example.io/v1: install its CRD";
    warned(federation, "early", "KindNotServed", words).await?;
    let start = Instant::now();
    objects::create(hub, &definition).await?;
    eventually::some(SOON, "the hub to take a Gadget", || async { objects::create(hub, &gadget).await.map(Some) })
        .await?;
    arrived(federation, &gadget, "Healthy").await?;
    println!("    from the definition on the hub to its object in two members: {:.1} s", start.elapsed().as_secs_f64());
    objects::delete(hub, &gadget).await?;
    gone(federation, &gadget).await?;
    objects::delete(hub, &wide).await
}

pub(crate) async fn a_definition_removed_on_the_hub_and_installed_again_goes_on(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    subject::namespace(federation, "again").await?;
    let definition = definition("Gizmo");
    let mut wide = cluster_policy(
        "again",
        &[
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "gizmos.kinds.example.io"),
            ("kinds.example.io/v1", "Gizmo", "one"),
        ],
    );
    // The members keep the definition when the hub's goes; the next one of its name takes it over.
    wide["spec"]["conflictResolution"] = "Overwrite".into();
    objects::create(hub, &wide).await?;
    objects::create(hub, &definition).await?;
    for size in 1..=3 {
        let gizmo = custom("again", "Gizmo", size);
        eventually::some(SOON, "the hub to take a Gizmo", || async { objects::create(hub, &gizmo).await.map(Some) })
            .await?;
        arrived(federation, &gizmo, "Healthy").await?;
        let live = objects::get(&federation.member("bj-prod")?.client, &gizmo).await?.context("no Gizmo")?;
        ensure!(live.data["spec"]["size"] == size, "round {size}: {}", live.data);
        let start = Instant::now();
        objects::delete(hub, &definition).await?;
        eventually::some(SOON, "the definition to be gone", || async {
            Ok(objects::get(hub, &definition).await?.is_none().then_some(()))
        })
        .await?;
        objects::create(hub, &definition).await?;
        // The hub's garbage collector may have lost track of the old Gizmo with its kind.
        gone(federation, &gizmo).await?;
        println!("    round {size}: gone {:.1} s after its definition", start.elapsed().as_secs_f64());
    }
    objects::delete(hub, &wide).await?;
    objects::delete(hub, &definition).await
}

pub(crate) async fn a_kind_that_may_not_be_listed_is_named_and_the_others_go_on(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    subject::namespace(federation, "unlisted").await?;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "pando-controller" },
    });
    let granted = objects::get(hub, &role).await?.context("no role")?.data["rules"].clone();
    let mut fewer = granted.clone();
    let all = fewer.as_array_mut().context("no rules")?.iter_mut().find(|rule| rule["resources"] == json!(["*"]));
    let all = all.context("no rule for all resources")?;
    all["apiGroups"] = json!(["", "apps", "apiextensions.k8s.io"]);
    objects::merge(hub, &role, &json!({ "rules": fewer })).await?;
    let outcome = refused(federation).await;
    objects::merge(hub, &role, &json!({ "rules": granted })).await?;
    outcome?;

    let claim = disruption_budget();
    let start = Instant::now();
    eventually::some(RETRIED, "the budget in the member", || objects::get(&federation.members[0].client, &claim))
        .await?;
    println!("    {:.1} s after the right was given", start.elapsed().as_secs_f64());
    Ok(())
}

fn disruption_budget() -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "namespace": "unlisted", "name": "one" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "none" } } },
    })
}

/// The controller may not read PodDisruptionBudgets: their policy is told, and a ConfigMap arrives meanwhile.
async fn refused(federation: &Federation) -> Result<()> {
    let hub = &federation.hub.client;
    let (map, claim) = (objects::config_map("unlisted", "map"), disruption_budget());
    let wide = cluster_policy("unlisted", &[("policy/v1", "PodDisruptionBudget", "one"), ("v1", "ConfigMap", "map")]);
    // The API server's authorizer follows the role with a short delay.
    tokio::time::sleep(Duration::from_secs(1)).await;
    objects::create(hub, &wide).await?;
    objects::create(hub, &claim).await?;
    objects::create(hub, &map).await?;
    eventually::some(SOON, "the ConfigMap in the member", || objects::get(&federation.members[0].client, &map)).await?;
    warned(federation, "unlisted", "KindNotReadable", "the hub does not list PodDisruptionBudget of policy/v1").await
}
