//! What the stores cost: bytes on the heap for each object of the kinds that there are most of, taken from a list as after
//! a restart.
//!
//! The numbers are printed; the bounds say that nothing has grown by a third unnoticed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::alloc::System;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::client::Body;
use kube::core::ApiResource;
use pando_api::work::ResourceHealth;
use pando_context::{Kind, ReasonKind, Scope};
use pando_member::object::{Decode, MemberObject, Reading, Verdict};
use pando_reconcilers::env::Stores;
use pando_reconcilers::template::{TemplateKind, Templates};
use pando_runtime::store::{Key, Record, Store};
use pando_runtime::watch;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

static WATCH: Kind = Kind::new("watch");

const BINDINGS: usize = 300;
const CLUSTERS: [&str; 3] = ["bj-prod", "sh-prod", "sz-prod"];

/// Hexadecimal digits that nothing compresses.
fn digits(seed: usize, len: usize) -> String {
    let mut state = (seed as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut text = String::new();
    while text.len() < len {
        text += &format!("{:016x}", next());
    }
    text.truncate(len);
    text
}

fn uuid(kind: usize, n: usize) -> String {
    let hex = digits(kind * 1_000_000 + n, 32);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A ConfigMap's data, one kilobyte.
type Content = fn(usize) -> String;

/// The same line again and again.
fn lines(n: usize) -> String {
    let line = format!("cm-{n} has a line of forty characters or so;\n");
    line.repeat(1024 / line.len())
}

/// Letters by chance: what is left of it is as long as it is.
fn noise(n: usize) -> String {
    digits(77_000_000 + n, 1024)
}

/// A server's metadata, with what no store keeps.
fn metadata(place: (Option<&str>, &str), uid: &str, n: usize, labels: Value, annotations: Value) -> Value {
    json!({
        "namespace": place.0, "name": place.1, "uid": uid, "resourceVersion": (100_000 + n).to_string(), "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels, "annotations": annotations,
        "managedFields": [{"manager": "pando", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:text": "x".repeat(1500)}}],
    })
}

fn template(n: usize, content: Content) -> Value {
    let labels = json!({"app": format!("cm-{n}"), "propagationpolicy.karmada.io/permanent-id": uuid(8, 0)});
    let marks = json!({"propagationpolicy.karmada.io/name": "all", "propagationpolicy.karmada.io/namespace": "shop"});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"application.conf": content(n)},
        "metadata": metadata((Some("shop"), &format!("cm-{n}")), &uuid(1, n), n, labels, marks)})
}

/// The binding, when everything is applied.
fn binding(n: usize) -> Value {
    let marks = json!({"propagationpolicy.karmada.io/name": "all", "propagationpolicy.karmada.io/namespace": "shop"});
    let labels = json!({
        "propagationpolicy.karmada.io/permanent-id": uuid(8, 0), "resourcebinding.karmada.io/permanent-id": uuid(3, n),
    });
    let mut metadata = metadata((Some("shop"), &format!("cm-{n}-configmap")), &uuid(2, n), n, labels, marks);
    metadata["finalizers"] = json!(["karmada.io/binding-controller"]);
    metadata["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": format!("cm-{n}"),
        "uid": uuid(1, n), "controller": true, "blockOwnerDeletion": true}]);
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": "True", "reason": reason, "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1, "message": message})
    };
    let toleration =
        |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
    json!({
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding", "metadata": metadata,
        "spec": {
            "resource": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": format!("cm-{n}"),
                "uid": uuid(1, n), "resourceVersion": (100_000 + n).to_string()},
            "clusters": CLUSTERS.map(|name| json!({"name": name})),
            "placement": {"clusterAffinity": {"clusterNames": CLUSTERS}, "clusterTolerations": [
                toleration("cluster.karmada.io/not-ready"), toleration("cluster.karmada.io/unreachable"),
            ], "replicaScheduling": {"replicaSchedulingType": "Duplicated"}},
            "schedulerName": "default-scheduler", "conflictResolution": "Abort",
        },
        "status": {
            "schedulerObservedGeneration": 1, "lastScheduledTime": "2026-01-01T00:00:00Z",
            "conditions": [
                condition("Scheduled", "Success", "Binding has been scheduled successfully."),
                condition("FullyApplied", "FullyAppliedSuccess", "All works have been successfully applied"),
            ],
            "aggregatedStatus": CLUSTERS.map(|name| json!({"clusterName": name, "applied": true, "health": "Healthy"})),
        },
    })
}

