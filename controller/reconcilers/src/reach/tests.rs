//! How much is looked at when something changes, counted in objects.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::convert::Infallible;

use futures::FutureExt;
use kube::Client;
use kube::client::Body;
use kube::core::ApiResource;
use pando_api::policy::{OverridePolicy, ResourceSelector};
use pando_context::Scope;
use pando_core::manifest::Manifest;
use pando_core::overrides;
use pando_core::policy_match::{TemplateFacts, selector_selects};
use pando_runtime::queue::{self, Queue};
use pando_runtime::watch;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::detector::observe::policies_for;
use crate::env::{Queues, Stores};
use crate::template::{TemplateKey, TemplateKind};
use crate::wiring;

static WATCH: pando_context::Kind = pando_context::Kind::new("watch");

fn kind(api_version: &str, kind: &str, namespaced: bool) -> TemplateKind {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
    };
    TemplateKind { resource, namespaced, has_status: false }
}

/// Stores and queues of a hub, wired as in the process, without a server.
struct Hub {
    stores: Stores,
    queues: Queues,
    revision: u64,
    /// Part of every uid: what is made after a deletion is another object.
    deletions: u64,
}

impl Hub {
    fn new() -> Self {
        let stores = Stores::new(Templates::new());
        for (api_version, name, namespaced) in [
            ("v1", "Namespace", false),
            ("v1", "ConfigMap", true),
            ("apps/v1", "Deployment", true),
            ("rbac.authorization.k8s.io/v1", "ClusterRole", false),
        ] {
            drop(stores.templates.follow(kind(api_version, name, namespaced)));
        }
        let queues = Queues::new();
        wiring::policy_parts(&stores, &queues);
        Self { stores, queues, revision: 0, deletions: 0 }
    }

    /// The object with what an API server adds.
    fn served(&mut self, mut object: Value) -> Value {
        self.revision += 1;
        let meta = &mut object["metadata"];
        let name = meta["name"].clone();
        meta["uid"] = json!(format!("{}/{name}/{}", meta["namespace"], self.deletions));
        meta["resourceVersion"] = json!(self.revision.to_string());
        object
    }

    fn template(&mut self, api_version: &str, kind: &str, metadata: Value) {
        let object = self.served(json!({"apiVersion": api_version, "kind": kind, "metadata": metadata}));
        let store = self.stores.templates.kind(api_version, kind).unwrap().store;
        let raw = serde_json::value::to_raw_value(&object).unwrap();
        store.written(Template::decode(store.resource(), &raw).unwrap());
    }

    fn object<T: Record + DeserializeOwned>(&mut self, metadata: Value, spec: Value) -> T {
        serde_json::from_value(self.served(json!({"metadata": metadata, "spec": spec}))).unwrap()
    }

    fn policy(&mut self, namespace: &str, name: &str, spec: Value) {
        let labels = json!({"propagationpolicy.karmada.io/permanent-id": format!("{namespace}-{name}")});
        let policy = self.object(json!({"namespace": namespace, "name": name, "labels": labels}), spec);
        self.stores.policies.written(policy);
    }

    fn cluster_policy(&mut self, name: &str, spec: Value) {
        let labels = json!({"clusterpropagationpolicy.karmada.io/permanent-id": name});
        let policy = self.object(json!({"name": name, "labels": labels}), spec);
        self.stores.cluster_policies.written(policy);
    }

    fn delete<T: Record>(&mut self, store: &Store<T>, key: &Key) {
        store.removed(key, store.get(key).unwrap().meta().uid.as_deref().unwrap());
        self.deletions += 1;
    }

    /// What waits for the detector, taken out of its queue.
    fn woken(&self) -> Vec<String> {
        drain(&self.queues.templates).iter().map(TemplateKey::to_string).collect()
    }
}

fn drain<K: queue::Key>(queue: &Queue<K>) -> Vec<K> {
    let root = Scope::root("test");
    let mut keys = Vec::new();
    while let Some(Ok(taken)) = queue.next(root.ctx()).now_or_never() {
        keys.push((*taken).clone());
        taken.done();
    }
    keys
}

