//! The objects that tests write, as small as they may be, and reading them back.

use anyhow::{Context as _, Result};
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use pando_e2e::federation::Federation;
use pando_e2e::provider::Cluster;
use serde_json::{Value, json};

/// A Deployment of one container, `web`.
pub(crate) fn deployment(namespace: &str, name: &str, replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{
                    "name": "web",
                    "image": "nginx:1.29",
                    "env": [{ "name": "GREETING", "value": "hello" }, { "name": "MOOD", "value": "good" }],
                }]},
            },
        },
    })
}

pub(crate) fn config_map(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "namespace": namespace, "name": name },
        "data": { "key": "value" },
    })
}

/// A policy that copies one object by name to these members.
pub(crate) fn duplicated(namespace: &str, api: &str, kind: &str, name: &str, clusters: &[&str]) -> Value {
    json!({
        "apiVersion": "policy.karmada.io/v1alpha1",
        "kind": "PropagationPolicy",
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "resourceSelectors": [{ "apiVersion": api, "kind": kind, "name": name }],
            "placement": {
                "clusterAffinity": { "clusterNames": clusters },
                "replicaScheduling": { "replicaSchedulingType": "Duplicated" },
            },
        },
    })
}

/// The API for objects of the kind of `object`, in its namespace.
pub(crate) fn api_of(client: &Client, object: &Value) -> Result<Api<DynamicObject>> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let api_version = text("/apiVersion").context("no apiVersion")?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = text("/kind").context("no kind")?;
    let mut resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if kind.ends_with("Policy") {
        resource.plural = kind.to_lowercase().replace("policy", "policies");
    }
    Ok(match text("/metadata/namespace") {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    })
}

pub(crate) async fn create(client: &Client, object: &Value) -> Result<DynamicObject> {
    let api = api_of(client, object)?;
    let typed: DynamicObject = serde_json::from_value(object.clone())?;
    api.create(&PostParams::default(), &typed).await.with_context(|| format!("cannot create {object}"))
}

pub(crate) async fn namespace(client: &Client, name: &str) -> Result<()> {
    let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    create(client, &object).await.map(drop)
}

/// As `kubectl patch --type merge` does it.
pub(crate) async fn merge(client: &Client, object: &Value, patch: &Value) -> Result<DynamicObject> {
    let api = api_of(client, object)?;
    let name = object["metadata"]["name"].as_str().context("no name")?;
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.with_context(|| format!("cannot patch {name}"))
}

/// As `kubectl patch --type json` does it.
pub(crate) async fn json_patch(client: &Client, object: &Value, patch: Value) -> Result<DynamicObject> {
    let api = api_of(client, object)?;
    let name = object["metadata"]["name"].as_str().context("no name")?;
    let patch = serde_json::from_value(patch)?;
    api.patch(name, &PatchParams::default(), &Patch::Json::<()>(patch))
        .await
        .with_context(|| format!("cannot patch {name}"))
}

pub(crate) async fn get(client: &Client, object: &Value) -> Result<Option<DynamicObject>> {
    let name = object["metadata"]["name"].as_str().context("no name")?;
    Ok(api_of(client, object)?.get_opt(name).await?)
}

pub(crate) async fn delete(client: &Client, object: &Value) -> Result<()> {
    let name = object["metadata"]["name"].as_str().context("no name")?;
    api_of(client, object)?.delete(name, &Default::default()).await?;
    Ok(())
}

/// Namespaced objects of one kind in a member that carry Pando's label, as `namespace/name`.
pub(crate) async fn managed(member: &Cluster, api_version: &str, kind: &str) -> Result<Vec<String>> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> = Api::all_with(member.client.clone(), &resource);
    let list = api.list(&ListParams::default().labels("karmada.io/managed=true")).await?;
    let full = |object: DynamicObject| {
        let namespace = object.metadata.namespace.unwrap_or_default();
        format!("{namespace}/{}", object.metadata.name.unwrap_or_default())
    };
    Ok(list.items.into_iter().map(full).collect())
}

/// The members' `spec.replicas` of a Deployment, in the order bj, sh, sz; none where there is none.
pub(crate) async fn spread(federation: &Federation, namespace: &str, name: &str) -> Result<Vec<Option<i32>>> {
    let mut all = Vec::new();
    for member in &federation.members {
        let seen = pando_e2e::federation::replicas(&member.client, namespace, name).await?;
        all.push(seen.map(|replicas| replicas.wanted));
    }
    Ok(all)
}