/// The Work of one cluster, with its object as it is rendered and its status when it is applied.
fn work(n: usize, cluster: usize, content: Content) -> Value {
    let (name, namespace) =
        (format!("cm-{n}-{}", digits(5_000_000 + n, 10)), format!("karmada-es-{}", CLUSTERS[cluster]));
    let (binding, work) = (uuid(3, n), uuid(20 + cluster, n));
    let labels = json!({"resourcebinding.karmada.io/permanent-id": binding, "work.karmada.io/permanent-id": work});
    let of = json!({
        "resourcebinding.karmada.io/name": format!("cm-{n}-configmap"), "resourcebinding.karmada.io/namespace": "shop",
        "work.karmada.io/conflict-resolution": "abort",
    });
    let mut annotations = of.clone();
    let marks = json!({
        "pando.io/binding": binding, "pando.io/federation": uuid(9, 0), "pando.io/manifest-hash": digits(6_000_000 + 3 * n + cluster, 32),
        "propagationpolicy.karmada.io/name": "all", "propagationpolicy.karmada.io/namespace": "shop",
        "resourcetemplate.karmada.io/generation": "1", "resourcetemplate.karmada.io/uid": uuid(1, n),
        "resourcetemplate.karmada.io/managed-annotations": "pando.io/binding,pando.io/federation,pando.io/manifest-hash,propagationpolicy.karmada.io/name,propagationpolicy.karmada.io/namespace,resourcebinding.karmada.io/name,resourcebinding.karmada.io/namespace,resourcetemplate.karmada.io/generation,resourcetemplate.karmada.io/managed-annotations,resourcetemplate.karmada.io/managed-labels,resourcetemplate.karmada.io/uid,work.karmada.io/conflict-resolution,work.karmada.io/name,work.karmada.io/namespace",
        "resourcetemplate.karmada.io/managed-labels": "app,karmada.io/managed,propagationpolicy.karmada.io/permanent-id,resourcebinding.karmada.io/permanent-id",
        "work.karmada.io/name": name, "work.karmada.io/namespace": namespace,
    });
    annotations.as_object_mut().unwrap().extend(marks.as_object().unwrap().clone());
    let mut manifest = template(n, content);
    manifest["metadata"] = json!({"name": format!("cm-{n}"), "namespace": "shop", "annotations": annotations, "labels": {
        "app": format!("cm-{n}"), "karmada.io/managed": "true", "propagationpolicy.karmada.io/permanent-id": uuid(8, 0),
        "resourcebinding.karmada.io/permanent-id": binding,
    }});
    let mut metadata = metadata((Some(&namespace), &name), &uuid(30 + cluster, n), 10 * n + cluster, labels, of);
    metadata["finalizers"] = json!(["karmada.io/execution-controller"]);
    json!({
        "apiVersion": "work.karmada.io/v1alpha1", "kind": "Work", "metadata": metadata,
        "spec": {"preserveResourcesOnDeletion": false, "suspendDispatching": false, "workload": {"manifests": [manifest]}},
        "status": {
            "conditions": [{"type": "Applied", "status": "True", "reason": "AppliedSuccessful", "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:00:00Z", "message": "Manifest has been successfully applied"}],
            "manifestStatuses": [{"health": "Healthy", "identifier": {"ordinal": 0, "version": "v1", "kind": "ConfigMap",
                "resource": "", "namespace": "shop", "name": format!("cm-{n}")}}],
        },
    })
}