/// A policy's spec with these selectors.
fn selecting(selectors: Value) -> Value {
    json!({"resourceSelectors": selectors, "placement": {}})
}

fn named(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name})
}

fn labelled(labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "labelSelector": {"matchLabels": labels}})
}

/// 10,000 ConfigMaps in ten namespaces, a thousand policies for them and as many for Deployments.
fn big_hub() -> Hub {
    filled(Hub::new())
}

fn filled(mut hub: Hub) -> Hub {
    for number in 0..10_000 {
        let namespace = format!("n{}", number % 10);
        let labels = json!({"app": format!("a{}", number / 100), "env": "prod", "number": number.to_string()});
        let metadata = json!({"namespace": namespace, "name": format!("m{}", number / 10), "labels": labels});
        hub.template("v1", "ConfigMap", metadata);
    }
    for number in 0..1_000 {
        let namespace = format!("n{}", number % 10);
        hub.policy(&namespace, &format!("p{number}"), selecting(json!([named(&format!("m{number}"))])));
        let deployments = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": format!("d{number}")}]);
        hub.policy(&namespace, &format!("d{number}"), selecting(deployments));
    }
    hub.woken();
    hub
}

#[test]
fn a_policy_change_looks_at_what_its_selectors_reach_and_at_nothing_else() {
    let mut hub = big_hub();
    let mut count = |namespace: &str, selectors: Value| {
        hub.policy(namespace, "new", selecting(selectors));
        let created = hub.woken().len();
        hub.delete(&hub.stores.policies.clone(), &Key::namespaced(namespace, "new"));
        (created, hub.woken().len())
    };
    assert_eq!(count("n3", json!([named("m7")])), (1, 1), "by name");
    assert_eq!(count("n3", json!([named("nobody")])), (0, 0));
    // 100 templates in a row have the same app, ten of them in each namespace
    assert_eq!(count("n3", json!([labelled(json!({"app": "a42"}))])), (10, 10), "by label");
    assert_eq!(count("n3", json!([labelled(json!({"env": "prod", "number": "73"}))])), (1, 1), "by the rarer label");
    assert_eq!(count("n3", json!([named("m7"), labelled(json!({"app": "a42"}))])), (11, 11), "the union");
    assert_eq!(count("n3", json!([{"apiVersion": "v1", "kind": "ConfigMap"}])), (1_000, 1_000), "the kind");
    assert_eq!(count("n3", json!([{"apiVersion": "apps/v1", "kind": "Deployment"}])), (0, 0), "another kind");

    let exists = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "labelSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}, {"key": "app", "operator": "In", "values": ["a1", "a2"]}]}});
    assert_eq!(count("n3", json!([exists])), (20, 20), "In is narrower than Exists");
}

#[test]
fn a_cluster_policy_looks_into_every_namespace_by_name_and_label() {
    let mut hub = big_hub();
    let mut count = |selector: Value| {
        hub.cluster_policy("new", selecting(json!([selector])));
        let created = hub.woken().len();
        hub.delete(&hub.stores.cluster_policies.clone(), &Key::cluster("new"));
        (created, hub.woken().len())
    };
    assert_eq!(count(named("m7")), (10, 10), "one in each namespace");
    assert_eq!(count(labelled(json!({"app": "a42"}))), (100, 100));
    assert_eq!(count(json!({"apiVersion": "v1", "kind": "ConfigMap", "namespace": "n4", "name": "m7"})), (1, 1));
    assert_eq!(
        count(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "m7"})),
        (0, 0)
    );
}

#[test]
fn what_a_policy_does_not_decide_by_wakes_nobody() {
    let mut hub = big_hub();
    let spec = selecting(json!([{"apiVersion": "v1", "kind": "ConfigMap"}]));
    hub.policy("n3", "new", spec.clone());
    assert_eq!(hub.woken().len(), 1_000);
    let id = "n3-new";
    let labels = json!({"propagationpolicy.karmada.io/permanent-id": id, "team": "a"});
    let policy =
        hub.object(json!({"namespace": "n3", "name": "new", "labels": labels, "annotations": {"a": "b"}}), spec);
    hub.stores.policies.written(policy);
    assert_eq!(hub.woken(), [] as [&str; 0]);
}

