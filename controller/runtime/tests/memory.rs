//! What the stores cost: bytes on the heap for one object of the kinds that there are most of.
//!
//! The numbers are printed; the bounds are generous and only say that nothing has doubled unnoticed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::alloc::System;

use kube::core::ApiResource;
use pando_api::work::{Binding, ResourceBinding, Work};
use pando_runtime::store::{Record, Store};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const COPIES: usize = 500;

fn number(n: usize) -> String {
    format!("{n:08x}-5c1f-4f3e-9d57-0a1b2c3d4e5f")
}

/// A server's metadata of an object of ours, with what the store should not keep.
fn metadata(namespace: &str, name: &str, n: usize, labels: &Value, annotations: &Value) -> Value {
    json!({
        "namespace": namespace, "name": name, "uid": number(n), "resourceVersion": (100_000 + n).to_string(),
        "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels, "annotations": annotations,
        "managedFields": [{"manager": "pando", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:workload": {}, "f:text": "x".repeat(1500)}}}],
    })
}

/// The binding of a ConfigMap on three clusters, as it is when everything is applied.
fn binding(n: usize) -> Value {
    let name = format!("settings-{n}-configmap");
    let marks = json!({
        "propagationpolicy.karmada.io/name": "everything", "propagationpolicy.karmada.io/namespace": "shop",
    });
    let labels = json!({
        "propagationpolicy.karmada.io/permanent-id": number(1), "resourcebinding.karmada.io/permanent-id": number(n),
    });
    let mut metadata = metadata("shop", &name, n, &labels, &marks);
    metadata["finalizers"] = json!(["karmada.io/binding-controller"]);
    metadata["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": format!("settings-{n}"), "uid": number(n), "controller": true,
        "blockOwnerDeletion": true,
    }]);
    let clusters = ["bj-prod", "sh-prod", "sz-prod"];
    let condition = |kind: &str, reason: &str| {
        json!({"type": kind, "status": "True", "reason": reason, "lastTransitionTime": "2026-01-01T00:00:00Z",
            "message": "All works have been successfully applied"})
    };
    json!({
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding", "metadata": metadata,
        "spec": {
            "resource": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": format!("settings-{n}"),
                "uid": number(n), "resourceVersion": n.to_string()},
            "clusters": clusters.map(|name| json!({"name": name})),
            "placement": {"clusterAffinity": {"clusterNames": clusters}, "clusterTolerations": [
                {"key": "cluster.karmada.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "cluster.karmada.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ]},
            "schedulerName": "default-scheduler", "conflictResolution": "Abort",
        },
        "status": {
            "schedulerObservedGeneration": 1, "lastScheduledTime": "2026-01-01T00:00:00Z",
            "conditions": [condition("Scheduled", "Success"), condition("FullyApplied", "FullyAppliedSuccess")],
            "aggregatedStatus": clusters.map(|name| json!({"clusterName": name, "applied": true, "health": "Healthy"})),
        },
    })
}

/// One of its three Works.
fn work(n: usize) -> Value {
    let labels = json!({
        "resourcebinding.karmada.io/permanent-id": number(n), "propagationpolicy.karmada.io/permanent-id": number(1),
    });
    let annotations = json!({
        "resourcebinding.karmada.io/name": format!("settings-{n}-configmap"),
        "resourcebinding.karmada.io/namespace": "shop", "pando.io/template-generation": "1",
    });
    let mut metadata = metadata("karmada-es-bj-prod", &format!("settings-{n}-7d9f8b"), n, &labels, &annotations);
    metadata["finalizers"] = json!(["karmada.io/execution-controller"]);
    let manifest = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"log": "info", "url": "http://db.shop.svc:5432/shop"},
        "metadata": {"name": format!("settings-{n}"), "namespace": "shop", "labels": {
            "app": "shop", "karmada.io/managed": "true", "resourcebinding.karmada.io/permanent-id": number(n),
        }, "annotations": {
            "pando.io/federation": number(2), "pando.io/binding": number(n),
            "resourcetemplate.karmada.io/uid": number(n), "resourcebinding.karmada.io/name": format!("settings-{n}-configmap"),
            "resourcebinding.karmada.io/namespace": "shop", "work.karmada.io/name": format!("settings-{n}-7d9f8b"),
            "work.karmada.io/namespace": "karmada-es-bj-prod",
        }},
    });
    json!({
        "apiVersion": "work.karmada.io/v1alpha1", "kind": "Work", "metadata": metadata,
        "spec": {"workload": {"manifests": [manifest]}},
        "status": {
            "conditions": [{"type": "Applied", "status": "True", "reason": "AppliedSuccessful",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "message": "Manifest has been successfully applied"}],
            "manifestStatuses": [{"health": "Healthy", "identifier": {
                "ordinal": 0, "version": "v1", "kind": "ConfigMap", "resource": "", "namespace": "shop",
                "name": format!("settings-{n}"),
            }}],
        },
    })
}

/// Bytes on the heap for each object in a store, and those of its text.
fn per_object<T: Record>(resource: ApiResource, object: fn(usize) -> Value) -> (usize, usize) {
    let texts: Vec<_> = (0..COPIES).map(|n| serde_json::value::to_raw_value(&object(n)).unwrap()).collect();
    let store: Store<T> = Store::new(resource);
    let region = Region::new(ALLOCATOR);
    for text in &texts {
        store.written(T::decode(store.resource(), text).unwrap());
    }
    let change = region.change();
    let kept = change.bytes_allocated - change.bytes_deallocated;
    assert_eq!(store.len(), COPIES);
    (kept / COPIES, texts.iter().map(|text| text.get().len()).sum::<usize>() / COPIES)
}

// One test: the allocator counts what all threads do.
#[test]
fn a_binding_and_its_works_cost_a_few_kilobytes() {
    let (binding, binding_text) = per_object::<Binding>(ApiResource::erase::<ResourceBinding>(&()), binding);
    let (work, work_text) = per_object::<Work>(ApiResource::erase::<Work>(&()), work);
    println!("binding {binding} bytes (of {binding_text} as text), Work {work} bytes (of {work_text} as text)");
    println!("one ConfigMap on three clusters: {} bytes", binding + 3 * work);
    assert!(binding < 6_000, "a binding takes {binding} bytes");
    assert!(work < 4_500, "a Work takes {work} bytes");
}