/// The object in the member.
fn member_object(n: usize) -> Value {
    json!({"metadata": metadata((Some("shop"), &format!("cm-{n}")), &uuid(40, n), n, json!({"karmada.io/managed": "true"}), json!({}))})
}

/// Feeds the store with one list. Gives the bytes on the heap that are more than before, for each object.
async fn fill<T: Record>(root: &Scope, store: &Store<T>, objects: Vec<Value>) -> usize {
    let count = objects.len();
    let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "900000"}, "items": objects});
    let text = bytes::Bytes::from(list.to_string());
    drop(list);
    let _outlives_the_region = text.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let text = text.clone();
        async move {
            if request.uri().query().is_some_and(|query| query.contains("watch")) {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(http::Response::new(Body::from(text)))
        }
    });
    let (client, fed) = (Client::new(service, "default"), store.clone());
    let region = Region::new(ALLOCATOR);
    let feed = root.ctx().child(&WATCH);
    feed.ctx().spawn(&WATCH, |ctx| watch::run(ctx, client, fed, watch::Options::default())).detach();
    store.synced(root.ctx()).await.unwrap();
    assert!(feed.stop(ReasonKind::Requested, Duration::from_secs(10)).await.is_ok());
    assert_eq!(store.len(), count);
    let change = region.change();
    (change.bytes_allocated - change.bytes_deallocated) / count
}

/// What the store of one member costs, with the reading of each object.
async fn fill_member(root: &Scope, works: &Store<pando_api::work::Work>) -> usize {
    let resource = ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&());
    let store: Store<MemberObject> = Store::new(resource.clone());
    let known = works.clone();
    let decode: Decode = Arc::new(move |_, raw| {
        let object: Value = serde_json::from_str(raw.get()).unwrap();
        let n: usize = object["metadata"]["name"].as_str().unwrap()[3..].parse().unwrap();
        let work = Key::namespaced("karmada-es-bj-prod", &format!("cm-{n}-{}", digits(5_000_000 + n, 10)));
        let verdict = Verdict::Matches(digits(6_000_000 + 3 * n, 32).into());
        Reading { work: Some(known.own(work)), verdict, status: None, health: ResourceHealth::Healthy }
    });
    store.subscribe(move |change| {
        change.new.iter().for_each(|object| drop(object.reading(&resource, &decode).clone()));
    });
    fill(root, &store, (0..BINDINGS).map(member_object).collect()).await
}

/// Bytes for each template, binding, Work and member object.
async fn sizes(content: Content) -> [usize; 4] {
    let root = Scope::root("test");
    let stores = Stores::new(Templates::new());
    let resource = ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&());
    let maps = stores.templates.follow(TemplateKind { resource, namespaced: true, has_status: false });
    let works = (0..BINDINGS).flat_map(|n| (0..CLUSTERS.len()).map(move |cluster| work(n, cluster, content)));
    let bindings = fill(&root, stores.bindings.stores()[0], (0..BINDINGS).map(binding).collect()).await;
    let works = fill(&root, &stores.works, works.collect()).await;
    let templates = fill(&root, &maps.store, (0..BINDINGS).map(|n| template(n, content)).collect()).await;
    [templates, bindings, works, fill_member(&root, &stores.works).await]
}

// One test: the allocator counts what all threads do.
#[pando_context::test]
async fn a_binding_on_three_clusters_costs_a_few_kilobytes() {
    for (what, content, most) in
        [("the same line", lines as Content, [700, 850, 850, 360]), ("noise", noise, [720, 850, 1300, 360])]
    {
        let bytes = sizes(content).await;
        let [template, binding, work, object] = bytes;
        println!(
            "1 KB of {what}: template {template}, binding {binding}, Work {work}, object in a member {object}; together on three clusters {} bytes",
            template + binding + 3 * (work + object)
        );
        for (kind, (bytes, most)) in
            ["template", "binding", "Work", "member object"].iter().zip(bytes.into_iter().zip(most))
        {
            assert!(bytes <= most, "a {kind} takes {bytes} bytes, more than {most}");
        }
    }
}