/// Lets a store see the empty list of a server that has nothing more to say.
async fn complete<T: Record>(root: &Scope, store: &Store<T>) {
    let service = tower::service_fn(|request: http::Request<Body>| async move {
        if request.uri().query().is_some_and(|query| query.contains("watch")) {
            std::future::pending::<()>().await;
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": []});
        Ok::<_, Infallible>(http::Response::new(Body::from(list.to_string().into_bytes())))
    });
    let (client, fed) = (Client::new(service, "default"), store.clone());
    root.ctx().spawn(&WATCH, |ctx| watch::run(ctx, client, fed, watch::Options::default())).detach();
    store.synced(root.ctx()).await.unwrap();
}

#[pando_context::test]
async fn a_template_is_matched_against_the_policies_of_its_kind_in_its_namespace() {
    let root = Scope::root("test");
    let mut hub = Hub::new();
    complete(&root, &hub.stores.cluster_policies).await;
    hub.template("v1", "ConfigMap", json!({"namespace": "n3", "name": "m7"}));
    let map = hub.stores.templates.kind("v1", "ConfigMap").unwrap().store.get(&Key::namespaced("n3", "m7")).unwrap();
    assert!(policies_for(&hub.stores, &map).is_err(), "those of the namespace may not all be known yet");
    complete(&root, &hub.stores.policies).await;
    let mut hub = filled(hub);
    for number in 0..50 {
        let role =
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": format!("r{number}")});
        hub.cluster_policy(&format!("c{number}"), selecting(json!([role])));
    }
    hub.cluster_policy("maps", selecting(json!([named("m7")])));
    hub.template("rbac.authorization.k8s.io/v1", "ClusterRole", json!({"name": "r1"}));
    let role = hub.stores.templates.kind("rbac.authorization.k8s.io/v1", "ClusterRole").unwrap().store;
    let role = role.get(&Key::cluster("r1")).unwrap();
    let count = |template: &Template| {
        let policies = policies_for(&hub.stores, template).unwrap();
        (policies.namespaced.len(), policies.cluster_wide.len())
    };
    // of 2,000 policies 100 are in the namespace and for the kind
    assert_eq!(count(&map), (100, 1));
    assert_eq!(count(&role), (0, 50));
}

#[test]
fn a_template_that_waits_is_found_by_the_policy_that_comes() {
    let mut hub = Hub::new();
    hub.template("v1", "ConfigMap", json!({"namespace": "n", "name": "waits"}));
    hub.template("rbac.authorization.k8s.io/v1", "ClusterRole", json!({"name": "waits"}));
    hub.policy("n", "p", selecting(json!([named("waits")])));
    assert_eq!(hub.woken(), ["ConfigMap n/waits"]);
    let roles = json!([{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "waits"}]);
    hub.policy("n", "q", selecting(roles.clone()));
    assert_eq!(hub.woken(), [] as [&str; 0], "a namespaced policy reaches into its namespace only");
    hub.cluster_policy("c", selecting(roles));
    assert_eq!(hub.woken(), ["ClusterRole waits"]);
}

#[test]
fn what_a_policy_claims_is_looked_at_when_the_policy_goes() {
    let mut hub = Hub::new();
    hub.policy("n", "p", selecting(json!([named("other")])));
    let labels = json!({"propagationpolicy.karmada.io/permanent-id": "n-p"});
    hub.template("apps/v1", "Deployment", json!({"namespace": "n", "name": "held", "labels": labels}));
    hub.template("apps/v1", "Deployment", json!({"namespace": "n", "name": "free"}));
    hub.delete(&hub.stores.policies.clone(), &Key::namespaced("n", "p"));
    assert_eq!(hub.woken(), ["Deployment n/held"]);
}

#[test]
fn an_override_renders_again_what_it_reaches_and_wakes_who_waits_for_it() {
    let mut hub = big_hub();
    for name in ["m7", "m8"] {
        let binding =
            json!({"namespace": "n3", "name": format!("{name}-configmap"), "uid": name, "resourceVersion": "1"});
        let binding = serde_json::from_value(json!({
            "metadata": binding, "spec": {"resource": {"apiVersion": "v1", "kind": "ConfigMap", "name": name}},
        }))
        .unwrap();
        hub.stores.bindings.of(&Key::namespaced("n3", "x")).written(binding);
    }
    let mut waits = selecting(json!([named("m9")]));
    waits["dependentOverrides"] = json!(["new"]);
    hub.policy("n3", "waits", waits.clone());
    hub.policy("n4", "waits", waits);
    hub.woken();

    let mut write = |selectors: Value| {
        let policy: OverridePolicy = hub.object(
            json!({"namespace": "n3", "name": "new"}),
            json!({"resourceSelectors": selectors, "overrideRules": []}),
        );
        hub.stores.overrides.written(policy);
        let works: Vec<_> = drain(&hub.queues.works).iter().map(Key::to_string).collect();
        (works, hub.woken())
    };
    let (works, woken) = write(json!([named("m7")]));
    assert_eq!(works, ["n3/m7-configmap"]);
    assert_eq!(woken, ["ConfigMap n3/m9"], "of the policy that waits for it in its namespace");
    let (works, woken) = write(json!([named("m7")]));
    assert_eq!((works.len(), woken.len()), (0, 0), "nothing has changed");
    let (mut works, woken) = write(json!([named("m8")]));
    works.sort();
    assert_eq!(works, ["n3/m7-configmap", "n3/m8-configmap"], "what it selected, and what it selects");
    assert_eq!(woken.len(), 0);
    let (works, _) = write(json!([labelled(json!({"env": "prod"}))]));
    assert_eq!(works.len(), 2, "those with a binding");
}

#[test]
fn a_binding_that_goes_wakes_whoever_wants_its_name() {
    let mut hub = Hub::new();
    drop(hub.stores.templates.follow(kind("rbac.authorization.k8s.io/v1", "Role", true)));
    drop(hub.stores.templates.follow(kind("example.io/v1", "ConfigMap", true)));
    for name in ["a.b", "a:b", "A.b", "b"] {
        hub.template("rbac.authorization.k8s.io/v1", "Role", json!({"namespace": "n", "name": name}));
        hub.template("rbac.authorization.k8s.io/v1", "Role", json!({"namespace": "m", "name": name}));
    }
    for api_version in ["v1", "example.io/v1"] {
        hub.template(api_version, "ConfigMap", json!({"namespace": "n", "name": "a.b"}));
    }
    let waiting = |binding: &str| {
        let found = waiting_for(&hub.stores.templates, &Key::namespaced("n", binding));
        let mut names: Vec<_> =
            found.iter().map(|template| format!("{} {}", template.api_version, template.key())).collect();
        names.sort();
        names
    };
    assert_eq!(
        waiting("a.b-role"),
        ["A.b", "a.b", "a:b"].map(|name| format!("rbac.authorization.k8s.io/v1 Role n/{name}"))
    );
    assert_eq!(waiting("a.b-configmap"), ["example.io/v1 ConfigMap n/a.b", "v1 ConfigMap n/a.b"]);
    assert!(waiting("c-role").is_empty());
}

fn any_text() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "a", "b", "ab"])
}

fn any_selector() -> impl Strategy<Value = ResourceSelector> {
    let kind = prop::sample::select(vec![("v1", "ConfigMap"), ("rbac.authorization.k8s.io/v1", "ClusterRole")]);
    let expression = (any_text(), prop::sample::select(vec!["In", "NotIn", "Exists", "DoesNotExist"]), any_text());
    let labels = prop::option::of((prop::option::of((any_text(), any_text())), prop::option::of(expression)));
    (kind, any_text(), any_text(), labels).prop_map(|((api_version, kind), namespace, name, labels)| {
        let mut selector = json!({"apiVersion": api_version, "kind": kind, "namespace": namespace, "name": name});
        if let Some((pair, expression)) = labels {
            let mut parts = json!({});
            if let Some((key, value)) = pair {
                parts["matchLabels"] = json!({key: value});
            }
            if let Some((key, operator, value)) = expression {
                let values = if operator.ends_with("In") { json!([value, "a"]) } else { json!([]) };
                parts["matchExpressions"] = json!([{"key": key, "operator": operator, "values": values}]);
            }
            selector["labelSelector"] = parts;
        }
        serde_json::from_value(selector).unwrap()
    })
}

proptest! {
    /// Of override policies, too: those of a kind, and those that may mean any, are all that can select it.
    #[test]
    fn overrides_of_other_kinds_select_nothing(
        policies in prop::collection::vec((prop::collection::vec((any_selector(), 0..6u8), 0..3), any::<bool>()), 0..6),
        labels in any_text(),
    ) {
        let mut hub = Hub::new();
        for (number, (selectors, is_broken)) in policies.into_iter().enumerate() {
            let selectors: Vec<_> = selectors
                .into_iter()
                .map(|(mut selector, half)| {
                    match half {
                        0 => selector.kind.clear(),
                        1 => selector.api_version.clear(),
                        _ => {}
                    }
                    selector.namespace.clear();
                    selector
                })
                .collect();
            let rules = if is_broken { json!([{"overriders": {"plaintext": [{"path": "x", "operator": "add"}]}}]) } else { json!([]) };
            let spec = json!({"resourceSelectors": selectors, "overrideRules": rules});
            let policy = hub.object(json!({"name": format!("p{number}")}), spec);
            hub.stores.cluster_overrides.written(policy);
        }
        let store = &hub.stores.cluster_overrides;
        let all = store.list(None);
        for (api_version, kind) in [("v1", "ConfigMap"), ("rbac.authorization.k8s.io/v1", "ClusterRole"), ("v1", "Secret")] {
            let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a", "labels": {"a": labels}}});
            let object = Manifest::from_value(object).unwrap();
            let mut some = store.find(OVERRIDES_BY_KIND, Lookup::Value(&kind_value(api_version, kind)), None);
            some.extend(store.find(OVERRIDES_BY_KIND, Lookup::Value(ANY_KIND), None));
            prop_assert!(some.len() <= all.len(), "each once");
            let select = |policies: &[Arc<ClusterOverridePolicy>]| {
                format!("{:?}", overrides::select(policies.iter().map(Arc::as_ref), [], &object))
            };
            prop_assert_eq!(select(&some), select(&all));
        }
    }

    /// Against real stores: whatever a scan would select, the look-up gives, once.
    #[test]
    fn what_a_scan_selects_the_indexes_find(
        objects in prop::collection::vec((prop::option::of(prop::sample::select(vec!["a", "b"])), any_text(), any_text(), any_text()), 0..12),
        selector in any_selector(),
        own in prop::option::of(prop::sample::select(vec!["a", "b"])),
    ) {
        let mut hub = Hub::new();
        for (namespace, name, key, value) in objects {
            let name = format!("o{name}");
            match namespace {
                Some(namespace) => {
                    hub.template("v1", "ConfigMap", json!({"namespace": namespace, "name": name, "labels": {key: value, "x": "a"}}));
                }
                None => hub.template("rbac.authorization.k8s.io/v1", "ClusterRole", json!({"name": name, "labels": {key: value}})),
            }
        }
        let selector = ResourceSelector {
            name: if selector.name.is_empty() { String::new() } else { format!("o{}", selector.name) },
            ..selector
        };
        let found = reached(&hub.stores.templates, &Reach::of(&selector, own).into_iter().collect());
        let mut keys: Vec<_> = found.iter().map(|template| template.key()).collect();
        keys.sort();
        keys.dedup();
        prop_assert_eq!(keys.len(), found.len(), "each once");
        for template in hub.stores.templates.all().iter().flat_map(|followed| followed.store.list(None)) {
            let facts = TemplateFacts::of(&template.api_version, &template.kind, &template.meta);
            let in_own = own.is_none() || facts.namespace.as_deref() == own;
            if in_own && selector_selects(&selector, own, &facts).is_some() {
                prop_assert!(keys.contains(&template.key()), "{} is not found by {:?}", facts, selector);
            }
        }
    }
}
